"""Asynchronous halving: what is stopped is stopped for real, and what is not is what it would be alone."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import nasproxy as nap
from nasproxy.config import SearchSettings
from nasproxy.errors import SettingsError
from nasproxy.images import ImageData
from nasproxy.searching.asha import HaltedTraining, find_rungs
from nasproxy.searching.plan import config_from_overrides, plan_search
from nasproxy.searching.recorder import _outcome_of
from nasproxy.searching.scorer import ArchScorer, Assignment
from nasproxy.searching.worker import ASSIGNMENT, RECORD
from nasproxy.space import SearchSpace
from nasproxy.trials import Rung, State

GIVEN: dict[str, Any] = {"seeds": 1, "steps": 32, "strategy": "asha", "threads_per_worker": 1}


@pytest.mark.parametrize(
    ("num_steps", "changes", "rungs"),
    [
        (400, {}, (25, 100)),
        (1600, {}, (100, 400)),
        (32, {"first_rung": 0.25, "reduction_factor": 2}, (8, 16)),
        (5, {}, (1, 4)),
        (1, {}, ()),
    ],
)
def test_rungs_rise_from_the_first_share_to_less_than_all(
    num_steps: int, changes: dict[str, Any], rungs: tuple[int, ...]
) -> None:
    assert find_rungs(num_steps, SearchSettings(proxy="whole", **changes)) == rungs


def test_a_training_that_halts_is_the_one_that_does_not(mini_space: SearchSpace, digits: ImageData) -> None:
    plan = plan_search(mini_space, "early-stop", digits, config_from_overrides("early-stop", GIVEN))
    assert plan.rungs == (2, 8)
    scorer, arch = ArchScorer.on(digits.train.device, plan.make_job()), mini_space.find("w32-d2-instance-relu-avg")
    alone, _ = scorer.score(plan.assign(arch, 0))
    training = HaltedTraining(scorer, plan.assign(arch, 0), plan.rungs)
    first, _, is_over = training.next()
    assert (first.state, is_over, first.round) == (State.PRUNED, False, 0)
    assert [rung.num_steps for rung in first.rungs] == [2]
    second, _, _ = training.next()
    assert [rung.num_steps for rung in second.rungs] == [2, 8]
    assert second.reason == "stopped by asha after update 8 of its training (rung 2)"
    last, _, is_over = training.next()
    assert (is_over, last.round) == (True, 2)
    assert [rung.num_steps for rung in last.rungs] == [2, 8, 32]
    assert last.rungs[-1] == alone.rungs[-1]
    assert last.loss_curve == alone.loss_curve
    stopped = HaltedTraining(scorer, plan.assign(arch, 0), plan.rungs)
    assert stopped.next()[0].rungs == first.rungs
    stopped.stop()
    assert not stopped._thread.is_alive()


def test_a_net_that_diverges_is_not_stopped_but_diverged(mini_space: SearchSpace, digits: ImageData) -> None:
    given = {**GIVEN, "lr": 1e30}
    plan = plan_search(mini_space, "early-stop", digits, config_from_overrides("early-stop", given))
    scorer, arch = ArchScorer.on(digits.train.device, plan.make_job()), mini_space.find("w32-d2-none-relu-avg")
    trial, _, is_over = HaltedTraining(scorer, plan.assign(arch, 0), plan.rungs).next()
    assert (trial.state, is_over) == (State.DIVERGED, True)


def test_a_worker_that_is_lost_half_way_is_no_stop(mini_space: SearchSpace) -> None:
    arch = mini_space.archs()[0]
    half_way = Assignment(arch, None, 0, 1.0).record(State.PRUNED, rungs=(Rung((0.5,), (0.5,), 8),))
    ended = SimpleNamespace(
        last_result={RECORD: half_way}, config={ASSIGNMENT: Assignment(arch, None, 0, 1.0)}, num_failures=3,
        pickled_error_file=None, error_file=None,
    )  # fmt: skip
    assert _outcome_of(ended).state is State.PRUNED
    assert _outcome_of(ended, is_lost=True).state is State.LOST


def test_a_net_that_fails_ends_its_training(mini_space: SearchSpace, digits: ImageData, tmp_path: Path) -> None:
    (tmp_path / "nets.py").write_text("def build(arch, shape, num_classes):\n    raise ValueError('no net')\n")
    (tmp_path / "space.toml").write_text('builder = "nets.py:build"\n[factors]\na = [1, 2]\n')
    space = nap.load_space(tmp_path / "space.toml")
    plan = plan_search(space, "early-stop", digits, config_from_overrides("early-stop", GIVEN))
    training = HaltedTraining(
        ArchScorer.on(digits.train.device, plan.make_job()), plan.assign(plan.archs[0], 0), (2, 8)
    )
    trial, trace, is_over = training.next()
    assert (trial.state, trial.reason, is_over) == (State.FAILED, "ValueError: no net", True)
    assert trace is not None
    training.stop()


def test_a_search_stops_what_is_behind_and_says_how_far_it_came(tmp_path: Path, digits: ImageData) -> None:
    runs = nap.Runs(tmp_path)
    trials = runs.search("convnet-mini", "early-stop", digits, workers=2, name="by-asha", **GIVEN)
    assert len(trials) == 24
    stopped = [trial for trial in trials if trial.state is State.PRUNED]
    ended = [trial for trial in trials if trial.state is not State.PRUNED]
    assert len(stopped) > 6
    assert 1 <= len(ended) <= 12
    assert {tuple(rung.num_steps for rung in trial.rungs) for trial in stopped} <= {(2,), (2, 8)}
    assert {tuple(rung.num_steps for rung in trial.rungs) for trial in ended} == {(2, 8, 32)}
    frame = nap.trials_frame(trials)
    assert list(frame["rank"]) == list(range(1, 25))
    assert list(frame["rung"]) == sorted(frame["rung"], reverse=True)
    plain: dict[str, Any] = {"seeds": 1, "steps": 32, "threads_per_worker": 1, "workers": 1}
    alone = nap.search(nap.load_space("convnet-mini"), "early-stop", digits, archs=[ended[0].arch_id], **plain)
    assert ended[0].rungs[-1].selection_scores == alone[0].rungs[-1].selection_scores
    run = runs.find("by-asha")
    run.update_meta(status="interrupted")
    assert runs.search(resume="by-asha").by_id == trials.by_id


@pytest.mark.parametrize(
    ("proxy", "changes", "problem"),
    [
        ("naswot", {"seeds": 1}, "--strategy asha: proxy 'naswot' trains nothing that could be stopped"),
        ("early-stop", {"seeds": 2}, "asha trains one net an architecture and keeps none: give --seeds 1"),
        ("early-stop", {"seeds": 1, "screen": "top"}, "and neither --screen nor keep_nets"),
    ],
)
def test_what_cannot_be_stopped_half_way_is_refused(
    mini_space: SearchSpace, digits: ImageData, proxy: str, changes: dict[str, Any], problem: str
) -> None:
    with pytest.raises(SettingsError, match=problem):
        nap.search(mini_space, proxy, digits, strategy="asha", **changes)
