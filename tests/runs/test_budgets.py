"""What fits into a wall time: of a search architectures, of a condensation updates."""

import math
import time
from pathlib import Path
from typing import Any

import pytest
import torch

import nasproxy as nap
from nasproxy.errors import SettingsError
from nasproxy.images import ImageData
from nasproxy.runs.asked import Asked
from nasproxy.runs.budgets import Fit, Pace, images_of_rungs
from nasproxy.searching.plan import config_from_overrides, plan_search
from nasproxy.space import SearchSpace

DM: dict[str, Any] = {
    "method": "dm",
    "images_per_class": 1,
    "embedding_net": "w8-d1-instance-relu-avg",
    "engine": "eager-float32-64",
}


def _pace(**changes: Any) -> Pace:
    given: dict[str, Any] = {
        "images": (1000.0,),
        "count_archs": lambda count: [count],
        "num_archs": 101,
        "num_workers": 2,
    }
    return Pace(tuple(0.001 * (1 + number / 100) for number in range(101)), **{**given, **changes})


def test_as_many_fit_as_their_rungs_take() -> None:
    pace = _pace()
    assert sum(pace.of_rungs(10)) == pytest.approx(10 * 0.0015 * 1000 / 2)
    for budget in (0.1, 0.75, 7.5, 20.0, 75.0, 75.8, 1000.0):
        count = pace.count_fitting(budget)
        assert sum(pace.of_rungs(count)) <= budget or count == 1
        assert count == 101 or sum(pace.of_rungs(count + 1)) > budget
    screened = _pace(images=(100.0, 1000.0), count_archs=lambda count: [count, math.ceil(count / 10)])
    assert screened.count_fitting(7.5) == pytest.approx(50, abs=5)
    assert pace.large == pytest.approx(0.0019)


def test_a_rung_is_as_many_images_as_it_trains_and_measures(digits: ImageData, mini_space: SearchSpace) -> None:
    def images(proxy: str, **overrides: Any) -> tuple[float, ...]:
        return images_of_rungs(plan_search(mini_space, proxy, digits, config_from_overrides(proxy, overrides)))

    measured = (len(digits.val) + len(digits.test)) / 3
    assert images("whole", epochs=2, seeds=3) == pytest.approx((3 * (2 * len(digits.train) + measured),))
    per_update = len(digits.train) / math.ceil(len(digits.train) / 250)
    assert images("early-stop", steps=40, seeds=1, screen="naswot:50%,steps=10:50%") == pytest.approx(
        (*images("naswot", seeds=1), 10 * per_update + measured, 40 * per_update + measured)
    )


@pytest.mark.parametrize(
    ("given", "becomes"),
    [
        ({}, {"strategy": "random", "sample": "7"}),
        ({"sample": "20:params"}, {"strategy": "random", "sample": "7:params"}),
        ({"strategy": "random"}, {"strategy": "random", "sample": "7"}),
        ({"strategy": "tpe", "num_archs": 20}, {"strategy": "tpe", "num_archs": 7}),
        ({"strategy": "nsga2", "num_archs": 20}, {"strategy": "nsga2", "num_archs": 7}),
        ({"num_archs": 20}, {"strategy": "grid", "num_archs": 7}),
    ],
)
def test_a_search_is_cut_to_what_stands_for_it(
    mini_space: SearchSpace, digits: ImageData, given: dict[str, Any], becomes: dict[str, Any]
) -> None:
    plan = plan_search(mini_space, "whole", digits, config_from_overrides("whole", given))
    settings, asked = Fit(7, 10.0, 1.0).cut(plan, Asked())
    assert settings == plan.config.search.model_copy(update=becomes)
    if "sample" in becomes:
        assert asked.sample is not None
        assert len(asked.sample.weights) == 7
        assert sum(asked.sample.weights.values()) == pytest.approx(24)
    untouched, _ = Fit(24, 10.0, 1.0).cut(plan, Asked())
    in_order = {"strategy": "random"} if becomes["strategy"] == "random" else {}
    assert untouched == plan.config.search.model_copy(update=in_order)
    assert Fit(7, 10.0, 1.0).describe(30).startswith("7 of 30 architectures fit")
    assert Fit(7, 10.0, 1.0).describe(7).startswith("all 7 architectures fit")
    assert Fit(7, 10.0, 1.0).describe(None).startswith("7 architectures fit")


