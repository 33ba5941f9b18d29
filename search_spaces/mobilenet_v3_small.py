"""Builder of the space `mobilenet-v3-small.toml`: an example to copy for nets of your own.

A builder is one function. It gets the architecture (`arch.factors` has the values of the TOML file), the shape of an
image and the number of classes, and returns any `torch.nn.Module` that maps (N, C, H, W) images to (N, K) logits.
Initialise as you like: the search seeds torch before it calls.
"""

from torch import nn
from torchvision.models import MobileNetV3
from torchvision.models.mobilenetv3 import InvertedResidualConfig

from nasproxy import Arch

# expansion, output channels, activation, stride of the blocks of MobileNetV3-small
# (Howard et al., "Searching for MobileNetV3", table 2), the first input having 16 channels
BLOCKS = [
    (16, 16, "RE", 2),
    (72, 24, "RE", 2),
    (88, 24, "RE", 1),
    (96, 40, "HS", 2),
    (240, 40, "HS", 1),
    (120, 48, "HS", 1),
    (144, 48, "HS", 1),
    (288, 96, "HS", 2),
]


def build(arch: Arch, image_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    """The first `depth` blocks, with this kernel, channels times `width_mult`, maybe with squeeze-and-excitation."""
    width, depth, kernel = float(arch.factors["width_mult"]), int(arch.factors["depth"]), int(arch.factors["kernel"])
    squeeze_excite = bool(arch.factors["squeeze_excite"])
    blocks, channels = [], 16
    for expanded, out_channels, activation, stride in BLOCKS[:depth]:
        blocks.append(
            InvertedResidualConfig(
                channels,
                kernel,
                expanded,
                out_channels,
                squeeze_excite,
                activation,
                stride,
                dilation=1,
                width_mult=width,
            )
        )
        channels = out_channels
    net = MobileNetV3(blocks, last_channel=512, num_classes=num_classes)
    stem = net.features[0][0]
    net.features[0][0] = nn.Conv2d(image_shape[0], stem.out_channels, kernel_size=3, stride=1, padding=1, bias=False)
    return net
