"""Several sets of one method: each is one draw of what the method makes.

Notation: A architectures, R sets of one method.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike

from nasproxy.ranking.correlation import why_undefined
from nasproxy.ranking.estimate import Estimate
from nasproxy.ranking.jackknife import spearman, spearman_value, t_interval
from nasproxy.ranking.scores import Array, check_sets, check_weights
from nasproxy.ranking.swapping import swap_terms


@dataclass(frozen=True)
class SetNoise:
    """How much Spearman's correlation differs between sets of one method, pooled over methods with several sets."""

    variance: float
    """Between the correlations of sets of one method, on the same architectures (divided by R - 1)."""
    sampling_variance: float
    """The part of it that the draw of the architectures, and seeds of nets, explain: it would be there if all sets were
    equally good."""
    num_free: int
    """Degrees of freedom: sum over methods of R - 1."""

    @property
    def net_variance(self) -> float:
        """Of the correlation that a set would have over all architectures."""
        return max(self.variance - self.sampling_variance, 0.0)

    @property
    def deviation(self) -> float:
        """Standard deviation from set to set, net of the draw of the architectures."""
        return float(np.sqrt(self.net_variance))

    def draw_variances(self, count: int, rng: np.random.Generator) -> Array:
        """Net variances that agree with what was seen: variance · degrees of freedom / chi², less the sampling part."""
        drawn: Array = self.variance * self.num_free / rng.chisquare(self.num_free, count)
        return np.maximum(drawn - self.sampling_variance, 0)


def set_noise(
    methods: Sequence[Sequence[ArrayLike]], truth: ArrayLike, *, weights: ArrayLike | None = None
) -> SetNoise | None:
    """The noise from set to set, pooled over methods; None where no method has two sets with a correlation.

    The sampling part is half the variance of the difference of two sets' correlations over random swaps of their ranks
    (`swap_terms`), the mean over pairs of sets.

    Args:
        methods: for each method (A,) or (A, S) scores of each of its sets, higher is better, finite.
        truth: (A,) or (A, S) scores.
        weights: as in `correlate`.

    Raises:
        ValueError: as in `correlate`; a method has no sets.
    """
    squares, sampling, num_free = 0.0, 0.0, 0
    for given in methods:
        sets, y = check_sets(given, truth)
        w = check_weights(weights, len(y))
        if len(sets) < 2 or any(why_undefined({"proxy": x, "truth": y}) for x in sets):
            continue
        spare = len(sets) - 1
        squares += spare * float(np.var([spearman_value(x, y, w) for x in sets], ddof=1))
        pairs = [float((swap_terms(a, b, y, w) ** 2).sum()) for a, b in combinations(sets, 2)]
        sampling += spare * float(np.mean(pairs)) / 2
        num_free += spare
    return SetNoise(squares / num_free, sampling / num_free, num_free) if num_free else None


def correlate_sets(
    sets: Sequence[ArrayLike], truth: ArrayLike, *, weights: ArrayLike | None = None, noise: SetNoise | None = None
) -> Estimate:
    """Mean over sets of their Spearman correlation with the truth: what the method can be expected to give.

    The interval is that of `correlate` for the mean correlation. Where `noise` is given, its squared standard error has
    that of R sets added, and its quantile is that of Student's t with Satterthwaite's degrees of freedom: it is then
    about other sets of the method as well.

    Args:
        sets: for each of R sets (A,) or (A, S) scores, higher is better, finite.
        truth: (A,) or (A, S) scores.
        weights: as in `correlate`.
        noise: from set to set; None: the interval is of these sets alone.

    Raises:
        ValueError: as in `correlate`; there are no sets.
    """
    means, y = check_sets(sets, truth)
    w = check_weights(weights, len(y))
    for x in means:
        if reason := why_undefined({"proxy": x, "truth": y}):
            return Estimate(None, None, None, len(y), note=reason)
    jackknifed = [spearman(x, y, w) for x in means]
    value, without = float(np.mean([of_all for of_all, _ in jackknifed])), np.mean([j for _, j in jackknifed], axis=0)
    extra, num_free = (0.0, 1) if noise is None else (noise.net_variance / len(means), noise.num_free)
    return Estimate(value, *t_interval((value, without), w, extra, num_free), len(y))
