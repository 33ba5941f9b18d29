"""Plain nets (without shortcuts) of the condensation papers: MLP, LeNet, AlexNet and VGG-11.

Source: the nets that Zhao, Mopuri & Bilen, "Dataset Condensation with Gradient Matching" (DC), ICLR 2021, test their
sets with (its section on cross-architecture generalisation), in the form of the code released with it, for 32x32
images; the later papers took them over. AlexNet and VGG-11 have no hidden linear layers there. Our deviations:
1. The head takes a final map of any size, so that images of other sizes fit.
2. AlexNet may have a norm between convolution and ReLU; 'none' is the released net.

    [k x k convolution -> norm -> ReLU, or 2x2 max pooling] x ... -> flatten -> [linear -> ReLU] x ... -> linear

Notation: C channels, H height, W width, K classes, F features.
"""

from dataclasses import dataclass

from torch import nn

from nasproxy.errors import ArchError
from nasproxy.nets.classifier import Classifier
from nasproxy.nets.layers import extra_padding, make_norm
from nasproxy.space import Arch


@dataclass(frozen=True)
class Conv:
    """Convolution -> norm -> ReLU."""

    width: int
    kernel_size: int = 3
    padded: bool = True
    """Whether the map keeps its size."""


class Pool:
    """2x2 max pooling."""


@dataclass(frozen=True)
class PlainNet:
    """The layers of a plain net, from the images to its head."""

    maps: tuple[Conv | Pool, ...] = ()
    hidden: tuple[int, ...] = ()
    """Widths of the linear layers before the head."""


_POOL = Pool()

MLP = PlainNet(hidden=(128, 128))
LENET = PlainNet(
    maps=(Conv(6, kernel_size=5, padded=False), _POOL, Conv(16, kernel_size=5, padded=False), _POOL),
    hidden=(120, 84),
)
ALEXNET = PlainNet(
    maps=(Conv(128, kernel_size=5), _POOL, Conv(192, kernel_size=5), _POOL, Conv(256), Conv(192), Conv(192), _POOL)
)
VGG11 = PlainNet(
    maps=(
        *(Conv(64), _POOL, Conv(128), _POOL, Conv(256), Conv(256), _POOL),
        *(Conv(512), Conv(512), _POOL, Conv(512), Conv(512), _POOL),
    )
)


def build_plain(arch: Arch, image_shape: tuple[int, int, int], num_classes: int, *, plan: PlainNet) -> Classifier:
    """A plain net with the norm of `arch`, with PyTorch's default initialisation; `embed` gives the input of its head.

    Raises:
        ArchError: a convolution or pooling leaves no pixel.
    """
    layers, num_features = _make_maps(arch, image_shape, plan)
    layers.append(nn.Flatten())
    for width in plan.hidden:
        layers += [nn.Linear(num_features, width), nn.ReLU(inplace=True)]
        num_features = width
    return Classifier(nn.Sequential(*layers), num_features, num_classes)


def _make_maps(arch: Arch, image_shape: tuple[int, int, int], plan: PlainNet) -> tuple[list[nn.Module], int]:
    """The layers before flattening, and F = C * H * W of the final map."""
    channels, height, columns = image_shape
    extra = extra_padding(image_shape)
    layers: list[nn.Module] = []
    for number, step in enumerate(plan.maps, start=1):
        if isinstance(step, Conv):
            padding = (step.kernel_size // 2 if step.padded else 0) + extra
            layers.append(nn.Conv2d(channels, step.width, step.kernel_size, padding=padding))
            layers += [*make_norm(str(arch.factors["norm"]), step.width), nn.ReLU(inplace=True)]
            growth = 2 * padding - step.kernel_size + 1
            channels, height, columns, extra = step.width, height + growth, columns + growth, 0
        else:
            layers.append(nn.MaxPool2d(2))
            height, columns = height // 2, columns // 2
        if min(height, columns) < 1:
            raise ArchError(
                f"{arch.id}: layer {number} of {len(plan.maps)} leaves no pixel of a "
                f"{image_shape[2]}x{image_shape[1]} image; use larger images or another net"
            )
    return layers, channels * height * columns
