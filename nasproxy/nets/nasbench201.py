"""The nets of NAS-Bench-201: one cell, repeated.

Source: Dong & Yang, "NAS-Bench-201", ICLR 2020, section 2.1 and figure 1; what it leaves open is as in the benchmark's
code.

    3x3 convolution, norm -> 5 cells of 16 channels -> halving block -> 5 cells of 32 -> halving block -> 5 cells of 64
        -> norm, ReLU -> global average pooling -> linear

The cells are those of `nasproxy.nets.cells`. All norms are batch norms with weight, bias and running statistics; no
convolution has a bias; initialisation is PyTorch's default. Our deviation:
1. The average pooling of a halving block covers the last row and column of maps with an odd side, as its convolution
   does: images of any size fit.

Notation: N images, C channels, H height, W width, K classes.
"""

from torch import Tensor, nn

from nasproxy.nets.cells import EDGES, operations_of
from nasproxy.nets.classifier import Classifier
from nasproxy.space import Arch

WIDTHS = (16, 32, 64)
"""Channels of the three stages."""
CELLS_PER_STAGE = 5


class Zero(nn.Module):
    """The operation `none`."""

    def forward(self, maps: Tensor) -> Tensor:
        """(N, C, H, W) -> zeros (N, C, H, W)."""
        return maps * 0


class Cell(nn.Module):
    """Four nodes, each the sum of what its incoming edges give."""

    def __init__(self, operations: list[str], width: int) -> None:
        super().__init__()
        self.edges = nn.ModuleList(_make_operation(operation, width) for operation in operations)

    def forward(self, maps: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        nodes = [maps]
        for node in (1, 2, 3):
            terms = [
                edge(nodes[source]) for edge, (source, target) in zip(self.edges, EDGES, strict=True) if target == node
            ]
            nodes.append(sum(terms[1:], start=terms[0]))
        return nodes[3]


class HalvingBlock(nn.Module):
    """A residual block that halves the map and changes the number of channels."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(*_make_conv(channels, width, 3, stride=2), *_make_conv(width, width, 3))
        self.shortcut = nn.Sequential(nn.AvgPool2d(2, ceil_mode=True), nn.Conv2d(channels, width, 1, bias=False))

    def forward(self, maps: Tensor) -> Tensor:
        """(N, channels, H, W) -> (N, width, H/2, W/2), rounded up."""
        halved: Tensor = self.branch(maps) + self.shortcut(maps)
        return halved


def build(arch: Arch, image_shape: tuple[int, int, int], num_classes: int) -> Classifier:
    """The net of an architecture's cell, for images (C, H, W) of any size.

    Raises:
        ArchError: an unknown operation.
    """
    operations, channels = operations_of(arch.factors), WIDTHS[0]
    layers: list[nn.Module] = [nn.Conv2d(image_shape[0], channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)]
    for width in WIDTHS:
        if width != channels:
            layers.append(HalvingBlock(channels, width))
        layers += [Cell(operations, width) for _ in range(CELLS_PER_STAGE)]
        channels = width
    layers += [nn.BatchNorm2d(channels), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1)]
    return Classifier(nn.Sequential(*layers), channels, num_classes)


def count_costs(arch: Arch, image_shape: tuple[int, int, int], num_classes: int) -> tuple[int, int]:
    """Parameters and FLOPs of the net that `build` makes, from the operations alone; a multiply-add counts as two.

    Raises:
        ArchError: an unknown operation.
    """
    operations = operations_of(arch.factors)
    convs = [kernel_size for name, kernel_size in _KERNEL_SIZES.items() for _ in range(operations.count(name))]
    channels, (height, columns) = WIDTHS[0], image_shape[1:]
    num_params = image_shape[0] * 9 * channels + 2 * channels
    multiply_adds = image_shape[0] * 9 * channels * height * columns
    for width in WIDTHS:
        if width != channels:
            height, columns = (height + 1) // 2, (columns + 1) // 2
            weights = 9 * channels * width + 9 * width * width + channels * width
            num_params += weights + 4 * width
            multiply_adds += weights * height * columns
        weights = CELLS_PER_STAGE * sum(kernel_size**2 for kernel_size in convs) * width * width
        num_params += weights + CELLS_PER_STAGE * len(convs) * 2 * width
        multiply_adds += weights * height * columns
        channels = width
    num_params += 2 * channels + (channels + 1) * num_classes
    return num_params, 2 * (multiply_adds + channels * num_classes)


_KERNEL_SIZES = {"1x1 conv": 1, "3x3 conv": 3}


def _make_operation(name: str, width: int) -> nn.Module:
    match name:
        case "none":
            return Zero()
        case "skip":
            return nn.Identity()
        case "pool":
            return nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
    return nn.Sequential(*_make_conv(width, width, _KERNEL_SIZES[name]))


def _make_conv(channels: int, width: int, kernel_size: int, stride: int = 1) -> list[nn.Module]:
    """ReLU, a convolution that keeps the map's size up to its stride, and the norm that replaces its bias."""
    conv = nn.Conv2d(channels, width, kernel_size, stride=stride, padding=kernel_size // 2, bias=False)
    return [nn.ReLU(), conv, nn.BatchNorm2d(width)]
