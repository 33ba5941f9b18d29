"""Spaces that are too large to list: what is drawn, proposed or named is all that is ever made of them."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import nasproxy as nap
from nasproxy.errors import SettingsError, SpaceError
from nasproxy.factors import Condition, IntRange
from nasproxy.images import ImageData
from nasproxy.runs.budgets import Pace
from nasproxy.searching.plan import config_from_overrides, plan_search
from nasproxy.searching.proposing import propose_tpe
from nasproxy.searching.search import run_plan
from nasproxy.space import SearchSpace
from nasproxy.spacefile import load_space
from nasproxy.store import create_store
from nasproxy.trials import Rung, State, Trial, Trials

BUILDER = """
from torch import nn
from nasproxy.errors import ArchError

def build(arch, image_shape, num_classes):
    given = arch.factors
    if given["side"] == 99:
        raise ArchError("a side of 99 does not fit")
    sizes = [image_shape[0] * image_shape[1] * image_shape[2]]
    for layer in range(given["layers"]):
        sizes.append(given[f"units{layer}"])
    layers = []
    for a, b in zip(sizes, sizes[1:]):
        layers += [nn.Linear(a, b), {"relu": nn.ReLU, "tanh": nn.Tanh}[given["activation"]]()]
    if given["norm"] == "batch":
        layers.append(nn.BatchNorm1d(sizes[-1], momentum=given["momentum"]))
    return nn.Sequential(nn.Flatten(), *layers, nn.Linear(sizes[-1], num_classes))

def canonical(factors):
    if factors["layers"] == 1 and factors["units0"] == 1:
        raise ArchError("one unit is no layer")
    return tuple(sorted(value for name, value in factors.items() if name.startswith("units")))
