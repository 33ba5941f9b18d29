"""Devices by name, and memory that is kept."""

import platform
import resource

import pytest
import torch

from nasproxy.device import describe_device, find_device, kept_memory, num_cores
from nasproxy.errors import DeviceError

PAGES = 20_000
"""Of 4 KiB, in a tensor of 80 MiB."""


def page_faults_of_a_tensor() -> int:
    """Pages that the system has to give for one large tensor, after another of its size was given up."""
    torch.ones(PAGES * 1024)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(PAGES * 1024)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left alone")
def test_kept_memory_is_used_again() -> None:
    outside = page_faults_of_a_tensor()
    with kept_memory():
        with kept_memory():
            pass
        inside = page_faults_of_a_tensor()
    assert inside < outside / 10  # huge pages make few faults of many
    assert page_faults_of_a_tensor() > outside / 2


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
