"""Work side by side and replayed: plain calls on a CPU, streams and CUDA graphs on a GPU."""

import logging

import pytest
import torch
from torch import Tensor

from nasproxy.cuda_graphs import capture_graph, run_on_streams

CPU, GPU = torch.device("cpu"), torch.device("cuda")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")


@pytest.mark.parametrize("device", [CPU, pytest.param(GPU, marks=needs_gpu)])
def test_results_come_in_the_order_of_the_works(device: torch.device) -> None:
    works = [lambda value=value: torch.full((1000,), value, device=device).sum() for value in range(5)]
    assert [int(result) for result in run_on_streams(works, device)] == [0, 1000, 2000, 3000, 4000]


def test_a_step_on_a_cpu_is_called_as_it_is() -> None:
    def step(value: Tensor) -> Tensor:
        return value + 1

    assert capture_graph(step, [], CPU) is step


@needs_gpu
def test_a_replayed_step_does_what_the_step_does_for_every_shape() -> None:
    total, other = torch.zeros((), device=GPU), torch.zeros((), device=GPU)

    def step_of(state: Tensor, value: Tensor) -> Tensor:
        state.add_(value.sum())
        return state * 2

    fast = capture_graph(lambda value: step_of(total, value), [total], GPU)
    for size in (3, 4, 3, 3, 4):
        value = torch.rand(size, device=GPU)
        torch.testing.assert_close(fast(value), step_of(other, value))


@needs_gpu
def test_a_step_that_asks_the_device_is_called_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    def step(value: Tensor) -> Tensor:
        return value * float(value.sum())

    with caplog.at_level(logging.WARNING):
        fast = capture_graph(step, [], GPU)
        torch.testing.assert_close(fast(torch.ones(3, device=GPU)), torch.full((3,), 3.0, device=GPU))
    assert "not replayed as a CUDA graph" in caplog.text
