"""Differentiable Siamese augmentation (DSA) of normalised images.

Sources: Zhao & Bilen, "Dataset Condensation with Differentiable Siamese Augmentation", ICML 2021, section 4.1; used
by the main paper (eq. 6, appendix A.3): one group of transformations is drawn at a time, not all six. The public code
of Kim et al., "Dataset Condensation via Efficient Synthetic-Data Parameterization", ICML 2022 (IDC), has the same
groups in another scheme: flip, color and cutout always act where they are named, and one of the others is drawn.

A `Strategy` says both: stages, one after the other, of each of which one group is drawn. It is written
'color_crop_cutout' (one of the three) or 'flip+color+crop_scale_rotate' (flip, then color, then one of the three).

Notation: N images (or B draws), C channels, H height, W width, K classes, M images per class.

- *Siamese*, while condensing: `draw_for_classes` draws a group per stage and one set of parameters per class, shared
by all M images of the class, real and synthetic.
- *Training*: `augment_batch` draws a group per stage and batch, and parameters per image.

All draws come from the generator passed in, on the CPU: they are the same on every device. All functions are
differentiable with respect to the images.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from nasproxy.errors import SettingsError, unknown_name

MAX_SHIFT = 1 / 8
"""Crop: maximum shift, as a fraction of the side."""
CUTOUT_SIDE = 1 / 2
"""Cutout: side of the square, as a fraction of the image's."""
MAX_SCALE = 1.2
"""Scale: factors lie in [1/1.2, 1.2]."""
MAX_ANGLE = 15.0
"""Rotate: maximum angle, in degrees."""

Parameters = Mapping[str, Tensor]
"""Name -> (B,) tensor: one value per draw."""
Shape = tuple[int, int]
"""(H, W)."""


@dataclass(frozen=True)
class Group:
    """One group of transformations: how its parameters are drawn, and how they are applied."""

    draw: Callable[[int, Shape, torch.Generator], Parameters]
    """(B, (H, W), generator) -> parameters of B draws."""
    apply: Callable[[Tensor, Parameters], Tensor]
    """(N, C, H, W) images and parameters of N draws -> (N, C, H, W)."""


@dataclass(frozen=True)
class Strategy:
    """Which groups act on images. Without stages images stay as they are."""

    stages: tuple[tuple[str, ...], ...] = ()
    """They follow one another; of the groups of each, one is drawn."""

    def without(self, group: str) -> "Strategy":
        """The same but for one group; a stage of no other group is left out."""
        kept = (tuple(name for name in stage if name != group) for stage in self.stages)
        return Strategy(tuple(stage for stage in kept if stage))

    def __str__(self) -> str:
        """What `parse_strategy` reads."""
        return "+".join("_".join(stage) for stage in self.stages) or "none"


def parse_strategy(text: str, *, flippable: bool) -> Strategy:
    """The strategy written as groups, joined by '_' (one of them, drawn) and '+' (and then), or by a name.

    Names are 'none' and those of `NAMED_STRATEGIES`, which have no flip unless `flippable`.

    Raises:
        SettingsError: an unknown or repeated group.
    """
    if text == "none":
        return Strategy()
    if text in NAMED_STRATEGIES:
        return NAMED_STRATEGIES[text] if flippable else NAMED_STRATEGIES[text].without("flip")
    stages = tuple(tuple(part.split("_")) for part in text.split("+"))
    names, whole = [name for stage in stages for name in stage], [*NAMED_STRATEGIES, "none"]
    if set(whole) & set(names):
        alone = f"{', '.join(map(repr, whole[:-1]))} and {whole[-1]!r}"
        raise SettingsError(f"augmentation {text!r}: {alone} stand alone; name groups instead")
    for name in names:
        if name not in GROUPS:
            raise unknown_name("augmentation", name, [*GROUPS, *whole])
    if len(set(names)) < len(names):
        raise SettingsError(f"augmentation {text!r} names a group twice; name each once")
    return Strategy(stages)


def augment_batch(images: Tensor, strategy: Strategy, generator: torch.Generator) -> Tensor:
    """Augments a batch (N, C, H, W): the groups are drawn for the batch, their parameters for each image."""
    for stage in strategy.stages:
        group = GROUPS[stage[int(torch.randint(len(stage), (), generator=generator))]]
        images = group.apply(images, _to(images, group.draw(len(images), _shape_of(images), generator)))
    return images