"""
SPACE = """
name = "mlps"
builder = "mlps.py:build"
[factors]
layers = [1, 2, 3, 4]
units0 = {low = 1, high = 64}
units1 = {low = 1, high = 1000, log = true}
units2 = {low = 8, high = 1000, step = 8}
units3 = {values = [16, 32, 64, 128], ordered = true}
activation = ["relu", "tanh"]
norm = ["none", "batch"]
momentum = [0.1, 0.01]
side = {low = 0, high = 98}
[[when]]
factors = "units1"
layers = [2, 3, 4]
[[when]]
factors = ["units2"]
layers = [3, 4]
[[when]]
factors = ["units3"]
layers = 4
[[when]]
factors = ["momentum"]
norm = "batch"
"""
SIZE = 64 * (1 + 1000 * (1 + 125 * (1 + 4))) * 2 * 3 * 99


def _load(folder: Path, text: str = SPACE) -> SearchSpace:
    (folder / "mlps.py").write_text(BUILDER, encoding="utf-8")
    path = folder / "mlps.toml"
    path.write_text(text, encoding="utf-8")
    return load_space(path)


@pytest.fixture
def mlps(tmp_path: Path) -> SearchSpace:
    return _load(tmp_path)


def test_a_space_of_any_size_loads_at_once_and_is_counted(mlps: SearchSpace, tmp_path: Path) -> None:
    assert (mlps.size, mlps.is_listed, mlps.describe_size()) == (SIZE, False, "2.4e+10")
    digits = "".join(f'op{number} = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"]\n' for number in range(12))
    started = time.perf_counter()
    space = _load(tmp_path, f'size = {10**12}\nbuilder = "mlps.py:build"\n[factors]\n{digits}')
    assert space.size == 10**12
    assert len(space.draw(100, 0)[0]) == 100
    assert len(space.content_hash()) == 32
    assert time.perf_counter() - started < 1
    with pytest.raises(SpaceError, match="declares size = 7 but its factors span 1000000000000 architectures"):
        _load(tmp_path, f'size = 7\nbuilder = "mlps.py:build"\n[factors]\n{digits}')


def test_a_draw_is_nested_has_none_twice_and_depends_on_its_seed(mlps: SearchSpace) -> None:
    few, _ = mlps.draw(10, 0)
    many, looked_at = mlps.draw(200, 0)
    assert many[:10] == few
    assert len({arch.id for arch in many}) == looked_at == 200
    assert mlps.draw(10, 1)[0] != few
    assert all(("momentum" in arch.factors) == (arch.factors["norm"] == "batch") for arch in many)
    assert [arch.factors["layers"] for arch in many].count(4) > 120  # four fifths of all
    wide, looked_at = mlps.draw(20, 0, lambda arch: arch.factors["activation"] == "tanh")
    assert {arch.factors["activation"] for arch in wide} == {"tanh"}
    assert 25 < looked_at < 70


def test_equal_and_excluded_architectures_are_drawn_once_or_never(tmp_path: Path) -> None:
    few = SPACE.replace("high = 1000, log = true", "high = 2").replace("high = 1000, step", "high = 16, step")
    space = _load(tmp_path, f'canonical = "mlps.py:canonical"\n{few}[[exclude]]\nlayers = [3, 4]\n')
    assert (space.is_listed, space.size, space.describe_size()) == (False, None, "at most 874,368")
    drawn, looked_at = space.draw(150, 0)
    units = [tuple(sorted(v for name, v in arch.factors.items() if name.startswith("units"))) for arch in drawn]
    assert len(set(units)) == len(units) == 150
    assert {arch.factors["layers"] for arch in drawn} == {1, 2}
    assert looked_at > 1000  # most are excluded
    assert space.find(drawn[0].id) == drawn[0]
    one = space.arch({"layers": 1, "units0": 1, "activation": "relu", "norm": "none", "side": 7})
    with pytest.raises(SettingsError, match=r"is left out of space mlps: one unit is no layer; choose another"):
        space.find(one.id)
    assert space.standing_for(one.id.replace("units0=1", "units0=2")) is not None
    three: dict[str, Any] = {
        "layers": 3,
        "units0": 1,
        "units1": 1,
        "units2": 8,
        "activation": "relu",
        "norm": "none",
        "side": 7,
    }
    assert space.standing_for(space.arch(three).id) is None


def test_ids_are_found_without_a_list_and_others_refused(mlps: SearchSpace) -> None:
    for arch in mlps.draw(50, 3)[0]:
        found = mlps.find(arch.id)
        assert (found, found.factors) == (arch, arch.factors)
    with pytest.raises(SettingsError, match=r"unknown architecture of space mlps 'layers=1'; an id is like 'lay"):
        mlps.find("layers=1")
    with pytest.raises(SettingsError, match=r"mlps has 2.4e\+10 architectures, too many to try all; give --sample"):
        mlps.archs()


def test_the_hash_is_of_what_the_space_is_and_not_of_where(mlps: SearchSpace, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert _load(elsewhere).content_hash() == mlps.content_hash()
    assert _load(elsewhere, SPACE.replace("high = 98", "high = 97")).content_hash() != mlps.content_hash()
    assert _load(elsewhere, SPACE.replace("[3, 4]", "[4]")).content_hash() != mlps.content_hash()


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("high = 98", "high = -1", "factor 'side': {'low': 0, 'high': -1} is no range; write {low = 8, high = 64}"),
        ("high = 98", "hihg = 98", "factor 'side': {'low': 0, 'hihg': 98} is no range"),
        ("high = 98", "high = 9.5", "is no range"),
        ("low = 1, high = 1000, log", "low = 0, high = 1000, log", "factor 'units1': log = true needs a low above 0"),
        ("ordered = true", "ordered = false", "factor 'units3': .* is no factor; write"),
        ('factors = ["units3"]', 'factors = ["units9"]', "unknown factor in when 'units9': did you mean"),
        ("layers = 4\n", "layers = 5\n", "when: 5 is no value of layers"),
        ("layers = 4\n", "", "when must hold tables with factors and what must hold for them"),
        ("layers = 4\n", "side = 1\n", "when: side must stand before units3 in "),
        ("layers = 4\n", "units3 = 16\n", "when: units3 must stand before units3 in "),
        ('factors = ["units3"]', "factors = []", "when must hold tables with factors and what must hold for them"),
        ('factors = ["units3"]', "factors = 3", "when must hold tables with factors and what must hold for them"),
        ("layers = 4\n", "layers = true\n", "when: True is no value of layers"),
        ("high = 98", "high = 9223372036854775807", "is no range"),
        (
            'name = "mlps"',
            'arch_id = "{layers}-{units0}"',
            "other values of units1, .* give the same arch_id",
        ),
        (
            'name = "mlps"',
            'arch_id = "{layers}{units0}{units1}{units2}{units3}{activation}{norm}{momentum}{side}"',
            "can be read in several ways; put a mark between the factors",
        ),
    ],
)
def test_a_wrong_space_file_is_refused_with_a_remedy(tmp_path: Path, old: str, new: str, problem: str) -> None:
    assert old in SPACE
    with pytest.raises(SpaceError, match=problem):
        _load(tmp_path, SPACE.replace(old, new))


def _score(arch: nap.Arch) -> float:
    """Best with many units in the second layer, and four layers."""
    return 0.2 * int(arch.factors["layers"]) + 0.2 * int(arch.factors.get("units1", 0)) / 1000


def test_tpe_learns_from_factors_of_every_kind(mlps: SearchSpace) -> None:
    trials: list[Trial] = []
    for number in range(12):
        for arch in propose_tpe(mlps, lambda arch: arch.factors["side"] != 5, trials, 5, seed=number):
            score = _score(arch)
            trials.append(Trial(arch.id, arch.factors, State.COMPLETE, (Rung((score,), (score,)),), round=number))
            assert mlps.find(arch.id).factors == arch.factors
    assert len({trial.arch_id for trial in trials}) == 60
    scores = [trial.selection_score for trial in trials]  # the first ten are drawn at random, factor by factor
    assert sum(scores[-20:]) / 20 > sum(scores[:10]) / 10 + 0.1
    again = propose_tpe(mlps, lambda arch: arch.factors["side"] != 5, trials[:30], 5, seed=6)
    assert {arch.id for arch in again} == {trial.arch_id for trial in trials[30:35]}


@pytest.mark.parametrize(
    ("overrides", "count"),
    [
        ({"sample": "12"}, 12),
        ({"strategy": "random", "num_archs": 6}, 6),
        ({"strategy": "tpe", "num_archs": 6, "round_size": 3}, 6),
    ],
)
def test_a_search_of_a_large_space_scores_what_it_draws(
    mlps: SearchSpace, digits: ImageData, tmp_path: Path, overrides: dict[str, Any], count: int
) -> None:
    runs = nap.Runs(tmp_path / "runs")
    trials = runs.search(mlps, "params", digits, max_params="200k", name="drawn", **overrides)
    assert len(trials) == count
    assert all((trial.num_params or 0) <= 200_000 for trial in trials)
    again = runs.search(mlps, "params", digits, max_params="200k", name="again", **overrides)
    assert [trial.arch_id for trial in again] == [trial.arch_id for trial in trials]
    if "sample" in overrides:
        assert trials.info.sample is not None
        assert 0.2 * SIZE < trials.info.sample.num_all < SIZE
    frame = (tmp_path / "runs" / "drawn" / "trials.csv").read_text().splitlines()
    assert frame[0].startswith("rank,arch_id,layers,units0,")
    assert len(frame) == count + 1


def test_a_large_space_is_searched_and_compared_on_ray(mlps: SearchSpace, digits: ImageData, tmp_path: Path) -> None:
    runs = nap.Runs(tmp_path / "runs")
    drawn: dict[str, Any] = {"sample": "6", "max_params": "100k"}
    whole = runs.search(mlps, "whole", digits, epochs=15, seeds=1, workers=2, name="truth", **drawn)
    assert {trial.state for trial in whole} <= {State.COMPLETE, State.AT_CHANCE}
    params = runs.search(mlps, "params", digits, **drawn)
    assert {trial.arch_id for trial in params} == {trial.arch_id for trial in whole}
    assert runs.rank([params], whole).rankings[0].spearman.num_archs == 6
    best = runs.train("truth", top=1, epochs=15, workers=1)
    assert whole.best is not None
    assert best.arch_id == whole.best.arch_id


def test_a_search_that_would_try_all_says_what_to_ask_for(mlps: SearchSpace, digits: ImageData) -> None:
    with pytest.raises(SettingsError, match="too many to try all; give --sample 100"):
        nap.search(mlps, "params", digits)
    with pytest.raises(SettingsError, match=r"strata by params need that of all architectures, and mlps has 2.4e\+10"):
        nap.search(mlps, "params", digits, sample="10:params")
    with pytest.raises(SettingsError, match=r"none of .* architectures of mlps that were drawn fits the images"):
        nap.search(mlps, "params", digits, sample="10", max_params=10)


def test_a_resumed_search_that_learns_tries_again_what_was_lost(mlps: SearchSpace, digits: ImageData) -> None:
    """What an earlier round proposed is known by its id alone: it is found and counted again."""
    overrides = {"strategy": "tpe", "num_archs": 12, "round_size": 6, "max_params": "300k"}
    plan = plan_search(mlps, "params", digits, config_from_overrides("params", overrides))
    store = create_store(plan.describe("open"), mlps.factors, None)
    whole = run_plan(plan, store)
    lost = [replace(trial, state=State.LOST) if number == 2 else trial for number, trial in enumerate(whole)]
    fresh = plan_search(mlps, "params", digits, config_from_overrides("params", overrides))
    again = run_plan(fresh, store, done=Trials(whole.info, tuple(lost)))
    assert {trial.arch_id for trial in again} == {trial.arch_id for trial in whole}
    assert all(trial.selection_score == whole.by_id[trial.arch_id].selection_score for trial in again)


def test_random_is_random_in_a_file_of_ids_as_well(mlps: SearchSpace, digits: ImageData) -> None:
    ids = sorted(arch.id for arch in mlps.draw(30, 0)[0])
    few = [
        nap.search(mlps, "params", digits, archs=ids, strategy="random", num_archs=5, seed=seed) for seed in (0, 0, 1)
    ]
    order = [[trial.arch_id for trial in trials] for trials in few]
    assert order[0] == order[1] != order[2]
    assert order[0] != ids[:5]


def test_a_budget_says_how_many_of_a_large_space(
    mlps: SearchSpace, digits: ImageData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pace, "count_fitting", lambda self, budget, fewest=1: min(3, self.num_archs))
    runs = nap.Runs(tmp_path / "runs")
    given: dict[str, Any] = {"budget": 300, "epochs": 1, "seeds": 1, "workers": 1, "max_params": "50k"}
    drawn = runs.search(mlps, "whole", digits, name="drawn", **given)
    assert (len(drawn), runs.find("drawn").read_config()["search"]["sample"]) == (3, "3")
    assert drawn.info.sample is not None
    learned = runs.search(mlps, "whole", digits, strategy="tpe", name="learned", **given)
    assert (len(learned), runs.find("learned").read_config()["search"]["num_archs"]) == (3, 3)


def test_tables_have_a_column_for_every_factor(mlps: SearchSpace, digits: ImageData) -> None:
    frame = nap.trials_frame(nap.search(mlps, "params", digits, sample="40"))
    expected = {"layers", "units0", "units1", "units2", "units3", "activation", "norm", "momentum", "side"}
    columns = list(frame.columns)
    assert set(columns[2 : 2 + len(expected)]) == expected
    for _, row in frame.iterrows():
        assert (row["units3"] == "none") == (row["layers"] < 4)
        assert row["units1"] == "none" or isinstance(row["units1"], int)


def test_nsga2_learns_factors_that_are_not_always_there() -> None:
    conditions = (Condition(("b",), {"kind": ("x",)}),)
    space = SearchSpace(
        name="tied", factors={"kind": ("x", "y"), "b": IntRange(0, 10_000), "c": IntRange(0, 99)}, builder="m:f",
        arch_id="{kind}-{b}-{c}", conditions=conditions,
    )  # fmt: skip
    asker = nap.Asker(space, "nsga2", num_archs=300, round_size=30, seed=1)
    found: list[int] = []
    while (arch := asker.ask()) is not None:
        asker.tell(arch, int(arch.factors.get("b", 0)) / 10_000)
        if "b" in arch.factors:
            found.append(int(arch.factors["b"]))
    assert sum(found[-30:]) / 30 > sum(found[:30]) / 30 + 1000


def test_many_blocks_with_factors_of_their_own_load_at_once(tmp_path: Path) -> None:
    blocks = range(14)
    factors = "".join(f'op{n} = ["conv", "pool", "skip"]\nkernel{n} = [3, 5, 7]\n' for n in blocks)
    rules = "".join(f'[[when]]\nfactors = "kernel{n}"\nop{n} = "conv"\n' for n in blocks)
    started = time.perf_counter()
    space = _load(tmp_path, f'builder = "mlps.py:build"\n[factors]\n{factors}{rules}')
    assert space.size == 5**14
    assert time.perf_counter() - started < 1
    drawn, _ = space.draw(300, 0)
    assert all((f"kernel{n}" in arch.factors) == (arch.factors[f"op{n}"] == "conv") for arch in drawn for n in blocks)
    assert all(space.find(arch.id).factors == arch.factors for arch in drawn[:20])
