"""How images go through a net while condensing: in which precision, compiled or not, and how many at a time.

An engine changes speed and rounding, not the method. Which one is fastest depends on the machine, so a condensation
times a step of the plain one, and where it will be long, of others, on its own images before it starts. A checkpoint
and a proxy set name the engine they were made with; that name given as the setting `engine` makes them again.
"""

import logging
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Self, get_args

import torch
from torch import Tensor, nn

from nasproxy.config import Precision
from nasproxy.device import synchronize
from nasproxy.errors import SettingsError

_log = logging.getLogger(__name__)

Forward = Callable[[Tensor], Tensor]
"""(N, C, H, W) images -> (N, F) features or (N, K) logits."""
TimeStep = Callable[["Engine"], float]
"""Seconds of one step with an engine, its first call, which compiles, not counted."""

CHUNK = {"cpu": 64, "cuda": 4096}
"""Images without gradient a pass, by device type, before anything is measured."""
CHUNKS_TO_TRY = {"cpu": (16, 64, 256), "cuda": (512, 4096)}
WORTH_TRYING_SECONDS = 20.0
"""Condensations that would take less take the default engine."""
WORTH_COMPILING_SECONDS = 120.0
"""Condensations that would take less without compiling are not worth it: it takes about 5 s an engine."""
BETTER = 0.95
"""An engine is preferred to a simpler one if it takes less than this fraction of its time."""


@dataclass(frozen=True)
class Engine:
    """A way to run the same net."""

    compiled: bool
    precision: Precision
    chunk: int | None
    """Images without gradient a pass; None: all at once, which batch norm needs."""

    @property
    def name(self) -> str:
        """E.g. 'compiled-bfloat16-64'."""
        return f"{'compiled' if self.compiled else 'eager'}-{self.precision}-{self.chunk or 'all'}"

    @classmethod
    def parse(cls, name: str) -> Self:
        """The engine of a name.

        Raises:
            SettingsError: not of that form.
        """
        kind, _, rest = name.partition("-")
        precision, _, chunk = rest.partition("-")
        if kind in ("eager", "compiled") and (chunk == "all" or (chunk.isdecimal() and int(chunk) > 0)):
            for known in get_args(Precision):
                if precision == known:
                    return cls(kind == "compiled", known, None if chunk == "all" else int(chunk))
        raise SettingsError(
            f"engine {name!r} is none; write 'auto' or KIND-PRECISION-CHUNK, "
            "e.g. 'eager-float32-64', 'compiled-bfloat16-16' or 'eager-float32-all'"
        )

    def prepare_training(self, net: nn.Module) -> nn.Module:
        """The net, sharing its weights, to be trained by this engine; the precision is up to the recipe."""
        if not self.compiled:
            return net
        compiled: object = torch.compile(net, dynamic=False)
        assert isinstance(compiled, nn.Module)
        return compiled

    def prepare(self, forward: Forward) -> Forward:
        """A net's `embed` or the net itself, of whatever weights it has when called, to run by this engine.

        Raises:
            SettingsError: when called, if the net cannot be compiled here.
        """
        precision = self.precision

        def run(images: Tensor) -> Tensor:
            with torch.autocast(images.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
                return forward(images).float()

        if not self.compiled:
            return run
        logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # a machine without GPU is no news
        torch.compiler.reset()  # torch keeps only a few versions of one function
        compiled: Forward = torch.compile(run, dynamic=False)

        def run_compiled(images: Tensor) -> Tensor:
            try:
                return compiled(images)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:
                raise SettingsError(
                    f"engine {self.name} does not run here: {' '.join(str(error).split())[:200]}; "
                    f"use engine={replace(self, compiled=False).name}"
                ) from error

        return run_compiled


def default_engine(device: torch.device, *, splittable: bool) -> Engine:
    """What is used where nothing was measured; `splittable`: the net has no batch norm."""
    return Engine(compiled=False, precision="float32", chunk=CHUNK[device.type] if splittable else None)


def choose_engine(
    default: Engine, time_step: TimeStep, num_steps: int, device: torch.device
) -> tuple[Engine, dict[str, float]]:
    """The fastest engine for so many steps, and the seconds of a step with each engine that was tried.

    First both precisions; then, where it pays, compiled; then other chunks. An engine that does not run here (there is
    no C++ compiler) takes infinitely long.
    """
    if num_steps == 0:
        return default, {}
    best, seconds = default, {default.name: time_step(default)}

    def try_all(engines: Iterable[Engine], worth_seconds: float) -> None:
        nonlocal best
        if num_steps * seconds[best.name] < worth_seconds:
            return
        for engine in engines:
            if engine.name not in seconds:
                seconds[engine.name] = _try(time_step, engine)
                if seconds[engine.name] < BETTER * seconds[best.name]:
                    best = engine

    def kinds(*, compiled: bool) -> list[Engine]:
        return [replace(default, compiled=compiled, precision=precision) for precision in get_args(Precision)]

    try_all(kinds(compiled=False), WORTH_TRYING_SECONDS)
    try_all(kinds(compiled=True), WORTH_COMPILING_SECONDS)
    if default.chunk is not None:
        chunks = CHUNKS_TO_TRY[device.type]
        try_all([replace(best, chunk=chunk) for chunk in chunks], WORTH_COMPILING_SECONDS)
    return best, seconds


def _try(time_step: TimeStep, engine: Engine) -> float:
    try:
        return time_step(engine)
    except torch.OutOfMemoryError:
        torch.cuda.empty_cache()
    except Exception as error:  # compilers fail in many ways
        _log.warning("%s", error)
    return math.inf


def timed(step: Callable[[], Tensor], device: torch.device, repeats: int = 2) -> float:
    """Seconds of the fastest of some calls after a first one, which compiles."""
    step()
    best = math.inf
    for _ in range(repeats):
        synchronize(device)
        started = time.perf_counter()
        step()
        synchronize(device)
        best = min(best, time.perf_counter() - started)
    return best
