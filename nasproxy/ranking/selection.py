"""The best of a ranking, and what choosing them costs.

Equal scores at the border of the best k are in no order: figures are the mean over all orders of what ties.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln

from nasproxy.ranking.estimate import CONFIDENCE, Estimate
from nasproxy.ranking.scores import Array, check_pair, check_scores, mean_over_seeds

NUM_RESAMPLES = 1000


def select_top(scores: ArrayLike, fraction: float) -> NDArray[np.intp]:
    """Indices of the best `fraction` of (A,) scores, best first, at least one; equal scores in their given order."""
    values = np.asarray(scores, dtype=float)
    return np.argsort(-values, kind="stable")[: count_of(fraction, len(values))]


def count_of(fraction: float, num_archs: int) -> int:
    """How many a fraction of so many architectures is: rounded up, at least one. 7 % of 100 is 7 in spite of floats."""
    return max(math.ceil(round(fraction * num_archs, 9)), 1)


def precision_at(proxy: ArrayLike, truth: ArrayLike, count: int, *, seed: int = 0) -> Estimate:
    """Share of the proxy's best `count` architectures that are among the truth's best `count`.

    Of m architectures that tie for j places, each has j/m of one, by proxy and by truth independently. The interval is
    the percentile bootstrap over architectures (1,000 resamples of all A, hence `count` of each is the same fraction),
    widened to hold the value. Simulated, it holds the expected value in 98 % of the cases or more: it is rather too
    wide than too narrow.

    Args:
        proxy: (A,) or (A, S) scores, higher is better, finite.
        truth: the same, S may be another.
        count: k, from 1 to A.
        seed: of the bootstrap.

    Raises:
        ValueError: shapes differ, a score is not finite, or `count` is below 1.
    """
    return _bootstrap_selection(_precision, proxy, truth, count, seed)


def regret_at(proxy: ArrayLike, truth: ArrayLike, count: int, *, seed: int = 0) -> Estimate:
    """Best true score of all minus the best among the proxy's best `count`: what training only these loses, >= 0.

    The interval is that of `precision_at`. The best of all is in 63 % of the resamples only, so take its upper end for
    a rough one.

    Args:
        proxy: (A,) or (A, S) scores, higher is better, finite.
        truth: the same, S may be another; its unit is that of the regret.
        count: k, from 1 to A.
        seed: of the bootstrap.

    Raises:
        ValueError: shapes differ, a score is not finite, or `count` is below 1.
    """
    return _bootstrap_selection(_regret, proxy, truth, count, seed)


def regret_curve(proxy: ArrayLike, truth: ArrayLike) -> Array:
    """(A,): `regret_at` for k = 1 to A, without intervals. It never rises and ends at 0.

    Args:
        proxy: (A,) or (A, S) scores, higher is better, finite.
        truth: the same, S may be another.

    Raises:
        ValueError: shapes differ or a score is not finite.
    """
    x, y = (mean_over_seeds(scores) for scores in check_pair(proxy, truth))
    best_so_far, curve = -np.inf, [np.empty(0)]
    for level in np.unique(x)[::-1]:
        tied = y[x == level]
        curve.append(_expected_best(tied, best_so_far))
        best_so_far = max(best_so_far, tied.max())
    return np.maximum(np.max(y, initial=-np.inf) - np.concatenate(curve), 0)


def random_regret_curve(truth: ArrayLike) -> Array:
    """(A,): expected regret of k architectures drawn at random without replacement, k = 1 to A, exactly.

    Args:
        truth: (A,) or (A, S) scores, higher is better, finite.

    Raises:
        ValueError: a score is not finite.
    """
    means = mean_over_seeds(check_scores(truth, "truth"))
    return regret_curve(np.zeros(len(means)), means)


def _expected_best(tied: Array, at_least: float) -> Array:
    """(m,): expected best of `at_least` and of j of the m tied scores, drawn without replacement, j = 1 to m.

    In descending order, number t (from 1) is the best of the drawn with probability C(m - t, j - 1) / C(m, j).
    """
    values = np.maximum(np.sort(tied)[::-1], at_least)
    m = len(values)
    drawn, place = np.ogrid[1 : m + 1, 1 : m + 1]
    lower = np.maximum(m - place, drawn - 1)
    chance = np.where(drawn <= m - place + 1, np.exp(_log_binomial(lower, drawn - 1) - _log_binomial(m, drawn)), 0)
    expected: Array = chance @ values
    return expected


def _log_binomial(n: ArrayLike, k: ArrayLike) -> Array:
    n, k = np.asarray(n, dtype=float), np.asarray(k, dtype=float)
    logarithm: Array = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    return logarithm


def _precision(proxy: Array, truth: Array, count: int) -> float:
    return float(_chance_of_place(proxy, count) @ _chance_of_place(truth, count)) / count


def _chance_of_place(scores: Array, count: int) -> Array:
    """(A,): probability of being among the best `count` when ties are put in random order."""
    border = np.partition(scores, len(scores) - count)[len(scores) - count]
    is_above, is_tied = scores > border, scores == border
    chance: Array = is_above + is_tied * ((count - is_above.sum()) / is_tied.sum())
    return chance


def _regret(proxy: Array, truth: Array, count: int) -> float:
    border = np.partition(proxy, len(proxy) - count)[len(proxy) - count]
    is_above = proxy > border
    best = _expected_best(truth[proxy == border], np.max(truth[is_above], initial=-np.inf))
    return max(float(truth.max() - best[count - is_above.sum() - 1]), 0.0)


def _bootstrap_selection(
    statistic: Callable[[Array, Array, int], float], proxy: ArrayLike, truth: ArrayLike, count: int, seed: int
) -> Estimate:
    """The statistic with its percentile interval; `count` is cut to A."""
    x, y = (mean_over_seeds(scores) for scores in check_pair(proxy, truth))
    if count < 1:
        raise ValueError(f"count={count} selects nothing; give at least 1")
    if not len(x):
        return Estimate(None, None, None, 0, note="0 architecture(s): none to select")
    count = min(count, len(x))
    value = statistic(x, y, count)
    rng = np.random.default_rng(seed)
    drawn = rng.integers(len(x), size=(NUM_RESAMPLES, len(x)))
    values = [statistic(x[rows], y[rows], count) for rows in drawn]
    low, high = np.quantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Estimate(value, min(float(low), value), max(float(high), value), len(x))
