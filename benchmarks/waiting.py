"""`python -m benchmarks.waiting`: a step of condensing alone, and beside busy processes, by how long threads spin.

Threads of OpenMP that have nothing to do spin for a while before they sleep. Where other processes want the cores, they
take them from whom they wait for. nasproxy lets them spin for a moment (`nasproxy.SPIN_COUNT`); every way is timed in
turn, several times, in processes of its own.
"""

import argparse
import contextlib
import multiprocessing
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator

import torch
from rich.console import Console
from rich.table import Table

import nasproxy
from benchmarks.machine import describe
from nasproxy.device import num_cores

WAYS: dict[str, dict[str, str | None]] = {
    "torch's default": {"GOMP_SPINCOUNT": None, "OMP_WAIT_POLICY": None},
    "nasproxy": {"GOMP_SPINCOUNT": str(nasproxy.SPIN_COUNT)},
    "passive": {"GOMP_SPINCOUNT": None, "OMP_WAIT_POLICY": "PASSIVE"},
    "one thread": {"OMP_NUM_THREADS": "1"},
}
"""Name -> what is set in the environment; None: removed."""
STEP = """
import time
import torch
import nasproxy as nap
data = nap.load_images("digits")
given = {"images_per_class": 10, "embedding_net": "w32-d3-instance-relu-avg", "engine": "eager-float32-64"}
nap.condense(data, "dm", steps=2, **given)
started = time.perf_counter()
nap.condense(data, "dm", steps=STEPS, **given)
print((time.perf_counter() - started) / STEPS)
"""
"""Seconds of a step. Torch is imported first, so that nasproxy has no say."""


def time_step(changes: dict[str, str | None], steps: int) -> float:
    """Seconds of a step in a process with these environment variables."""
    env = {**os.environ, **{name: value for name, value in changes.items() if value is not None}}
    env = {name: value for name, value in env.items() if changes.get(name, value) is not None}
    code = STEP.replace("STEPS", str(steps))
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    return float(done.stdout)


@contextlib.contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """So many processes that compute without end."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_compute, daemon=True) for _ in range(count)]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.kill()


def _compute() -> None:
    torch.set_num_threads(1)
    matrix = torch.randn(256, 256)
    while True:
        matrix = torch.tanh(matrix @ matrix)


def main() -> None:
    """Prints a table: median seconds of a step, and the least and most."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.waiting", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=10)
    options = parser.parse_args()
    console = Console(highlight=False, soft_wrap=True)
    console.print(", ".join(f"{key} {value}" for key, value in describe(torch.device("cpu")).items()))
    table = Table("threads wait", "alone, s a step", f"beside {num_cores()} busy processes, s a step")
    seconds: dict[tuple[str, bool], list[float]] = {}
    for is_busy in (False, True):
        with busy_processes(num_cores() if is_busy else 0):
            for _ in range(options.rounds):
                for name, changes in WAYS.items():
                    seconds.setdefault((name, is_busy), []).append(time_step(changes, options.steps))
    for name in WAYS:
        table.add_row(name, *(_describe(seconds[name, is_busy]) for is_busy in (False, True)))
    console.print(table)


def _describe(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):.3f} ({min(seconds):.3f} to {max(seconds):.3f})"


if __name__ == "__main__":
    main()