def test_what_is_cut_is_drawn_from_what_is_within_the_limits(mini_space: SearchSpace, digits: ImageData) -> None:
    costs = sorted(trial.num_params or 0 for trial in nap.search(mini_space, "params", digits))
    overrides = {"max_params": costs[9]}
    plan = plan_search(mini_space, "whole", digits, config_from_overrides("whole", overrides))
    assert 0 < plan.num_trials < 20
    settings, asked = Fit(4, 10.0, 1.0).cut(plan, Asked())
    assert set(asked.arch_ids or ()) < {arch.id for arch in plan.archs}
    again = plan_search(
        mini_space,
        "whole",
        digits,
        plan.config.model_copy(update={"search": settings}),
        asked.arch_ids,
        None,
        asked.sample,
    )
    assert again.num_trials == 4


def test_a_search_keeps_its_budget_and_goes_on_with_what_was_planned(
    tmp_path: Path, digits: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pace, "count_fitting", lambda self, budget, fewest=1: 5)
    runs = nap.Runs(tmp_path)
    trials = runs.search("convnet-mini", "whole", digits, budget=300, epochs=1, seeds=1, workers=2, name="five")
    assert len(trials) == 5
    assert trials.info.sample is not None
    assert {trial.weight for trial in trials} == {24 / 5}
    run = runs.find("five")
    assert (run.read_config()["search"]["sample"], run.read_config()["search"]["strategy"]) == ("5", "random")
    assert {t.arch_id for t in trials} == {
        t.arch_id for t in runs.search("convnet-mini", "params", digits, sample="5", name="same")
    }
    with pytest.raises(SettingsError, match=r"--budget 5m: run five goes on with what was planned; leave it out"):
        runs.search(resume="five", budget="5m")
    with pytest.raises(SettingsError, match=r"a budget of \d+s is too short: one architecture takes \d+s here; give"):
        runs.search("convnet-mini", "whole", digits, budget="3s", epochs=1, seeds=1)
    assert [run.name for run in runs.all()] == ["five", "same"]


def test_what_takes_no_time_needs_no_budget(tmp_path: Path, digits: ImageData) -> None:
    assert len(nap.Runs(tmp_path).search("convnet-mini", "params", digits, budget=1)) == 24


def test_a_condensation_stops_in_time_with_the_set_of_as_many_updates(tmp_path: Path, digits: ImageData) -> None:
    runs, started = nap.Runs(tmp_path), time.monotonic()
    cut = runs.condense(digits, budget=3, steps=100_000, name="cut", **DM)
    assert 2.0 < time.monotonic() - started < 8.0  # it is one update beyond at most, however busy the machine is
    steps = runs.find("cut").read_config()["condense"]["steps"]
    assert 0 < steps < 100_000
    assert cut.settings["steps"] == steps
    assert cut.content_hash == runs.condense(digits, steps=steps, name="as-many", **DM).content_hash
    assert not runs.find("cut").checkpoint_path.exists()


def test_a_budget_that_is_refused_leaves_no_run(tmp_path: Path, digits: ImageData) -> None:
    runs = nap.Runs(tmp_path)
    for method, budget, problem in (("random", 9, "a budget for random"), ("dm", 1e-3, "the budget is over before")):
        with pytest.raises(SettingsError, match=problem):
            runs.condense(digits, budget=budget, name="refused", **{**DM, "method": method})
    assert runs.all() == []


def test_pixels_that_are_cut_short_are_pixels(digits: ImageData) -> None:
    given = {**DM, "method": "idc-i", "outer_loop": 1000, "image_lr": 3.0}
    cut = nap.condense(digits, ends=time.monotonic() + 1.0, **given)
    pixels = cut.images.pixels_from_normalized(cut.images.normalized(torch.arange(len(cut.images))))
    assert (float(pixels.min()), float(pixels.max())) == pytest.approx((0.0, 1.0), abs=1e-5)
    assert 0 < cut.settings["steps"] < 1_000_000


def test_a_condensation_without_room_for_an_update_says_so(digits: ImageData) -> None:
    for engine in ("auto", DM["engine"]):
        with pytest.raises(SettingsError, match=r"the budget is over before the first update; give a longer one"):
            nap.condense(digits, ends=time.monotonic(), **{**DM, "engine": engine})
    with pytest.raises(SettingsError, match=r"a budget for random: it makes no updates that could be fewer; leave it"):
        nap.condense(digits, "random", images_per_class=1, ends=time.monotonic() + 9)
