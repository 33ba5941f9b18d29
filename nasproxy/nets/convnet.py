"""The ConvNet family: a search space of 720 nets, and the net that condensing embeds images with.

Source: Zhao & Bilen, "Dataset Condensation with Distribution Matching", sections 3.1 (default net) and 3.6 (the space);
the space is that of Zhao, Mopuri & Bilen, "Dataset Condensation with Gradient Matching", ICLR 2021.

    [3x3 convolution -> norm -> activation -> 2x2 pooling] x depth -> flatten -> linear

Notation: N images, C channels, H height, W width, K classes, F = width * h * w features of the last map.
"""

import re

import torch
from torch import nn

from nasproxy.errors import ArchError, SettingsError
from nasproxy.factors import FactorValue
from nasproxy.nets.classifier import Classifier
from nasproxy.nets.layers import extra_padding, make_norm
from nasproxy.space import Arch

BUILDER = "nasproxy.nets.convnet:build"

_ARCH_ID_PATTERN = re.compile(r"w(?P<width>\d+)-d(?P<depth>\d+)-(?P<norm>\w+)-(?P<activation>\w+)-(?P<pooling>\w+)")


def build(arch: Arch, image_shape: tuple[int, int, int], num_classes: int) -> Classifier:
    """The ConvNet of an architecture's factors, with PyTorch's default initialisation.

    Order of parameters: conv weight, conv bias, norm weight, norm bias of each block; then the head's.

    28x28 grey images are padded to 32x32 by the first convolution.

    Raises:
        ArchError: an unknown factor value, or pooling below 1x1.
    """
    width, depth = int(arch.factors["width"]), int(arch.factors["depth"])
    norm, activation, pooling = (str(arch.factors[name]) for name in ("norm", "activation", "pooling"))
    channels, height, columns = image_shape
    extra = extra_padding(image_shape)
    height, columns = height + 2 * extra, columns + 2 * extra
    layers: list[nn.Module] = []
    for block in range(depth):
        padding = 1 + extra if block == 0 else 1
        layers.append(nn.Conv2d(channels if block == 0 else width, width, kernel_size=3, padding=padding))
        layers += make_norm(norm, width, (height, columns))
        layers.append(_make_activation(activation))
        if pooling != "none":
            layers.append(_make_pooling(pooling))
            height, columns = height // 2, columns // 2
        if min(height, columns) < 1:
            raise ArchError(
                f"{arch.id}: pooling number {block + 1} of {depth} leaves no pixel of a "
                f"{image_shape[2]}x{image_shape[1]} image; use larger images or fewer blocks"
            )
    return Classifier(nn.Sequential(*layers), width * height * columns, num_classes)


def default_arch(image_shape: tuple[int, int, int], norm: str = "instance") -> Arch:
    """The net that condensing uses: width 128, instance norm, ReLU, average pooling, deep enough to leave a 4x4 map.

    Depth 3 at 32x32 and 4 at 64x64 (main paper, section 3.1), 2 at 16x16 (ours).
    """
    side = min(image_shape[1:]) + 2 * extra_padding(image_shape)
    return parse_arch(f"w128-d{max(side.bit_length() - 3, 1)}-{norm}-relu-avg")


def parse_arch(arch_id: str) -> Arch:
    """The ConvNet of an id like 'w128-d3-instance-relu-avg'; any width and depth.

    Raises:
        SettingsError: the id does not have that form.
    """
    match = _ARCH_ID_PATTERN.fullmatch(arch_id)
    if match is None:
        raise SettingsError(f"{arch_id!r} is no ConvNet; write it like 'w128-d3-instance-relu-avg'")
    factors: dict[str, FactorValue] = {
        name: int(text) if text.isdigit() else text for name, text in match.groupdict().items()
    }
    arch = Arch(id=arch_id, factors=factors, builder=BUILDER)
    if min(int(factors["width"]), int(factors["depth"])) < 1:
        raise SettingsError(f"{arch_id!r} is no ConvNet: width and depth must be at least 1")
    side = 1 if factors["pooling"] == "none" else 2 ** int(factors["depth"])
    try:
        with torch.device("meta"):
            build(arch, (3, side, side), num_classes=2)
    except ArchError as error:
        raise SettingsError(str(error)) from None
    return arch


def _make_activation(name: str) -> nn.Module:
    match name:
        case "sigmoid":
            return nn.Sigmoid()
        case "relu":
            return nn.ReLU(inplace=True)
        case "leakyrelu":
            return nn.LeakyReLU(0.01, inplace=True)
    raise ArchError(f"unknown activation {name!r}; choose from sigmoid, relu, leakyrelu")


def _make_pooling(name: str) -> nn.Module:
    match name:
        case "max":
            return nn.MaxPool2d(2)
        case "avg":
            return nn.AvgPool2d(2)
    raise ArchError(f"unknown pooling {name!r}; choose from none, max, avg")
