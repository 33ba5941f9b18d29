"""How far one ranking of architectures can be trusted as a stand-in for another: arrays in, numbers out.

Notation: A architectures, each with a score by the proxy and a score by the truth (full training).

Correlations come with 95 % bootstrap intervals over architectures. What they cannot say is said, not hidden: fewer than
`MIN_ARCHS` architectures, or scores that are all equal, have no correlation, and `Correlation.note` says so. Signs are
kept: a proxy that anti-correlates shows a negative value.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

MIN_ARCHS = 3
"""Fewest architectures that a correlation is given for."""
CONFIDENCE = 0.95
NUM_RESAMPLES = 2000
KINDS = ("spearman", "kendall")

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Correlation:
    """A rank correlation over A architectures and its interval."""

    kind: str
    """'spearman' (rho) or 'kendall' (tau-b)."""
    num_archs: int
    value: float | None
    """In [-1, 1]; None where it is not defined."""
    low: float | None
    """Lower end of the 95 % interval."""
    high: float | None
    """Upper end of the 95 % interval."""
    note: str | None = None
    """Why there is no value."""


def correlate(proxy: ArrayLike, truth: ArrayLike, *, kind: str = "spearman", seed: int = 0) -> Correlation:
    """Rank correlation between two scores of the same architectures, ties counted as such (Spearman: mean ranks;
    tau-b).

    The interval is the percentile bootstrap over architectures (`scipy.stats.bootstrap`, 2,000 paired resamples). A
    resample in which one score is constant carries no evidence of a relation and counts as 0.

    Args:
        proxy: (A,) scores, higher is better, finite.
        truth: (A,) scores, higher is better, finite.
        kind: 'spearman' or 'kendall'.
        seed: of the bootstrap.

    Raises:
        ValueError: shapes differ, a score is not finite, or an unknown kind.
    """
    x, y = np.asarray(proxy, dtype=float), np.asarray(truth, dtype=float)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"scores must be two vectors of one length, not of shapes {x.shape} and {y.shape}")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("scores must be finite: leave failed architectures out")
    if kind not in KINDS:
        raise ValueError(f"unknown kind {kind!r}; choose from {', '.join(KINDS)}")
    count = len(x)
    if count < MIN_ARCHS:
        return Correlation(kind, count, None, None, None, f"{count} architecture(s): too few, at least {MIN_ARCHS}")
    for name, scores in (("proxy", x), ("truth", y)):
        if np.ptp(scores) == 0:
            return Correlation(kind, count, None, None, None, f"all {name} scores are equal")
    statistic = _spearman if kind == "spearman" else _kendall
    interval = stats.bootstrap(
        (x, y),
        statistic,
        paired=True,
        vectorized=True,
        n_resamples=NUM_RESAMPLES,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Correlation(kind, count, float(statistic(x, y)), float(interval.low), float(interval.high))


def select_top(scores: ArrayLike, fraction: float) -> NDArray[np.intp]:
    """Indices of the best `fraction` of (A,) scores, best first, at least one; equal scores in their given order."""
    values = np.asarray(scores, dtype=float)
    return np.argsort(-values, kind="stable")[: count_of(fraction, len(values))]


def count_of(fraction: float, num_archs: int) -> int:
    """How many a fraction of so many architectures is: rounded up, at least one. 7 % of 100 is 7 in spite of floats."""
    return max(math.ceil(round(fraction * num_archs, 9)), 1)


def _spearman(x: Array, y: Array, axis: int = -1) -> Array:
    """Pearson correlation of mean ranks along the last axis; 0 where a score is constant."""
    ranks_x, ranks_y = (stats.rankdata(scores, axis=-1) for scores in (x, y))
    dx, dy = (ranks - ranks.mean(axis=-1, keepdims=True) for ranks in (ranks_x, ranks_y))
    covariance = (dx * dy).sum(axis=-1)
    scale = np.sqrt((dx**2).sum(axis=-1) * (dy**2).sum(axis=-1))
    values: Array = np.divide(covariance, scale, out=np.zeros_like(covariance), where=scale > 0)
    return values


def _kendall(x: Array, y: Array, axis: int = -1) -> Array:
    """Kendall's tau-b along the last axis; 0 where a score is constant."""
    flat_x, flat_y = x.reshape(-1, x.shape[-1]), y.reshape(-1, y.shape[-1])
    values = [
        stats.kendalltau(a, b).statistic if np.ptp(a) > 0 and np.ptp(b) > 0 else 0.0
        for a, b in zip(flat_x, flat_y, strict=True)
    ]
    return np.asarray(values).reshape(x.shape[:-1])
