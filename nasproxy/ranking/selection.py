"""The best of a ranking, and what choosing them costs.

Equal scores at the border of the best k are in no order: figures are the mean over all orders of what ties.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln

from nasproxy.ranking.estimate import CONFIDENCE, Estimate
from nasproxy.ranking.population import estimate_population
from nasproxy.ranking.resolution import seed_errors
from nasproxy.ranking.scores import Array, check_pair, check_scores, check_weights, mean_over_seeds

NUM_RESAMPLES = 1000
NUM_NOISE_SAMPLES = 200


def select_top(scores: ArrayLike, fraction: float, *, weights: ArrayLike | None = None) -> NDArray[np.intp]:
    """Indices of the best `fraction` of (A,) scores, best first, at least one; equal scores in their given order.

    With (A,) weights, as in `correlate`: as many as hold that fraction of the weight. Equal weights are as none.
    """
    values = np.asarray(scores, dtype=float)
    best = np.argsort(-values, kind="stable")
    if weights is None:
        return best[: count_of(fraction, len(values))]
    mass = check_weights(weights, len(values))[best]
    above = (np.cumsum(mass) - mass) / mass.sum()
    return best[: max(int((above < fraction - 1e-9).sum()), 1)]


def count_of(fraction: float, num_archs: int) -> int:
    """How many a fraction of so many architectures is: rounded up, at least one. 7 % of 100 is 7 in spite of floats."""
    return max(math.ceil(round(fraction * num_archs, 9)), 1)


def precision_at(
    proxy: ArrayLike, truth: ArrayLike, count: int, *, weights: ArrayLike | None = None, seed: int = 0
) -> Estimate:
    """Share of the proxy's best `count` architectures that are among the truth's best `count`.

    precision = sum over architectures of w·a·b / k, with k = `count`, and a and b the shares of an architecture's
    weight w that fit into k by proxy and by truth when weights are summed up from the best score down. Architectures
    that tie at the border have the same share, by proxy and by truth independently: of m of weight 1 that tie for j
    places, each has j/m of one. So a weight w counts exactly as w architectures that tie with each other.

    The interval is the percentile bootstrap over architectures with their weights (1,000 resamples of all A, each with
    `count` scaled to the same fraction of its weight), widened to hold the value. Simulated, it holds the expected
    value in 98 % of the cases or more, also with weights (30, 60 or 120 drawn from 720 by `sample_stratified`, 400
    times each): it is too wide rather than too narrow.

    Args:
        proxy: (A,) or (A, S) scores, higher is better, finite.
        truth: the same, S may differ.
        count: k, a number of architectures of the space, from 1 to the sum of the weights.
        weights: (A,), positive: how many architectures of the space each one stands for, 1 if not given.
        seed: of the bootstrap.

    Raises:
        ValueError: shapes differ, a score is not finite, a weight is not positive, or `count` is below 1.
    """
    x, y = _check_selection(proxy, truth, count)
    w = check_weights(weights, len(x))
    levels_x, levels_y, mass = _levels(x), _levels(y), float(w.sum())

    def precision(rows: NDArray[np.intp]) -> float:
        drawn = w[rows]
        places = min(count, mass) * (float(drawn.sum()) / mass)
        by_proxy, by_truth = (_shares(levels[rows], drawn, places) for levels in (levels_x, levels_y))
        return min(float((drawn * by_proxy) @ by_truth) / places, 1.0)

    return _bootstrap(precision, len(x), seed)


def regret_at(proxy: ArrayLike, truth: ArrayLike, count: int, *, seed: int = 0) -> Estimate:
    """Best true score of all minus the best among the proxy's best `count`: what training only these loses, >= 0.

    The best is that of these architectures, not of a space they were drawn from: no weights recover it from a sample.
    Of noisy truths it is a lucky one: `noise_regret` is the part that a perfect proxy has as well. The interval is the
    percentile bootstrap over architectures, each with the noise of its seeds drawn once more, widened to hold the
    value. It is about the mean regret of so many architectures of the space. Simulated for 40 of 720 with
    seeds of sd .002 or .004 (100 draws a case): it holds that in 88 to 100 % with 2 or 3 seeds, 97 % on average, and in
    85 to 98 %, 93 % on average, with one, whose noise is unknown.

    Args:
        proxy: (A,) or (A, S) scores, higher is better, finite.
        truth: the same, S may differ; its unit is that of the regret.
        count: k, from 1 to A.
        seed: of the bootstrap.

    Raises:
        ValueError: shapes differ, a score is not finite, or `count` is below 1.
    """
    x, y = _check_selection(proxy, truth, count)
    errors, rng, places = (
        seed_errors(np.asarray(truth, dtype=float)),
        np.random.default_rng([seed, 1]),
        min(count, len(x)),
    )

    def redrawn(rows: NDArray[np.intp]) -> float:
        return _regret(x[rows], y[rows] + errors[rows] * rng.normal(size=len(rows)), places)

    return _bootstrap(lambda rows: _regret(x[rows], y[rows], places), len(x), seed, of_resample=redrawn)


def noise_regret(truth: ArrayLike, count: int, *, seed: int = 0) -> Estimate:
    """Regret that a perfect proxy without noise is measured at, because the best of noisy truths is lucky.

    The mean over 200 samples from the population that the truth's seeds point to (`estimate_population`), each with
    seeds of its own: the best measured score of all minus the best among the truly best `count`. There is no interval.
    Simulated with 40 architectures and seeds of sd 0.8, normal true values or ones that crowd at the top: with 3 or 5
    seeds it is off by 0.05 on average, of 0.1 to 0.4; with 2 seeds by up to 0.2, of 0.2 to 0.6.

    Args:
        truth: (A, S) scores, higher is better, finite; (A,) is without noise and has the value 0.
        count: k, from 1 to A.
        seed: of the samples.

    Raises:
        ValueError: a score is not finite, or `count` is below 1.
    """
    values = check_scores(truth, "truth")
    _, means = _check_selection(values, values, count)
    num_archs = len(means)
    if not num_archs:
        return Estimate(None, None, None, 0, note="0 architecture(s): none to select")
    if values.ndim == 2 and values.shape[1] == 1:
        return Estimate(None, None, None, num_archs, note="one seed")
    if values.ndim == 1 or not (values != values[:, :1])[~np.isnan(values)].any():
        return Estimate(0.0, 0.0, 0.0, num_archs, note="without seed noise")
    population, rng = estimate_population(values, np.ones(num_archs), has_ties=False), np.random.default_rng(seed)
    samples = (population.draw(rng) for _ in range(NUM_NOISE_SAMPLES))
    lost = [_regret(true, mean_over_seeds(scores), min(count, num_archs)) for true, scores in samples]
    return Estimate(float(np.mean(lost)), None, None, num_archs)


def regret_curve(proxy: ArrayLike, truth: ArrayLike) -> Array:
    """(A,): `regret_at` for k = 1 to A, without intervals. It never rises and ends at 0.

    The best is that of these architectures, not of a space they were drawn from.

    Args:
        proxy: (A,) or (A, S) scores, higher is better, finite.
        truth: the same, S may differ.

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

    The best is that of these architectures, not of a space they were drawn from.

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


