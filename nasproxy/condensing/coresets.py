"""Proxy sets made of real images.

Notation: K classes, I images a class, C channels, H height, W width.
"""

from torch import Tensor

from nasproxy.condensing.state import Task
from nasproxy.config import CondenseSettings
from nasproxy.errors import SettingsError
from nasproxy.images import ImageSet, make_generator


def check_selection(settings: CondenseSettings, images: ImageSet) -> None:
    """Refuses to take more images than a class has.

    Raises:
        SettingsError: a class has fewer.
    """
    smallest = min(range(images.num_classes), key=lambda k: len(images.class_indices[k]))
    available = len(images.class_indices[smallest])
    if settings.images_per_class > available:
        raise SettingsError(
            f"--ipc {settings.images_per_class} is more than class {images.classes[smallest]!r} has "
            f"({available} training images); ask for {available} or fewer"
        )


def select_random(task: Task) -> Tensor:
    """Indices (K, I) of random real images of every class, none twice (main paper, 'Random')."""
    generator = make_generator(task.settings.seed, "select")
    return task.images.sample_classes(task.settings.images_per_class, generator)
