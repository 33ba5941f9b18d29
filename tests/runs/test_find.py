"""A network within a budget: what fits is planned, what does not fit is refused with what would."""

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import nasproxy as nap
from nasproxy.config import parse_duration
from nasproxy.errors import RunError, SettingsError
from nasproxy.images import ImageData
from nasproxy.runs.budgets import RESERVE, START_SECONDS, Pace
from nasproxy.runs.finding import FindPlan, Work, plan_find, plan_training
from nasproxy.runs.loading import load_trials
from nasproxy.trials import Rung, State, Trial

SPACE = [0.001 * (1 + number / 100) for number in range(100)]
"""Seconds an image of 100 architectures: 0.001 to 0.002."""
IMAGES = (1100.0, 10_100.0)
"""That nets of an architecture are trained and measured on in each rung."""
WORK = Work(last=10_000.0, num_images=5000)


def _a_tenth(count: int) -> list[int]:
    return [count, math.ceil(count / 10)]


def _plan(budget: float, work: Work = WORK, **changes: Any) -> FindPlan:
    given: dict[str, Any] = {"top": 3, "max_epochs": 100}
    pace = Pace(tuple(SPACE), IMAGES, changes.pop("count_archs", _a_tenth), num_archs=100, num_workers=2)
    return plan_find(pace, work, budget=budget, **{**given, **changes})


def _left(plan: FindPlan, budget: float) -> float:
    return budget * (1 - RESERVE) - 2 * START_SECONDS - plan.search_seconds - plan.train_seconds


def test_search_and_training_fill_the_budget_and_no_more() -> None:
    for budget in (150.0, 400.0, 3000.0):
        plan = _plan(budget)
        assert _left(plan, budget) >= 0
        assert _left(plan, budget) < plan.train_seconds / plan.epochs or plan.epochs == 100
    assert plan.num_archs == 100
    mean = sum(SPACE) / 100
    assert plan.first_seconds == pytest.approx(100 * mean * 1100 / 2)
    assert plan.search_seconds - plan.first_seconds == pytest.approx(10 * mean * 10_100 / 2)


def test_what_the_search_does_not_need_is_for_the_training_until_that_is_whole() -> None:
    plans = [_plan(budget) for budget in (150.0, 200.0, 400.0, 800.0, 1600.0, 6400.0)]
    assert [plan.num_archs for plan in plans] == sorted(plan.num_archs for plan in plans)
    assert plans[-1].epochs == 100
    assert plans[-1].num_archs == plans[-2].num_archs == 100
    assert _plan(200.0).search_seconds <= 0.5 * 200


def test_a_rung_that_keeps_a_number_costs_the_same_for_few_as_for_many() -> None:
    def keeps_nine(count: int) -> list[int]:
        return [count, min(9, count)]

    for budget in (200.0, 400.0, 800.0):
        plan = _plan(budget, count_archs=keeps_nine)
        kept = min(9, plan.num_archs)
        assert plan.search_seconds - plan.first_seconds == pytest.approx(kept * sum(SPACE) / 100 * 10_100 / 2)
        assert _left(plan, budget) >= 0


def test_no_more_are_trained_in_full_than_the_screen_leaves() -> None:
    few = _plan(80.0)
    assert (few.num_archs <= 20, few.top) == (True, math.ceil(few.num_archs / 10))
    assert _plan(3000.0).top == 3


def test_on_few_images_the_training_is_no_shorter_than_the_search_and_longer_than_is_usual() -> None:
    few = Work(last=10_000.0, num_images=50)
    assert _plan(3000.0, few).epochs == 200


def test_the_best_are_trained_no_shorter_than_the_search_trained_them() -> None:
    assert _plan(150.0).epochs >= 2
    trial = Trial("a", {}, State.COMPLETE, (Rung((0.5,), (0.5,), 40), Rung((0.9,), (0.9,), 400)), train_seconds=44.0)
    given: dict[str, Any] = {"num_workers": 1, "num_images": 2000, "batch_size": 10.0, "max_epochs": 50}
    # 4,400 images took 44 s: an epoch of 2,000 takes 20 s, and 4,000 images were in the last rung
    assert plan_training([trial] * 3, budget=START_SECONDS + 200, **given) == (3, 3)
    assert plan_training([trial] * 3, budget=START_SECONDS + 90, **given) == (2, 2)
    assert plan_training([trial] * 3, budget=START_SECONDS + 41, **given) == (1, 2)
    assert plan_training([trial] * 3, budget=1.0, **given) == (1, 2)
    assert plan_training([trial] * 3, budget=1e6, **given) == (3, 50)
    assert plan_training([trial] * 3, budget=1e6, **{**given, "max_epochs": 1}) == (3, 2)
    assert plan_training([trial] * 3, budget=START_SECONDS + 200, **{**given, "num_workers": 2}) == (3, 5)


