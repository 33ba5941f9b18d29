"""Scores as they come in: checked, averaged over seeds, turned into ranks."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Array = NDArray[np.float64]


def check_scores(scores: ArrayLike, what: str) -> Array:
    """The (A,) or (A, S) scores of one proxy or of the truth, as floats.

    Where architectures have different numbers of seeds, S is the largest and rows end with NaN.

    Raises:
        ValueError: the shape is wrong, there is no seed, or a score is not finite.
    """
    values = np.asarray(scores, dtype=float)
    if values.ndim not in (1, 2):
        raise ValueError(f"{what} scores must be of shape (A,) or (A, S), not {values.shape}")
    if values.ndim == 2 and not values.shape[1]:
        raise ValueError(f"{what} scores of shape {values.shape} hold no seed; give at least one")
    is_missing = np.isnan(values)
    if values.ndim == 2:  # at the end of a row, after one score at least
        is_missing[:, 0] = False
        is_missing &= np.logical_and.accumulate(np.isnan(values)[:, ::-1], axis=1)[:, ::-1]
    else:
        is_missing[:] = False
    if not np.isfinite(values[~is_missing]).all():
        raise ValueError(f"{what} scores must be finite: leave failed architectures out")
    return values


def check_pair(proxy: ArrayLike, truth: ArrayLike) -> tuple[Array, Array]:
    """Scores of the same architectures by proxy and truth, each (A,) or (A, S) with its own S.

    Raises:
        ValueError: as `check_scores`, or different numbers of architectures.
    """
    x, y = check_scores(proxy, "proxy"), check_scores(truth, "truth")
    if len(x) != len(y):
        raise ValueError(f"proxy and truth must score the same architectures, not of shapes {x.shape} and {y.shape}")
    return x, y


def check_sets(sets: Sequence[ArrayLike], truth: ArrayLike) -> tuple[list[Array], Array]:
    """(A,) means over seeds of each of a method's sets, and of the truth.

    Raises:
        ValueError: as `check_pair`, or there are no sets.
    """
    if not sets:
        raise ValueError("a method needs at least one set")
    pairs = [check_pair(scores, truth) for scores in sets]
    return [mean_over_seeds(scores) for scores, _ in pairs], mean_over_seeds(pairs[0][1])


def check_weights(weights: ArrayLike | None, num_archs: int) -> Array:
    """The (A,) weights of architectures; ones for None.

    Raises:
        ValueError: the shape is wrong, or a weight is not positive and finite.
    """
    values = np.ones(num_archs) if weights is None else np.asarray(weights, dtype=float)
    if values.shape != (num_archs,):
        raise ValueError(f"weights must be of shape ({num_archs},), one per architecture, not {values.shape}")
    if not (np.isfinite(values).all() and (values > 0).all()):
        raise ValueError("weights must be positive and finite: leave architectures of weight 0 out")
    return values


def mean_over_seeds(scores: Array) -> Array:
    """(A,) from (A,) or (A, S), of the seeds there are; NaN where there are none."""
    if scores.ndim == 1:
        return scores
    means: Array = scores.mean(axis=1)
    if (is_short := np.isnan(means) & ~np.isnan(scores[:, 0])).any():
        means[is_short] = np.nanmean(scores[is_short], axis=1)
    return means


def count_seeds(scores: Array) -> NDArray[np.intp]:
    """(A,) seeds that each architecture has, from (A, S)."""
    counts: NDArray[np.intp] = (~np.isnan(scores)).sum(axis=1)
    return counts


def normal_scores(scores: Array) -> Array:
    """(n,) scores by rank on a normal scale: the normal quantile of (rank - 1/2) / n, ties by mean rank."""
    quantiles: Array = stats.norm.ppf((stats.rankdata(scores) - 0.5) / len(scores))
    return quantiles
