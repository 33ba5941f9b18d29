"""What swapping the ranks of single architectures by two proxies does to the difference of their correlations.

Notation: A architectures, w (A,) weights that sum to W.
"""

import numpy as np
from numpy.typing import NDArray

from nasproxy.ranking.jackknife import centred_ranks, spearman_value
from nasproxy.ranking.scores import Array


def swap_terms(first: Array, second: Array, truth: Array, weights: Array) -> Array:
    """(A,) terms whose sum is the difference of both Spearman correlations with the truth, and which change their sign
    where the ranks of an architecture by both proxies are swapped and all ranks are taken anew.

    Put the ranks by both proxies in one row of 2A elements, k below j counting B_kj = 1 (ties 1/2). With s_j = 1 where
    element j belongs to the first proxy and 0 elsewhere, the difference of both covariances with the truth's centred
    ranks t is the sum over j, k of w_j t_j w_k B_kj (s_j s_k - (1 - s_j)(1 - s_k)); the bracket is s_j + s_k - 1, so
    this is linear in s, and no swap has to be carried out. With ties, the scale is the mean of both proxies' and a rest
    is shared out by weight.
    """
    ranks = [centred_ranks(scores, weights) for scores in (first, second, truth)]
    one, other, true = ranks
    mass = np.tile(weights, 2)
    _, level = np.unique(np.round(np.concatenate([one, other]) / weights.sum(), 12), return_inverse=True)
    below = _below(level, mass)
    above = -_below(level, mass * np.tile(true, 2))
    slopes = mass * (np.tile(true, 2) * below + above)
    terms: Array = (slopes[: len(true)] - slopes[len(true) :]) / 2
    deviations = [np.sqrt((weights @ side**2) / weights.sum()) for side in ranks]
    terms /= weights.sum() * np.sqrt(deviations[0] * deviations[1]) * deviations[2]
    value = spearman_value(first, truth, weights) - spearman_value(second, truth, weights)
    terms += weights * (value - terms.sum()) / weights.sum()
    return terms


def _below(level: NDArray[np.intp], mass: Array) -> Array:
    """Mass on lower levels and half of that on the same one."""
    by_level = np.bincount(level, mass)
    sums: Array = (np.cumsum(by_level) - by_level / 2)[level]
    return sums
