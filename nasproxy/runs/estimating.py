"""How long a search or a condensation will take here: a few steps are timed, the rest is multiplication."""

from dataclasses import dataclass, replace
from typing import Self

import torch

from nasproxy.condensing import METHODS, condense
from nasproxy.config import CondenseSettings
from nasproxy.images import ImageData, ImageSet
from nasproxy.nets.zoo import parse_net
from nasproxy.proxies import PROXIES
from nasproxy.runs.pieces import Condensing, Experiment, Piece, Searching
from nasproxy.runs.speed import FORWARD_SHARE, Speed
from nasproxy.scoring import SCORES, TrainingFreeScore, measure_costs
from nasproxy.searching.cluster import plan_workforce
from nasproxy.space import Arch

PROBE_CLASSES = 2
"""Classes that condensing is timed on: its steps work class by class."""


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


def _of_few_classes(data: ImageData) -> ImageData:
    """The same data with its first classes only."""
    classes = data.train.classes[:PROBE_CLASSES]

    def part(images: ImageSet) -> ImageSet:
        return replace(images.subset(torch.nonzero(images.labels < len(classes))[:, 0]), classes=classes)

    return replace(data, train=part(data.train), val=part(data.val), test=part(data.test))


def _flops_of(experiment: Experiment) -> dict[Arch, int]:
    """FLOPs of a forward pass of the architectures that take the images, where they can be counted."""
    return {arch: costs.flops for arch in experiment.archs if (costs := experiment.costs.of.get(arch.id)) is not None}
