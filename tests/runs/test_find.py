"""A network within a budget: what fits is planned, what does not fit is refused with what would."""

import time
from typing import Any

import pytest

import nasproxy as nap
from nasproxy.config import parse_duration
from nasproxy.errors import SettingsError
from nasproxy.images import ImageData
from nasproxy.runs.finding import RESERVE, START_SECONDS, FindPlan, plan_find, plan_training
from nasproxy.runs.loading import load_trials
from nasproxy.trials import Rung, State, Trial

SPACE = [0.001 * (1 + number / 100) for number in range(100)]
"""Seconds an image of 100 architectures: 0.001 to 0.002."""
TWO_RUNGS = [(1.0, 1000.0), (0.1, 10_000.0)]


def _plan(budget: float, **changes: Any) -> FindPlan:
    given: dict[str, Any] = {
        "num_workers": 2, "shares": TWO_RUNGS, "num_images": 5000, "num_measured": 300, "top": 3, "max_epochs": 100,
    }  # fmt: skip
    return plan_find(SPACE, budget=budget, **{**given, **changes})


def test_search_and_training_fill_the_budget_and_no_more() -> None:
    for budget in (150.0, 400.0, 3000.0):
        plan = _plan(budget)
        left = budget * (1 - RESERVE) - 2 * START_SECONDS - plan.search_seconds - plan.train_seconds
        assert left >= 0
        assert left < plan.train_seconds / plan.epochs or plan.epochs == 100
    assert plan.num_archs == 100
    assert plan.search_seconds == pytest.approx(sum(SPACE) * (1100 + 0.1 * 10_100) / 2)


def test_what_the_search_does_not_need_is_for_the_training_until_that_is_whole() -> None:
    plans = [_plan(budget) for budget in (150.0, 200.0, 400.0, 800.0, 1600.0, 6400.0)]
    assert [plan.num_archs for plan in plans] == sorted(plan.num_archs for plan in plans)
    assert [plan.epochs for plan in plans] == sorted(plan.epochs for plan in plans)
    assert plans[-1].epochs == 100
    assert plans[-1].num_archs == plans[-2].num_archs == 100
    half = _plan(200.0)
    assert half.search_seconds <= 0.5 * 200


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
    assert plan_training([trial] * 3, budget=START_SECONDS + 200, **{**given, "num_workers": 2}) == (3, 5)


def test_a_budget_that_is_too_short_says_what_would_do() -> None:
    with pytest.raises(
        SettingsError, match=r"a budget of 50 s is too short: to search 4 architectures and train"
    ) as error:
        _plan(50.0)
    needed = float(str(error.value).split(" takes ")[1].split(" s ")[0])
    assert _plan(needed + 1).num_archs >= 4
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
    settings: dict[str, Any] = {"budget": "60s", "top": 1, "name": "mine", "workers": 1, "max_params": "30k"}
    settings |= {"threads_per_worker": 1, "steps": 40}
    with pytest.raises(SettingsError, match="find searches by early-stop; for another one use 'nasproxy search'"):
        runs.find_network(digits, "convnet-mini", proxy="naswot", **settings)
    started = time.monotonic()
    model = runs.find_network(digits, "convnet-mini", **settings)
    assert time.monotonic() - started < 90  # 60 on an idle machine
    assert model.about["accuracies"]["test"] > 0.5
    assert model.about["num_params"] <= 30_000
    search = load_trials(runs.find("mine-search"))
    assert search.info.screen[0] == "steps=10%:10%"
    assert model.arch_id == search.top(1)[0]
    again = runs.find_network(digits, "convnet-mini", **settings)
    assert again.about == model.about
    runs.remove("mine")
    once_more = runs.find_network(digits, "convnet-mini", **settings)
    assert once_more.arch_id == model.arch_id
    assert load_trials(runs.find("mine-search")).items == search.items
