"""How long a forward pass takes on a device, by torch's own timer."""

import torch
from torch.utils.benchmark import Timer

from nasproxy.device import lay_out, synchronize
from nasproxy.space import Arch, build

MIN_SECONDS = 0.05
"""Of repeated passes, at least, after a first one."""


def measure_latency(
    arch: Arch,
    image_shape: tuple[int, int, int],
    num_classes: int,
    *,
    device: torch.device,
    batch_size: int = 1,
    num_threads: int = 1,
) -> float:
    """Seconds of a forward pass of a batch in evaluation mode: the median of repeated ones, each waited for.

    In float32, eager, weights in the layout that nets are trained in. It is a property of this machine, as it is now.

    Args:
        arch: the architecture.
        image_shape: (C, H, W).
        num_classes: K.
        device: where it runs.
        batch_size: images of a pass.
        num_threads: CPU threads.

    Raises:
        ArchError: the architecture does not fit the images.
    """
    net = build(arch, image_shape, num_classes).to(device).eval()
    lay_out(net, device)
    images = torch.zeros(batch_size, *image_shape, device=device)
    with torch.inference_mode():
        known = {"net": net, "images": images, "synchronize": synchronize, "device": device}
        timer = Timer("net(images); synchronize(device)", globals=known, num_threads=num_threads)
        return float(timer.blocked_autorange(min_run_time=MIN_SECONDS).median)
