"""Which architectures next, by Optuna's samplers on the scores so far: TPE and NSGA-II.

With a cost to be small beside the score, both look for architectures that are worth their cost.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Self

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.samplers import BaseSampler, NSGAIISampler, TPESampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from nasproxy.definebyrun import FunctionSpace
from nasproxy.factors import FactorValue, FloatRange, IntRange, Ordered, Values
from nasproxy.seeding import derive_seed
from nasproxy.space import Arch, SearchSpace
from nasproxy.store import make_distribution
from nasproxy.trials import COST_FIELDS, Trial

optuna.logging.set_verbosity(optuna.logging.WARNING)

Candidates = Sequence[Arch] | Callable[[Arch], bool]
"""What may be proposed; of a space that is not listed, whether an architecture may be."""
ASKED_PER_ARCH = 20
"""Proposals of a sampler that are looked at for each architecture: most may have been tried, or be no part of the
space."""


class _Factor(CategoricalDistribution):
    """All values of a factor. Nothing changes it, so that copies are itself: Optuna makes many of each trial."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __eq__(self, other: object) -> bool:
        return self is other or super().__eq__(other)

    __hash__ = CategoricalDistribution.__hash__


class _Asker:
    """Proposals of a sampler, as architectures of a space that may be tried."""

    def __init__(
        self,
        space: SearchSpace,
        candidates: Candidates,
        sampler: BaseSampler,
        against: str | None,
        *,
        asks_for_all: bool = False,
    ) -> None:
        self._space, self._against, self._asks_for_all = space, against, asks_for_all
        self._admits = candidates if callable(candidates) else None
        self._listed = None if callable(candidates) else {arch.id: arch for arch in candidates}
        one_by_one = space.conditions or isinstance(space, FunctionSpace)
        kind = CategoricalDistribution if one_by_one else _Factor  # what is asked for one by one is Optuna's own
        self._distributions = {name: _distribution(values, kind) for name, values in space.factors.items()}
        directions = [StudyDirection.MAXIMIZE] + [StudyDirection.MINIMIZE] * (against is not None)
        self.study = optuna.create_study(sampler=sampler, directions=directions)
        self.tried: set[str] = set()

    def add(self, trials: Iterable[Trial]) -> None:
        """Takes trials as the study's own."""
        past = list(trials)
        self.study.add_trials([self._observation(trial) for trial in past])
        self.tried |= {trial.arch_id for trial in past}

    def ask(self) -> tuple[optuna.Trial, Arch | None]:
        """A proposal, and its architecture; None: it is no part of what may be tried."""
        asked, factors = self._ask_factors()
        arch = self._space.standing_for(self._space.arch(factors).id)
        if arch is None or (arch.id not in self.tried and not self._is_candidate(arch)):
            return asked, None
        return asked, arch

    def fill(self, proposed: list[Arch], count: int, seed: int) -> list[Arch]:
        """As many as are missing, if there are: the first of a list, or a draw."""
        missing = count - len(proposed)
        if self._listed is not None:
            return proposed + [arch for arch in self._listed.values() if arch.id not in self.tried][:missing]
        others, _ = self._space.draw(missing, seed, lambda arch: arch.id not in self.tried and self._is_candidate(arch))
        return proposed + others

    @property
    def is_exhausted(self) -> bool:
        """Whether everything that may be tried has been."""
        return self._listed is not None and self._listed.keys() <= self.tried

    def values_of(self, trial: Trial) -> list[float] | None:
        """What it is judged by here; None: it has no score, or no cost."""
        if not trial.is_ranked:
            return None
        if self._against is None:
            return [trial.selection_score]
        cost = getattr(trial, COST_FIELDS[self._against])
        return None if cost is None else [trial.selection_score, float(cost)]

    def _is_candidate(self, arch: Arch) -> bool:
        return arch.id in self._listed if self._listed is not None else bool(self._admits and self._admits(arch))

    def _ask_factors(self) -> tuple[optuna.Trial, dict[str, FactorValue]]:
        """A proposal; factors that are not there beside the others are not asked for."""
        space = self._space
        if isinstance(space, FunctionSpace):
            asked = self.study.ask()
            return asked, dict(space.suggest(asked).factors)
        if not space.conditions or self._asks_for_all:
            asked = self.study.ask(dict(self._distributions))
            return asked, space.grid.keep_those_there(_to_factors(asked.params, space.factors))
        asked, chosen = self.study.ask(), dict[str, FactorValue]()
        for name, values in space.factors.items():
            if not space.grid.is_there(name, chosen):
                continue
            match self._distributions[name]:
                case IntDistribution(low=low, high=high, step=step, log=log):
                    param: Any = asked.suggest_int(name, low, high, step=step, log=log)
                case _:
                    param = asked.suggest_categorical(name, list(values))
            chosen |= _to_factors({name: param}, space.factors)
        return asked, chosen

    def _observation(self, trial: Trial) -> FrozenTrial:
        """What a sampler reads of a trial: its factors and its values."""
        there = {name: values for name, values in self._space.factors.items() if name in trial.factors}
        values = self.values_of(trial)
        return create_trial(
            params={
                name: known.index(trial.factors[name]) if isinstance(known, Ordered) else trial.factors[name]
                for name, known in there.items()
            },
            distributions={name: self._distributions[name] for name in there},
            values=values,
            state=TrialState.FAIL if values is None else TrialState.COMPLETE,
        )