def test_a_budget_that_is_too_short_says_what_would_do() -> None:
    with pytest.raises(SettingsError, match="a budget of 40s is too short: to search 4 architectures and") as error:
        _plan(40.0)
    needed = float(str(error.value).split(" takes ")[1].split("s ")[0])
    assert _plan(needed).num_archs >= 4
    with pytest.raises(SettingsError, match="too short"):
        _plan(needed - 2)


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("30m", 1800), ("1.5h", 5400), ("1d", 86400)])
def test_lengths_of_time_are_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "90", "h", "-3m", "0s", "5 weeks", "infh", "nans"])
def test_what_is_no_length_of_time_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="is no length of time; write 90s, 30m, 2h or 1d"):
        parse_duration(text)


@pytest.mark.usefixtures("local_ray")
def test_a_network_is_found_handed_out_and_found_again(
    digits: ImageData, tmp_path_factory: pytest.TempPathFactory
) -> None:
    runs = nap.Runs(tmp_path_factory.mktemp("runs"))
    settings: dict[str, Any] = {"budget": "60s", "top": 1, "name": "mine", "workers": 1, "max_flops": "200k"}
    settings |= {"threads_per_worker": 1, "steps": 40}
    small = {
        arch.id
        for arch in nap.load_space("convnet-mini").archs()
        if nap.measure_costs(arch, digits.image_shape, 10).flops <= 200_000
    }
    assert 4 <= len(small) < 24
    started = time.monotonic()
    model = runs.find_network(digits, "convnet-mini", **settings)
    assert time.monotonic() - started < 90  # 60 on an idle machine
    assert model.about["accuracies"]["test"] > 0.5
    search = load_trials(runs.find("mine-search"))
    assert {trial.arch_id for trial in search} <= small
    assert search.info.screen[0] == "steps=10%:10%"
    assert model.arch_id == search.top(1)[0]
    again = runs.find_network(digits, "convnet-mini", **settings)
    assert again.about == model.about
    for changes in ({"max_flops": "300k"}, {"screen": "halving"}, {"seed": 1}):
        with pytest.raises(SettingsError, match="run mine-search cannot go on with other settings"):
            runs.find_network(digits, "convnet-mini", **{**settings, **changes})
    with pytest.raises(RunError, match="was started on another data"):
        runs.find_network(replace(digits, data_hash="other"), "convnet-mini", **settings)
    runs.remove("mine")
    once_more = runs.find_network(digits, "convnet-mini", **settings)
    assert once_more.arch_id == model.arch_id
    assert load_trials(runs.find("mine-search")).items == search.items


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"proxy": "naswot"}, "proxy=naswot: find decides that by itself, for a search by early-stop; leave it out"),
        ({"epochs": 5}, "epochs=5: find decides that by itself"),
        ({"sample": "10"}, "sample=10: find decides that by itself"),
        ({"top": 0}, "top=0 leaves nothing to train; give 1 or more"),
        ({"budget": math.nan}, "budget=nan is no length of time; give seconds above 0, or 90s, 30m, 2h, 1d"),
        ({"address": "auto"}, "--address without --workers"),
        ({"name": "taken"}, "run taken is something else than what find makes; choose another --name"),
        ({"name": "az-nas"}, "run name 'az-nas' means a proxy of its own"),
        ({"name": "a/b"}, "run name 'a/b' is no plain folder name"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_timed_or_trained(
    digits: ImageData, tmp_path: Path, changes: dict[str, Any], problem: str
) -> None:
    runs = nap.Runs(tmp_path)
    runs.search("convnet-mini", "params", digits, name="taken")
    started = time.process_time()
    with pytest.raises(nap.NasproxyError) as error:
        runs.find_network(digits, "convnet-mini", **{"budget": "10m", "name": "mine", **changes})
    assert problem in str(error.value)
    assert time.process_time() - started < 2
    assert [run.name for run in runs.all()] == ["taken"]
