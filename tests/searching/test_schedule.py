from collections.abc import Iterable
from random import Random

import pytest

from nasproxy.errors import SettingsError
from nasproxy.searching.schedule import LEARNING, Schedule, Signal, make_schedule
from nasproxy.space import Arch, SearchSpace
from nasproxy.trials import Rung, State, Trial


def _score(arch: Arch, round: int) -> Trial:
    """A fixed accuracy for every architecture; sigmoid nets with max pooling fail."""
    if (arch.factors["activation"], arch.factors["pooling"]) == ("sigmoid", "max"):
        return Trial(arch.id, arch.factors, State.FAILED, round=round)
    accuracy = Random(arch.id).random()
    return Trial(arch.id, arch.factors, State.COMPLETE, (Rung((accuracy,), (accuracy,)),), round=round)


def _size(arch: Arch) -> float:
    return float(arch.factors.get("depth", 0))


def _make(
    space: SearchSpace, strategy: str, done: Iterable[Trial] = (), num_archs: int = 10, archs: int = 24, seed: int = 0
) -> Schedule:
    return make_schedule(
        strategy, space, space.archs()[:archs],
        num_archs=num_archs, size_of=_size, seed=seed, round_size=4, done=done,
    )  # fmt: skip


def _run(schedule: Schedule, workers: int = 1) -> list[Trial]:
    """Works through a schedule with so many workers, the latest started ending first."""
    trials: list[Trial] = []
    busy: list[Trial] = []
    while True:
        answer = schedule.next() if len(busy) < workers else Signal.WAIT
        if isinstance(answer, Arch):
            busy.append(_score(answer, schedule.round))
        elif busy:
            trials.append(busy.pop())
            schedule.finish(trials[-1])
        else:
            assert answer is Signal.END
            return trials


def _ids(trials: Iterable[Trial]) -> list[str]:
    return [trial.arch_id for trial in trials]


def test_grid_goes_through_the_space_the_largest_first(mini_space: SearchSpace) -> None:
    trials = _run(_make(mini_space, "grid", num_archs=24))
    deepest = max(arch.factors["depth"] for arch in mini_space.archs())
    large = [arch.id for arch in mini_space.archs() if arch.factors["depth"] == deepest]
    assert 0 < len(large) < 24
    assert _ids(trials)[: len(large)] == large
    assert set(_ids(trials)) == {arch.id for arch in mini_space.archs()}
    assert {trial.round for trial in trials} == {0}


def test_grid_stops_at_num_archs(mini_space: SearchSpace) -> None:
    assert set(_ids(_run(_make(mini_space, "grid")))) == {arch.id for arch in mini_space.archs()[:10]}


def test_random_is_the_start_of_the_seeded_order(mini_space: SearchSpace) -> None:
    ids = _ids(_run(_make(mini_space, "random", seed=5)))
    assert ids == [arch.id for arch in mini_space.shuffled(5)[:10]]
    assert ids != _ids(_run(_make(mini_space, "random", seed=6)))


def test_random_gives_only_the_allowed_archs(mini_space: SearchSpace) -> None:
    allowed = [arch.id for arch in mini_space.archs()[:12]]
    ids = _ids(_run(_make(mini_space, "random", archs=12, num_archs=20)))
    assert sorted(ids) == sorted(allowed)
    assert ids != allowed


@pytest.mark.parametrize("strategy", ["grid", "random"])
def test_fixed_orders_never_make_a_worker_wait_for_a_round(strategy: str, mini_space: SearchSpace) -> None:
    schedule = _make(mini_space, strategy)
    answers = [schedule.next() for _ in range(10)]
    assert all(isinstance(answer, Arch) for answer in answers)
    assert schedule.next() is Signal.WAIT
    for answer in answers:
        assert isinstance(answer, Arch)
        schedule.finish(_score(answer, 0))
    assert schedule.next() is Signal.END
    assert schedule.next() is Signal.END


@pytest.mark.parametrize("strategy", LEARNING)
def test_those_that_learn_wait_until_a_round_has_ended(strategy: str, mini_space: SearchSpace) -> None:
    schedule = _make(mini_space, strategy)
    first = [schedule.next() for _ in range(4)]
    assert all(isinstance(answer, Arch) for answer in first)
    for answer in first:
        assert isinstance(answer, Arch)
        assert schedule.next() is Signal.WAIT
        assert schedule.round == 0
        schedule.finish(_score(answer, 0))
    answer = schedule.next()
    assert isinstance(answer, Arch)
    assert answer not in first
    assert schedule.round == 1


