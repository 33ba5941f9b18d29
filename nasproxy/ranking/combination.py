"""Several proxies as one."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import RepeatedKFold

from nasproxy.ranking.scores import Array, normal_scores

MIN_TRUTHS = 20
"""Fewest truths that weights are fitted to: from here on, fits to useless proxies have a mean rho within 0.05 of 0.

Simulated at 8, 12, 16, 20, 28 and 40 truths (120 draws, standard error 0.02 to 0.05): of 3 proxies .04, -.09, -.02,
-.02, -.03, -.02; of 9 proxies .27, .11, .05, -.01, .00, .00.
"""
NUM_FOLDS = 5
NUM_REPEATS = 10
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


def average_ranks(scores: ArrayLike) -> Array:
    """(A,): mean over proxies of each architecture's rank, scaled to (0, 1], ties by mean rank.

    Args:
        scores: (P, A), higher is better, finite.

    Raises:
        ValueError: the shape is wrong, or a score is not finite.
    """
    values = _check_proxies(scores)
    means: Array = (stats.rankdata(values, axis=1) / values.shape[1]).mean(axis=0)
    return means


def fit_combination(scores: ArrayLike, truth: ArrayLike, *, seed: int = 0) -> FittedCombination:
    """Ridge regression of the truth on several proxies, all as normal scores.

    Predictions of architectures with a truth are out of fold (5 folds, mean over 10 repeats); those of the others
    are by the model that is fitted to all. The penalty is chosen inside each training part by its leave-one-out error
    (`sklearn.linear_model.RidgeCV`). Two things differ from a plain ridge:

    1. No intercept: normal scores of all architectures with a truth have mean 0. An intercept would be the mean of the
       training part, which is low where the held-out part is high.
    2. Weights are drawn towards 1/P each, not towards 0. Held-out predictions that are drawn towards 0 anti-correlate
       with the truth when proxies are useless; these become the mean of the proxies, which no fold knows of. Simulated
       with 10 useless proxies of 20 architectures, mean rho ± standard error: 0.05 ± 0.04; a plain ridge has
       -0.33 ± 0.09.

    Args:
        scores: (P, A), higher is better, finite.
        truth: (A,), higher is better, NaN where unknown.
        seed: of the folds.

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
    weights = _fit(x[known], target)
    predictions = x @ weights
    predictions[known] = _predict_held_out(x[known], target, seed)
    return FittedCombination(tuple(weights.tolist()), tuple(predictions.tolist()), len(known))


def _predict_held_out(x: Array, target: Array, seed: int) -> Array:
    """(n,): means over repeats of predictions by fits to the other folds."""
    total = np.zeros(len(target))
    for rest, fold in RepeatedKFold(n_splits=NUM_FOLDS, n_repeats=NUM_REPEATS, random_state=seed).split(x):
        total[fold] += x[fold] @ _fit(x[rest], target[rest])
    return total / NUM_REPEATS


def _fit(x: Array, target: Array) -> Array:
    """(P,) weights for (n, P) normal scores, drawn towards 1/P each."""
    equal = np.full(x.shape[1], 1 / x.shape[1])
    ridge = RidgeCV(alphas=PENALTIES, fit_intercept=False).fit(x, target - x @ equal)
    weights: Array = equal + ridge.coef_
    return weights


def _check_proxies(scores: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(scores, dtype=float)
    if values.ndim != 2 or not values.size:
        raise ValueError(f"scores must be of shape (P, A), one row per proxy, not {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError("scores must be finite: leave failed architectures out")
    return values
