"""What every strategy keeps: the same trials for any number of workers and after an interruption, none twice."""

import signal
import time
from pathlib import Path
from typing import Any

import pytest

import nasproxy as nap
from nasproxy.images import ImageData
from nasproxy.searching.plan import Plan, config_from_overrides, plan_search
from nasproxy.searching.schedule import STRATEGIES
from nasproxy.searching.search import run_plan
from nasproxy.space import SearchSpace
from nasproxy.store import TrialStore, create_store, open_store, sqlite_url
from nasproxy.trials import State, Trial, Trials

QUICK: dict[str, Any] = {"seeds": 1, "steps": 8, "threads_per_worker": 1}
NUM_ARCHS = 6
CASES: dict[str, dict[str, Any]] = {
    "grid": {},
    "random": {},
    "tpe": {"round_size": 3},
    "nsga2": {"round_size": 3},
    "asha": {"first_rung": 0.25, "reduction_factor": 2},
    "grid, steps": {"screen": "steps=2:50%"},
    "random, a formula, steps and seeds": {"screen": "naswot:75%,steps=4+seeds=1:50%,seeds=2", "seeds": 2},
}
"""Strategy, and how its screen cuts -> settings."""
REPRODUCIBLE = [name for name in CASES if name != "asha"]

pytestmark = pytest.mark.usefixtures("local_ray")


def test_every_strategy_has_a_case() -> None:
    assert {name.partition(",")[0] for name in CASES} == STRATEGIES.keys()


def settings_of(name: str, **others: Any) -> dict[str, Any]:
    return {**QUICK, "strategy": name.partition(",")[0], "num_archs": NUM_ARCHS, **CASES[name], **others}


def make_plan(name: str, space: SearchSpace, data: ImageData, **others: Any) -> Plan:
    return plan_search(space, "early-stop", data, config_from_overrides("early-stop", settings_of(name, **others)))


def what_is_reproducible(trials: Trials) -> dict[str, tuple[object, ...]]:
    return {t.arch_id: (t.state, t.rungs, t.round, t.reason) for t in trials}


def run_interrupted(plan: Plan, store: TrialStore, *, after: int) -> list[Trial]:
    """A search that gets Ctrl-C when so many trials have ended.

    Returns:
        Those it was told of.
    """
    told: list[Trial] = []

    def interrupt(trial: Trial) -> None:
        told.append(trial)
        if len(told) == after:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run_plan(plan, store, on_trial=interrupt)
    return told


@pytest.mark.parametrize("name", CASES)
def test_it_goes_on_after_an_interruption_and_does_nothing_twice(
    name: str, mini_space: SearchSpace, digits: ImageData, tmp_path: Path
) -> None:
    whole = nap.search(mini_space, "early-stop", digits, **settings_of(name, workers=1))
    assert len(whole) == NUM_ARCHS
    plan, url = make_plan(name, mini_space, digits, workers=2), sqlite_url(tmp_path / "study.db")
    store = create_store(plan.describe("cut"), mini_space.factors, url)
    told = run_interrupted(plan, store, after=3)
    kept = open_store("cut", url).trials()
    assert {trial.arch_id for trial in told} <= kept.by_id.keys()
    again: list[Trial] = []
    resumed = run_plan(plan, open_store("cut", url), on_trial=again.append)
    over = {trial.arch_id for trial in kept if trial.state not in (State.WAITING, State.LOST)}
    assert {trial.arch_id for trial in again}.isdisjoint(over)
    assert len(resumed) == len(resumed.by_id) == NUM_ARCHS
    assert open_store("cut", url).trials().by_id == resumed.by_id
    for arch_id in over:
        assert resumed.by_id[arch_id] == kept.by_id[arch_id]
    if name in REPRODUCIBLE:
        assert what_is_reproducible(resumed) == what_is_reproducible(whole)


@pytest.mark.parametrize(
    "name", [name if name in ("grid", "tpe") else pytest.param(name, marks=pytest.mark.slow) for name in CASES]
)
def test_with_a_budget_it_ends_in_time_with_as_many_as_it_said(name: str, digits: ImageData, tmp_path: Path) -> None:
    runs, budget, started = nap.Runs(tmp_path), 30.0, time.monotonic()
    trials = runs.search(
        "convnet-mini", "early-stop", digits, budget=budget, name="b", **settings_of(name, workers=2, steps=4)
    )
    assert time.monotonic() - started < 2 * budget  # a machine that is shared is slower than planned
    planned = runs.find("b").read_config()["search"]
    assert 1 <= len(trials) == len(trials.by_id) <= NUM_ARCHS
    assert len(trials) == int(planned.get("sample") or planned["num_archs"])