@pytest.mark.parametrize("strategy", LEARNING)
def test_rounds_have_the_round_size_up_to_num_archs(strategy: str, mini_space: SearchSpace) -> None:
    trials = _run(_make(mini_space, strategy))
    assert [trial.round for trial in trials] == [0] * 4 + [1] * 4 + [2] * 2
    assert len(set(_ids(trials))) == 10


@pytest.mark.parametrize("strategy", LEARNING)
def test_those_that_learn_exhaust_the_allowed_archs(strategy: str, mini_space: SearchSpace) -> None:
    trials = _run(_make(mini_space, strategy, archs=9, num_archs=24))
    assert sorted(_ids(trials)) == sorted(arch.id for arch in mini_space.archs()[:9])


@pytest.mark.parametrize("strategy", ["grid", "random", "tpe", "nsga2"])
@pytest.mark.parametrize("workers", [2, 3, 20])
def test_trials_are_the_same_for_any_number_of_workers(strategy: str, workers: int, mini_space: SearchSpace) -> None:
    alone = _run(_make(mini_space, strategy, num_archs=14))
    together = _run(_make(mini_space, strategy, num_archs=14), workers)
    assert sorted(together, key=lambda trial: trial.arch_id) == sorted(alone, key=lambda trial: trial.arch_id)


@pytest.mark.parametrize("strategy", ["grid", "random", "tpe", "nsga2"])
@pytest.mark.parametrize("num_done", [0, 3, 4, 6, 13, 14])
def test_resumed_search_gives_the_same_trials(strategy: str, num_done: int, mini_space: SearchSpace) -> None:
    whole = _run(_make(mini_space, strategy, num_archs=14), workers=3)
    done = whole[:num_done]
    rest = _run(_make(mini_space, strategy, done, num_archs=14))
    assert not set(_ids(done)) & set(_ids(rest))
    by_id = {trial.arch_id: trial for trial in [*done, *rest]}
    assert by_id == {trial.arch_id: trial for trial in whole}
    assert len(rest) == 14 - num_done


@pytest.mark.parametrize("strategy", ["grid", "random", "tpe", "nsga2"])
def test_failures_are_given_out_again_only_when_asked_and_nothing_else_is(
    strategy: str, mini_space: SearchSpace
) -> None:
    first = _run(_make(mini_space, strategy, num_archs=16))
    failed = {trial.arch_id for trial in first if not trial.is_ranked}
    assert failed
    assert _run(_make(mini_space, strategy, done=first, num_archs=16)) == []

    schedule = make_schedule(
        strategy, mini_space, mini_space.archs(),
        num_archs=16, size_of=_size, seed=0, round_size=4, done=first, retry_failed=True,
    )  # fmt: skip
    again: list[Trial] = []
    while isinstance(answer := schedule.next(), Arch):
        again.append(Trial(answer.id, answer.factors, State.COMPLETE, (Rung((0.9,), (0.9,)),), round=schedule.round))
        schedule.finish(again[-1])
    assert answer is Signal.END
    assert set(_ids(again)) == failed
    assert {trial.arch_id: trial.round for trial in again}.items() <= {t.arch_id: t.round for t in first}.items()


def test_a_trial_without_a_finite_score_is_not_retried(mini_space: SearchSpace) -> None:
    arch = mini_space.archs()[0]
    done = [Trial(arch.id, arch.factors, State.NOT_FINITE, (Rung((float("nan"),), (float("nan"),)),))]
    schedule = make_schedule(
        "grid", mini_space, [arch], num_archs=1, size_of=_size, seed=0, round_size=1, done=done, retry_failed=True
    )
    assert schedule.next() is Signal.END


def test_unknown_strategy_gives_the_nearest() -> None:
    space = SearchSpace("s", {"a": (1,)}, "m:f", "{a}")
    with pytest.raises(SettingsError, match=r"unknown strategy 'gird': did you mean 'grid'\? choose from asha, grid"):
        make_schedule("gird", space, space.archs(), num_archs=1, size_of=_size, seed=0, round_size=1)
