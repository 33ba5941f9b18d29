"""The architectures that measured scores may come from: true values without the noise of seeds.

Notation: A architectures, S seeds, V possible true values.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from nasproxy.ranking.jackknife import effective_size
from nasproxy.ranking.scores import Array, count_seeds, mean_over_seeds

NUM_STEPS = 60
GRID = 100
MIN_SHARE = 1e-3
"""Values of a smaller share are left-overs of the steps and no parameters."""


@dataclass(frozen=True)
class Population:
    """Possible true values, and how architectures with S seeds get theirs."""

    values: Array
    """(V,)"""
    chances: Array
    """(A, V): of each value for each architecture, summed up from the left."""
    deviations: Array
    """(A,) of one seed's noise."""
    is_missing: NDArray[np.bool_]
    """(A, S): seeds that an architecture does not have."""
    weight: float
    """In [0, 1]: how much better these values explain the scores than a normal distribution does."""

    def draw(self, rng: np.random.Generator) -> tuple[Array, Array]:
        """True values (A,) and scores (A, S), NaN where there is no seed."""
        number = (self.chances < rng.random((len(self.chances), 1))).sum(axis=1)
        true = self.values[np.minimum(number, len(self.values) - 1)]
        noise = self.deviations[:, None] * rng.normal(size=self.is_missing.shape)
        return true, np.where(self.is_missing, np.nan, true[:, None] + noise)


def estimate_population(scores: Array, weights: Array, *, has_ties: bool = True) -> Population:
    """The distribution of true values by maximum likelihood without a shape (Kiefer & Wolfowitz 1956, Annals of
    Mathematical Statistics 27), on a grid of quantiles, by 60 steps of expectation and maximisation. Noise is normal,
    its variance that of the neighbours by mean score. With ties, values within one standard error of a commoner
    one become it. The population's weight beside a normal one is Akaike's (1978, Biometrika 65), of k values with
    2k - 1 parameters against 2.
    """
    means = mean_over_seeds(scores)
    variances = neighbours_variance(scores, means)
    errors = np.maximum(variances / count_seeds(scores), 1e-6 * means.var())
    grid = np.unique(np.quantile(means, np.linspace(0, 1, GRID)))
    likelihood = _likelihood(means, errors, grid)
    shares = np.full(len(grid), 1 / len(grid))
    for _ in range(NUM_STEPS):
        posterior = likelihood * shares
        posterior /= posterior.sum(axis=1, keepdims=True)
        shares = weights @ posterior / weights.sum()
    order = np.argsort(means)
    values = _merged(grid, shares, np.sqrt(np.interp(grid, means[order], errors[order]))) if has_ties else grid
    num_values = int((np.bincount(np.unique(values, return_inverse=True)[1], shares) > MIN_SHARE).sum())
    centre = np.average(means, weights=weights)
    spread = max(np.average((means - centre) ** 2 - errors, weights=weights), 0)
    of_normal = _likelihood(means, errors + spread, np.array([centre]))[:, 0]
    gains = np.log(_likelihood(means, errors, values) @ shares) - np.log(of_normal)
    gain = effective_size(weights) * np.average(gains, weights=weights)
    weight = float(expit(gain - (2 * num_values - 3)))
    return Population(values, posterior.cumsum(axis=1), np.sqrt(variances), np.isnan(scores), weight)


def _likelihood(means: Array, errors: Array, values: Array) -> Array:
    """(A, V): of each true value, for a normal error with these (A,) variances; a constant factor is left out."""
    squares = (means[:, None] - values) ** 2
    return np.maximum(np.exp(-squares / (2 * errors[:, None])) / np.sqrt(errors)[:, None], 1e-300)


def neighbours_variance(scores: Array, means: Array) -> Array:
    """(A,): of one seed, pooled over the fifth of the architectures around each one by mean score, nine at least.

    0 where none of them has two seeds.
    """
    reach = max(round(len(means) / 10), 4)
    order = np.argsort(means, kind="stable")
    squares = np.nansum((scores - means[:, None]) ** 2, axis=1)[order]
    sums, freedom = (np.concatenate([[0.0], np.cumsum(part)]) for part in (squares, count_seeds(scores)[order] - 1.0))
    place = np.arange(len(means))
    first, end = np.maximum(place - reach, 0), np.minimum(place + reach + 1, len(means))
    variances = np.empty(len(means))
    variances[order] = (sums[end] - sums[first]) / np.maximum(freedom[end] - freedom[first], 1)
    return variances


def _merged(values: Array, shares: Array, widths: Array) -> Array:
    """(V,): each value, or a more frequent one that is within its width."""
    merged, is_left = values.copy(), np.ones(len(values), dtype=bool)
    for index in np.argsort(-shares, kind="stable"):
        if is_left[index]:
            near = is_left & (np.abs(values - values[index]) <= widths[index])
            merged[near] = values[index]
            is_left &= ~near
    return merged
