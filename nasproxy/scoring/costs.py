"""Costs of an architecture, without training: parameters and floating-point operations."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from nasproxy.space import Arch, build, load_costs
from nasproxy.training import refuse_other_outputs


@dataclass(frozen=True)
class Costs:
    """Size and work of one net."""

    num_params: int
    flops: int
    """Floating-point operations in the forward pass of one image; a multiply-add counts as two."""
    latency: float | None = None
    """Seconds of a forward pass, where that was measured."""


def measure_costs(arch: Arch, image_shape: tuple[int, int, int], num_classes: int) -> Costs:
    """Parameters, and forward FLOPs by torch's own counter, on the meta device: nothing is computed.

    A space may say how to count without a net (`costs` of its file): that is a thousand times as fast.

    Raises:
        ArchError: the architecture does not fit the images, or its net returns anything but logits (N, K).
    """
    if arch.costs is not None:
        return Costs(*load_costs(arch.costs)(arch, image_shape, num_classes))
    with torch.device("meta"):
        net = build(arch, image_shape, num_classes)
        image = torch.empty(1, *image_shape)
    refuse_other_outputs(net, arch.id, num_classes)
    return Costs(num_params=count_params(net), flops=count_flops(net, image))


def count_params(net: nn.Module) -> int:
    """Number of values in all parameters."""
    return sum(parameter.numel() for parameter in net.parameters())


def count_flops(net: nn.Module, images: Tensor) -> int:
    """FLOPs of a forward pass of images (N, C, H, W) in evaluation mode; the net is left in that mode."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        net.eval()(images)
    return int(counter.get_total_flops())
