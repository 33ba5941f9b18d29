import math
from dataclasses import replace
from pathlib import Path

import pytest
from scipy import stats

from nasproxy.combining import combine_trials
from nasproxy.comparing import rank
from nasproxy.errors import InputError
from nasproxy.rundir import RunDir
from nasproxy.signals import by_signal, join_signal, split_signal
from nasproxy.trials import ProxyKind, Rung, Signal, State, Trial, Trials
from tests.records import INFO, TRUTH_INFO, make_training_free

LOSSES = {"a": (1.0, 1.5), "b": (0.5, 0.7), "c": (2.0, 2.5), "d": (0.75, 1.25)}
"""Validation and test loss of one net each; all have the same accuracy."""


def make_trials() -> Trials:
    items = tuple(
        Trial(
            arch_id,
            {},
            State.COMPLETE,
            (Rung((0.25,), (0.25,), 40, (val,), (test,)),),
            loss_curve={10: 9.0, 20: 9.0, 30: val / 2, 40: val},
        )
        for arch_id, (val, test) in LOSSES.items()
    )
    return Trials(INFO, items)


def test_a_reference_may_end_in_a_signal() -> None:
    assert split_signal("my-run:cross-entropy") == ("my-run", Signal.CROSS_ENTROPY)
    assert split_signal("dm") == ("dm", Signal.ACCURACY)
    assert split_signal("file.csv:column") == ("file.csv:column", Signal.ACCURACY)
    for signal in Signal:
        assert split_signal(join_signal("a:b", signal)) == ("a:b", signal)


def test_lower_losses_rank_higher() -> None:
    trials = make_trials()
    found = by_signal(trials, Signal.CROSS_ENTROPY)
    assert [trial.arch_id for trial in found.ranked()] == ["b", "d", "a", "c"]
    assert {trial.arch_id: (trial.selection_score, trial.evaluation_score) for trial in found} == {
        arch_id: (-val, -test) for arch_id, (val, test) in LOSSES.items()
    }
    assert (found.name, found.info.proxy) == ("digits-search:cross-entropy", "digits-dm by cross-entropy")
    assert found.info.selection_metric == "negative validation cross entropy"
    assert found.info.evaluation_metric == "negative test cross entropy"
    assert not found.info.has_accuracies
    assert by_signal(trials, Signal.ACCURACY) is trials


def test_the_training_loss_is_that_of_the_second_half() -> None:
    found = by_signal(make_trials(), Signal.TRAINING_LOSS)
    assert {trial.arch_id: trial.selection_scores for trial in found} == {
        arch_id: (-0.75 * val,) for arch_id, (val, _) in LOSSES.items()
    }


def test_the_training_speed_is_the_loss_of_all_updates() -> None:
    found = by_signal(make_trials(), Signal.TSE)
    assert {trial.arch_id: trial.selection_score for trial in found} == pytest.approx(
        {arch_id: -(9.0 + 9.0 + 1.5 * val) / 4 for arch_id, (val, _) in LOSSES.items()}
    )
    rung = replace(make_trials()[0].rungs[0], training_losses=(2.0,), late_training_losses=(1.0,))
    kept = replace(make_trials(), items=(replace(make_trials()[0], rungs=(rung,)),))
    assert by_signal(kept, Signal.TSE)[0].selection_scores == (-2.0,)
    assert by_signal(kept, Signal.TRAINING_LOSS)[0].evaluation_scores == (-1.0,)


def test_a_loss_that_is_not_finite_has_no_rank() -> None:
    trials = make_trials()
    rung = replace(trials[0].rungs[0], selection_losses=(math.nan,))
    found = by_signal(
        replace(trials, items=(replace(trials[0], rungs=(rung,)), *trials.items[1:])), Signal.CROSS_ENTROPY
    )
    assert found[0].state is State.NOT_FINITE
    assert found[0].reason == "cross-entropy not finite: nan"
    assert found.top(1.0) == ["b", "d", "c"]


def test_selected_by_validation_loss_and_correlated_by_test_loss() -> None:
    truth = {"a": 0.8, "b": 0.9, "c": 0.6, "d": 0.7}
    items = tuple(Trial(arch_id, {}, State.COMPLETE, (Rung((acc,), (acc,)),)) for arch_id, acc in truth.items())
    trials = make_trials()
    swapped = replace(trials[3], rungs=(replace(trials[3].rungs[0], selection_losses=(0.1,)),))
    found = by_signal(replace(trials, items=(*trials.items[:3], swapped)), Signal.CROSS_ENTROPY)
    ranking = rank(found, Trials(TRUTH_INFO, items))
    expected = stats.spearmanr([-test for _, test in LOSSES.values()], list(truth.values())).statistic
    assert ranking.spearman.value == pytest.approx(expected)
    assert ranking.selected == "d"


def test_what_has_no_losses_says_so() -> None:
    with pytest.raises(InputError, match=r"cannot be ranked by cross-entropy: it has .* scores alone"):
        by_signal(make_training_free(), Signal.CROSS_ENTROPY)
    trials = make_trials()
    some = replace(trials, items=(*trials.items, Trial("z", {}, State.COMPLETE, (Rung((0.5,), (0.5,)),))))
    with pytest.raises(InputError, match=r"cannot be ranked by cross-entropy: 1 of 5 trials are of an earlier"):
        by_signal(some, Signal.CROSS_ENTROPY)
    assert some.info.kind is ProxyKind.PROXY_SET
    with pytest.raises(InputError, match="it has negative validation cross entropy scores alone"):
        by_signal(by_signal(trials, Signal.CROSS_ENTROPY), Signal.ACCURACY)


def test_a_search_counts_once_in_a_combination_of_its_signals(tmp_path: Path) -> None:
    trials = replace(make_trials(), run=RunDir(tmp_path))
    timed = replace(trials, items=tuple(replace(trial, train_seconds=2.0) for trial in trials))
    combined = combine_trials([timed, by_signal(timed, Signal.CROSS_ENTROPY)], "average")
    assert {trial.train_seconds for trial in combined} == {2.0}
    assert combined.info.cost == timed.info.cost
