import math
from collections.abc import Sequence
from random import Random

import optuna
import pytest

from nasproxy.searching.tpe import propose_tpe
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
