"""The workload: images of CIFAR-10's shape, and architectures that represent the space."""

from dataclasses import dataclass

import torch

from nasproxy.images import ImageData, ImageSet, make_generator

SAMPLE = (
    "w32-d1-none-sigmoid-max",
    "w64-d2-group-leakyrelu-avg",
    "w32-d3-layer-relu-none",
    "w128-d3-instance-relu-avg",
    "w64-d3-batch-relu-none",
    "w256-d3-batch-sigmoid-max",
    "w128-d3-instance-relu-none",
    "w128-d4-group-leakyrelu-none",
)
"""Small, middle and large nets, all norms, activations and poolings; mean 140 MMAC per image (the space: 134), 77 % of
it without pooling (the space: 76 %)."""
EVEN = tuple(
    f"w64-{depth}-{norm}-relu-{pooling}"
    for depth, pooling in (("d2", "none"), ("d3", "avg"))
    for norm in ("instance", "group")
)
"""Two nets of each of two sizes."""
STACKED = ("w32-d3-instance-relu-avg", "w128-d3-instance-relu-avg")
"""Of which several seeds are trained at once."""
NUM_CLASSES, IMAGES_PER_CLASS, REAL_BATCH_SIZE, BATCH_SIZE = 10, 50, 256, 250
PROXY_STEPS = 400
"""Updates of a net on a proxy set: 200 epochs of 500 images."""
FULL_STEPS = 18_000
"""Updates of full training: 100 epochs of 45,000 images."""
NUM_VAL, NUM_TEST, NUM_TRAIN = 5_000, 10_000, 45_000


@dataclass(frozen=True)
class Scale:
    """Amount of work per measurement."""

    condense_steps: int
    """A multiple of 20: the second half is timed, and progress is reported every ten steps."""
    naive_condense_steps: int
    search_steps: int
    naive_search_steps: int
    full_steps: int
    naive_full_steps: int
    stacked_archs: tuple[str, ...]
    num_pairs: int = 3
    """How often naive and ours are measured in turn."""


QUICK = Scale(20, 4, 4, 3, 3, 2, STACKED[:1])
"""About fifteen minutes on two cores."""
FULL = Scale(200, 20, 200, 200, 100, 100, STACKED)
"""For a GPU."""


def random_images(num_images: int, name: str) -> ImageSet:
    """Random images, 3x32x32, of ten classes in turn: speed does not depend on what they show."""
    images = torch.randint(
        0, 256, (num_images, 3, 32, 32), dtype=torch.uint8, generator=make_generator("benchmark", name)
    )
    labels = torch.arange(num_images) % NUM_CLASSES
    return ImageSet(images, labels, tuple("abcdefghij"), (0.49, 0.48, 0.45), (0.25, 0.24, 0.26))


def make_data(num_train: int = NUM_TRAIN, share: float = 1.0) -> ImageData:
    """Data of CIFAR-10's shape; `share` of its validation and test images, to fit that share of the updates."""
    return ImageData(
        name="random-images",
        train=random_images(num_train, "train"),
        val=random_images(max(int(NUM_VAL * share), NUM_CLASSES), "val"),
        test=random_images(max(int(NUM_TEST * share), NUM_CLASSES), "test"),
        data_hash="benchmark",
        split_hash="benchmark",
    )
