"""How fast this machine trains the architectures of a space: a few steps are timed."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch

from nasproxy.config import RecipeSettings
from nasproxy.device import computing_with
from nasproxy.images import ImageSet
from nasproxy.space import Arch
from nasproxy.training import train_seeds

PROBE_BATCH = 50
PROBE_STEPS = 2
PROBE_FLOPS = 5e9
"""Forward pass and gradients of a step at most: larger nets get fewer images."""
MIN_PROBE_BATCH = 8
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
        with computing_with(num_threads):
            points = {sizes[arch]: _seconds_per_image(arch, sizes[arch], train, recipe) for arch in chosen}
        return cls(tuple(points), tuple(points.values()))

    def seconds_per_image(self, flops: float) -> float:
        """Between the measured sizes on a straight line of logarithms, beyond them in proportion to the FLOPs."""
        nearest = min(max(flops, self.flops[0]), self.flops[-1])
        middle = np.interp(math.log(nearest), np.log(self.flops), np.log(self.seconds))
        return float(np.exp(middle)) * flops / nearest


def _seconds_per_image(arch: Arch, flops: float, train: ImageSet, recipe: RecipeSettings) -> float:
    """Seconds per image; the first run is warm-up."""
    affordable = max(round(PROBE_FLOPS * FORWARD_SHARE / max(flops, 1)), MIN_PROBE_BATCH)
    count = min(PROBE_BATCH, affordable, len(train))
    images = train.subset(torch.arange(count, device=train.device))
    for steps in (1, PROBE_STEPS):
        probe = recipe.model_copy(update={"steps": steps, "batch_size": count})
        seconds = train_seeds(arch, images, probe, val=None, test=images, num_seeds=1, seed=0).train_seconds
    return seconds / (PROBE_STEPS * count)
