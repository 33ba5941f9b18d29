"""Training-free scores of an architecture: the registry, and scoring over seeds and batches.

They are the baseline that a condensed proxy has to beat to be worth its cost. A score is a function of a freshly
initialised net and a few batches of training images, not augmented. For every score, higher is predicted to be better.

Notation: S seeds (initialisations), B batches per seed, N images per batch.
"""

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from nasproxy.device import synchronize
from nasproxy.images import ImageSet, make_generator
from nasproxy.scoring.batch import Batch
from nasproxy.scoring.blocks import az_expressivity, az_progressivity, az_trainability
from nasproxy.scoring.costs import Costs, count_flops, count_params, measure_costs
from nasproxy.scoring.gradients import fisher, grad_norm, grasp, snip, synflow, zico
from nasproxy.scoring.separation import jacob_cov, naswot
from nasproxy.seeding import derive_seed
from nasproxy.space import Arch
from nasproxy.training import make_candidate, seeded_torch


@dataclass(frozen=True)
class TrainingFreeScore:
    """A score, and how much of the training set it uses."""

    function: Callable[[nn.Module, Sequence[Batch]], float]
    """Function of a net in training mode and of batches; it may modify both."""
    summary: str
    paper: str
    batch_size: int = 64
    """N."""
    num_batches: int = 1
    """B; 0 where only the image shape matters: the score gets one blank image."""
    count: Callable[[Costs], int] | None = None
    """The same score from what an architecture costs: no net of it is made, nothing is computed."""

    @property
    def is_counted(self) -> bool:
        """Whether nothing is computed."""
        return self.count is not None

    def __call__(self, net: nn.Module, batches: Sequence[Batch]) -> float:
        """The score of a fresh net; higher is better. Net and batches are not modified.

        Returns:
            A float that may be infinite or NaN: such an architecture has no score.
        """
        own = [Batch(batch.images.clone(), batch.labels) for batch in batches]
        with torch.enable_grad():
            return float(self.function(copy.deepcopy(net).train(), own))

    def draw_images(self, images: ImageSet, num_seeds: int, seed: int) -> ImageSet:
        """The S * B * N random images (at most the whole set) for S seeds: the same for every architecture."""
        count = self._batch_size(images) * self.num_batches * num_seeds
        order = torch.randperm(len(images), generator=make_generator(seed, "training-free"))
        return images.subset(order[:count].to(images.device))

    def batches(self, drawn: ImageSet, repeat: int) -> list[Batch]:
        """The B batches of seed number `repeat`, taken from the result of `draw_images`; no batch has an image twice.

        Where the training set is too small, batches shrink first, then seeds share images.
        """
        if self.num_batches == 0:
            return [Batch(torch.zeros(1, *drawn.image_shape, device=drawn.device), drawn.labels.new_zeros(1))]
        size = self._batch_size(drawn)
        first = repeat * size * self.num_batches
        index = torch.arange(first, first + size * self.num_batches, device=drawn.device) % len(drawn)
        return [Batch(drawn.normalized(part), drawn.labels[part]) for part in index.split(size)]

    def _batch_size(self, images: ImageSet) -> int:
        return min(self.batch_size, len(images) // max(self.num_batches, 1))


def score_nets(
    score: TrainingFreeScore, arch: Arch, drawn: ImageSet, *, num_seeds: int, seed: int
) -> tuple[tuple[float, ...], float]:
    """Scores S fresh nets of an architecture: those that `train_seeds` would train.

    Args:
        score: the score.
        arch: the architecture.
        drawn: result of `TrainingFreeScore.draw_images`, on the device to compute on.
        num_seeds: S.
        seed: every draw derives from (seed, arch.id, number of the net); images from the seed alone.

    Returns:
        S scores, possibly not finite, and the seconds they took, excluding the construction of the nets.

    Raises:
        ArchError: the architecture does not fit the images, or its net returns anything but logits (N, K).
    """
    if score.count is not None:
        started = time.perf_counter()
        counted = float(score.count(measure_costs(arch, drawn.image_shape, drawn.num_classes)))
        return (counted,) * num_seeds, time.perf_counter() - started
    scores, seconds = [], 0.0
    for repeat in range(num_seeds):
        net = make_candidate(arch, drawn, derive_seed(seed, arch.id, repeat, "init"))
        batches = score.batches(drawn, repeat)
        synchronize(drawn.device)
        started = time.perf_counter()
        with seeded_torch(derive_seed(seed, arch.id, repeat, "torch"), drawn.device):
            scores.append(score(net, batches))
        synchronize(drawn.device)
        seconds += time.perf_counter() - started
    return tuple(scores), seconds


def _mean_over_batches(function: Callable[[nn.Module, Batch], float]) -> Callable[[nn.Module, Sequence[Batch]], float]:
    return lambda net, batches: sum(function(net, batch) for batch in batches) / len(batches)


SCORES: dict[str, TrainingFreeScore] = {
    "params": TrainingFreeScore(
        lambda net, batches: count_params(net),
        "number of parameters",
        "a count",
        num_batches=0,
        count=lambda costs: costs.num_params,
    ),
    "flops": TrainingFreeScore(
        lambda net, batches: count_flops(net, batches[0].images),
        "FLOPs of the forward pass of one image",
        "a count",
        num_batches=0,
        count=lambda costs: costs.flops,
    ),
    "grad_norm": TrainingFreeScore(
        _mean_over_batches(grad_norm),
        "sum of the norms of the weights' gradients",
        "Abdelfattah et al., ICLR 2021",
    ),
    "snip": TrainingFreeScore(
        _mean_over_batches(snip),
        "sum of |gradient * weight|",
        "Lee et al., ICLR 2019; Abdelfattah et al., ICLR 2021",
    ),
    "grasp": TrainingFreeScore(
        _mean_over_batches(grasp),
        "sum of -(Hessian * gradient) * weight",
        "Wang et al., ICLR 2020; Abdelfattah et al., ICLR 2021",
    ),
    "fisher": TrainingFreeScore(
        _mean_over_batches(fisher),
        "sum over channels of (activation * its gradient)^2",
        "Theis et al., arXiv 1801.05787; Turner et al., ICLR 2020",
    ),
    "synflow": TrainingFreeScore(
        _mean_over_batches(synflow),
        "log of the sum of |gradient * parameter| of the net with positive parameters, without data",
        "Tanaka et al., NeurIPS 2020; Abdelfattah et al., ICLR 2021",
        num_batches=0,
    ),
    "jacob_cov": TrainingFreeScore(
        _mean_over_batches(jacob_cov),
        "how little the images' Jacobians correlate",
        "Mellor et al., arXiv 2006.04647v1; Abdelfattah et al., ICLR 2021",
    ),
    "naswot": TrainingFreeScore(
        _mean_over_batches(naswot),
        "log-determinant of how much the images' activation codes agree",
        "Mellor et al., ICML 2021",
        batch_size=128,
    ),
    "zico": TrainingFreeScore(
        zico,
        "sum over layers of the log of mean / deviation of gradients between batches",
        "Li et al., ICLR 2023",
        num_batches=2,
    ),
    "az_expressivity": TrainingFreeScore(
        _mean_over_batches(az_expressivity),
        "entropy of the principal components of the blocks' maps, summed",
        "Lee & Ham, CVPR 2024",
        num_batches=0,
    ),
    "az_progressivity": TrainingFreeScore(
        _mean_over_batches(az_progressivity),
        "the least that this entropy grows from a block to the next",
        "Lee & Ham, CVPR 2024",
        num_batches=0,
    ),
    "az_trainability": TrainingFreeScore(
        _mean_over_batches(az_trainability),
        "how little blocks shrink or blow up gradients",
        "Lee & Ham, CVPR 2024",
        num_batches=0,
    ),
}
"""Training-free scores by name. To add one: its function in a module of this package, and a line here."""
