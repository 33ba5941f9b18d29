"""Two proxies, or two methods with several sets each, judged by one truth: which of them ranks better?

Notation: A architectures, R sets of one method, w weights that sum to W.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from nasproxy.ranking.correlation import why_undefined
from nasproxy.ranking.estimate import CONFIDENCE, Estimate
from nasproxy.ranking.jackknife import effective_size, spearman_value
from nasproxy.ranking.scores import Array, check_sets, check_weights
from nasproxy.ranking.sets import SetNoise
from nasproxy.ranking.swapping import swap_terms

MIN_ARCHS = 8
"""Fewest architectures that an interval is given for."""
NUM_SUBSETS = 9999
"""Subsets drawn: p-values are multiples of 0.0002."""
ROUNDING = 1e-12
"""Contributions up to this are rounding: the proxies rank an architecture alike."""


@dataclass(frozen=True)
class Difference(Estimate):
    """What one correlation is above another."""

    p_value: float | None = None
    """Two-sided, of the hypothesis that they are equal; below 0.05 just where the interval excludes 0."""
    adjusted_p_value: float | None = None
    """The same for all pairs that were looked at together (`adjust_p_values`); None: nobody said which."""

    @property
    def is_sure(self) -> bool:
        """Whether the correlations differ, at 5 % for all pairs that were looked at together."""
        p_value = self.p_value if self.adjusted_p_value is None else self.adjusted_p_value
        return p_value is not None and p_value < 1 - CONFIDENCE


def compare_correlations(
    first: ArrayLike, second: ArrayLike, truth: ArrayLike, *, weights: ArrayLike | None = None, seed: int = 0
) -> Difference:
    """Spearman of the first proxy with the truth minus that of the second, on the same architectures.

    The test is a permutation test: where both proxies are equally good, an architecture's ranks by the two may be
    swapped. Its null distribution is that of the difference over random swaps, with all ranks taken anew. This
    difference is a sum over architectures of which a swap turns the sign (`swap_terms`), so the interval is the 2.5 and
    97.5 % quantiles of the means over random subsets of the architectures (Hartigan 1969, Journal of the American
    Statistical Association 64: typical values); it excludes 0 just where p < 0.05. Deviation 1: quantiles are
    sqrt(A / (A - 3)) times as far from the value, because both proxies' ranks are made to span the same scale.

    Simulated level for two equally good proxies (n = 20, 36, 60; 1,000 draws each, none of which the test was chosen
    by): 3.6 to 5.2 % for normal scores, 2.6 to 5.7 % with 5 % of the architectures misjudged, heavy tails, or noise
    that grows or falls with quality, where normal quantiles of a jackknife on Fisher's z scale have up to 15 %. A proxy
    of even noise beside one of equal rho that misjudges a few architectures grossly cannot be swapped with it: 7, 15
    and 16 %; beside one of heavy tails 6 to 8 %. See `python -m benchmarks.statistics differences unlike --seed 1`.

    Args:
        first: (A,) or (A, S) scores, higher is better, finite.
        second: the same for the second proxy.
        truth: the same for the truth.
        weights: as in `correlate`.
        seed: of the subsets.

    Raises:
        ValueError: as in `correlate`.
    """
    return compare_methods([first], [second], truth, weights=weights, seed=seed)


def compare_methods(
    first: Sequence[ArrayLike],
    second: Sequence[ArrayLike],
    truth: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    noise: SetNoise | None = None,
    are_drawn: tuple[bool, bool] = (True, True),
    fit_errors: tuple[float, float] = (0.0, 0.0),
    seed: int = 0,
) -> Difference:
    """Mean Spearman of the first method's sets with the truth minus that of the second's.

    As `compare_correlations`; a swap is that of the means over all pairs of sets. Where `noise` is given, the
    distribution is spread by what other sets of both methods would change: a normal of variance v (1/R1 + 1/R2), with v
    drawn from what is known of the variance between sets (`SetNoise.draw_variances`). What other fits would change is
    another normal, of the errors of fits times 1 - rho².

    Args:
        first: for each of R1 sets (A,) or (A, S) scores, higher is better, finite.
        second: the same for R2 sets of the second method.
        truth: (A,) or (A, S) scores.
        weights: as in `correlate`.
        noise: of the sets; None: the statement is of these sets alone.
        are_drawn: whether each method's sets are draws, to which `noise` applies; what a formula gives is not.
        fit_errors: of each method, on Fisher's z scale (`FittedCombination.error`); 0: it is not fitted.
        seed: of every draw.

    Raises:
        ValueError: as in `correlate`; a method has no sets.
    """
    (one, y), (other, _) = (check_sets(sets, truth) for sets in (first, second))
    w = check_weights(weights, len(y))
    named = {"first proxy's": one, "second proxy's": other}
    known = {name: scores for name, sets in named.items() for scores in sets if np.ptp(scores) == 0} | {"truth": y}
    if reason := why_undefined(known):
        return Difference(None, None, None, len(y), note=reason)
    correlations = [_mean_correlation(sets, y, w) for sets in (one, other)]
    value = correlations[0] - correlations[1]
    terms = np.mean([swap_terms(a, b, y, w) for a in one for b in other], axis=0)
    if not np.abs(terms).max() > ROUNDING:
        value, terms = 0.0, np.zeros(len(y))
    if len(y) < MIN_ARCHS:
        return Difference(value, None, None, len(y), note=f"{len(y)} architectures: too few for an interval")
    rng, size = np.random.default_rng(seed), effective_size(w)
    draws = _subset_means(terms, w, rng)
    draws = value + (draws - value) * np.sqrt(size / (size - 3))
    if noise is not None:
        variances = noise.draw_variances(len(draws), rng) * (are_drawn[0] / len(one) + are_drawn[1] / len(other))
        draws += np.sqrt(variances) * rng.normal(size=len(draws))
    if any(fit_errors):
        by_fit = np.asarray(fit_errors) * (1 - np.square(correlations))
        draws += np.linalg.norm(by_fit) * rng.normal(size=len(draws))
    p_value = min(2 * (1 + min(int((draws <= 0).sum()), int((draws >= 0).sum()))) / (len(draws) + 1), 1.0)
    outside = int(np.ceil((1 - CONFIDENCE) / 2 * (len(draws) + 1))) - 2  # so that it excludes 0 just where p < 0.05
    draws.sort()
    low, high = np.clip([draws[outside], draws[-1 - outside]], -2, 2).tolist()
    return Difference(value, min(low, value), max(high, value), len(y), p_value=p_value)


def adjust_p_values(p_values: Sequence[float]) -> list[float]:
    """p-values for the family of all of them (Holm 1979, Scandinavian Journal of Statistics 6): the chance that any
    true hypothesis is rejected at 5 % is at most 5 %, however the tests depend on each other.
    """
    order = np.argsort(p_values, kind="stable")
    raised = np.asarray(p_values, dtype=float)[order] * np.arange(len(order), 0, -1)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(raised), 1)
    values: list[float] = adjusted.tolist()
    return values


def _mean_correlation(sets: Sequence[Array], truth: Array, weights: Array) -> float:
    return float(np.mean([spearman_value(scores, truth, weights) for scores in sets]))


def _subset_means(terms: Array, weights: Array, rng: np.random.Generator) -> Array:
    """For random subsets of architectures: the difference that they would give for all."""
    subsets = rng.integers(2, size=(NUM_SUBSETS, len(terms)), dtype=np.int8).astype(np.float64)
    shares = subsets @ (weights / weights.sum())
    means: Array = (subsets @ terms)[shares > 0] / shares[shares > 0]
    return means
