"""GPU work that does not wait for Python: in parallel on streams, and replayed as a CUDA graph.

A small net takes some sixty short kernels per step; launching them one by one from Python takes longer than their
arithmetic. On a CPU everything here is a plain call.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import torch
from torch import Tensor

_log = logging.getLogger(__name__)

WARM_UP_CALLS = 3
"""Calls before a graph is captured: libraries choose algorithms and allocate memory in the first ones."""

Step = Callable[..., Tensor]
"""Tensors -> a tensor."""
Result = TypeVar("Result")


def run_on_streams(works: Sequence[Callable[[], Result]], device: torch.device) -> list[Result]:
    """Results of independent functions: on a GPU each on its own stream, on a CPU one after another."""
    if device.type != "cuda" or len(works) == 1:
        return [work() for work in works]
    caller = torch.cuda.current_stream(device)
    streams = [_stream(device, number) for number in range(len(works))]
    results = []
    for stream, work in zip(streams, works, strict=True):
        stream.wait_stream(caller)
        with torch.cuda.stream(stream):
            results.append(work())
    for stream in streams:
        caller.wait_stream(stream)
    return results


def capture_graph(step: Step, state: Sequence[Tensor], device: torch.device) -> Step:
    """The same step; on a GPU it is captured at the first call per set of input shapes and replayed from then on.

    Args:
        step: nothing but its inputs and `state` may change between calls.
        state: all tensors that the step modifies; their values are restored after the warm-up.
        device: where it runs.

    A step that waits for the device (reads a value on the host) cannot be captured: it is called as it is, and a
    warning is logged.
    """
    return _GraphedStep(step, state, device) if device.type == "cuda" else step


@cache
def _stream(device: torch.device, number: int) -> torch.cuda.Stream:  # noqa: ARG001  # the cache key
    """A side stream; cached, because each stream reserves its own memory."""
    return torch.cuda.Stream(device)


@dataclass(frozen=True)
class _Captured:
    """A graph with its input and output buffers."""

    graph: torch.cuda.CUDAGraph
    inputs: list[Tensor]
    output: Tensor

    def __call__(self, *inputs: Tensor) -> Tensor:
        for mine, given in zip(self.inputs, inputs, strict=True):
            mine.copy_(given)
        self.graph.replay()
        return self.output.clone()


class _GraphedStep:
    """A step with one graph per set of input shapes."""

    def __init__(self, step: Step, state: Sequence[Tensor], device: torch.device) -> None:
        self._step, self._state, self._device = step, state, device
        self._by_shapes: dict[tuple[torch.Size, ...], Step] = {}

    def __call__(self, *inputs: Tensor) -> Tensor:
        shapes = tuple(given.shape for given in inputs)
        if shapes not in self._by_shapes:
            self._by_shapes[shapes] = self._capture(inputs)
        return self._by_shapes[shapes](*inputs)

    def _capture(self, inputs: Sequence[Tensor]) -> Step:
        mine = [given.clone() for given in inputs]
        before = [tensor.detach().clone() for tensor in self._state]
        stream, caller = _stream(self._device, -1), torch.cuda.current_stream(self._device)
        with torch.cuda.device(self._device):
            stream.wait_stream(caller)
            with torch.cuda.stream(stream):
                refusal = self._warm_up(mine)
            caller.wait_stream(stream)
            with torch.no_grad():
                for tensor, value in zip(self._state, before, strict=True):
                    tensor.copy_(value)
            if refusal is not None:
                _log.warning("not replayed as a CUDA graph, and slower for it: %s", refusal)
                return self._step
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.stream(stream), torch.cuda.graph(graph, stream=stream):
                output = self._step(*mine)
        return _Captured(graph, mine, output)

    def _warm_up(self, inputs: Sequence[Tensor]) -> RuntimeError | None:
        """Calls the step; returns why it cannot be captured, if so. A failed capture would leave CUDA unusable."""
        for _ in range(WARM_UP_CALLS - 1):
            self._step(*inputs)
        try:
            with _waiting_is_an_error():
                self._step(*inputs)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            return error
        return None


@contextmanager
def _waiting_is_an_error() -> Iterator[None]:
    mode = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(mode)
