"""How long a search or a condensation will take here: a few steps are timed, the rest is multiplication."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch

from nasproxy.condensing import METHODS, condense
from nasproxy.config import CondenseSettings, RecipeSettings
from nasproxy.images import ImageData, ImageSet
from nasproxy.nets.zoo import parse_net
from nasproxy.proxies import PROXIES
from nasproxy.runs.pieces import Condensing, Experiment, Piece, Searching
from nasproxy.scoring import SCORES, TrainingFreeScore, measure_costs
from nasproxy.searching.cluster import plan_workforce
from nasproxy.space import Arch
from nasproxy.training import train_seeds

PROBE_BATCH = 50
PROBE_STEPS = 2
PROBE_FLOPS = 5e9
"""Forward pass and gradients of a step at most: larger nets get fewer images."""
MIN_PROBE_BATCH = 8
PROBE_CLASSES = 2
"""Classes that condensing is timed on: its steps work class by class."""
QUANTILES = (0.1, 0.5, 0.9)
"""Of the FLOPs of the architectures that are timed."""
FORWARD_SHARE = 1 / 3
"""Of the time of a training step that its forward pass takes: what measuring an image costs."""


@dataclass(frozen=True)
class Speed:
    """Seconds of one worker to train one image once, by the FLOPs of the architecture."""

    flops: tuple[float, ...]
    seconds: tuple[float, ...]

    @classmethod
    def measure(cls, sizes: Mapping[Arch, float], train: ImageSet, recipe: RecipeSettings, *, num_threads: int) -> Self:
        """Trains a small, a middling and a large one of the architectures for two steps.

        Args:
            sizes: FLOPs of each architecture.
            train: training images; few of them are used.
            recipe: how nets are trained.
            num_threads: CPU threads of a worker.
        """
        by_size = sorted(sizes, key=lambda arch: sizes[arch])
        chosen = dict.fromkeys(by_size[round(quantile * (len(by_size) - 1))] for quantile in QUANTILES)
        threads = torch.get_num_threads()
        torch.set_num_threads(num_threads)
        try:
            points = {sizes[arch]: _seconds_per_image(arch, sizes[arch], train, recipe) for arch in chosen}
        finally:
            torch.set_num_threads(threads)
        return cls(tuple(points), tuple(points.values()))

    def seconds_per_image(self, flops: float) -> float:
        """Between the measured sizes on a straight line of logarithms, beyond them in proportion to the FLOPs."""
        nearest = min(max(flops, self.flops[0]), self.flops[-1])
        middle = np.interp(math.log(nearest), np.log(self.flops), np.log(self.seconds))
        return float(np.exp(middle)) * flops / nearest


@dataclass(frozen=True)
class Estimates:
    """How long the pieces of a comparison take."""

    speed: Speed
    experiment: Experiment
    num_workers: int

    @classmethod
    def measure(cls, experiment: Experiment) -> Self:
        """By the speed of training some of its architectures on its images."""
        workforce = plan_workforce(experiment.config.machine)
        sizes, threads = _flops_of(experiment), workforce.threads_per_worker
        speed = Speed.measure(sizes, experiment.data.train, experiment.config.recipe, num_threads=threads)
        return cls(speed, experiment, workforce.num_workers or 1)

    def of(self, piece: Piece) -> float:
        """Wall seconds of a piece of work from its start, all workers of this machine at it."""
        if isinstance(piece, Condensing):
            return self.of_condensing(piece.config.condense)
        assert isinstance(piece, Searching)
        if piece.is_at_hand:
            return 0.0
        per_seed = self.of_scoring(SCORES[piece.proxy]) if piece.proxy in SCORES else self.of_training(piece)
        return per_seed * piece.num_seeds / self.num_workers

    def of_training(self, piece: Searching) -> float:
        """Seconds of one worker to train and measure one seed of every architecture."""
        data, recipe = self.experiment.data, piece.recipe
        num_images = len(data.train) if piece.proxy in PROXIES else self.experiment.num_proxy_images
        per_epoch = -(-num_images // recipe.batch_size)
        trained = (recipe.steps or recipe.epochs * per_epoch) * num_images / per_epoch
        return self._of_images(trained + FORWARD_SHARE * (len(data.val) + len(data.test)))

    def of_scoring(self, score: TrainingFreeScore) -> float:
        """Seconds of one worker to score one net of every architecture: as a training step on as many images."""
        return self._of_images(score.batch_size * max(score.num_batches, 1))

    def _of_images(self, num_images: float) -> float:
        return num_images * sum(map(self.speed.seconds_per_image, _flops_of(self.experiment).values()))

    def of_condensing(self, settings: CondenseSettings) -> float:
        """Seconds to make a proxy set, without the speed-up that a long condensation measures for itself."""
        data, num_steps = self.experiment.data, METHODS[settings.method].num_steps(settings)
        if not settings.steps:  # selected images: a net may be trained on all of them
            embedding_net = parse_net(settings.embedding_net, data.image_shape)
            return (
                num_steps
                * len(data.train)
                * self.speed.seconds_per_image(measure_costs(embedding_net, data.image_shape, data.num_classes).flops)
            )
        few = [1, 3] if num_steps > 3 else [0, num_steps]
        quick = {"engine": "eager-float32-64", "embedding_weights": "random"}
        part = _of_few_classes(data)
        short, longer = (
            condense(part, settings=settings.model_copy(update={"steps": steps, **quick})).seconds for steps in few
        )
        per_step = max(longer - short, 0.0) / max(few[1] - few[0], 1)
        return per_step * num_steps * data.num_classes / part.num_classes


def _seconds_per_image(arch: Arch, flops: float, train: ImageSet, recipe: RecipeSettings) -> float:
    """Seconds per image; the first run is warm-up."""
    affordable = max(round(PROBE_FLOPS * FORWARD_SHARE / max(flops, 1)), MIN_PROBE_BATCH)
    count = min(PROBE_BATCH, affordable, len(train))
    images = train.subset(torch.arange(count, device=train.device))
    for steps in (1, PROBE_STEPS):
        probe = recipe.model_copy(update={"steps": steps, "batch_size": count})
        seconds = train_seeds(arch, images, probe, val=None, test=images, num_seeds=1, seed=0).train_seconds
    return seconds / (PROBE_STEPS * count)


def _of_few_classes(data: ImageData) -> ImageData:
    """The same data with its first classes only."""
    classes = data.train.classes[:PROBE_CLASSES]

    def part(images: ImageSet) -> ImageSet:
        return replace(images.subset(torch.nonzero(images.labels < len(classes))[:, 0]), classes=classes)

    return replace(data, train=part(data.train), val=part(data.val), test=part(data.test))


def _flops_of(experiment: Experiment) -> dict[Arch, int]:
    """FLOPs of a forward pass of the architectures that take the images, where they can be counted."""
    return {arch: costs.flops for arch in experiment.archs if (costs := experiment.costs.of.get(arch.id)) is not None}
