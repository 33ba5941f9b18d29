"""The machine's capabilities, and a clean process for each measurement."""

import contextlib
import multiprocessing
import platform
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import ParamSpec, TypeVar

import torch
import torch.nn.functional as F

from nasproxy.condensing.engine import timed
from nasproxy.config import Precision
from nasproxy.device import describe_device, num_cores, retain_freed_memory

P = ParamSpec("P")
T = TypeVar("T")
REPEATS = 7
"""Number of calls; the fastest counts."""


def in_fresh_process(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The result of a call in a fresh process: no measurement inherits memory or settings from another."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *args, **kwargs).result()


def describe(device: torch.device) -> dict[str, str]:
    """Device and versions, for the record."""
    name = describe_device(device)
    if device.type == "cpu":
        name = f"{_cpu_model()}, {num_cores()} cores"
    return {
        "device": name,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "ray": version("ray"),
    }


def arithmetic_limit(device: torch.device, precision: Precision) -> float:
    """FLOP/s of the faster of a large matrix product and a large 3x3 convolution, all cores."""
    dtype = getattr(torch, precision)
    side = 2048 if device.type == "cpu" else 8192
    left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    maps = torch.randn(16 if device.type == "cpu" else 1024, 256, 32, 32, device=device).to(dtype)
    kernel = torch.randn(256, 256, 3, 3, device=device).to(dtype)
    with retain_freed_memory(), torch.no_grad():
        product = 2 * side**3 / timed(lambda: left @ right, device, REPEATS)
        convolution = 2 * 9 * 256 * maps.numel() / timed(lambda: F.conv2d(maps, kernel, padding=1), device, REPEATS)
    return max(product, convolution)


def _cpu_model() -> str:
    """As Linux calls it, e.g. 'AMD EPYC'."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()
