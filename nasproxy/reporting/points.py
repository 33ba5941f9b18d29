"""What figures are drawn from: a comparison's architectures as points."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nasproxy.comparing import Comparison
from nasproxy.space import FactorValue
from nasproxy.study import ACCURACY, Trial, Trials


@dataclass(frozen=True)
class Point:
    """One architecture under a proxy and under the truth."""

    arch_id: str
    factors: Mapping[str, FactorValue]
    score: float
    """What is correlated: the proxy's test accuracy as a fraction, or its training-free score."""
    true_accuracy: float
    """Test accuracy after full training, as a fraction."""
    proxy_rank: int
    """1 = selected first, among those with a truth."""
    true_rank: int
    """1 = highest true test accuracy, among those that the proxy scored."""
    is_top: bool
    """Whether it is in the proxy's top fraction of all architectures that it scored."""


def is_trained(trials: Trials) -> bool:
    """Whether a proxy trains nets: its scores are accuracies."""
    return trials.info.metric == ACCURACY


def is_training_free(trials: Trials) -> bool:
    """Whether a proxy is a formula: it trains nothing, and is no combination of others."""
    return not is_trained(trials) and "combination" not in trials.info.recipe


def true_trials(comparison: Comparison) -> dict[str, Trial]:
    """Arch id -> trial of full training, where that gave a test accuracy."""
    return {trial.arch_id: trial for trial in comparison.truth if trial.is_ranked and trial.test_accuracies}


def points_of(comparison: Comparison, index: int) -> list[Point]:
    """Architectures that proxy `index` and the truth both scored, best by the proxy first."""
    trials, ranking = comparison.proxies[index], comparison.rankings[index]
    true = true_trials(comparison)
    common = [trial for trial in trials.ranked() if trial.is_ranked and trial.arch_id in true]
    by_truth = sorted(common, key=lambda trial: (-true[trial.arch_id].test_accuracy, trial.arch_id))
    true_ranks = {trial.arch_id: number for number, trial in enumerate(by_truth, start=1)}
    top = set(trials.top(float(ranking.top_fraction)))
    return [
        Point(
            arch_id=trial.arch_id,
            factors=trial.factors,
            score=trial.test_accuracy if is_trained(trials) else trial.score,
            true_accuracy=true[trial.arch_id].test_accuracy,
            proxy_rank=number,
            true_rank=true_ranks[trial.arch_id],
            is_top=trial.arch_id in top,
        )
        for number, trial in enumerate(common, start=1)
    ]


def true_deviation(comparison: Comparison) -> float | None:
    """Standard deviation (n) of the true test accuracies over architectures; None where all are equal."""
    accuracies = [trial.test_accuracy for trial in true_trials(comparison).values()]
    return (statistics.pstdev(accuracies) or None) if accuracies else None


def pareto_front(costs: Sequence[float], accuracies: Sequence[float]) -> list[int]:
    """Indices of the points that no other one beats at the same cost or less, cheapest first."""
    front: list[int] = []
    best = -math.inf
    for index in sorted(range(len(costs)), key=lambda index: (costs[index], -accuracies[index])):
        if accuracies[index] > best:
            best = accuracies[index]
            front.append(index)
    return front