def _levels(scores: Array) -> NDArray[np.intp]:
    """(A,): number of each score's level, 0 for the best; equal scores share one."""
    levels: NDArray[np.intp] = np.unique(-scores, return_inverse=True)[1]
    return levels


def _shares(levels: NDArray[np.intp], weights: Array, places: float) -> Array:
    """(A,): share of each architecture's weight that fits into `places` from the best level down."""
    mass = np.bincount(levels, weights)
    room = places - (np.cumsum(mass) - mass)
    shares: Array = np.clip(room / np.where(mass > 0, mass, 1), 0, 1)[levels]
    return shares


def _regret(proxy: Array, truth: Array, count: int) -> float:
    border = np.partition(proxy, len(proxy) - count)[len(proxy) - count]
    is_above = proxy > border
    best = _expected_best(truth[proxy == border], np.max(truth[is_above], initial=-np.inf))
    return max(float(truth.max() - best[count - is_above.sum() - 1]), 0.0)


def _check_selection(proxy: ArrayLike, truth: ArrayLike, count: int) -> tuple[Array, Array]:
    """(A,) scores of both, from which the best `count` are to be selected."""
    x, y = map(mean_over_seeds, check_pair(proxy, truth))
    if count < 1:
        raise ValueError(f"count={count} selects nothing; give at least 1")
    return x, y


def _bootstrap(
    statistic: Callable[[NDArray[np.intp]], float],
    num_archs: int,
    seed: int,
    *,
    of_resample: Callable[[NDArray[np.intp]], float] | None = None,
) -> Estimate:
    """A statistic of the architectures with these indices: of all of them, with its percentile interval; of a resample
    it may be another one.
    """
    if not num_archs:
        return Estimate(None, None, None, 0, note="0 architecture(s): none to select")
    value = float(statistic(np.arange(num_archs)))
    drawn = np.random.default_rng(seed).integers(num_archs, size=(NUM_RESAMPLES, num_archs))
    found = [(of_resample or statistic)(rows) for rows in drawn]
    low, high = np.quantile(found, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Estimate(value, min(float(low), value), max(float(high), value), num_archs)
