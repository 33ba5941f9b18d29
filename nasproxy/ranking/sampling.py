"""Which architectures to give a truth."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nasproxy.ranking.scores import check_scores, mean_over_seeds
from nasproxy.seeding import derive_seed

NUM_STRATA = 5
TOP_SHARE = 2.0
"""Of the top stratum; 1 of each other one. The best architectures matter most."""


def sample_stratified(
    scores: ArrayLike, num_samples: int, *, seed: int = 0
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """A random sample of architectures that holds good and bad ones, and more of the best.

    Strata are fifths by score (equal scores in their given order; single architectures where there are fewer than
    five). Samples are dealt one at a time to the stratum that has the fewest for its share, the top one having twice
    the share of the others, and one that is used up gets no more (D'Hondt's method). Within a stratum they are taken in
    the order of one permutation of it, whose seed derives from its number. So samples are nested: the first k of a
    larger one are the sample of k. With fewer than five samples some strata have none; each of these counts with the
    next one above it that has some.

    Args:
        scores: (A,) or (A, S), higher is better, finite.
        num_samples: n, at least 1; from A on everything is taken.
        seed: of the draws.

    Returns:
        Indices (n,) in the order in which they are drawn, and weights (n,), which sum to A: the stratum's size over the
        samples drawn in it.

    Raises:
        ValueError: a score is not finite, or `num_samples` is below 1.
    """
    means = mean_over_seeds(check_scores(scores, "the"))
    if num_samples < 1:
        raise ValueError(f"num_samples={num_samples} draws nothing; give at least 1")
    strata = np.array_split(np.argsort(means, kind="stable"), min(NUM_STRATA, len(means)))
    sizes = np.array([len(stratum) for stratum in strata])
    dealt = _deal(sizes, min(num_samples, len(means)))
    shuffled = [
        iter(np.random.default_rng(derive_seed(seed, "stratum", number)).permutation(stratum))
        for number, stratum in enumerate(strata)
    ]
    indices = np.array([next(shuffled[number]) for number in dealt], dtype=np.intp)
    drawn = np.bincount(dealt, minlength=len(strata))
    sampled = np.flatnonzero(drawn)  # the top stratum is always one of them
    stands_for = np.bincount(sampled[np.searchsorted(sampled, np.arange(len(strata)))], sizes)
    return indices, stands_for[dealt] / drawn[dealt]


def _deal(sizes: NDArray[np.intp], total: int) -> NDArray[np.intp]:
    """(total,): number of the stratum that each sample is of, the last one being the top."""
    shares = np.ones(len(sizes))
    shares[-1] = TOP_SHARE
    drawn = np.zeros(len(sizes), dtype=np.intp)
    dealt = np.empty(total, dtype=np.intp)
    for place in range(total):
        dealt[place] = np.argmax(np.where(drawn < sizes, shares / (drawn + 1), 0))
        drawn[dealt[place]] += 1
    return dealt
