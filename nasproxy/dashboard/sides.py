"""Searches side by side: what an alignment says of each, with names for people."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from nasproxy.alignment import Alignment, Array
from nasproxy.errors import SettingsError
from nasproxy.trials import Trials


@dataclass(frozen=True)
class Side:
    """One search beside others."""

    label: str
    """Short, unlike all others."""
    measure: str
    """What its values are."""
    is_accuracy: bool
    trials: Trials
    values: Mapping[str, float]
    """By architecture id; without architectures that have none."""
    ranks: Mapping[str, int]
    """By architecture id; 1 is the best, equal values share the better rank."""


def selection_side(alignment: Alignment, index: int, trials: Trials) -> Side:
    """Search `index` of an alignment, by the score that it selects by."""
    scores, info = alignment.proxies[index], trials.info
    named = (info.name, info.selection_metric, info.has_accuracies)
    return _side(alignment, *named, trials, scores.selection_means, scores.ranks)


def truth_side(alignment: Alignment, truth: Trials) -> Side:
    """The truth of an alignment, by its test accuracy."""
    named = ("true test accuracy", truth.info.evaluation_metric, True)
    return _side(alignment, *named, truth, alignment.truth.evaluation_means, alignment.true_ranks)


def _side(
    alignment: Alignment, label: str, measure: str, is_accuracy: bool, trials: Trials, means: Array, ranks: Array
) -> Side:
    """`means` and `ranks` are (A,), NaN where there is nothing."""
    known = [
        (arch_id, value, int(rank))
        for arch_id, value, rank in zip(alignment.arch_ids, means.tolist(), ranks.tolist(), strict=True)
        if not math.isnan(value)
    ]
    values = {arch_id: value for arch_id, value, _ in known}
    return Side(label, measure, is_accuracy, trials, values, {arch_id: rank for arch_id, _, rank in known})


def in_order(arch_ids: Collection[str], sides: Sequence[Side]) -> list[str]:
    """Best of the first side first, equal ones and those that it lacks by the next side, and so on; then by id."""
    return sorted(arch_ids, key=lambda arch_id: (*(side.ranks.get(arch_id, math.inf) for side in sides), arch_id))


def check_names(searches: Sequence[Trials]) -> None:
    """Refuses searches that cannot be told apart: each has a study of its name.

    Raises:
        SettingsError: two have one name.
    """
    names = [trials.name for trials in searches]
    if twice := {name for name in names if names.count(name) > 1}:
        raise SettingsError(f"search {min(twice)} is given twice; give searches of different names, each once")
