"""Whether accuracies tell architectures apart, given the images and the seeds that they were measured with.

Notation: A architectures, S seeds, n images; y (A, S) accuracies, m (A,) their means over seeds.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from nasproxy.ranking.estimate import Estimate
from nasproxy.ranking.jackknife import QUANTILE
from nasproxy.ranking.population import neighbours_variance
from nasproxy.ranking.scores import Array, check_scores, count_seeds, mean_over_seeds

LEVEL = 0.05
"""Of the tests of equal accuracies."""


@dataclass(frozen=True)
class Resolution:
    """How far architectures differ, beside what they would seem to differ by if they were all alike."""

    num_archs: int
    spread: float
    """Standard deviation (A - 1) of the means over seeds."""
    image_error: float | None
    """Standard error of an accuracy on so many images; None where their number is not known."""
    seed_error: float | None
    """Standard error of a mean over seeds; None where there is one seed."""
    is_within_images: bool
    """Whether the images alone explain the spread, at 5 %."""
    is_within_seeds: bool
    """Whether the seeds alone explain it, at 5 %."""

    @property
    def is_enough(self) -> bool:
        """Whether architectures differ by more than either explains, as far as that is known."""
        return not (self.is_within_images or self.is_within_seeds)


def resolve(accuracies: ArrayLike, num_images: int | None = None) -> Resolution:
    """Compares the spread of accuracies with their noise.

    Of images: `answer_error`, however many seeds there are, because all nets answer the
    same images; (A - 1) spread² / noise² is chi-squared with A - 1 degrees of freedom where all are alike. Of seeds:
    the F test of a one-way analysis of variance. Images that are as hard for one net as for another make the first test
    careful: architectures may differ on these very images by less than it finds.

    Args:
        accuracies: (A,) or (A, S) fractions, finite, NaN at the end of rows with fewer seeds.
        num_images: n that each net was measured on; None where nobody says.

    Raises:
        ValueError: a score is not finite or a shape is wrong.
    """
    values = check_scores(accuracies, "the")
    means = mean_over_seeds(values)
    num_free = len(means) - 1
    if num_free < 1:
        return Resolution(len(means), 0.0, None, None, is_within_images=False, is_within_seeds=False)
    spread, image_error, is_within_images = float(means.std(ddof=1)), None, False
    if num_images:
        image_error = answer_error(means, num_images)
        is_within_images = num_free * spread**2 <= image_error**2 * stats.chi2.isf(LEVEL, num_free)
    seed_error, is_within_seeds = _compare_seeds(values, means)
    return Resolution(len(means), spread, image_error, seed_error, bool(is_within_images), is_within_seeds)


def answer_error(accuracies: ArrayLike, num_images: int) -> float:
    """Standard error of accuracies (A,) on n images: sqrt(mean of m (1 - m) / n)."""
    means = np.asarray(accuracies, dtype=float)
    return float(np.sqrt((means * (1 - means)).mean() / num_images))


def _compare_seeds(values: Array, means: Array) -> tuple[float | None, bool]:
    """Standard error of a mean over seeds, and whether that explains the means."""
    counts = count_seeds(values) if values.ndim == 2 else np.ones(len(values), dtype=int)
    between, within = len(means) - 1, int(counts.sum()) - len(means)
    if not within:
        return None, False
    of_seeds = float(np.nansum((values - means[:, None]) ** 2)) / within
    of_archs = float((counts * (means - np.average(means, weights=counts)) ** 2).sum()) / between
    is_within = of_archs <= of_seeds * stats.f.isf(LEVEL, between, within)
    return float(np.sqrt(of_seeds * (1 / counts).mean())), bool(is_within)


def accuracy_intervals(accuracies: ArrayLike, num_images: int | None = None) -> list[Estimate]:
    """Mean accuracy of each architecture with its 95 % interval for other seeds and other images.

    The variances of both are added: that of seeds (`seed_errors`), and that of n answers, after Agresti & Coull (1998,
    The American Statistician 52). What is not known is left out and noted; where neither is, there is no interval.

    Args:
        accuracies: (A,) or (A, S) fractions, finite, NaN at the end of rows with fewer seeds.
        num_images: n that each net was measured on; None where nobody says.

    Raises:
        ValueError: a score is not finite or a shape is wrong.
    """
    values = check_scores(accuracies, "the")
    means, errors = mean_over_seeds(values), seed_errors(values)
    centres = means
    has_seeds = values.ndim == 2 and bool((count_seeds(values) > 1).any())
    lacking = [] if has_seeds else ["one seed"]
    if num_images:
        centres = (num_images * means + 2) / (num_images + 4)
        errors = np.sqrt(errors**2 + centres * (1 - centres) / (num_images + 4))
    else:
        lacking.append("number of images not known")
    note = ", ".join(lacking) or None
    if len(lacking) == 2:
        return [Estimate(mean, None, None, 1, note=note) for mean in means.tolist()]
    low, high = (
        np.clip(centres - QUANTILE * errors, 0, means),
        np.clip(centres + QUANTILE * errors, means, 1),
    )
    return [Estimate(*ends, 1, note=note) for ends in zip(means.tolist(), low.tolist(), high.tolist(), strict=True)]


def seed_errors(scores: Array) -> Array:
    """(A,) standard errors of the means over seeds; 0 where there is one seed, or no noise."""
    if scores.ndim == 1 or scores.shape[1] == 1 or not len(scores):
        return np.zeros(len(scores))
    errors: Array = np.sqrt(neighbours_variance(scores, mean_over_seeds(scores)) / count_seeds(scores))
    return errors
