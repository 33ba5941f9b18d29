"""The defaults of every method keep synthetic images at the scale of real ones: in every encoding, start and memory.

Images are digits, and smooth random ones that look like CIFAR-10 to the defaults. Two classes of ten are condensed,
whose images do not depend on the other eight, by settings made for ten. Nets and real batches are small; few real
images make gradients larger: a wrong rate of 1,000 takes images further here than with many.
"""

from itertools import product
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from nasproxy.condensing import condense
from nasproxy.condensing.condense import complete_settings
from nasproxy.config import CondenseSettings
from nasproxy.encoding import ENCODINGS
from nasproxy.errors import DivergedError
from nasproxy.images import ImageData, ImageSet

SMALL: dict[str, Any] = {"real_batch_size": 4, "inner_loop": 1, "inner_images": 16, "engine": "eager-float32-64"}
STEPS, LIMIT = 50, 10.0
"""Updates, and the largest root mean square of the normalised images after them; real ones have 1."""
MEMORIES = (1, 10, 50)
SWEEP = [
    (method, encoding, init, images_per_class, shape)
    for method, encoding, init, images_per_class, shape in product(
        ("dm", "dc", "dsa", "idc-i", "mmd"), ENCODINGS, ("real", "noise"), MEMORIES, ("digits", "cifar")
    )
]
TELLING = [
    ("dm", "low-rank", "noise", 50, "cifar"),
    ("dm", "low-rank", "noise", 10, "cifar"),
    ("dm", "low-rank", "real", 50, "digits"),
    ("dm", "low-rank", "noise", 50, "digits"),
    ("dm", "pixels", "noise", 1, "digits"),
    ("dsa", "low-rank", "noise", 10, "digits"),
    ("dc", "pixels", "noise", 1, "cifar"),
    ("idc-i", "low-rank", "noise", 1, "cifar"),
    ("idc-i", "multi-formation", "noise", 1, "digits"),
    ("mmd", "low-rank", "real", 10, "cifar"),
]
"""The combinations with the largest rates, or that start furthest out; the sweep has them all."""


@pytest.fixture(scope="module")
def cifar_like() -> ImageSet:
    """600 smooth random images, 3x32x32, of 10 classes."""
    coarse = torch.rand(600, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    smooth = F.interpolate(coarse, size=(32, 32), mode="bicubic", align_corners=False).clamp(0, 1)
    pixels = (smooth * 255).round().to(torch.uint8)
    mean, std = (tuple(values.tolist()) for values in (smooth.mean((0, 2, 3)), smooth.std((0, 2, 3))))
    return ImageSet(pixels, torch.arange(600) % 10, tuple("abcdefghij"), mean, std)


def _first_two_classes(images: ImageSet) -> ImageData:
    kept = images.subset(torch.nonzero(images.labels < 2).flatten())
    two = ImageSet(kept.images, kept.labels, images.classes[:2], images.mean, images.std, images.flippable)
    return ImageData("two", two, two, two, "hash", "split")


def _scale(
    images: ImageSet, method: str, encoding: str, init: str, images_per_class: int, **settings: Any
) -> tuple[CondenseSettings, float]:
    """The complete settings, and the root mean square of the normalised images in the end."""
    asked = CondenseSettings(
        method=method, encoding=encoding, init=init, images_per_class=images_per_class, steps=STEPS,
        embedding_net="w8-d2-instance-relu-avg", **SMALL, **settings,
    )  # fmt: skip
    complete = complete_settings(asked, images)
    proxy = condense(_first_two_classes(images), settings=complete)
    return complete, float(proxy.images.normalized().square().mean().sqrt())


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=() if case in TELLING else pytest.mark.slow, id="-".join(map(str, case)))
        for case in SWEEP
    ],
)
def test_no_default_makes_images_leave_their_scale(
    digits: ImageData, cifar_like: ImageSet, case: tuple[str, str, str, int, str]
) -> None:
    *chosen, shape = case
    complete, scale = _scale(digits.train if shape == "digits" else cifar_like, *chosen)  # type: ignore[arg-type]
    assert scale < LIMIT
    if case == ("dm", "low-rank", "noise", 50, "cifar"):
        assert complete.image_lr == 30.0


@pytest.mark.parametrize(("init", "images_per_class"), [("noise", 10), ("real", 10)])
def test_the_rate_of_the_plugin_does(cifar_like: ImageSet, init: str, images_per_class: int) -> None:
    """1,000: what the limit would catch."""
    try:
        _, scale = _scale(cifar_like, "dm", "low-rank", init, images_per_class, image_lr=1000.0)
    except DivergedError:
        return
    assert scale > LIMIT
