"""Devices by name, their description in records, their memory, and the layout of tensors that suits them."""

import contextlib
import ctypes
import os
import platform
from collections.abc import Iterator

import torch
from torch import nn

from nasproxy.errors import DeviceError


def find_device(name: str) -> torch.device:
    """The device called 'cpu', 'cuda', 'cuda:N', or 'auto' (the first GPU where there is one).

    Raises:
        DeviceError: unknown, or not available on this machine.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdigit()):
        raise DeviceError(f"unknown device {name!r}; choose from auto, cpu, cuda, cuda:N")
    count = torch.cuda.device_count()
    if kind == "cuda" and int(number or 0) >= count:
        raise DeviceError(f"device {name!r} is not there: this machine has {count} usable GPU(s); use --device cpu")
    return torch.device(name)


def num_cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def describe_device(device: torch.device) -> str:
    """E.g. 'NVIDIA H200' or 'CPU x86_64, 2 cores'."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU {platform.machine()}, {num_cores()} cores"


def holds(device: torch.device, num_bytes: int) -> bool:
    """Whether `num_bytes` take at most half of the device's free memory; always on a CPU, where they are already."""
    return device.type == "cpu" or num_bytes <= torch.cuda.mem_get_info(device)[0] / 2


def synchronize(device: torch.device) -> None:
    """Waits until the device has finished all its work; does nothing on a CPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@contextlib.contextmanager
def computing_with(num_threads: int | None) -> Iterator[None]:
    """CPU threads for a while; None: as many as there are."""
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def lay_out(net: nn.Module, device: torch.device) -> None:
    """Puts the weights of a net into the memory layout in which its device is fastest; its maps follow them.

    On a CPU that is channels last for a net whose norms are batch norms: a forward pass of a NAS-Bench-201 net takes
    half the time, a training step 0.6, one of a ConvNet 0.75. All other norms, and GPUs, keep torch's default. Values
    change by rounding only.
    """
    norms = [module for module in net.modules() if isinstance(module, _NORMS)]
    if device.type == "cpu" and norms and all(isinstance(norm, nn.BatchNorm2d) for norm in norms):
        net.to(memory_format=torch.channels_last)


_NORMS = (nn.BatchNorm2d, nn.GroupNorm, nn.LayerNorm, nn.InstanceNorm2d)


M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4
"""Parameters of glibc's mallopt(3)."""


_keepers = 0
"""Number of active `retain_freed_memory` contexts."""


@contextlib.contextmanager
def retain_freed_memory() -> Iterator[None]:
    """Retains memory freed by tensors of this process for reuse, and returns it to the system at the end.

    glibc maps every large block afresh from the system, page by page, and unmaps it when freed. Activations are such
    blocks: without this, training on a CPU spends half of its time in page faults. It works in the main thread only
    (glibc's arenas for other threads hold no large blocks). GPUs use torch's own allocator; without glibc this does
    nothing.
    """
    global _keepers  # noqa: PLW0603  # mirrors a state of the whole process
    libc = ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None
    if libc is None:
        yield
        return
    _keepers += 1
    libc.mallopt(M_MMAP_MAX, 0)
    libc.mallopt(M_TRIM_THRESHOLD, -1)
    try:
        yield
    finally:
        _keepers -= 1
        if _keepers == 0:  # the values that glibc itself adapts to in a process with large blocks
            libc.mallopt(M_MMAP_MAX, 65_536)
            libc.mallopt(M_MMAP_THRESHOLD, 32 * 2**20)
            libc.mallopt(M_TRIM_THRESHOLD, 64 * 2**20)
            libc.malloc_trim(0)
