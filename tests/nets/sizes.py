"""What a net has, counted on the net itself."""

import torch

from nasproxy.scoring.costs import count_flops, count_params
from nasproxy.space import Arch, build


def count_on_meta(arch: Arch, shape: tuple[int, int, int], num_classes: int) -> tuple[int, int]:
    """Parameters and FLOPs of the net of an architecture."""
    with torch.device("meta"):
        net = build(arch, shape, num_classes)
        return count_params(net), count_flops(net, torch.empty(1, *shape))
