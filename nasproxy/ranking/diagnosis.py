"""Whether a few architectures decide a rank correlation: there, its interval promises too much.

Notation: A architectures, B samples, w (A,) weights that sum to W; p, t (A,) normal scores of proxy and truth: normal
quantiles of weighted mid-ranks over W; d = p - t.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from nasproxy.ranking.correlation import why_undefined
from nasproxy.ranking.jackknife import centred_ranks, spearman_value
from nasproxy.ranking.scores import Array, check_pair, check_weights, mean_over_seeds

MIN_ARCHS = 10
"""Fewest architectures that are looked at."""
FEW = 0.05
"""Share of the architectures that are few."""
LEVEL = 0.005
"""So that nine proxies of normal scores together give a false alarm in 5 % of comparisons at most. At ten times that,
alarms are twice as many where intervals cover, and a few per cent more where they do not.
"""
NUM_SAMPLES = 999


@dataclass(frozen=True)
class Diagnosis:
    """How much of what a proxy gets wrong lies with few architectures."""

    share: float | None
    """Of the sum of d² that the worst 5 % of the architectures, rounded up, have; None where it is not looked at."""
    p_value: float | None
    """One-sided: how often normal scores of the same correlation have such a share."""
    value_without: float | None
    """Spearman's rho without those architectures; None also where it is not defined."""
    worst: tuple[int, ...]
    """Their indices, the worst one leading."""

    @property
    def is_carried_by_few(self) -> bool:
        """Whether the share is larger than normal scores explain, at 0.5 %."""
        return self.p_value is not None and self.p_value <= LEVEL


def diagnose(proxy: ArrayLike, truth: ArrayLike, *, weights: ArrayLike | None = None, seed: int = 0) -> Diagnosis:
    """Looks for a few architectures that the proxy misjudges grossly.

    The share is compared with those of 999 samples of bivariate normal scores of the same correlation, which get the
    values of p and t, ties included, in the order of the sample (a parametric bootstrap test). So false alarms are as
    many for any number of architectures and any rho.

    It tells that a sample has such architectures, so that another one may have more or fewer of them; a sample that has
    none is quiet, and its rho is too high. Simulated (n = 20, 36, 60; 300 draws each, `python -m benchmarks.statistics
    coverage --seed 1`): with 5 % misjudged at rho = 0.9, intervals cover 81, 74 and 80 % and alarms are 30, 62 and
    87 %; alarms are 1 % at most for normal scores of rho = 0 to 0.9 (1.5 % in stratified samples of 20 and 60 of 720,
    200 draws), 1 to 9 % where noise grows or falls with quality at rho = 0.9 (5 to 26 % at 0.76). Intervals cover 91 to
    97 % there, so uneven noise as such is not tested for.

    Args:
        proxy: (A,) or (A, S) scores, higher is better, finite; (A, S) is averaged over seeds.
        truth: (A,) or (A, S) scores; S may differ.
        weights: as in `correlate`; d² is weighted as well.
        seed: of the samples.

    Returns:
        No figures where there are fewer than 10 architectures, scores are all equal, or both orders are the same.

    Raises:
        ValueError: shapes differ, a score is not finite, or a weight is not positive.
    """
    x, y = map(mean_over_seeds, check_pair(proxy, truth))
    w = check_weights(weights, len(x))
    if len(x) < MIN_ARCHS or why_undefined({"proxy": x, "truth": y}):
        return Diagnosis(None, None, None, ())
    p, t = _normal_scores(x, w), _normal_scores(y, w)
    if np.allclose(p, t):
        return Diagnosis(None, None, None, ())
    rng, r = np.random.default_rng(seed), 2 * np.sin(np.pi * spearman_value(x, y, w) / 6)
    true, noise = rng.normal(size=(2, NUM_SAMPLES, len(x)))
    shares = _shares(_arranged(p, r * true + np.sqrt(max(1 - r**2, 0.0)) * noise), _arranged(t, true), w)
    share = float(_shares(p, t, w))
    worst = np.argsort(-w * (p - t) ** 2, kind="stable")[: _count_few(len(x))]
    rest = np.delete(np.arange(len(x)), worst)
    is_defined = not why_undefined({"proxy": x[rest], "truth": y[rest]})
    return Diagnosis(
        share,
        float((1 + (shares >= share).sum()) / (NUM_SAMPLES + 1)),
        spearman_value(x[rest], y[rest], w[rest]) if is_defined else None,
        tuple(worst.tolist()),
    )


def _normal_scores(scores: Array, weights: Array) -> Array:
    """(A,)"""
    quantiles: Array = stats.norm.ppf(centred_ranks(scores, weights) / weights.sum() + 0.5)
    return quantiles


def _arranged(values: Array, drawn: Array) -> Array:
    """(B, A): in each row the (A,) values, in the order of the drawn row."""
    arranged: Array = np.sort(values)[drawn.argsort(axis=1).argsort(axis=1)]
    return arranged


def _shares(p: Array, t: Array, weights: Array) -> Array:
    """Of (..., A) normal scores: the share of the sum of w d² that the largest 5 % of its terms have."""
    terms = weights * (p - t) ** 2
    largest = np.sort(terms, axis=-1)[..., -_count_few(len(weights)) :]
    shares: Array = largest.sum(axis=-1) / np.maximum(terms.sum(axis=-1), np.finfo(float).tiny)
    return shares


def _count_few(num_archs: int) -> int:
    return int(np.ceil(FEW * num_archs))
