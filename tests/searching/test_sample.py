"""Samples of a space: drawn once for all proxies, nested, with weights that add up to the space."""

from collections.abc import Mapping
from typing import Any

import pytest

from nasproxy.errors import SettingsError
from nasproxy.images import ImageData
from nasproxy.searching.costing import measure_quantity
from nasproxy.searching.plan import config_from_overrides, plan_search
from nasproxy.searching.sample import Quantity, Sample, draw_sample
from nasproxy.searching.search import search
from nasproxy.space import SearchSpace
from nasproxy.spacefile import load_space
from nasproxy.trials import Trials

IDS = [arch.id for arch in load_space("convnet720").archs()]
SIZES = {arch_id: float(number % 97) for number, arch_id in enumerate(IDS)}


def draw(asked: str, seed: int = 0, ids: list[str] = IDS, weights: Mapping[str, float] | None = None) -> Sample:
    return draw_sample(ids, asked, seed, lambda by: Quantity(SIZES, weights or {}))


@pytest.mark.parametrize("kind", ["", ":sizes"])
@pytest.mark.parametrize("count", [1, 3, 50, 719])
def test_a_sample_is_the_beginning_of_a_larger_one_and_stands_for_the_space(kind: str, count: int) -> None:
    sample, larger = draw(f"{count}{kind}"), draw(f"{count + 1}{kind}")
    assert list(sample.weights) == list(larger.weights)[:count]
    assert sum(sample.weights.values()) == pytest.approx(720)
    assert sample.info is not None
    assert (sample.info.num_archs, sample.info.num_all, sample.info.by) == (count, 720, kind[1:] or None)


@pytest.mark.parametrize("kind", ["", ":sizes"])
def test_a_sample_depends_on_its_seed_and_on_no_order(kind: str) -> None:
    assert draw(f"50{kind}") == draw(f"50{kind}", ids=IDS[::-1])
    assert draw(f"50{kind}").weights.keys() != draw(f"50{kind}", seed=1).weights.keys()
    everything = draw(f"1000{kind}")
    assert set(everything.weights) == set(IDS)
    assert set(everything.weights.values()) == {1}
    assert everything.info is None


def test_a_uniform_sample_of_a_part_is_that_part_of_the_order() -> None:
    whole = list(draw("720").weights)
    assert list(draw("10", ids=IDS[:90]).weights) == [arch_id for arch_id in whole if arch_id in IDS[:90]][:10]


def test_strata_of_a_sample_multiply_its_weights() -> None:
    known = dict.fromkeys(IDS[:60], 12.0)
    quantity = Quantity({arch_id: SIZES[arch_id] for arch_id in known}, known)
    sample = draw_sample(IDS, "20:run", 0, lambda by: quantity)
    assert set(sample.weights) <= known.keys()
    assert sum(sample.weights.values()) == pytest.approx(720)
    with pytest.raises(SettingsError, match="sample='5' of no architecture: archs is empty"):
        draw("5", ids=[])
    with pytest.raises(SettingsError, match="sample='5:run': run has no score of any of these architectures"):
        draw_sample(IDS[60:], "5:run", 0, lambda by: quantity)


def test_the_trials_of_a_search_carry_the_weights(mini_space: SearchSpace, digits: ImageData) -> None:
    def scored(proxy: str = "params", **settings: Any) -> Trials:
        return search(mini_space, proxy, digits, seeds=1, **settings)

    params = scored(sample=8)
    assert {trial.weight for trial in params} == {len(mini_space) / 8}
    assert params.info.sample is not None
    assert params.info.sample.describe() == f"a uniform sample of 8 of {len(mini_space)} architectures"
    assert set(params.by_id) == set(scored("flops", sample="8", seed=3).by_id)
    assert set(params.by_id) > set(scored(sample=5).by_id)
    strata = scored(sample="12:flops")
    assert sum(trial.weight for trial in strata) == pytest.approx(len(mini_space))
    assert len({trial.weight for trial in strata}) > 1
    assert strata.info.sample is not None
    assert strata.info.sample.describe().endswith("architectures by strata of flops")
    part = scored(sample="12:flops", num_archs=5)  # chosen by a strategy: they stand for nothing
    assert (len(part), part.info.sample, {trial.weight for trial in part}) == (5, None, {1.0})
    assert set(part.by_id) < set(strata.by_id)
    whole = scored(sample=1000)
    assert (len(whole), whole.info.sample, {trial.weight for trial in whole}) == (len(mini_space), None, {1.0})


def test_costs_are_counted_of_the_sample_alone(mini_space: SearchSpace, digits: ImageData) -> None:
    plan = plan_search(mini_space, "params", digits, config_from_overrides("params", {"sample": 3}))
    assert set(plan.costs.of) == {arch.id for arch in plan.archs}
    assert len(plan.archs) == 3


def test_strata_are_of_costs_where_no_runs_are(mini_space: SearchSpace, digits: ImageData) -> None:
    archs = mini_space.archs()
    params, flops = (measure_quantity(name, archs, digits).values for name in ("params", "flops"))
    assert set(params) == set(flops) == {arch.id for arch in archs}
    with pytest.raises(SettingsError, match="unknown quantity to sample by 'parms': did you mean 'params'"):
        search(mini_space, "params", digits, sample="3:parms")
