"""Rank correlations, once with all architectures and once without each of them, and the errors that follow.

Notation: x, y (A,) scores; w (A,) weights; r (A,) mid-ranks; below (A, A), 1 where the row's score is above the
column's, 1/2 where they are equal, else 0.
"""

from collections.abc import Callable

import numpy as np
from scipy import stats

from nasproxy.ranking.estimate import CONFIDENCE
from nasproxy.ranking.scores import Array

QUANTILE = float(stats.norm.ppf((1 + CONFIDENCE) / 2))

Jackknifed = tuple[float, Array]
"""A figure of all architectures, and (A,): of all but one."""


def spearman(x: Array, y: Array, weights: Array) -> Jackknifed:
    """Weighted Pearson correlation of weighted mid-ranks, which for equal weights is Spearman's rho.

    The mid-rank of an architecture is the weight below it and half the weight of those that tie with it, itself
    included. All A leave-one-out values cost O(A²) together: taking away an architecture takes its weight from the
    ranks of those above it. Where a score is constant, a value is 0: it carries no evidence of a relation.
    """
    x_side, y_side = ((centred_ranks(scores, weights), (1 + _signs(scores)) / 2) for scores in (x, y))
    pairs = ((x_side, y_side), (x_side, x_side), (y_side, y_side))
    value = _cosine(*(np.atleast_1d((weights * first) @ second) for (first, _), (second, _) in pairs))
    return float(value[0]), _cosine(*(_covariance_without(*pair, weights) for pair in pairs))


def spearman_value(x: Array, y: Array, weights: Array) -> float:
    """The first of what `spearman` gives, in O(A log A)."""
    a, b = (centred_ranks(scores, weights) for scores in (x, y))
    return float(_cosine(*(np.atleast_1d((weights * first) @ second) for first, second in ((a, b), (a, a), (b, b))))[0])


def centred_ranks(scores: Array, weights: Array) -> Array:
    """(A,) weighted mid-ranks minus their weighted mean."""
    _, level = np.unique(scores, return_inverse=True)
    mass = np.bincount(level, weights)
    ranks: Array = (np.cumsum(mass) - mass / 2)[level]
    return ranks - np.average(ranks, weights=weights)


def kendall(x: Array, y: Array, weights: Array) -> Jackknifed:
    """Kendall's tau-b, a pair of architectures counting the product of their weights; 0 where a score is constant."""
    signs_x, signs_y = _signs(x), _signs(y)
    by_arch = [weights * ((a * b) @ weights) for a, b in ((signs_x, signs_y), (signs_x, signs_x), (signs_y, signs_y))]
    value = _cosine(*(terms.sum(keepdims=True) for terms in by_arch))
    return float(value[0]), _cosine(*(terms.sum() - 2 * terms for terms in by_arch))


CORRELATIONS: dict[str, Callable[[Array, Array, Array], Jackknifed]] = {"spearman": spearman, "kendall": kendall}


def jackknife_error(without: Array) -> float:
    """Standard error from (A,) leave-one-out values (Tukey 1958): sqrt((A - 1)/A · sum of squared deviations)."""
    return float(np.sqrt((len(without) - 1) * without.var()))


def bonett_wright_se(kind: str, value: float, num_archs: float) -> float:
    """Standard error on Fisher's z scale for bivariate normal scores without ties (Bonett & Wright 2000, Table 1 and
    section 2): sqrt((1 + rho²/2)/(A - 3)) for Spearman, sqrt(0.437/(A - 4)) for Kendall; infinite for fewer.
    """
    spare, variance = (num_archs - 3, 1 + value**2 / 2) if kind == "spearman" else (num_archs - 4, 0.437)
    return float(np.sqrt(variance / spare)) if spare > 0 else np.inf


def fisher_interval(value: float, error: float) -> tuple[float, float]:
    """95 % interval of a correlation, symmetric on Fisher's z scale, for a standard error on that scale."""
    z = np.arctanh(value)
    return float(np.tanh(z - QUANTILE * error)), float(np.tanh(z + QUANTILE * error))


