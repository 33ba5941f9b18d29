"""Several proxies as one."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from sklearn.model_selection import RepeatedKFold

from nasproxy.ranking.estimate import Estimate
from nasproxy.ranking.jackknife import QUANTILE, centred_ranks, clip_perfect, spearman_value
from nasproxy.ranking.scores import Array, check_weights, normal_scores

MIN_TRUTHS = 20
"""Fewest truths that weights are fitted to: from here on, fits to useless proxies have a mean rho within 0.05 of 0.

Simulated at 12, 16, 20 and 28 truths (600 draws, standard error 0.009 to 0.016): of 3 proxies -.01, -.02, -.01, -.02;
of 9 proxies .07, .05, -.01, .00 (`benchmarks/statistics.py`).
"""
NUM_FOLDS = 5
NUM_REPEATS = 10
NUM_RESAMPLES = 200
"""Fits, of two repeats each, that the error of a fit is taken from."""
PENALTIES = np.logspace(-1, 4, 11)
"""Tried, in units of one architecture's normal scores."""


@dataclass(frozen=True)
class FittedCombination:
    """A weighted sum of proxies' ranks that was fitted to the truth."""

    weights: tuple[float, ...]
    """(P,) of the proxies' normal scores, fitted to all architectures with a truth."""
    predictions: tuple[float, ...]
    """(A,), higher is better: of architectures with a truth by fits that have not seen it."""
    num_truth: int
    """Architectures with a truth."""
    error: float
    """Standard error of the predictions' Spearman correlation with the truth, on Fisher's z scale, that the fit alone
    makes: what fits to the truth of other architectures would change."""


def include_fit(estimate: Estimate, error: float, *, kind: str = "spearman") -> Estimate:
    """A correlation whose interval includes what other fits would change.

    Errors are added as independent ones. For Kendall's tau that of the fit is two thirds: of bivariate normal scores,
    z of tau moves by 0.56 to 0.67 where z of rho moves by 1.

    Args:
        estimate: by `correlate`.
        error: of the fit, on Fisher's z scale (`FittedCombination.error`); 0: it is not fitted.
        kind: 'spearman' or 'kendall'.
    """
    if not error or estimate.value is None or estimate.low is None or estimate.high is None:
        return estimate
    z = np.arctanh(np.clip([estimate.low, estimate.value, estimate.high], -1 + 1e-9, 1 - 1e-9))
    below, above = np.hypot(np.diff(z), QUANTILE * error * (2 / 3 if kind == "kendall" else 1))
    low, high = np.tanh([z[1] - below, z[1] + above]).tolist()
    return replace(estimate, low=min(low, estimate.low), high=max(high, estimate.high))


def average_ranks(scores: ArrayLike, *, weights: ArrayLike | None = None, is_log: bool = False) -> Array:
    """(A,): mean over proxies of each architecture's rank, scaled to (0, 1], ties by mean rank.

    Args:
        scores: (P, A), higher is better, finite.
        weights: as in `correlate`: ranks of a sample are then those of the space, as far as it tells.
        is_log: the mean of the ranks' logarithms instead (Lee & Ham, "AZ-NAS", CVPR 2024, section 3.3, where it is a
            sum): what one proxy puts last is hardly made up for by the others.

    Raises:
        ValueError: the shape is wrong, a score is not finite, or a weight is not positive.
    """
    values = _check_proxies(scores)
    if weights is None:
        ranks: Array = stats.rankdata(values, axis=1) / values.shape[1]
    else:
        w = check_weights(weights, values.shape[1])
        ranks = np.stack([centred_ranks(row, w) for row in values]) / w.sum() + 0.5 + 0.5 / values.shape[1]
    means: Array = (np.log(ranks) if is_log else ranks).mean(axis=0)
    return means


