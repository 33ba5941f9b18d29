"""ResNets of the condensation papers: strided, and with average pooling in place of strides.

Sources: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, in the form for 32x32 images (3x3 stem,
stages of 64, 128, 256 and 512 channels); for average pooling, Zhao & Bilen, "Dataset Condensation with Distribution
Matching", appendix A.1 ("ResNet with Batch Normalization"), in the form of the code that it points to, and Kim et al.,
"Dataset Condensation via Efficient Synthetic-Data Parameterization" (IDC), ICML 2022, for ResNetAP-10.

    block(x) = ReLU(norm(conv3x3(ReLU(norm(conv3x3(x))))) + shortcut(x))

The shortcut is x itself. The first block of every stage but the first doubles the channels and halves the map; its
shortcut is norm(conv1x1(x)). Strided: its first 3x3 and its 1x1 convolution have stride 2. Average-pooled: they have
stride 1, and 2x2 average pooling follows the first ReLU and the 1x1 convolution. Our deviations:
1. PyTorch's default initialisation, also for ResNetAP-10, where IDC uses He's.
2. 28x28 grey images are padded to 32x32, as in the ConvNets.

Notation: N images, C channels, H height, W width, K classes, F features.
"""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from nasproxy.errors import ArchError
from nasproxy.nets.classifier import Classifier
from nasproxy.nets.layers import extra_padding, make_norm
from nasproxy.space import Arch

STAGE_WIDTHS = (64, 128, 256, 512)
"""Channels of the four stages."""
MIN_SIDE = 2
"""Of the last map: instance norm leaves nothing of a single pixel."""


@dataclass(frozen=True)
class ResNet:
    """The options that distinguish the ResNets."""

    blocks_per_stage: int
    average_pooled: bool = False
    """Whether average pooling halves the maps, instead of strides."""
    global_pooling: bool = True
    """Whether the head takes the mean of the last map, instead of all of it."""
    large_stem: bool = False
    """Whether the stem downsamples images of more than 64 pixels per side."""


RESNET18 = ResNet(blocks_per_stage=2)
RESNET18AP = ResNet(blocks_per_stage=2, average_pooled=True, global_pooling=False)
RESNETAP10 = ResNet(blocks_per_stage=1, average_pooled=True, large_stem=True)


class Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut; where the number of channels changes, the map is halved."""

    def __init__(self, channels: int, width: int, norm: str, *, average_pooled: bool) -> None:
        super().__init__()
        halves = channels != width
        stride = 2 if halves and not average_pooled else 1
        pooling = [nn.AvgPool2d(2)] if halves and average_pooled else []
        self.branch = nn.Sequential(
            *(_make_conv(channels, width, 3, stride), *make_norm(norm, width), nn.ReLU(inplace=True), *pooling),
            *(_make_conv(width, width, 3), *make_norm(norm, width)),
        )
        self.shortcut: nn.Module = nn.Identity()
        if halves:
            self.shortcut = nn.Sequential(_make_conv(channels, width, 1, stride), *pooling, *make_norm(norm, width))

    def forward(self, maps: Tensor) -> Tensor:
        """(N, channels, H, W) -> (N, width, H, W), with H and W halved if the block halves the map."""
        return F.relu(self.branch(maps) + self.shortcut(maps), inplace=True)


def build_resnet(arch: Arch, image_shape: tuple[int, int, int], num_classes: int, *, plan: ResNet) -> Classifier:
    """A ResNet with the norm of `arch`; `embed` gives the input of its head.

    Raises:
        ArchError: the last map is smaller than 2x2 pixels.
    """
    norm, channels = str(arch.factors["norm"]), STAGE_WIDTHS[0]
    kernel_size, pooling = _stem_of(image_shape) if plan.large_stem else (3, 1)
    extra = extra_padding(image_shape)
    layers: list[nn.Module] = [_make_conv(image_shape[0], channels, kernel_size, extra=extra)]
    layers += [*make_norm(norm, channels), nn.ReLU(inplace=True)]
    if pooling > 1:
        layers.append(nn.AvgPool2d(pooling))
    for width in STAGE_WIDTHS:
        for _ in range(plan.blocks_per_stage):
            layers.append(Block(channels, width, norm, average_pooled=plan.average_pooled))
            channels = width
    height, columns = (_last_side((side + 2 * extra) // pooling, plan) for side in image_shape[1:])
    if min(height, columns) < MIN_SIDE:
        raise ArchError(
            f"{arch.id}: the last map of a {image_shape[2]}x{image_shape[1]} image is {columns}x{height}, "
            f"less than {MIN_SIDE}x{MIN_SIDE}; use larger images or another net"
        )
    if plan.global_pooling:
        layers.append(nn.AdaptiveAvgPool2d(1))
        height = columns = 1
    return Classifier(nn.Sequential(*layers), channels * height * columns, num_classes)


def _stem_of(image_shape: tuple[int, int, int]) -> tuple[int, int]:
    """Kernel size and average pooling of IDC's stem: for sides of up to 64 pixels, up to 128, and more."""
    side = min(image_shape[1:])
    if side <= 64:
        return 3, 1
    return (3, 2) if side <= 128 else (7, 4)


def _last_side(side: int, plan: ResNet) -> int:
    """Side of the last map, for a map with the given side after the stem."""
    for _ in STAGE_WIDTHS[1:]:
        side = side // 2 if plan.average_pooled else (side + 1) // 2
    return side


def _make_conv(channels: int, width: int, kernel_size: int, stride: int = 1, *, extra: int = 0) -> nn.Conv2d:
    """A convolution that keeps the map's size, up to stride and extra padding; the norm after it replaces its bias."""
    return nn.Conv2d(channels, width, kernel_size, stride=stride, padding=kernel_size // 2 + extra, bias=False)
