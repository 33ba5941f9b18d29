"""Two proxies judged by one truth: which of them ranks better?"""

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from nasproxy.ranking.correlation import why_undefined
from nasproxy.ranking.estimate import Difference
from nasproxy.ranking.jackknife import QUANTILE, clip_perfect, jackknife_error, spearman
from nasproxy.ranking.scores import Array, check_pair, check_weights, mean_over_seeds

MIN_ARCHS = 8
"""Fewest architectures that an interval and a p-value are given for."""
ROUNDING = 1e-9
"""Differences of z up to this are rounding: the proxies rank alike."""


def compare_correlations(
    first: ArrayLike, second: ArrayLike, truth: ArrayLike, *, weights: ArrayLike | None = None, seed: int = 0
) -> Difference:
    """Spearman of the first proxy with the truth minus that of the second, on the same architectures.

    The test is on Fisher's z scale: the difference of both z over its jackknife standard error (delta method), in which
    what the proxies share cancels, against the normal distribution. The interval is that of the difference of z, about
    the mean of both z, put back as a difference of correlations: it excludes 0 just where p < 0.05.

    Simulated level of the 5 % test for two equally good normal proxies (n = 20, 36: 1,000 draws; 60: 400): 3 to 6 %,
    whether they share much of their noise or none; 2 to 3 % where both correlate above 0.97. A jackknife on the scale
    of rho rejects 0.1 to 5 %, the test of Meng, Rosenthal & Rubin (1992, Psychological Bulletin 111) 4 to 19 %.

    Args:
        first: (A,) or (A, S) scores, higher is better, finite.
        second: the same of another proxy.
        truth: the same of the truth.
        weights: as in `correlate`.
        seed: of nothing so far: the jackknife draws nothing. It keeps the signature that of the other statistics.

    Raises:
        ValueError: as in `correlate`.
    """
    (a, y), (b, _) = (map(mean_over_seeds, check_pair(scores, truth)) for scores in (first, second))
    w = check_weights(weights, len(y))
    if reason := why_undefined({"first proxy's": a, "second proxy's": b, "truth": y}):
        return Difference(None, None, None, len(y), None, note=reason)
    sides = [spearman(scores, y, w) for scores in (a, b)]
    value = sides[0][0] - sides[1][0]
    if len(y) < MIN_ARCHS:
        return Difference(value, None, None, len(y), None, note=f"{len(y)} architectures: too few for an interval")
    inside = [clip_perfect("spearman", rho, len(y)) for rho, _ in sides]
    slopes = [without / (1 - rho**2) for rho, (_, without) in zip(inside, sides, strict=True)]
    error = jackknife_error(slopes[0] - slopes[1])
    gap, middle = np.arctanh(inside[0]) - np.arctanh(inside[1]), float(np.arctanh(inside).mean())
    low, high = _correlation_gaps(middle, gap + QUANTILE * error * np.array([-1, 1]))
    is_rounding = abs(gap) < ROUNDING
    p_value = 1.0 if is_rounding else float(2 * stats.norm.sf(abs(gap) / max(error, ROUNDING)))
    return Difference(0.0 if is_rounding else value, min(low, value), max(high, value), len(y), p_value)


def _correlation_gaps(middle: float, gaps: Array) -> list[float]:
    """Differences of two correlations whose z lie so far apart about `middle`."""
    differences: list[float] = (np.tanh(middle + gaps / 2) - np.tanh(middle - gaps / 2)).tolist()
    return differences
