"""What the noise of seeds does to a rank correlation.

Classical test theory: a measured score is a true one plus noise, and the correlation of two measured scores is that of
the true ones times the square root of both reliabilities (Spearman 1904, American Journal of Psychology 15). The theory
is for Pearson correlations; we apply it to ranks (deviation 1), which is off by less than 0.01 for normal scores. Where
it is off by more, `ceiling` takes that away.
"""

import math
from collections.abc import Iterator
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nasproxy.ranking.correlation import why_undefined
from nasproxy.ranking.estimate import Estimate
from nasproxy.ranking.jackknife import correlation_interval, spearman, spearman_value
from nasproxy.ranking.population import estimate_population
from nasproxy.ranking.scores import Array, check_scores, check_weights, count_seeds, mean_over_seeds

MAX_SPLITS = 100
NUM_SAMPLES = 20
Split = tuple[list[int], list[int]]


def reliability(scores: ArrayLike, *, weights: ArrayLike | None = None, seed: int = 0) -> Estimate:
    """Spearman correlation to expect between these scores and the same architectures' scores from S other seeds.

    Split-half: the mean correlation between the means of two disjoint halves of the seeds, over all splits, or 100
    random ones where there are more. Halves have h = S // 2 seeds (of an odd S one is left out each time), and the
    Spearman-Brown formula stretches from h to S seeds: k·r / (1 + (k - 1)·r) with k = S / h (Spearman 1910, Brown 1910,
    British Journal of Psychology 3). Where architectures have different numbers of seeds, halves are of the fewest
    above one, over the architectures that have so many, and S is the harmonic mean of all numbers (deviation 2). A
    negative mean correlation is reported as 0, with a note. The interval is that of `correlate`, stretched in the same
    way.

    Args:
        scores: (A, S), finite, NaN at the end of rows with fewer seeds; (A,) is without noise and has the value 1.
        weights: as in `correlate`.
        seed: of the random splits.

    Raises:
        ValueError: a score is not finite, a weight is not positive, or a shape is wrong.
    """
    values = check_scores(scores, "the")
    count = len(values)
    w = check_weights(weights, count)
    if values.ndim == 1:
        return Estimate(1.0, 1.0, 1.0, count, note="without seed noise")
    if values.shape[1] == 1:
        return Estimate(None, None, None, count, note="one seed")
    rows, num_seeds, factor = _in_halves(values, w)
    if reason := why_undefined({"the": mean_over_seeds(values[rows])}):
        return Estimate(None, None, None, count, note=reason)
    halves = [
        spearman(values[rows][:, first].mean(axis=1), values[rows][:, second].mean(axis=1), w[rows])
        for first, second in _half_splits(num_seeds, seed)
    ]
    mean, without = float(np.mean([of_all for of_all, _ in halves])), np.mean([rest for _, rest in halves], axis=0)
    ends = correlation_interval("spearman", (mean, without), w[rows])
    value, low, high = _stretch(np.array([mean, *ends]), factor).tolist()
    return Estimate(value, low, high, count, note="halves of the seeds disagree" if mean <= 0 else None)


def ceiling(scores: ArrayLike, *, weights: ArrayLike | None = None, seed: int = 0) -> Estimate:
    """Spearman correlation with these scores that a perfect proxy without noise can be expected to be measured at.

    The square root of the reliability (Spearman 1904), less what that is off by in a population like this one. It is
    off where true values tie or cluster, as of nets at chance: .98 where a perfect proxy is measured at .96. The
    population is estimated from the scores (`estimate_population`), 20 samples with seeds are drawn from it, and both
    figures are computed in them; what the root is off by counts as much as the scores speak for ties rather than for
    normal true values (`Population.weight`). Values closer than their noise count as tied: where such values do differ,
    the ceiling is too high, by .03 to .04 where half of the architectures are so. Simulated error else, for 36 to 150
    architectures with 2 or 3 seeds (40 draws each): normal true values -.011 to -.001, nets at chance or few levels
    within .005, noise of each one's own size within .008. The interval is that of the reliability, shifted on Fisher's
    z scale.

    Args:
        scores: (A, S) or (A,), as for `reliability`.
        weights: as in `correlate`.
        seed: of the random splits and samples.

    Raises:
        ValueError: as in `reliability`.
    """
    squared = reliability(scores, weights=weights, seed=seed)
    root, low, high = (None if end is None else math.sqrt(end) for end in (squared.value, squared.low, squared.high))
    values = check_scores(scores, "the")
    if root is None or low is None or high is None or not 0 < root < 1:
        return Estimate(root, low, high, squared.num_archs, note=squared.note)
    rng, w = np.random.default_rng(seed), check_weights(weights, len(values))
    population = estimate_population(values, w)
    gaps = [_gap_of_root(*population.draw(rng), w, seed) for _ in range(NUM_SAMPLES)]
    value = float(np.clip(root + population.weight * np.mean(gaps), 0, 1))
    z = np.arctanh(np.clip([root, value, low, high], 0, 1 - 1e-9))
    low, high = np.tanh(np.maximum(z[1] + z[2:] - z[0], 0)).tolist()
    return Estimate(value, min(low, value), max(high, value), squared.num_archs)


def _in_halves(scores: Array, weights: Array) -> tuple[NDArray[np.bool_], int, float]:
    """Architectures (A,) that have seeds for two halves, how many seeds both halves together have of each, and the
    factor from one half to all seeds there are."""
    counts = count_seeds(scores)
    num_seeds = int(counts[counts > 1].min(initial=scores.shape[1]))
    mean = float(weights.sum() / (weights / counts).sum())
    return counts >= num_seeds, num_seeds, mean / (num_seeds // 2)


def _gap_of_root(true: Array, scores: Array, weights: Array, seed: int) -> float:
    """What a perfect proxy is measured at, less the square root of the reliability; 0 where either is not defined."""
    means = mean_over_seeds(scores)
    rows, num_seeds, factor = _in_halves(scores, weights)
    if np.ptp(true) == 0 or np.ptp(means) == 0:
        return 0.0
    halves = [
        spearman_value(scores[rows][:, first].mean(axis=1), scores[rows][:, second].mean(axis=1), weights[rows])
        for first, second in _half_splits(num_seeds, seed)
    ]
    stretched = _stretch(np.array([np.mean(halves)]), factor)
    return spearman_value(true, means, weights) - math.sqrt(float(stretched[0]))


def _stretch(correlations: Array, factor: float) -> Array:
    """Spearman-Brown: reliability of `factor` times as many seeds; 0 for a negative correlation."""
    positive = np.maximum(correlations, 0)
    stretched: Array = factor * positive / (1 + (factor - 1) * positive)
    return stretched


def _half_splits(num_seeds: int, seed: int) -> Iterator[Split]:
    """Pairs of disjoint halves of the seeds: all, each once, or random ones where there are more than MAX_SPLITS."""
    half = num_seeds // 2
    if math.comb(num_seeds, half) * math.comb(num_seeds - half, half) // 2 > MAX_SPLITS:
        rng = np.random.default_rng(seed)
        orders = (rng.permutation(num_seeds).tolist() for _ in range(MAX_SPLITS))
        yield from ((order[:half], order[half : 2 * half]) for order in orders)
        return
    for first in combinations(range(num_seeds), half):
        others = [number for number in range(first[0] + 1, num_seeds) if number not in first]
        yield from ((list(first), list(second)) for second in combinations(others, half))
