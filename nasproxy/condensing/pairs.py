"""Real and synthetic images compared at a step, class by class, with the same augmentation.

Notation: K classes (k of them at a time), R real images per class, J synthetic images per class, C channels, H height,
W width.
"""

import torch
from torch import Tensor

from nasproxy.augment import draw_for_classes, parse_strategy
from nasproxy.condensing.state import Task
from nasproxy.images import make_generator


class Pairs:
    """The random draws of a step, made for all classes at once, and the resulting images of some classes."""

    def __init__(self, task: Task) -> None:
        """Raises SettingsError: an unknown augmentation."""
        settings, images = task.settings, task.images
        self._task = task
        self._strategy = parse_strategy(settings.augmentation or "none", flippable=images.flippable)
        self._num_synthetic = (
            task.encoding.items_for(settings.images_per_class, images.image_shape) * task.encoding.tiles
        )

    def draw(self, step: int) -> None:
        """Makes the draws of a step."""
        images, settings = self._task.images, self._task.settings
        generator = make_generator(settings.seed, "pairs", step)
        assert settings.real_batch_size is not None  # complete settings
        self._index = images.sample_classes(settings.real_batch_size, generator)
        self._augmentation = draw_for_classes(images.num_classes, images.image_shape[1:], self._strategy, generator)
        self._chosen: Tensor | slice = slice(None)
        if settings.synthetic_batch_size is not None and settings.synthetic_batch_size < self._num_synthetic:
            order = torch.randperm(self._num_synthetic, generator=generator)
            self._chosen = order[: settings.synthetic_batch_size].to(self._task.device, non_blocking=True)

    def of(self, classes: slice, synthetic: Tensor) -> tuple[Tensor, Tensor]:
        """Augmented real images (k, R, C, H, W) and synthetic ones, all or a batch of (k, J, C, H, W)."""
        real = self._task.real_images(self._index[classes])
        chosen = synthetic[:, self._chosen]
        return self._augmentation.apply(real, classes), self._augmentation.apply(chosen, classes)
