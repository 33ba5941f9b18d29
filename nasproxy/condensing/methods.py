"""The condensation methods, with default settings from their papers and their authors' public code.

Sources: DC, DSA, DM, IDC, Lo- as named in `gradients`, `matching` and `nasproxy.encoding`. Where these give values for
some sizes only, the interpolation is ours and marked as such.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn

from nasproxy.augment import parse_strategy
from nasproxy.condensing.coresets import (
    check_selection,
    select_forgetting,
    select_herding,
    select_k_center,
    select_random,
)
from nasproxy.condensing.embedding import (
    find_embedding_arch,
    is_splittable,
    outline_embedding_net,
    parse_embedding_weights,
)
from nasproxy.condensing.engine import Engine
from nasproxy.condensing.gradients import CONVOLUTIONS, match_convolution_gradients, match_gradients
from nasproxy.condensing.matching import match_distributions, match_pixels
from nasproxy.condensing.state import Task, encoding_of
from nasproxy.config import CondenseSettings
from nasproxy.encoding import EncodedImages, ImageShape, Pixels
from nasproxy.errors import SettingsError
from nasproxy.images import ImageSet
from nasproxy.nets.zoo import parse_net

Values = Mapping[str, Any]
"""Fields of `CondenseSettings`."""
Layers = tuple[type[nn.Module], ...]


@dataclass(frozen=True)
class Method:
    """A condensation method."""

    make: Callable[[Task], EncodedImages]
    """Task -> tensors (K * I, ...), ordered by class."""
    defaults: Callable[[CondenseSettings, ImageSet], Values]
    """Settings and training images -> the method's defaults for settings that were not given."""
    check: Callable[[CondenseSettings, ImageSet], None]
    """Raises SettingsError for settings that do not work on these images."""
    summary: str
    num_steps: Callable[[CondenseSettings], int] = lambda settings: settings.steps or 0
    """What `Task.on_step` counts up to."""


def _encoding_values(settings: CondenseSettings, images: ImageSet, encoding: str) -> dict[str, Any]:
    """Encoding parameters: factor 2 at 32 pixels per side, 3 at 224 (IDC); rank see `low_rank`."""
    return {
        "encoding": settings.encoding or encoding,
        "factor": 3 if min(images.image_shape[1:]) >= 128 else 2,
        "rank": low_rank(settings.images_per_class, images.image_shape),
    }