def propose_tpe(
    space: SearchSpace,
    candidates: Candidates,
    history: Iterable[Trial],
    count: int,
    seed: int,
    against: str | None = None,
) -> list[Arch]:
    """Up to `count` architectures to try next, by Optuna's TPE on what is known; none that was tried.

    Deterministic in its arguments: trials enter in the order of their ids, whatever order they ended in. Ranges are
    ranges to TPE, values in an order their places, all others categories.

    Args:
        space: gives the factors.
        candidates: what may be proposed.
        history: trials so far.
        count: how many to propose at once.
        seed: of the sampler.
        against: a cost to be small, a key of `COST_FIELDS`; None: the score alone counts.
    """
    asker = _Asker(space, candidates, TPESampler(seed=derive_seed(seed) % 2**32, constant_liar=True), against)
    asker.add(sorted(history, key=lambda trial: trial.arch_id))
    proposed: list[Arch] = []
    for _ in range(ASKED_PER_ARCH * count):
        if len(proposed) == count or asker.is_exhausted:
            break
        _, arch = asker.ask()
        if arch is not None and arch.id not in asker.tried:
            asker.tried.add(arch.id)
            proposed.append(arch)
    return asker.fill(proposed, count, seed)


def propose_nsga2(
    space: SearchSpace,
    candidates: Candidates,
    history: Iterable[Trial],
    count: int,
    seed: int,
    against: str | None = None,
    *,
    population: int,
) -> list[Arch]:
    """Up to `count` architectures to try next, by Optuna's NSGA-II; none that was tried.

    Deb et al., "A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II" (IEEE TEVC 2002): the best of the last
    generation are crossed and mutated. Which trial is of which generation is known to a sampler that has proposed them,
    so all rounds are gone through again, from the same seed and the same results: a resumed search goes on as it would
    have. A proposal that has been tried already counts as what it scored, at no cost. It is asked for all factors, also
    for those that are not there beside the others; of a space that is a function of a trial, for those that are, and
    only what all have is crossed.

    Args:
        space: as for `propose_tpe`.
        candidates: as for `propose_tpe`.
        history: trials so far, of whole rounds.
        count: as for `propose_tpe`.
        seed: of the sampler, the same in all rounds.
        against: as for `propose_tpe`.
        population: architectures of a generation.
    """
    sampler = NSGAIISampler(population_size=population, seed=derive_seed(seed) % 2**32)
    asker = _Asker(space, candidates, sampler, against, asks_for_all=True)  # it crosses what all trials have
    by_id = {trial.arch_id: trial for trial in history}
    rounds: dict[int, list[str]] = {}
    for trial in by_id.values():
        rounds.setdefault(trial.round, []).append(trial.arch_id)
    for number in sorted(rounds):
        known = {arch_id: trial for arch_id, trial in by_id.items() if trial.round < number}  # as it was then
        for asked, arch in _ask_generation(asker, len(rounds[number]), known):
            _tell(asker, asked, by_id.get(arch.id))
        asker.tried.update(rounds[number])
    proposed = [arch for _, arch in _ask_generation(asker, count, by_id)]
    return asker.fill(proposed, count, derive_seed(seed, "fill", len(rounds)))


def _ask_generation(asker: _Asker, count: int, by_id: Mapping[str, Trial]) -> list[tuple[optuna.Trial, Arch]]:
    """So many proposals that have not been tried; those that have are told what they scored."""
    fresh: list[tuple[optuna.Trial, Arch]] = []
    for _ in range(ASKED_PER_ARCH * count):
        if len(fresh) == count or asker.is_exhausted:
            break
        asked, arch = asker.ask()
        if arch is None or arch.id in asker.tried:
            _tell(asker, asked, by_id.get(arch.id) if arch else None)
        else:
            asker.tried.add(arch.id)
            fresh.append((asked, arch))
    return fresh


def _tell(asker: _Asker, asked: optuna.Trial, known: Trial | None) -> None:
    values = asker.values_of(known) if known is not None else None
    asker.study.tell(asked, values, state=TrialState.FAIL if values is None else TrialState.COMPLETE)


def _distribution(values: Values, kind: type[CategoricalDistribution]) -> BaseDistribution:
    if isinstance(values, IntRange | FloatRange):
        return make_distribution(values)
    return IntDistribution(0, len(values) - 1) if isinstance(values, Ordered) else kind(tuple(values))


def _to_factors(params: Mapping[str, Any], factors: Mapping[str, Values]) -> dict[str, FactorValue]:
    return {
        name: factors[name][param] if isinstance(factors[name], Ordered) else param for name, param in params.items()
    }
