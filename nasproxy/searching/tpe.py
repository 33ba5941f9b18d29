"""Which architectures next, by Optuna's TPE on the scores so far."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from nasproxy.seeding import derive_seed
from nasproxy.space import Arch, SearchSpace
from nasproxy.trials import Trial

optuna.logging.set_verbosity(optuna.logging.WARNING)


class _Factor(CategoricalDistribution):
    """All values of a factor. Nothing changes it, so that copies are itself: Optuna makes many of each trial."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __eq__(self, other: object) -> bool:
        return self is other or super().__eq__(other)

    __hash__ = CategoricalDistribution.__hash__


def propose_tpe(
    space: SearchSpace, candidates: Sequence[Arch], history: Iterable[Trial], count: int, seed: int
) -> list[Arch]:
    """Up to `count` architectures to try next, by Optuna's TPE on what is known; none that was tried.

    Deterministic in its arguments: trials enter in the order of their ids, whatever order they ended in.

    Args:
        space: gives the factors.
        candidates: what may be proposed.
        history: trials so far.
        count: how many to propose at once.
        seed: of the sampler.
    """
    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=derive_seed(seed) % 2**32, constant_liar=True), direction="maximize"
    )
    past = sorted(history, key=lambda trial: trial.arch_id)
    distributions: dict[str, BaseDistribution] = {name: _Factor(values) for name, values in space.factors.items()}
    study.add_trials([_observation(trial, distributions) for trial in past])
    tried = {trial.arch_id for trial in past}
    open_archs = {arch.id: arch for arch in candidates if arch.id not in tried}
    proposed: list[Arch] = []
    for _ in range(20 * count):
        if len(proposed) == count or not open_archs:
            break
        asked = study.ask(distributions)
        standing = space.standing_for(space.arch(asked.params).id)
        arch = open_archs.pop(standing.id, None) if standing else None
        if arch is not None:
            proposed.append(arch)
    return proposed + list(open_archs.values())[: count - len(proposed)]


def _observation(trial: Trial, distributions: Mapping[str, BaseDistribution]) -> FrozenTrial:
    """What TPE reads of a trial: its factors and its score."""
    return create_trial(
        params=dict(trial.factors),
        distributions=dict(distributions),
        value=trial.selection_score if trial.is_ranked else None,
        state=TrialState.COMPLETE if trial.is_ranked else TrialState.FAIL,
    )
