"""Devices by name, what to call them in records, and how their memory is kept."""

import contextlib
import ctypes
import os
import platform
from collections.abc import Iterator

import torch

from nasproxy.errors import DeviceError


def find_device(name: str) -> torch.device:
    """The device called 'cpu', 'cuda', 'cuda:N', or 'auto' (the first GPU where there is one).

    Raises:
        DeviceError: unknown, or not on this machine.
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
    """Whether so many bytes take at most half of what is free on the device; on a CPU they are there already."""
    return device.type == "cpu" or num_bytes <= torch.cuda.mem_get_info(device)[0] / 2


def synchronize(device: torch.device) -> None:
    """Waits until the device has done all it was given; a CPU has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4
"""Parameters of glibc's mallopt(3)."""


_keepers = 0
"""How many `retain_freed_memory` are in force."""


@contextlib.contextmanager
def retain_freed_memory() -> Iterator[None]:
    """Keeps memory that tensors give up in this process for the next ones, and hands it back to the system at the end.

    glibc takes every large block fresh from the system, page by page, and returns it at once. Activations are such
    blocks: on a CPU, training spends half of its time in page faults without this. It works in the main thread (glibc
    gives others arenas that hold no large blocks). GPUs have torch's own allocator, and where there is no glibc nothing
    is done.
    """
    global _keepers  # noqa: PLW0603  # it stands for a state of the whole process
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
        if _keepers == 0:  # back to what glibc adapts itself to in a process with large blocks
            libc.mallopt(M_MMAP_MAX, 65_536)
            libc.mallopt(M_MMAP_THRESHOLD, 32 * 2**20)
            libc.mallopt(M_TRIM_THRESHOLD, 64 * 2**20)
            libc.malloc_trim(0)
