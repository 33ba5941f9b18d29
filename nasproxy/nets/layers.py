"""Layers shared by several families of nets.

Notation: C channels, H height, W width.
"""

from torch import nn

from nasproxy.errors import ArchError

NUM_GROUPS = 4
"""Groups of the norm called 'group'."""


def make_norm(name: str, width: int, map_size: tuple[int, int] | None = None) -> list[nn.Module]:
    """The layer that normalises maps of `width` channels, with weight and bias, as a list; empty for 'none'.

    Args:
        name: none, batch, layer, instance or group.
        width: C.
        map_size: (H, W), needed by layer norm; a family that does not pass it has no layer norm.

    Raises:
        ArchError: an unknown name, or a width that is not divisible into groups.
    """
    match name:
        case "none":
            return []
        case "batch":
            return [nn.BatchNorm2d(width)]
        case "layer" if map_size is not None:
            return [nn.LayerNorm([width, *map_size])]
        case "instance":
            return [nn.GroupNorm(width, width)]
        case "group":
            if width % NUM_GROUPS:
                raise ArchError(f"width {width} cannot be cut into {NUM_GROUPS} groups; use a multiple of {NUM_GROUPS}")
            return [nn.GroupNorm(NUM_GROUPS, width)]
    raise ArchError(f"unknown norm {name!r}; choose from none, batch, layer, instance, group")


def extra_padding(image_shape: tuple[int, int, int]) -> int:
    """Extra padding per side in the first convolution: 28x28 grey images are treated as 32x32."""
    return 2 if image_shape == (1, 28, 28) else 0
