"""Which architectures to give a truth."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nasproxy.ranking.scores import check_scores, mean_over_seeds

NUM_STRATA = 5
TOP_SHARE = 2.0
"""Of the top stratum; 1 of each other one. The best architectures matter most."""


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


def _deal(sizes: NDArray[np.intp], total: int) -> NDArray[np.intp]:
    """How many samples each stratum gets, the last one being the top."""
    shares = np.ones(len(sizes))
    shares[-1] = TOP_SHARE
    drawn = np.zeros(len(sizes), dtype=np.intp)
    for _ in range(total):
        drawn[np.argmax(np.where(drawn < sizes, shares / (drawn + 1), 0))] += 1
    return drawn
