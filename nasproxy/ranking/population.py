"""The architectures that measured scores may come from: true values without the noise of seeds.

Notation: A architectures, S seeds, V possible true values.
"""

from dataclasses import dataclass

import numpy as np

from nasproxy.ranking.scores import Array

NUM_STEPS = 60
GRID = 100


@dataclass(frozen=True)
class Population:
    """Possible true values, and how architectures with S seeds get theirs."""

    values: Array
    """(V,)"""
    chances: Array
    """(A, V): of each value for each architecture, summed up from the left."""
    deviations: Array
    """(A,) of one seed's noise."""
    num_seeds: int

    def draw(self, rng: np.random.Generator) -> tuple[Array, Array]:
        """True values (A,) and scores (A, S)."""
        number = (self.chances < rng.random((len(self.chances), 1))).sum(axis=1)
        true = self.values[np.minimum(number, len(self.values) - 1)]
        noise = self.deviations[:, None] * rng.normal(size=(len(true), self.num_seeds))
        return true, true[:, None] + noise


def estimate_population(scores: Array, weights: Array, *, has_ties: bool = True) -> Population:
    """The distribution of true values by maximum likelihood without a shape (Kiefer & Wolfowitz 1956, Annals of
    Mathematical Statistics 27), on a grid of quantiles, by 60 steps of expectation and maximisation. Noise is normal,
    its variance that of the neighbours by mean score. With ties, values within one standard error of a commoner
    one become it.
    """
    means, num_seeds = scores.mean(axis=1), scores.shape[1]
    variances = _neighbours_variance(scores, means)
    errors = np.maximum(variances / num_seeds, 1e-6 * means.var())
    grid = np.unique(np.quantile(means, np.linspace(0, 1, GRID)))
    likelihood = np.exp(-((means[:, None] - grid) ** 2) / (2 * errors[:, None])) / np.sqrt(errors)[:, None]
    likelihood = np.maximum(likelihood, 1e-300)
    shares = np.full(len(grid), 1 / len(grid))
    for _ in range(NUM_STEPS):
        posterior = likelihood * shares
        posterior /= posterior.sum(axis=1, keepdims=True)
        shares = weights @ posterior / weights.sum()
    order = np.argsort(means)
    widths = np.sqrt(np.interp(grid, means[order], errors[order]))
    return Population(
        _merged(grid, shares, widths) if has_ties else grid, posterior.cumsum(axis=1), np.sqrt(variances), num_seeds
    )


def _neighbours_variance(scores: Array, means: Array) -> Array:
    """(A,): of one seed, mean over the fifth of the architectures around each one by mean score, nine at least."""
    reach = max(round(len(means) / 10), 4)
    order = np.argsort(means, kind="stable")
    sums = np.concatenate([[0.0], np.cumsum(scores[order].var(axis=1, ddof=1))])
    place = np.arange(len(means))
    first, end = np.maximum(place - reach, 0), np.minimum(place + reach + 1, len(means))
    variances = np.empty(len(means))
    variances[order] = (sums[end] - sums[first]) / (end - first)
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
