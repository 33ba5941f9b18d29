"""Nets by name: any ConvNet."""

from nasproxy.nets.convnet import default_arch, parse_arch
from nasproxy.space import Arch


def parse_net(name: str, image_shape: tuple[int, int, int]) -> Arch:
    """The net called `name`: an id of a ConvNet, or 'auto', the default ConvNet for such images (C, H, W).

    Raises:
        SettingsError: no such net.
    """
    return default_arch(image_shape) if name == "auto" else parse_arch(name)
