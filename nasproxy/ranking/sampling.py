"""Which architectures to give a truth, and what those that have one say about the others."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nasproxy.ranking.correlation import correlate, why_undefined
from nasproxy.ranking.estimate import Estimate
from nasproxy.ranking.jackknife import Jackknifed, correlation_interval, cosine
from nasproxy.ranking.scores import Array, check_scores, mean_over_seeds, normal_scores

NUM_STRATA = 5
TOP_SHARE = 2.0
"""Of the top stratum; 1 of each other one. The best architectures matter most."""
NARROW = 0.42
"""Ratio of standard deviations, that of the top tenth, below which what is assumed outweighs what is measured."""


def sample_stratified(
    scores: ArrayLike, num_samples: int, *, seed: int = 0
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """A random sample of architectures that holds good and bad ones, and more of the best.

    Strata are fifths by score (as many as samples where those are fewer; equal scores in their given order). Samples
    are dealt one at a time to the stratum that has the fewest for its share, the top one having twice the share of the
    others, and one that is used up gets no more (D'Hondt's method). Within a stratum the draw is without replacement.

    Args:
        scores: (A,) or (A, S), higher is better, finite.
        num_samples: n, at least 1; from A on everything is taken.
        seed: of the draws.

    Returns:
        Indices (n,) in ascending order, and weights (n,): the stratum's size over the samples drawn in it.

    Raises:
        ValueError: a score is not finite, or `num_samples` is below 1.
    """
    means = mean_over_seeds(check_scores(scores, "the"))
    if num_samples < 1:
        raise ValueError(f"num_samples={num_samples} draws nothing; give at least 1")
    if num_samples >= len(means):
        return np.arange(len(means)), np.ones(len(means))
    strata = np.array_split(np.argsort(means, kind="stable"), min(NUM_STRATA, num_samples))
    sizes = np.array([len(stratum) for stratum in strata])
    drawn = _deal(sizes, num_samples)
    rng = np.random.default_rng(seed)
    indices = np.concatenate(
        [rng.choice(stratum, count, replace=False) for stratum, count in zip(strata, drawn, strict=True)]
    )
    weights = np.repeat(sizes / drawn, drawn)
    order = np.argsort(indices)
    return indices[order], weights[order]


def correct_range_restriction(proxy: ArrayLike, chosen: ArrayLike, truth: ArrayLike, *, seed: int = 0) -> Estimate:
    """Spearman correlation over the whole space when only architectures chosen by their proxy scores have a truth.

    Thorndike's case 2 (1949, Personnel Selection, chapter 6): with r the Pearson correlation among the chosen and u the
    proxy's standard deviation over the whole space divided by that among the chosen, R = r·u / sqrt(1 + r²·(u² - 1)).

    1. It is applied to normal scores: the proxy's over the whole space, the truth's among the chosen.
    2. R becomes Spearman's by 6/pi·asin(R/2), as for a bivariate normal distribution.
    3. The interval is that of `correlate` for r, both ends corrected likewise: u counts as known.

    It assumes that in normal scores the truth is linear in the proxy with the same spread everywhere, and that the
    proxy itself did the choosing. Where all are chosen the value is that of `correlate`. Simulated for 720 bivariate
    normal scores whose rho is 0.76 (mean ± standard deviation of 400 estimates, mean width of the interval): top half
    0.75 ± 0.03, 0.13; top fifth 0.75 ± 0.05, 0.25; top 5 % 0.70 ± 0.18, 0.85, which says little more than the sign.

    Args:
        proxy: (A,) or (A, S) scores of the whole space.
        chosen: (n,) different indices of those with a truth.
        truth: (n,) or (n, S) scores of these.
        seed: of `correlate`.

    Raises:
        ValueError: a score is not finite, or `chosen` are no n different indices.
    """
    x, y = mean_over_seeds(check_scores(proxy, "proxy")), mean_over_seeds(check_scores(truth, "truth"))
    indices = _check_indices(chosen, len(x), len(y))
    if len(indices) == len(x):
        return correlate(x[indices], y, seed=seed)
    if reason := why_undefined({"chosen proxy": x[indices], "truth": y}):
        return Estimate(None, None, None, len(indices), note=reason)
    whole = normal_scores(x)
    u = float(whole.std() / whole[indices].std())
    jackknifed = _pearson(whole[indices], normal_scores(y))
    low, high = correlation_interval("spearman", jackknifed, np.ones(len(indices)))
    value, low, high = _to_spearman(_case_2(np.array([jackknifed[0], low, high]), u)).tolist()
    note = "assumes that normal scores of truth and proxy are linear with equal spread, and choice by this proxy"
    if 1 / u < NARROW:
        note += f"; the chosen span {1 / u:.0%} of the proxy's spread: mostly assumption"
    return Estimate(value, low, high, len(indices), note=note)


def _deal(sizes: NDArray[np.intp], total: int) -> NDArray[np.intp]:
    """How many samples each stratum gets, the last one being the top."""
    shares = np.ones(len(sizes))
    shares[-1] = TOP_SHARE
    drawn = np.zeros(len(sizes), dtype=np.intp)
    for _ in range(total):
        drawn[np.argmax(np.where(drawn < sizes, shares / (drawn + 1), 0))] += 1
    return drawn


def _check_indices(chosen: ArrayLike, num_archs: int, num_truths: int) -> NDArray[np.intp]:
    indices = np.asarray(chosen, dtype=np.intp)
    if indices.shape != (num_truths,):
        raise ValueError(f"chosen must name the architecture of each of {num_truths} truths, not be {indices.shape}")
    if len(np.unique(indices)) < len(indices) or not ((indices >= 0) & (indices < num_archs)).all():
        raise ValueError(f"chosen must be different indices from 0 to {num_archs - 1}")
    return indices


def _pearson(x: Array, y: Array) -> Jackknifed:
    """Pearson correlation of (n,) values, with all and with all but one of them."""
    x, y = x - x.mean(), y - y.mean()
    spare = len(x) / (len(x) - 1)
    moments = [(a @ b, a @ b - spare * a * b) for a, b in ((x, y), (x, x), (y, y))]
    of_all, of_others = zip(*moments, strict=True)
    return float(cosine(*np.atleast_2d(of_all).T)[0]), cosine(*of_others)


def _case_2(correlations: Array, u: float) -> Array:
    corrected: Array = correlations * u / np.sqrt(1 + correlations**2 * (u**2 - 1))
    return corrected


def _to_spearman(correlations: Array) -> Array:
    """Spearman's rho of a bivariate normal distribution with these Pearson correlations (Pearson 1907)."""
    rho: Array = 6 / np.pi * np.arcsin(correlations / 2)
    return rho
