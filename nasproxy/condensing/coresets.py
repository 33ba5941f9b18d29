"""Proxy sets made of real images.

Notation: K classes, I images a class, C channels, H height, W width.
"""

from torch import Tensor

from nasproxy.condensing.state import Task
from nasproxy.images import make_generator


def select_random(task: Task) -> Tensor:
    """Random real images of every class, none twice: (K, I, C, H, W), normalised (main paper, 'Random')."""
    generator = make_generator(task.settings.seed, "select")
    index = task.images.sample_classes(task.settings.images_per_class, generator)
    images: Tensor = task.images.normalized(index.flatten()).unflatten(0, index.shape)
    return images
