"""Devices by name, and memory that is kept."""

import platform
import subprocess
import sys

import pytest
import torch

from nasproxy.device import describe_device, find_device, lay_out, num_cores
from nasproxy.errors import DeviceError
from nasproxy.nets.convnet import parse_arch
from nasproxy.space import build

TRAIN = """
import contextlib, resource, sys, torch
from nasproxy.device import retain_freed_memory
from nasproxy.nets.convnet import parse_arch
from nasproxy.space import build

torch.set_num_threads(1)
images = torch.rand(350, 3, 32, 32)  # activations of 46 MB
with retain_freed_memory() if sys.argv[1] == "kept" else contextlib.nullcontext():
    with retain_freed_memory() if sys.argv[1] == "kept" else contextlib.nullcontext():
        pass  # an inner one changes nothing
    net, faults = build(parse_arch("w32-d1-instance-relu-avg"), (3, 32, 32), 10), []
    for _ in range(12):
        net(images).square().sum().backward()
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
print((faults[-1] - faults[-5]) // 4)
"""


def page_faults_of_a_step(mode: str) -> int:
    """Pages that the system has to give for a training step, in a process of its own."""
    done = subprocess.run([sys.executable, "-c", TRAIN, mode], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left alone")
def test_retained_memory_is_used_again() -> None:
    given_up, kept = page_faults_of_a_step("given up"), page_faults_of_a_step("kept")
    assert kept < given_up / 5  # a count, not a size: huge pages make few faults of many


@pytest.mark.parametrize(("norm", "is_channels_last"), [("batch", True), ("instance", False), ("none", False)])
def test_nets_of_batch_norms_are_laid_out_channels_last_and_compute_the_same(norm: str, is_channels_last: bool) -> None:
    images = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    net = build(parse_arch(f"w8-d2-{norm}-relu-avg"), (3, 8, 8), 10)
    expected = net(images)
    lay_out(net, torch.device("cpu"))
    weights = [weight for weight in net.parameters() if weight.dim() == 4]
    assert len(weights) == 2
    assert all(weight.is_contiguous(memory_format=torch.channels_last) != weight.is_contiguous() for weight in weights)
    assert all(weight.is_contiguous(memory_format=torch.channels_last) == is_channels_last for weight in weights)
    torch.testing.assert_close(net(images), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["auto", "cpu"])
def test_a_device_is_found_and_described(name: str) -> None:
    device = find_device(name)
    assert device.type in ("cpu", "cuda")
    if device.type == "cpu":
        assert f"{num_cores()} cores" in describe_device(device)


@pytest.mark.parametrize(("name", "message"), [("gpu", "unknown device 'gpu'"), ("cuda:99", "is not there")])
def test_a_device_that_is_not_there_is_refused(name: str, message: str) -> None:
    with pytest.raises(DeviceError, match=message):
        find_device(name)