def fit_combination(scores: ArrayLike, truth: ArrayLike, *, seed: int = 0) -> FittedCombination:
    """Ridge regression of the truth on several proxies, all as normal scores.

    Predictions of architectures with a truth are out of fold (5 folds, mean over 10 repeats); those of the others
    are by the model that is fitted to all. The penalty is chosen inside each training part by its leave-one-out error,
    as in `sklearn.linear_model.RidgeCV`. Two things differ from a plain ridge:

    1. No intercept: normal scores of all architectures with a truth have mean 0. An intercept would be the mean of the
       training part, which is low where the held-out part is high.
    2. Weights are drawn towards 1/P each, not towards 0. Held-out predictions that are drawn towards 0 anti-correlate
       with the truth when proxies are useless; these become the mean of the proxies, which no fold knows of. Simulated
       with 10 useless proxies of 20 architectures, mean rho ± standard error: 0.05 ± 0.04; a plain ridge has
       -0.33 ± 0.09.

    Architectures count alike, also where those with a truth, or all, are a weighted sample: weights decide how good a
    combination is measured to be, not what it is.

    The error of the fit is the standard deviation of Fisher's z over 200 bootstraps of the architectures that are
    fitted to. Copies of one are in the same fold, and left out together where the penalty is chosen. Predictions are of
    all architectures with a truth, once each: what their draw does to a correlation is in its own interval. Simulated
    for nine proxies of which two are good or weak, 20 to 60 truths, 200 draws each: with it, an interval of rho holds
    what fits to other architectures have in 92 to 97 % (`include_fit`), without it in 90 to 95 %.

    Args:
        scores: (P, A), higher is better, finite.
        truth: (A,), higher is better, NaN where unknown.
        seed: of the folds and bootstraps.

    Raises:
        ValueError: shapes differ, a score is not finite, or fewer than 20 architectures have a truth.
    """
    values, y = _check_proxies(scores), np.asarray(truth, dtype=float)
    if y.shape != values.shape[1:]:
        raise ValueError(f"truth must be of shape {values.shape[1:]} as the proxies' scores, not {y.shape}")
    known = np.flatnonzero(~np.isnan(y))
    if not np.isfinite(y[known]).all():
        raise ValueError("the truth must be finite, or NaN where it is unknown")
    if len(known) < MIN_TRUTHS:
        raise ValueError(f"{len(known)} architectures have a truth, too few to fit to; train at least {MIN_TRUTHS}")
    x, target = np.stack([normal_scores(row) for row in values], axis=1), normal_scores(y[known])
    weights = _fit(x[known], target, np.ones((1, len(known))))[0]
    predictions = x @ weights
    predictions[known] = _predict_held_out(x[known], target, np.ones((1, len(known))), NUM_REPEATS, seed)[0]
    error = _fit_error(x[known], target, seed)
    return FittedCombination(tuple(weights.tolist()), tuple(predictions.tolist()), len(known), error)


def _fit_error(x: Array, target: Array, seed: int) -> float:
    """Standard deviation of Fisher's z over bootstraps of what is fitted to."""
    num_truth = len(target)
    counts = np.random.default_rng(seed).multinomial(num_truth, np.full(num_truth, 1 / num_truth), size=NUM_RESAMPLES)
    weights = np.ones(num_truth)
    rho = [spearman_value(row, target, weights) for row in _predict_held_out(x, target, counts, 2, seed)]
    return float(np.std(np.arctanh([clip_perfect("spearman", value, num_truth) for value in rho]), ddof=1))


def _predict_held_out(x: Array, target: Array, counts: NDArray[np.generic], num_repeats: int, seed: int) -> Array:
    """(B, n): means over repeats of predictions by fits to the other folds; `counts` as for `_fit`."""
    total = np.zeros(counts.shape)
    for _, fold in RepeatedKFold(n_splits=NUM_FOLDS, n_repeats=num_repeats, random_state=seed).split(x):
        training = counts.astype(float)
        training[:, fold] = 0
        total[:, fold] += _fit(x, target, training) @ x[fold].T
    return total / num_repeats


def _fit(x: Array, target: Array, counts: Array) -> Array:
    """(B, P) weights for (n, P) normal scores, drawn towards 1/P each: of B fits at once, to (B, n) copies of each.

    The penalty is that with the least error of architectures left out with all their copies, which follows from the fit
    to all (Allen 1974, Technometrics 16).
    """
    equal = np.full(x.shape[1], 1 / x.shape[1])
    rest = target - x @ equal
    squares, axes = np.linalg.eigh((counts[:, None, :] * x.T) @ x)
    rotated = x @ axes
    shrunk = 1 / (np.maximum(squares, 0)[:, :, None] + PENALTIES)
    coefficients = shrunk * (rotated.swapaxes(1, 2) @ (counts * rest)[:, :, None])
    leverage = counts[:, :, None] * (rotated**2 @ shrunk)
    errors = (rest[:, None] - rotated @ coefficients) / (1 - leverage)
    best = (counts[:, :, None] * errors**2).sum(axis=1).argmin(axis=1)
    chosen = coefficients[np.arange(len(best)), :, best]
    weights: Array = equal + (axes @ chosen[:, :, None])[:, :, 0]
    return weights


def _check_proxies(scores: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(scores, dtype=float)
    if values.ndim != 2 or not values.size:
        raise ValueError(f"scores must be of shape (P, A), one row per proxy, not {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError("scores must be finite: leave failed architectures out")
    return values
