"""Which architectures next, by Optuna's TPE on the scores so far."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Self

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from nasproxy.factors import FactorValue, IntRange, Ordered, Values
from nasproxy.seeding import derive_seed
from nasproxy.space import Arch, SearchSpace
from nasproxy.store import make_distribution
from nasproxy.trials import Trial

optuna.logging.set_verbosity(optuna.logging.WARNING)

ASKED_PER_ARCH = 20
"""Proposals of TPE that are looked at for each architecture: most may have been tried, or be no part of the space."""


class _Factor(CategoricalDistribution):
    """All values of a factor. Nothing changes it, so that copies are itself: Optuna makes many of each trial."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __eq__(self, other: object) -> bool:
        return self is other or super().__eq__(other)

    __hash__ = CategoricalDistribution.__hash__


def propose_tpe(
    space: SearchSpace,
    candidates: Sequence[Arch] | Callable[[Arch], bool],
    history: Iterable[Trial],
    count: int,
    seed: int,
) -> list[Arch]:
    """Up to `count` architectures to try next, by Optuna's TPE on what is known; none that was tried.

    Deterministic in its arguments: trials enter in the order of their ids, whatever order they ended in. Ranges are
    ranges to TPE, values in an order their places, all others categories.

    Args:
        space: gives the factors.
        candidates: what may be proposed; of a space that is not listed, whether an architecture may be.
        history: trials so far.
        count: how many to propose at once.
        seed: of the sampler.
    """
    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=derive_seed(seed) % 2**32, constant_liar=True), direction="maximize"
    )
    past = sorted(history, key=lambda trial: trial.arch_id)
    kind = CategoricalDistribution if space.conditions else _Factor  # what is asked for one by one is Optuna's own
    distributions = {name: _distribution(values, kind) for name, values in space.factors.items()}
    study.add_trials([_observation(trial, space.factors, distributions) for trial in past])
    tried = {trial.arch_id for trial in past}
    listed = None if callable(candidates) else {arch.id: arch for arch in candidates if arch.id not in tried}
    proposed: list[Arch] = []
    for _ in range(ASKED_PER_ARCH * count):
        if len(proposed) == count or listed == {}:
            break
        arch = space.standing_for(space.arch(_ask(study, space, distributions)).id)
        if arch is None:
            continue
        if listed is not None:
            arch = listed.pop(arch.id, None)
        elif arch.id in tried or not _admits(candidates, arch):
            continue
        if arch is not None:
            tried.add(arch.id)
            proposed.append(arch)
    missing = count - len(proposed)
    if listed is not None:
        return proposed + list(listed.values())[:missing]
    others, _ = space.draw(missing, seed, lambda arch: arch.id not in tried and _admits(candidates, arch))
    return proposed + others


def _admits(candidates: Sequence[Arch] | Callable[[Arch], bool], arch: Arch) -> bool:
    return candidates(arch) if callable(candidates) else arch in candidates


def _ask(
    study: optuna.Study, space: SearchSpace, distributions: Mapping[str, BaseDistribution]
) -> dict[str, FactorValue]:
    """The factors of a proposal; those that are not there beside the others are not asked for."""
    if not space.conditions:
        return _to_factors(study.ask(dict(distributions)).params, space.factors)
    trial, chosen = study.ask(), dict[str, FactorValue]()
    for name, values in space.factors.items():
        if not space.grid.is_there(name, chosen):
            continue
        match distributions[name]:
            case IntDistribution(low=low, high=high, step=step, log=log):
                param: Any = trial.suggest_int(name, low, high, step=step, log=log)
            case _:
                param = trial.suggest_categorical(name, list(values))
        chosen |= _to_factors({name: param}, space.factors)
    return chosen


def _distribution(values: Values, kind: type[CategoricalDistribution]) -> BaseDistribution:
    if isinstance(values, IntRange):
        return make_distribution(values)
    return IntDistribution(0, len(values) - 1) if isinstance(values, Ordered) else kind(tuple(values))


def _to_factors(params: Mapping[str, Any], factors: Mapping[str, Values]) -> dict[str, FactorValue]:
    return {
        name: factors[name][param] if isinstance(factors[name], Ordered) else param for name, param in params.items()
    }


def _observation(
    trial: Trial, factors: Mapping[str, Values], distributions: Mapping[str, BaseDistribution]
) -> FrozenTrial:
    """What TPE reads of a trial: its factors and its score."""
    there = {name: factors[name] for name in distributions if name in trial.factors}
    return create_trial(
        params={
            name: values.index(trial.factors[name]) if isinstance(values, Ordered) else trial.factors[name]
            for name, values in there.items()
        },
        distributions={name: distributions[name] for name in there},
        value=trial.selection_score if trial.is_ranked else None,
        state=TrialState.COMPLETE if trial.is_ranked else TrialState.FAIL,
    )
