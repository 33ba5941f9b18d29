import math
from collections.abc import Sequence
from random import Random

import optuna
import pytest

from nasproxy.factors import IntRange
from nasproxy.searching.proposing import propose_tpe
from nasproxy.searching.schedule import LEARNING, Signal, make_schedule
from nasproxy.seeding import derive_seed
from nasproxy.space import Arch, SearchSpace
from nasproxy.spacefile import load_space
from nasproxy.store import make_distributions, to_optuna
from nasproxy.trials import Rung, State, Trial


def _trial(arch: Arch, score: float = 0.5, state: State = State.COMPLETE) -> Trial:
    return Trial(arch.id, arch.factors, state, () if state is State.FAILED else (Rung((score,), (score,)),))


def test_tpe_is_deterministic_and_independent_of_the_order_of_history(mini_space: SearchSpace) -> None:
    archs = mini_space.archs()
    history = [_trial(arch, number / 24) for number, arch in enumerate(archs[:14])]
    history[3] = _trial(archs[3], state=State.FAILED)
    first = propose_tpe(mini_space, archs, history, 4, seed=1)
    assert first == propose_tpe(mini_space, archs, history, 4, seed=1)
    assert first == propose_tpe(mini_space, archs, history[::-1], 4, seed=1)
    assert len(first) == 4


def test_tpe_depends_on_its_seed(mini_space: SearchSpace) -> None:
    archs = mini_space.archs()
    assert propose_tpe(mini_space, archs, [], 6, seed=1) != propose_tpe(mini_space, archs, [], 6, seed=2)


def test_tpe_learns_from_history(mini_space: SearchSpace) -> None:
    """Where relu is always better than sigmoid, relu nets are proposed first, whatever the seed."""
    archs = mini_space.archs()
    history = [_trial(arch, 0.9 if arch.factors["activation"] == "relu" else 0.1) for arch in archs[:12]]
    proposed = [arch for seed in range(5) for arch in propose_tpe(mini_space, archs, history, 2, seed=seed)]
    assert sum(arch.factors["activation"] == "relu" for arch in proposed) >= 8


def test_tpe_learns_from_training_free_scores_and_skips_what_has_none(mini_space: SearchSpace) -> None:
    archs = mini_space.archs()
    history = [_trial(arch, 100.0 if arch.factors["activation"] == "relu" else -100.0) for arch in archs[:12]]
    history[0] = _trial(archs[0], math.nan, State.NOT_FINITE)
    proposed = [arch for seed in range(5) for arch in propose_tpe(mini_space, archs, history, 2, seed=seed)]
    assert sum(arch.factors["activation"] == "relu" for arch in proposed) >= 8
    assert archs[0] not in proposed


def test_tpe_proposes_only_untried_candidates_until_none_is_left(mini_space: SearchSpace) -> None:
    candidates = mini_space.shuffled(3)[:11]
    history: list[Trial] = []
    while proposed := propose_tpe(mini_space, candidates, history, 3, seed=len(history)):
        ids = [arch.id for arch in proposed]
        assert len(ids) == len(set(ids)) == min(3, 11 - len(history))
        assert not set(ids) & {trial.arch_id for trial in history}
        history += [_trial(arch, len(arch.id) / 100) for arch in proposed]
    assert sorted(trial.arch_id for trial in history) == sorted(arch.id for arch in candidates)


def test_tpe_proposes_what_stands_for_a_cell_that_it_asks_about() -> None:
    """More than half of the cells that the factors span are no architecture themselves."""
    space = load_space("nasbench201")
    archs = space.archs()
    proposed = propose_tpe(space, archs, [], 40, seed=0)
    assert len({arch.id for arch in proposed}) == 40
    assert proposed != archs[:40]
    assert set(proposed) <= set(archs)


def _propose_from_whole_trials(
    space: SearchSpace, candidates: Sequence[Arch], history: Sequence[Trial], count: int, seed: int
) -> list[Arch]:
    """The same from a study as we keep them: every trial with all that is known of it."""
    sampler = optuna.samplers.TPESampler(seed=derive_seed(seed) % 2**32, constant_liar=True)
    study = optuna.create_study(sampler=sampler, direction="maximize")
    for trial in sorted(history, key=lambda trial: trial.arch_id):
        study.add_trial(to_optuna(trial, space.factors))
    left = {arch.id: arch for arch in candidates} | dict.fromkeys(trial.arch_id for trial in history)
    proposed: list[Arch] = []
    while len(proposed) < count:
        standing = space.standing_for(space.arch(study.ask(make_distributions(space.factors, space.factors)).params).id)
        if standing and (arch := left.pop(standing.id, None)):
            proposed.append(arch)
    return proposed


@pytest.mark.parametrize("name", ["convnet-mini", "nasbench201"])
def test_tpe_proposes_what_it_does_from_trials_with_all_that_is_known_of_them(name: str) -> None:
    space = load_space(name)
    archs = space.archs()
    history = [_trial(arch, Random(arch.id).random()) for arch in space.shuffled(1)[:15]]
    history[4] = _trial(space.find(history[4].arch_id), state=State.FAILED)
    for seed in range(3):
        expected = _propose_from_whole_trials(space, archs, history, 4, seed)
        assert propose_tpe(space, archs, history, 4, seed) == expected


LEVELS = SearchSpace(
    name="levels", factors={name: IntRange(0, 9) for name in "abcdef"}, builder="m:f", arch_id="{a}{b}{c}{d}{e}{f}"
)


@pytest.mark.parametrize("strategy", LEARNING)
@pytest.mark.parametrize("against", [None, "params"])
def test_those_that_learn_find_what_is_worth_its_cost(strategy: str, against: str | None) -> None:
    """The first three factors give the score, the last three cost as much and give nothing."""

    def measure(arch: Arch, number: int) -> Trial:
        levels = [int(arch.factors[name]) for name in "abcdef"]
        score = sum(levels[:3]) / 27
        rungs = (Rung((score,), (score,)),)
        return Trial(arch.id, arch.factors, State.COMPLETE, rungs, num_params=1 + sum(levels), round=number)

    def search(num_rounds: int, workers: int = 1) -> list[Trial]:
        schedule = make_schedule(
            strategy, LEVELS, lambda arch: True,
            num_archs=20 * num_rounds, size_of=lambda arch: 0.0, seed=3, round_size=20, against=against,
        )  # fmt: skip
        trials: list[Trial] = []
        busy: list[Trial] = []
        while not isinstance(answer := schedule.next() if len(busy) < workers else Signal.WAIT, Signal) or busy:
            if isinstance(answer, Arch):
                busy.append(measure(answer, schedule.round))
            else:
                trials.append(busy.pop())
                schedule.finish(trials[-1])
        return trials

    trials = search(8)
    assert len({trial.arch_id for trial in trials}) == 160
    assert search(8, workers=7) != trials
    assert {trial.arch_id for trial in search(8, workers=7)} == {trial.arch_id for trial in trials}
    first, last = ([trial for trial in trials if trial.round in rounds] for rounds in ((0,), (6, 7)))

    def mean(trials: list[Trial], names: str) -> float:
        return sum(int(trial.factors[name]) for trial in trials for name in names) / len(trials)

    assert mean(last, "abc") > mean(first, "abc") + 2 * (against is None)
    if against is not None:
        assert mean(last, "def") < mean(first, "def") - 2
