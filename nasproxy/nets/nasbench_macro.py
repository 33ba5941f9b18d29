"""The nets of NAS-Bench-Macro: chains of inverted residual blocks.

Source: Su et al., "Prioritized Architecture Sampling with Monto-Carlo Tree Search", CVPR 2021, section 4.1; what it
leaves open is as in the benchmark's code; the block is that of MobileNetV2 (Sandler et al., CVPR 2018) with ReLU.

    3x3 convolution to 32 channels, norm, ReLU -> stages of 2, 3 and 3 blocks, 64, 128 and 256 channels
        -> 1x1 convolution to 1280, norm, ReLU -> global average pooling -> linear

The first block of a stage halves the map and doubles the channels. All norms are batch norms with weight, bias and
running statistics; no convolution has a bias; initialisation is PyTorch's default. The chains are those of
`nasproxy.nets.chains`.

Notation: N images, C channels, H height, W width, K classes.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from nasproxy.nets.chains import blocks_of
from nasproxy.nets.classifier import Classifier
from nasproxy.space import Arch

STEM_WIDTH = 32
HEAD_WIDTH = 1280


@dataclass(frozen=True)
class Kind:
    """An inverted residual block: kernel size of the depthwise convolution, and channels there per channel outside."""

    kernel_size: int
    expansion: int


KINDS = {"3x3": Kind(kernel_size=3, expansion=3), "5x5": Kind(kernel_size=5, expansion=6)}
"""Kinds of blocks other than the identity."""


class InvertedResidual(nn.Module):
    """Expanding 1x1, depthwise and reducing 1x1 convolution, beside a shortcut where the map keeps its shape."""

    def __init__(self, channels: int, width: int, kind: Kind) -> None:
        super().__init__()
        stride, hidden, size = 1 if channels == width else 2, channels * kind.expansion, kind.kernel_size
        self.branch = nn.Sequential(
            *(nn.Conv2d(channels, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU(inplace=True)),
            nn.Conv2d(hidden, hidden, size, stride=stride, padding=size // 2, groups=hidden, bias=False),
            *(nn.BatchNorm2d(hidden), nn.ReLU(inplace=True)),
            *(nn.Conv2d(hidden, width, 1, bias=False), nn.BatchNorm2d(width)),
        )
        self.has_shortcut = channels == width

    def forward(self, maps: Tensor) -> Tensor:
        """(N, channels, H, W) -> (N, width, H, W), with H and W halved, rounded up, where the channels change."""
        changed: Tensor = self.branch(maps)
        return changed + maps if self.has_shortcut else changed


def build(arch: Arch, image_shape: tuple[int, int, int], num_classes: int) -> Classifier:
    """The net of an architecture's chain, for images (C, H, W) of any size.

    Raises:
        ArchError: an unknown block.
    """
    channels = STEM_WIDTH
    layers: list[nn.Module] = [nn.Conv2d(image_shape[0], channels, 3, padding=1, bias=False)]
    layers += [nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]
    for stage in blocks_of(arch.factors):
        width = 2 * channels
        for block in stage:
            layers += _make_block(block, channels, width)
            channels = width
    layers += [nn.Conv2d(channels, HEAD_WIDTH, 1, bias=False), nn.BatchNorm2d(HEAD_WIDTH), nn.ReLU(inplace=True)]
    return Classifier(nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1)), HEAD_WIDTH, num_classes)


def count_costs(arch: Arch, image_shape: tuple[int, int, int], num_classes: int) -> tuple[int, int]:
    """Parameters and FLOPs of the net that `build` makes, from the blocks alone; a multiply-add counts as two.

    Raises:
        ArchError: an unknown block.
    """
    channels, (height, columns) = STEM_WIDTH, image_shape[1:]
    num_params = image_shape[0] * 9 * channels + 2 * channels
    multiply_adds = image_shape[0] * 9 * channels * height * columns
    for stage in blocks_of(arch.factors):
        width = 2 * channels
        for block in stage:
            before = height * columns
            if channels != width:
                height, columns = (height + 1) // 2, (columns + 1) // 2
            after = height * columns
            if block in KINDS:
                hidden, area = channels * KINDS[block].expansion, KINDS[block].kernel_size ** 2
                num_params += hidden * (channels + area + width) + 4 * hidden + 2 * width
                multiply_adds += hidden * (channels * before + (area + width) * after)
            elif channels != width:
                num_params += channels * width + 2 * width
                multiply_adds += channels * width * after
            channels = width
    num_params += channels * HEAD_WIDTH + 2 * HEAD_WIDTH + (HEAD_WIDTH + 1) * num_classes
    return num_params, 2 * (multiply_adds + channels * HEAD_WIDTH * height * columns + HEAD_WIDTH * num_classes)


def _make_block(name: str, channels: int, width: int) -> list[nn.Module]:
    if name in KINDS:
        return [InvertedResidual(channels, width, KINDS[name])]
    if channels == width:
        return []
    return [nn.Conv2d(channels, width, 1, stride=2, bias=False), nn.BatchNorm2d(width)]
