"""How a net is run while condensing: precision, compiled or eager, and images per pass.

An engine changes speed and rounding, not the method. Which one is fastest depends on the machine, so before a
condensation starts it times one step of the default engine on its own images and, if the run will be long, of others.
Checkpoints and proxy sets record the engine they were made with; passing that name as the setting `engine` reproduces
them.
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
"""Seconds of one step with an engine, excluding the first call, which compiles."""

CHUNK = {"cpu": 64, "cuda": 4096}
"""Default images per pass without gradient, by device type."""
CHUNKS_TO_TRY = {"cpu": (16, 64, 256), "cuda": (512, 4096)}
WORTH_TRYING_SECONDS = 20.0
"""Shorter condensations use the default engine."""
WORTH_COMPILING_SECONDS = 120.0
"""Shorter condensations do not try compiled engines: compiling takes about 5 s per engine."""
BETTER = 0.95
"""An engine replaces a simpler one only if it takes less than this fraction of its time."""


@dataclass(frozen=True)
class Engine:
    """A way to run a net."""

    compiled: bool
    precision: Precision
    chunk: int | None
    """Images per pass without gradient; None: all at once, as batch norm requires unless it is frozen."""

    @property
    def name(self) -> str:
        """E.g. 'compiled-bfloat16-64'."""
        return f"{'compiled' if self.compiled else 'eager'}-{self.precision}-{self.chunk or 'all'}"

    @classmethod
    def parse(cls, name: str) -> Self:
        """The engine with a given name.

        Raises:
            SettingsError: the name does not have that form.
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
        """The net for training with this engine, sharing its weights; the recipe sets the precision."""
        if not self.compiled:
            return net
        compiled: object = torch.compile(net, dynamic=False)
        assert isinstance(compiled, nn.Module)
        return compiled

    def prepare(self, forward: Forward) -> Forward:
        """A net's `embed`, or the net itself, run with this engine and with its weights at the time of the call.

        Raises:
            SettingsError: when called, if the net cannot be compiled on this machine.
        """
        precision = self.precision

        def run(images: Tensor) -> Tensor:
            with torch.autocast(images.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
                return forward(images).float()

        if not self.compiled:
            return run
        logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # no warning on machines without a GPU
        torch.compiler.reset()  # torch caches only a few versions of one function
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
    """The engine used where nothing was measured; `splittable`: images do not depend on one another."""
    return Engine(compiled=False, precision="float32", chunk=CHUNK[device.type] if splittable else None)


def choose_engine(
    default: Engine,
    time_step: TimeStep,
    num_steps: int,
    device: torch.device,
    seconds_left: Callable[[], float] = lambda: math.inf,
) -> tuple[Engine, dict[str, float]]:
    """The fastest engine for `num_steps` steps, and the seconds per step of every engine tried.

    First both precisions; then, where it pays in the time that is left, compiled; then other chunks. An engine that
    does not run here (there is no C++ compiler) takes infinitely long.
    """
    if num_steps == 0:
        return default, {}
    best, seconds = default, {default.name: time_step(default)}

    def try_all(engines: Iterable[Engine], worth_seconds: float) -> None:
        nonlocal best
        if min(num_steps * seconds[best.name], seconds_left()) < worth_seconds:
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
    """Seconds of the fastest of `repeats` calls after a first one, which compiles."""
    step()
    best = math.inf
    for _ in range(repeats):
        synchronize(device)
        started = time.perf_counter()
        step()
        synchronize(device)
        best = min(best, time.perf_counter() - started)
    return best