@dataclass(frozen=True)
class StageDraws:
    """The draws of one stage of Siamese augmentation: a group per class, and its parameters."""

    groups: tuple[str, ...]
    chosen: Tensor
    """(K,) index of each class's group, on the CPU."""
    parameters: tuple[Parameters, ...]
    """K draws per group."""

    def apply(self, images: Tensor, classes: slice) -> Tensor:
        """Augments images (k, M, C, H, W) of `classes`, all M images of a class alike."""
        chosen, size, parts = self.chosen[classes], images.shape[1], []
        order = torch.argsort(chosen, stable=True)
        for number, name in enumerate(self.groups):
            members = torch.nonzero(chosen == number).flatten()
            if len(members) == 0:
                continue
            drawn = {key: value[classes][members] for key, value in self.parameters[number].items()}
            repeated = {key: value.repeat_interleave(size) for key, value in drawn.items()}
            flat = images[members.to(images.device, non_blocking=True)].flatten(0, 1)
            parts.append(GROUPS[name].apply(flat, _to(images, repeated)).unflatten(0, (len(members), size)))
        return torch.cat(parts)[torch.argsort(order).to(images.device, non_blocking=True)]


@dataclass(frozen=True)
class ClassDraws:
    """The draws of Siamese augmentation, stage by stage."""

    stages: tuple[StageDraws, ...]

    def apply(self, images: Tensor, classes: slice = slice(None)) -> Tensor:
        """Augments images (k, M, C, H, W) of `classes`, all M images of a class alike."""
        for stage in self.stages:
            images = stage.apply(images, classes)
        return images


def draw_for_classes(num_classes: int, shape: Shape, strategy: Strategy, generator: torch.Generator) -> ClassDraws:
    """Draws Siamese augmentation for K classes of images (H, W)."""
    stages = []
    for stage in strategy.stages:
        chosen = torch.randint(len(stage), (num_classes,), generator=generator)
        parameters = tuple(GROUPS[name].draw(num_classes, shape, generator) for name in stage)
        stages.append(StageDraws(stage, chosen, parameters))
    return ClassDraws(tuple(stages))