def clip_perfect(kind: str, value: float, num_archs: int) -> float:
    """The correlation, or where it is perfect a value half-way to the next one that so many architectures can have:
    its z is finite.
    """
    next_below = 12 / (num_archs**3 - num_archs) if kind == "spearman" else 4 / (num_archs * (num_archs - 1))
    return float(np.clip(value, next_below / 2 - 1, 1 - next_below / 2))


def correlation_interval(kind: str, jackknifed: Jackknifed, weights: Array) -> tuple[float, float]:
    """95 % interval of a rank correlation for the population that the architectures come from.

    Symmetric on Fisher's z scale. Its standard error there is the jackknife's (over 1 - rho², the delta method) or, if
    larger, `bonett_wright_se` for the effective number of architectures.
    """
    value, without = jackknifed
    inside, error = _z_error(kind, value, without, weights)
    low, high = fisher_interval(inside, error)
    return min(low, value), max(high, value)


def t_interval(jackknifed: Jackknifed, weights: Array, extra: float, num_free: int) -> tuple[float, float]:
    """As `correlation_interval` for Spearman's rho, with a variance added that was estimated with `num_free` degrees of
    freedom; quantiles are of Student's t with those of Satterthwaite (1946, Biometrics Bulletin 2).
    """
    value, without = jackknifed
    inside, error = _z_error("spearman", value, without, weights)
    if not extra or np.isinf(error):
        return correlation_interval("spearman", jackknifed, weights)
    added = extra / (1 - inside**2) ** 2
    total = error**2 + added
    quantile = float(stats.t.ppf((1 + CONFIDENCE) / 2, num_free * (total / added) ** 2))
    low, high = fisher_interval(inside, np.sqrt(total) * quantile / QUANTILE)
    return min(low, value), max(high, value)


def _z_error(kind: str, value: float, without: Array, weights: Array) -> tuple[float, float]:
    """The correlation, within (-1, 1), and its standard error on Fisher's z scale."""
    inside = clip_perfect(kind, value, len(without))
    smallest = bonett_wright_se(kind, value, effective_size(weights))
    return inside, max(jackknife_error(without) / (1 - inside**2), smallest)


def effective_size(weights: Array) -> float:
    """Architectures of equal weight that would say as much (Kish 1965): (sum of w)² / sum of w²."""
    return float(weights.sum() ** 2 / (weights**2).sum())


def _signs(scores: Array) -> Array:
    """(A, A): 1 where the row's score is above the column's, -1 where below, 0 where equal."""
    signs: Array = np.sign(scores[:, None] - scores[None, :])
    return signs


def _cosine(product: Array, square_x: Array, square_y: Array) -> Array:
    """product / sqrt(square_x · square_y), 0 where a square is 0 but for rounding; within [-1, 1]."""
    is_varying = (square_x > 1e-9 * square_x.max()) & (square_y > 1e-9 * square_y.max())
    scale = np.sqrt(np.where(is_varying, square_x * square_y, 1.0))
    values: Array = np.clip(np.where(is_varying, product / scale, 0.0), -1, 1)
    return values


def _covariance_without(x_side: tuple[Array, Array], y_side: tuple[Array, Array], weights: Array) -> Array:
    """(A,): weighted sum of products of the ranks about their means, computed anew without each architecture.

    Without architecture i the rank of j is r_j - w_i · below_ji. The sum over j of products of two such ranks splits
    into matrix-vector products, from which the term of j = i is taken away.
    """
    (ranks_x, below_x), (ranks_y, below_y) = x_side, y_side
    products = (
        (weights * ranks_x) @ ranks_y
        - weights * ((weights * ranks_y) @ below_x + (weights * ranks_x) @ below_y)
        + weights**2 * (weights @ (below_x * below_y))
        - weights * (ranks_x - weights / 2) * (ranks_y - weights / 2)
    )
    sums_x, sums_y = (
        weights @ ranks - weights * (weights @ below) - weights * (ranks - weights / 2)
        for ranks, below in ((ranks_x, below_x), (ranks_y, below_y))
    )
    covariances: Array = products - sums_x * sums_y / (weights.sum() - weights)
    return covariances
