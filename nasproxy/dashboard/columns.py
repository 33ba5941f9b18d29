"""Searches side by side: what each says of every architecture."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from nasproxy.comparing import TEST_ACCURACY
from nasproxy.errors import InputError, SettingsError
from nasproxy.space import FactorValue, sort_values
from nasproxy.study import Factors, Trial, Trials


@dataclass(frozen=True)
class Column:
    """One search beside others."""

    label: str
    """Short, unlike all others."""
    measure: str
    """What its values are."""
    trials: Trials
    values: Mapping[str, float]
    """By architecture id, best first, equal ones by id; without architectures that have none."""

    @cached_property
    def ranks(self) -> Mapping[str, int]:
        """By architecture id; the best is 1."""
        return {arch_id: number for number, arch_id in enumerate(self.values, start=1)}

    @cached_property
    def by_id(self) -> Mapping[str, Trial]:
        """Its trials by architecture id, also those without a value."""
        return {trial.arch_id: trial for trial in self.trials}


def score_column(trials: Trials) -> Column:
    """A search by the score that it ranks by."""
    return _column(trials.info.name, trials.info.metric, trials, lambda trial: trial.score)


def truth_column(truth: Trials) -> Column:
    """The truth by its test accuracy."""
    return _column("true test accuracy", TEST_ACCURACY, truth, lambda trial: trial.test_accuracy)


def _column(label: str, measure: str, trials: Trials, value_of: Callable[[Trial], float]) -> Column:
    values = {trial.arch_id: value_of(trial) for trial in trials if trial.is_ranked}
    finite = [(arch_id, value) for arch_id, value in values.items() if math.isfinite(value)]
    return Column(label, measure, trials, dict(sorted(finite, key=lambda item: (-item[1], item[0]))))


def archs_in_order(columns: Sequence[Column]) -> list[str]:
    """Ids of all architectures: best of the first column first, those that it lacks by the next column, and so on."""
    ids = {arch_id for column in columns for arch_id in column.by_id}
    return sorted(ids, key=lambda arch_id: (*(column.ranks.get(arch_id, math.inf) for column in columns), arch_id))


def factors_of(trials: Iterable[Trial]) -> Factors:
    """All values of every factor that occurs: numbers by size, then text by the alphabet."""
    found: dict[str, set[FactorValue]] = {}
    for trial in trials:
        for name, value in trial.factors.items():
            found.setdefault(name, set()).add(value)
    return {name: sort_values(values) for name, values in found.items()}


def check_side_by_side(searches: Sequence[Trials]) -> None:
    """Refuses searches that cannot share a study.

    Raises:
        InputError: they are in different spaces.
        SettingsError: two have one name.
    """
    names = [trials.info.name for trials in searches]
    if twice := {name for name in names if names.count(name) > 1}:
        raise SettingsError(f"search {min(twice)} is given twice; give searches of different names, each once")
    first = searches[0].info
    for trials in searches[1:]:
        if trials.info.space_hash != first.space_hash:
            raise InputError(
                f"runs {first.name} and {trials.info.name} are in different spaces ({first.space} and "
                f"{trials.info.space}); open them one at a time"
            )