def low_rank(images_per_class: int, image_shape: ImageShape) -> int:
    """Rank of each channel: 2 at 32 pixels a side, 4 from 50 images per class; 4 at 64 in all sizes (Lo-, public code).

    Other sides, the shorter one counting, are ours: below 64 as at 32, but never so high that nothing is saved; above,
    a sixteenth of the side, which keeps eight images in the memory of one, as rank 2 does at 32 and 4 at 64.
    """
    _, height, width = image_shape
    side = min(height, width)
    rank = side // 16 if side >= 64 else 4 if images_per_class >= 50 else 2
    return max(min(rank, height * width // (height + width)), 1)


def _distribution_values(settings: CondenseSettings, images: ImageSet, encoding: str = "pixels") -> dict[str, Any]:
    """DM, section 3.1; with low rank as in the public code of Lo-: random factors, and a rate of their own."""
    values = _encoding_values(settings, images, encoding)
    has_low_rank = values["encoding"] == "low-rank"
    init = settings.init or ("noise" if has_low_rank else "real")
    lr = 10.0 if settings.images_per_class >= 100 else 1.0
    return values | {
        "init": init,
        "steps": 10_000 if min(images.image_shape[1:]) >= 64 else 20_000,
        "image_lr": _low_rank_lr(settings.images_per_class, images, init) if has_low_rank else lr,
        "augmentation": "auto",
        "real_batch_size": 256,
    }


def _low_rank_lr(images_per_class: int, images: ImageSet, init: str) -> float:
    """30 for CIFAR-10 from 50 images per class and from noise, else 1.

    CIFAR-10 is told by its facts, since a folder of its images may have any name: 3x32x32, 10 classes, and a mirrored
    image keeps its class, unlike in SVHN. Our deviation: 1. The public code of Lo- has 1,000 there, with which images
    leave their scale at once. Their root mean square after 20 steps of the default net is 81 at 1,000, 17 at 300, 4.3
    at 100 and 2.4 at 30 (one class of CIFAR-10, n = 1). Nets with instance norm do not see the scale, and relative to
    it factors move by rate / scale: as fast at 30 as at 1,000 (30 / 2.4 = 1,000 / 81).
    """
    is_cifar10 = images.image_shape == (3, 32, 32) and images.num_classes == 10 and images.flippable
    return 30.0 if is_cifar10 and images_per_class >= 50 and init == "noise" else 1.0


def _gradient_values(
    settings: CondenseSettings,
    images: ImageSet,
    encoding: str = "pixels",
    *,
    init: str = "noise",
    augmentation: str = "none",
) -> dict[str, Any]:
    """DC, section 3.1 and its public code; DSA differs in `init` and `augmentation`."""
    outer, inner = gradient_loops(settings.images_per_class)
    return _encoding_values(settings, images, encoding) | {
        "init": init,
        "augmentation": augmentation,
        "outer_loop": outer,
        "inner_loop": inner,
        "steps": 1000 * (settings.outer_loop or outer),
        "image_lr": 0.1,
        "real_batch_size": 256,
    }


def gradient_loops(images_per_class: int) -> tuple[int, int]:
    """Outer and inner loops of DC: 1, 1 and 10, 50 and 50, 10 at 1, 10 and 50 images per class.

    Between these, our interpolation: as many outer loops as images, at most 50; from 10 images on, 500 inner loops
    divided by the number of images (at least 10); from 1 to 10, a straight line.
    """
    if images_per_class < 10:
        return images_per_class, round(1 + (images_per_class - 1) * 49 / 9)
    return min(images_per_class, 50), max(round(500 / images_per_class), 10)


def _convolution_schedule(images: ImageSet) -> tuple[str, float, int, int]:
    """IDC's distance, learning rate at 10 images per class, outer loops, and epochs of a net before each.

    The public code has them by data set: ImageNet at 224 pixels (10 classes, 100 classes), spectrograms of 64x64, MNIST
    and Fashion-MNIST, CIFAR and SVHN. That other images of such sizes, channels and classes take the same is ours.
    """
    channels, *sides = images.image_shape
    if min(sides) >= 128:
        return ("absolute", 3e-3, 500, 10) if images.num_classes <= 10 else ("absolute", 1e-3, 500, 0)
    if channels == 1:
        return ("absolute", 3e-3, 1000, 0) if min(sides) >= 64 else ("absolute", 1e-4, 2000, 0)
    return "squared", 5e-3, 2000, 0


def _convolution_values(settings: CondenseSettings, images: ImageSet, encoding: str = "pixels") -> dict[str, Any]:
    """IDC, its section on the experiments and its public code; the learning rate grows with the images per class."""
    distance, lr_of_ten, outer_loops, first_epochs = _convolution_schedule(images)
    return _encoding_values(settings, images, encoding) | {
        "init": "real",
        "augmentation": "color+crop+cutout",
        "outer_loop": 100,
        "steps": 100 * outer_loops,
        "first_epochs": first_epochs,
        "distance": distance,
        "image_lr": lr_of_ten * settings.images_per_class / 10,
        "real_batch_size": 64,
        "synthetic_batch_size": 128,
    }


def _pixel_values(settings: CondenseSettings, images: ImageSet) -> dict[str, Any]:
    """MMD: the main paper has no more than the linear kernel (B.2); start, steps and learning rate are ours.

    Gradients of low-rank factors grow with the factors, whose squares are singular values of images.
    """
    values = _encoding_values(settings, images, "pixels")
    lr = 0.01 if values["encoding"] == "low-rank" else 1.0
    own = {"init": "real", "steps": 1000, "image_lr": lr, "augmentation": "none", "real_batch_size": 256}
    return values | own


def _selection_values(
    settings: CondenseSettings, images: ImageSet, *, selection_epochs: int | None = None
) -> dict[str, Any]:
    """Nothing is optimised; `selection_epochs` are ours."""
    return {"encoding": "pixels", "steps": 0, "selection_epochs": selection_epochs}


def check_updating(
    settings: CondenseSettings, images: ImageSet, *, matched: Layers | None = (), freezes_batch_norm: bool = False
) -> None:
    """Refuses settings that do not work on these images.

    Args:
        settings: complete settings.
        images: the training images.
        matched: layer types of which the net must have at least one; None: there is no net.
        freezes_batch_norm: images that are compared do not depend on one another, whatever the net.

    Raises:
        SettingsError: a net, engine or encoding that does not fit, an unknown augmentation, or too few real images
            to start from.
    """
    encoding_of(settings).items_for(settings.images_per_class, images.image_shape)
    parse_strategy(settings.augmentation or "none", flippable=images.flippable)
    if settings.init == "real":
        check_selection(settings, images)
    if matched is not None:
        _check_net(settings, images, matched, freezes_batch_norm=freezes_batch_norm)


def _check_net(settings: CondenseSettings, images: ImageSet, matched: Layers, *, freezes_batch_norm: bool) -> None:
    net = outline_embedding_net(parse_net(settings.embedding_net, images.image_shape), images)
    if matched and not any(isinstance(module, matched) for module in net.modules()):
        names = " or ".join(kind.__name__ for kind in matched)
        raise SettingsError(
            f"embedding_net {settings.embedding_net!r} has no {names}, whose gradients {settings.method} matches"
        )
    parse_embedding_weights(settings.embedding_weights)
    splittable = freezes_batch_norm or is_splittable(net)
    if settings.engine != "auto" and Engine.parse(settings.engine).chunk is not None and not splittable:
        raise SettingsError(f"engine {settings.engine!r}: batch norm sees all classes at once; let it end in '-all'")
    if settings.classes_per_step is not None and settings.classes_per_step < images.num_classes and not splittable:
        raise SettingsError(
            f"classes_per_step={settings.classes_per_step}: batch norm sees all classes at once; "
            "take an embedding_net with another norm"
        )


def _coreset(select: Callable[[Task], Tensor], summary: str, *, epochs: int | None = None) -> Method:
    """The method of a selector: `Task -> indices (K, I)` into the training images.

    `epochs` are those of the net that it selects by; None: there is none.
    """

    def make(task: Task) -> EncodedImages:
        pixels = task.images.pixels_from_normalized(task.real_images(select(task).flatten()))
        return EncodedImages(Pixels(), {"images": pixels}, "pixels")

    def check(settings: CondenseSettings, images: ImageSet) -> None:
        check_selection(settings, images)
        if epochs is not None:
            find_embedding_arch(settings.embedding_net, images)

    def num_steps(settings: CondenseSettings) -> int:
        return 0 if epochs is None else settings.selection_epochs or epochs

    return Method(make, partial(_selection_values, selection_epochs=epochs), check, summary, num_steps)


_DSA = partial(_gradient_values, init="real", augmentation="auto")
_check_gradients = partial(check_updating, freezes_batch_norm=True)

METHODS: dict[str, Method] = {
    "dm": Method(
        match_distributions, _distribution_values, check_updating, "distribution matching (Zhao & Bilen, WACV 2023)"
    ),
    "dc": Method(match_gradients, _gradient_values, _check_gradients, "gradient matching (Zhao et al., ICLR 2021)"),
    "dsa": Method(
        match_gradients,
        _DSA,
        _check_gradients,
        "gradient matching under Siamese augmentation (Zhao & Bilen, ICML 2021)",
    ),
    "idc-i": Method(
        match_convolution_gradients,
        _convolution_values,
        partial(_check_gradients, matched=CONVOLUTIONS.layers),
        "gradient matching on nets trained on real images (Kim et al., ICML 2022)",
    ),
    "idc": Method(
        match_convolution_gradients,
        partial(_convolution_values, encoding="multi-formation"),
        partial(_check_gradients, matched=CONVOLUTIONS.layers),
        "idc-i with several images in each stored one (Kim et al., ICML 2022)",
    ),
    "lodm": Method(
        match_distributions,
        partial(_distribution_values, encoding="low-rank"),
        check_updating,
        "dm on images of low rank (Yang et al., NeurIPS 2023)",
    ),
    "lodc": Method(
        match_gradients,
        partial(_gradient_values, encoding="low-rank"),
        _check_gradients,
        "dc on images of low rank (Yang et al., NeurIPS 2023)",
    ),
    "lodsa": Method(
        match_gradients,
        partial(_DSA, encoding="low-rank", init="noise"),
        _check_gradients,
        "dsa on images of low rank (Yang et al., NeurIPS 2023)",
    ),
    "mmd": Method(
        match_pixels,
        _pixel_values,
        partial(check_updating, matched=None),
        "mean matching of pixels: dm without net and augmentation (Zhao & Bilen, WACV 2023, B.2)",
    ),
    "random": _coreset(select_random, "random training images (Zhao & Bilen, WACV 2023)"),
    "herding": _coreset(
        select_herding, "training images whose mean feature is that of the class (Welling, ICML 2009)", epochs=10
    ),
    "forgetting": _coreset(
        select_forgetting, "training images forgotten most while training (Toneva et al., ICLR 2019)", epochs=100
    ),
    "k-center": _coreset(
        select_k_center,
        "training images far from each other: outliers, below random where few (Sener & Savarese, ICLR 2018)",
        epochs=10,
    ),
}
"""Condensation methods by name; dm, dc, dsa, idc-i and mmd take any encoding.

To add one: a function `Task -> EncodedImages`, its own values of settings, and a line here.
"""
