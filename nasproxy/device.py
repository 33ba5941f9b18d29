"""Devices by name, and what to call them in records."""

import os
import platform

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