def cutmix(images: Tensor, targets: Tensor, probability: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """With the given probability, pastes into each image a box from another one; the box is the same for the batch.

    Source: Yun et al., "CutMix", ICCV 2019, eq. 1 and 2, with a share of the area uniform in [0, 1].

    Args:
        images: (B, C, H, W).
        targets: (B, K) probabilities of classes.
        probability: of mixing this batch.
        generator: source of all draws.

    Returns:
        Images and targets, the latter mixed by the area that the box, clipped at the border, covers.
    """
    mixed, share, row, column = torch.rand(4, generator=generator).tolist()
    other = torch.randperm(len(images), generator=generator).to(images.device, non_blocking=True)
    if mixed >= probability:
        return images, targets
    height, width = _shape_of(images)
    rows, columns = (
        slice(max(round(side * (center - share**0.5 / 2)), 0), round(side * (center + share**0.5 / 2)))
        for side, center in ((height, row), (width, column))
    )
    images = images.clone()
    images[..., rows, columns] = images[other][..., rows, columns]
    covered = len(range(height)[rows]) * len(range(width)[columns]) / (height * width)
    return images, (1 - covered) * targets + covered * targets[other]


def _uniform(low: float, high: float, size: int, generator: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(size, generator=generator)


def _draw_color(size: int, shape: Shape, generator: torch.Generator) -> Parameters:
    return {
        "brightness": _uniform(-0.5, 0.5, size, generator),
        "saturation": _uniform(0.0, 2.0, size, generator),
        "contrast": _uniform(0.5, 1.5, size, generator),
    }


def _apply_color(images: Tensor, parameters: Parameters) -> Tensor:
    images = images + _per_image(parameters["brightness"])
    grey = images.mean(dim=1, keepdim=True)
    images = (images - grey) * _per_image(parameters["saturation"]) + grey
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return (images - mean) * _per_image(parameters["contrast"]) + mean


def _draw_crop(size: int, shape: Shape, generator: torch.Generator) -> Parameters:
    reach = [int(side * MAX_SHIFT + 0.5) for side in shape]
    down, right = (torch.randint(-most, most + 1, (size,), generator=generator) for most in reach)
    return {"down": down, "right": right}


def _apply_crop(images: Tensor, parameters: Parameters) -> Tensor:
    images = _shift(images, parameters["down"], dim=2)
    return _shift(images, parameters["right"], dim=3)


def _shift(images: Tensor, shift: Tensor, dim: int) -> Tensor:
    """Moves image i by `shift[i]` pixels along `dim`, filling with zeros."""
    side = images.shape[dim]
    view = [1, 1, 1, 1]
    view[dim] = side
    source = torch.arange(side, device=images.device).view(view) - _per_image(shift)
    inside = ((source >= 0) & (source < side)).to(images.dtype)
    return images.gather(dim, source.clamp(0, side - 1).expand_as(images)) * inside


def _draw_cutout(size: int, shape: Shape, generator: torch.Generator) -> Parameters:
    sides = [int(side * CUTOUT_SIDE + 0.5) for side in shape]
    centers = [
        torch.randint(0, side + 1 - square % 2, (size,), generator=generator)
        for side, square in zip(shape, sides, strict=True)
    ]
    return {"row": centers[0], "column": centers[1]}


def _apply_cutout(images: Tensor, parameters: Parameters) -> Tensor:
    rows = _in_square(images.shape[2], parameters["row"], images.device).unsqueeze(2)
    columns = _in_square(images.shape[3], parameters["column"], images.device).unsqueeze(1)
    keep = ~(rows & columns)
    return images * keep.unsqueeze(1).to(images.dtype)


def _in_square(side: int, center: Tensor, device: torch.device) -> Tensor:
    """(N, side) bool: whether the square around the centre covers each row (or column)."""
    square = int(side * CUTOUT_SIDE + 0.5)
    first = (center - square // 2).unsqueeze(1)
    position = torch.arange(side, device=device)
    return (position >= first) & (position < first + square)


def _draw_flip(size: int, shape: Shape, generator: torch.Generator) -> Parameters:
    return {"flipped": torch.rand(size, generator=generator) < 0.5}


def _apply_flip(images: Tensor, parameters: Parameters) -> Tensor:
    return torch.where(_per_image(parameters["flipped"]), images.flip(3), images)


def _draw_scale(size: int, shape: Shape, generator: torch.Generator) -> Parameters:
    return {axis: _uniform(1 / MAX_SCALE, MAX_SCALE, size, generator) for axis in ("x", "y")}


def _apply_scale(images: Tensor, parameters: Parameters) -> Tensor:
    zero = torch.zeros_like(parameters["x"])
    return _warp(images, [[parameters["x"], zero], [zero, parameters["y"]]])


def _draw_rotate(size: int, shape: Shape, generator: torch.Generator) -> Parameters:
    return {"radians": _uniform(-MAX_ANGLE, MAX_ANGLE, size, generator) * (math.pi / 180)}


def _apply_rotate(images: Tensor, parameters: Parameters) -> Tensor:
    cos, sin = parameters["radians"].cos(), parameters["radians"].sin()
    height, width = _shape_of(images)  # grid coordinates run from -1 to 1 along both sides, whatever their lengths
    return _warp(images, [[cos, -sin * (height / width)], [sin * (width / height), cos]])


def _warp(images: Tensor, matrix: list[list[Tensor]]) -> Tensor:
    """Samples the images at the positions to which the 2x2 matrices map the output's pixels: bilinear, zero outside."""
    linear = torch.stack([torch.stack(row, dim=1) for row in matrix], dim=1)
    theta = F.pad(linear, (0, 1)).to(images.dtype)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _per_image(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)


def _shape_of(images: Tensor) -> Shape:
    return images.shape[-2], images.shape[-1]


def _to(images: Tensor, parameters: Parameters) -> Parameters:
    return {key: value.to(images.device, non_blocking=True) for key, value in parameters.items()}


GROUPS: dict[str, Group] = {
    "color": Group(_draw_color, _apply_color),
    "crop": Group(_draw_crop, _apply_crop),
    "cutout": Group(_draw_cutout, _apply_cutout),
    "flip": Group(_draw_flip, _apply_flip),
    "scale": Group(_draw_scale, _apply_scale),
    "rotate": Group(_draw_rotate, _apply_rotate),
}
"""The six groups, by name."""

NAMED_STRATEGIES: dict[str, Strategy] = {
    "auto": Strategy((("color", "crop", "cutout", "flip", "scale", "rotate"),)),
    "idc": Strategy((("flip",), ("color",), ("crop", "scale", "rotate"))),
}
"""Strategies by name: DSA's (section 4.1), and what the public code of IDC trains nets with to judge a proxy set."""
