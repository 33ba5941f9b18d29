"""Work on a GPU without waiting for Python: side by side on streams, and replayed as a CUDA graph.

A net of this kind has some sixty short kernels a step; launched one by one from Python they take longer than their
arithmetic. On a CPU everything here is a plain call.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

WARM_UP_CALLS = 3
"""Calls before a graph is captured: libraries choose and allocate in the first ones."""

Step = Callable[..., Tensor]
"""Tensors -> a tensor."""
Result = TypeVar("Result")

_log = logging.getLogger(__name__)


def side_by_side(works: Sequence[Callable[[], Result]], device: torch.device) -> list[Result]:
    """Results of independent pieces of work: each on a stream of its own on a GPU, one after another on a CPU."""
    if device.type != "cuda" or len(works) == 1:
        return [work() for work in works]
    caller = torch.cuda.current_stream(device)
    streams = [torch.cuda.Stream(device) for _ in works]
    results = []
    for stream, work in zip(streams, works, strict=True):
        stream.wait_stream(caller)
        with torch.cuda.stream(stream):
            results.append(work())
    for stream in streams:
        caller.wait_stream(stream)
    return results


def replayed(step: Step, state: Sequence[Tensor], device: torch.device) -> Step:
    """The same step: on a GPU captured at the first call with inputs of these shapes, and replayed from then on.

    Args:
        step: its inputs are all that changes from call to call, apart from `state`; it must not wait for the device.
        state: all tensors that the step changes; they have their values back when the warm-up is over.
        device: where it runs.

    A step that cannot be captured (it looks at a value on the host) is called as it is, with a line in the log.
    """
    return _Replayed(step, state) if device.type == "cuda" else step


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


class _Replayed:
    """A step with a graph for each set of input shapes."""

    def __init__(self, step: Step, state: Sequence[Tensor]) -> None:
        self._step, self._state = step, state
        self._by_shapes: dict[tuple[torch.Size, ...], Step] = {}

    def __call__(self, *inputs: Tensor) -> Tensor:
        shapes = tuple(given.shape for given in inputs)
        if shapes not in self._by_shapes:
            self._by_shapes[shapes] = self._capture(inputs)
        return self._by_shapes[shapes](*inputs)

    def _capture(self, inputs: Sequence[Tensor]) -> Step:
        mine = [given.clone() for given in inputs]
        before = [tensor.detach().clone() for tensor in self._state]
        stream = torch.cuda.Stream(mine[0].device)
        stream.wait_stream(torch.cuda.current_stream(mine[0].device))
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP_CALLS):
                self._step(*mine)
        torch.cuda.current_stream(mine[0].device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                output = self._step(*mine)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            _log.warning("not captured as a CUDA graph, and slower for it: %s", error)
            return self._step
        finally:
            with torch.no_grad():
                for tensor, value in zip(self._state, before, strict=True):
                    tensor.copy_(value)
        return _Captured(graph, mine, output)
