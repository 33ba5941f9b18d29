import json
import math
from dataclasses import replace

import pytest

from nasproxy.trials import DataInfo, ProxyCost, ProxyKind, Rung, SearchInfo, State, Trial, Trials
from tests.records import INFO


def _trials(*items: tuple[str, float | None]) -> Trials:
    return Trials(
        INFO,
        tuple(
            Trial(
                arch_id,
                {},
                State.FAILED if val is None else State.COMPLETE,
                () if val is None else (Rung((val,), (val,)),),
            )
            for arch_id, val in items
        ),
    )


def test_scores_are_means_over_the_seeds_of_the_last_rung_and_nan_for_failed() -> None:
    trial = Trial("a", {}, State.DIVERGED, (Rung((0.9,), (0.9,), 100), Rung((0.25, 0.75), (0.5, 0.25), 400)))
    assert (trial.selection_score, trial.evaluation_score, trial.num_seeds) == (0.5, 0.375, 2)
    assert trial.is_ranked
    for state in (State.FAILED, State.LOST):
        failed = Trial("a", {}, state)
        assert math.isnan(failed.selection_score)
        assert math.isnan(failed.evaluation_score)
        assert not failed.is_ranked


def test_what_a_search_has_in_common_goes_through_plain_values() -> None:
    info = replace(INFO, kind=ProxyKind.COMBINATION, parts=("one", "other"), cost=ProxyCost(1, 2, 3, 4.5))
    assert SearchInfo.from_dict(info.as_dict()) == info
    assert info.differences(INFO) == ["kind", "cost", "parts"]


def test_a_truth_has_accuracies_and_full_training() -> None:
    kinds = {kind for kind in ProxyKind if replace(INFO, kind=kind).is_truth}
    assert kinds == {ProxyKind.FULL_TRAINING, ProxyKind.TABLE}
    assert not replace(INFO, kind=ProxyKind.TABLE, score_name="naswot").is_truth


def test_costs_add_up_and_trials_know_that_of_the_search() -> None:
    assert ProxyCost(1, 2, 3, 4.0, 5.0) + ProxyCost(1, 1, 1, 1.0, 1.0) == ProxyCost(2, 3, 4, 5.0, 6.0)
    trials = _trials(("a", 0.5), ("b", None))
    timed = replace(trials, items=tuple(replace(trial, train_seconds=1.5) for trial in trials))
    assert timed.cost == replace(INFO.cost, search_seconds=3.0)


def test_ranked_is_best_first_ties_by_id_and_failures_last() -> None:
    trials = _trials(("f", None), ("b", 0.5), ("c", 0.9), ("a", 0.5), ("e", None), ("d", 0.0))
    assert [trial.arch_id for trial in trials.ranked()] == ["c", "a", "b", "d", "e", "f"]
    assert [trial.arch_id for trial in trials] == ["f", "b", "c", "a", "e", "d"]


def test_training_free_trials_are_ranked_by_score_and_without_one_last() -> None:
    def scored(arch_id: str, *scores: float) -> Trial:
        state = State.COMPLETE if all(map(math.isfinite, scores)) else State.NOT_FINITE
        return Trial(arch_id, {}, state, (Rung(scores, scores),))

    items = (
        scored("a", math.inf, 1.0),
        scored("b", -3.0, -5.0),
        scored("c", 2.0, 1e9),
        scored("d", math.inf, -math.inf),
    )
    trials = Trials(INFO, items)
    assert [trial.arch_id for trial in trials.ranked()] == ["c", "b", "a", "d"]
    assert trials.top(1.0) == ["c", "b"]
    assert [trial.selection_score for trial in items[1:3]] == [-4.0, (2.0 + 1e9) / 2]
    assert all(math.isnan(trial.selection_score) and not trial.is_ranked for trial in (items[0], items[3]))


@pytest.mark.parametrize(
    ("amount", "ids"),
    [(1, ["c"]), (3, ["c", "a", "b"]), (9, ["c", "a", "b", "d"]), (0.5, ["c", "a"]), (0.51, ["c", "a", "b"]),
     (0.01, ["c"]), (1.0, ["c", "a", "b", "d"])],
)  # fmt: skip
def test_top_takes_a_number_or_a_fraction_of_the_scored(amount: float, ids: list[str]) -> None:
    assert _trials(("f", None), ("b", 0.5), ("c", 0.9), ("a", 0.5), ("d", 0.0)).top(amount) == ids


@pytest.mark.parametrize(("percent", "total"), [(5, 720), (7, 100), (14, 100), (5, 140), (55, 100)])
def test_top_of_a_whole_number_of_archs_is_not_rounded_up(percent: int, total: int) -> None:
    trials = _trials(*((f"{number:03}", number / 1000) for number in range(total)))
    assert len(trials.top(percent / 100)) == percent * total // 100


DATA = DataInfo(900, 100, 1000, 0.1)


def test_counts_of_images_are_kept_and_old_records_have_none() -> None:
    info = replace(INFO, data=DATA)
    assert SearchInfo.from_dict(json.loads(json.dumps(info.as_dict()))) == info
    old = {name: value for name, value in INFO.as_dict().items() if name != "data"}
    assert SearchInfo.from_dict(old).data is None
    assert info.differences(INFO) == []


@pytest.mark.parametrize(
    ("kind", "state", "accuracy", "data", "is_at_chance"),
    [
        (ProxyKind.PROXY_SET, State.AT_CHANCE, 0.9, None, True),
        (ProxyKind.PROXY_SET, State.COMPLETE, 0.1, DATA, False),
        (ProxyKind.PROXY_SET, State.DIVERGED, 0.1, DATA, True),
        (ProxyKind.PROXY_SET, State.DIVERGED, 0.3, DATA, False),
        (ProxyKind.PROXY_SET, State.DIVERGED, 0.1, None, False),
        (ProxyKind.TABLE, State.COMPLETE, 0.115, DATA, True),
        (ProxyKind.TABLE, State.COMPLETE, 0.13, DATA, False),
        (ProxyKind.TABLE, State.COMPLETE, 0.1, None, False),
    ],
)
def test_chance_is_what_the_state_says_or_the_test_accuracy(
    kind: ProxyKind, state: State, accuracy: float, data: DataInfo | None, is_at_chance: bool
) -> None:
    trial = Trial("a", {}, state, (Rung((accuracy,), (accuracy,)),))
    trials = Trials(replace(INFO, kind=kind, data=data), (trial,))
    assert trials.is_at_chance(trial) is is_at_chance


def test_the_best_is_better_than_guessing_and_the_order_stays_as_it_is() -> None:
    lucky = Trial("lucky", {}, State.AT_CHANCE, (Rung((0.9,), (0.9,)),))
    trials = replace(_trials(("f", None), ("b", 0.5)), items=(lucky, *_trials(("f", None), ("b", 0.5))))
    assert trials.best is not None
    assert trials.best.arch_id == "b"
    assert [trial.arch_id for trial in trials.ranked()] == ["lucky", "b", "f"]
    assert replace(trials, items=(lucky,)).best is None
    assert _trials(("f", None)).best is None


def test_the_best_of_a_search_are_named_by_their_share_or_ten() -> None:
    many = _trials(*((f"{number:03}", number / 1000) for number in range(200)))
    assert many.name_best("run") == "top:run:5%"
    assert replace(many, items=many.items[:199]).name_best("run") == "top:run:10"
