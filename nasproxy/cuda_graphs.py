"""Work on a GPU without waiting for Python: side by side on streams, and replayed as a CUDA graph.

A net of this kind has some sixty short kernels a step; launched one by one from Python they take longer than their
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
"""Calls before a graph is captured: libraries choose and allocate in the first ones."""

Step = Callable[..., Tensor]
"""Tensors -> a tensor."""
Result = TypeVar("Result")


def run_on_streams(works: Sequence[Callable[[], Result]], device: torch.device) -> list[Result]:
    """Results of independent pieces of work: each on a stream of its own on a GPU, one after another on a CPU."""
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
    """The same step: on a GPU captured at the first call with inputs of these shapes, and replayed from then on.

    Args:
        step: its inputs are all that changes from call to call, apart from `state`.
        state: all tensors that the step changes; they have their values back when the warm-up is over.
        device: where it runs.

    A step that waits for the device (it looks at a value on the host) cannot be captured: it is called as it is, with a
    line in the log.
    """
    return _GraphedStep(step, state, device) if device.type == "cuda" else step


@cache
def _stream(device: torch.device, number: int) -> torch.cuda.Stream:  # noqa: ARG001  # what it is cached by
    """One of the streams for side work; kept, because each holds on to memory of its own."""
    return torch.cuda.Stream(device)


@dataclass(frozen=True)
class _Captured:
    """A graph, and the memory that it reads from and writes to."""

    graph: torch.cuda.CUDAGraph
    inputs: list[Tensor]
    output: Tensor

    def __call__(self, *inputs: Tensor) -> Tensor:
        for mine, given in zip(self.inputs, inputs, strict=True):
            mine.copy_(given)
        self.graph.replay()
        return self.output.clone()


class _GraphedStep:
    """A step with a graph for each set of input shapes."""

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
        """Calls the step; returns why it cannot be captured. To find out by capturing would leave CUDA unusable."""
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
