"""The table of `python -m benchmarks`: naive and ours in turn, several times, each measurement in a fresh process.

Machines are shared, and their speed swings: what is compared is measured side by side, A B A B …, and the ratio is that
of each pair, of which the middle one is given, and the least and most.
"""

import argparse
import csv
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self, TypeVar

import torch
from rich.console import Console
from rich.table import Table

from benchmarks import condensing, searching, stacking
from benchmarks.machine import describe, in_fresh_process
from benchmarks.workload import (
    FULL,
    FULL_STEPS,
    IMAGES_PER_CLASS,
    NUM_CLASSES,
    PROXY_STEPS,
    QUICK,
    REAL_BATCH_SIZE,
    SAMPLE,
    Scale,
)
from nasproxy.device import find_device, num_cores

T = TypeVar("T")
NUM_ARCHS, NUM_SEEDS = 720, 5
LIMIT = "of the faster of a matrix product and a convolution"


@dataclass(frozen=True)
class Figure:
    """A line of the table."""

    what: str
    unit: str
    naive: float | None
    ours: float
    note: str = ""
    ratios: tuple[float, ...] = ()
    """How many times faster ours is, pair by pair; of times only."""

    @property
    def ratio(self) -> float | None:
        """The middle one of the pairs."""
        return statistics.median(self.ratios) if self.ratios else None

    @classmethod
    def of_pairs(cls, what: str, pairs: Sequence[tuple[float, float]], note: str = "") -> Self:
        """Seconds of naive and ours, measured in turn."""
        naive, ours = (statistics.median(side) for side in zip(*pairs, strict=True))
        return cls(what, "s", naive, ours, note, tuple(naive / ours for naive, ours in pairs))


def measure_in_turn(count: int, naive: Callable[[], T], ours: Callable[[], T]) -> list[tuple[T, T]]:
    """So many pairs of measurements, A B A B …."""
    return [(naive(), ours()) for _ in range(count)]


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="How fast nasproxy is on this machine.")
    parser.add_argument("--full", action="store_true", help="the longer measurement, for a GPU")
    parser.add_argument("--pairs", type=int, default=3, help="how often naive and ours are measured in turn")
    parser.add_argument("--csv", type=Path, default=Path("runs/benchmarks.csv"), help="file to write")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    options = parser.parse_args()
    device, scale = find_device(options.device), FULL if options.full else QUICK
    scale = replace(scale, num_pairs=options.pairs)
    machine, started = describe(device), time.perf_counter()
    say = Console(stderr=True)
    say.print(", ".join(f"{key} {value}" for key, value in machine.items()))
    figures: list[Figure] = []
    failed = False
    for measure in (condense_figures, search_figures, full_training_figures, gpu_figures, stacking_figures):
        say.print(f"{time.perf_counter() - started:4.0f} s  {measure.__name__.replace('_', ' ')}", highlight=False)
        try:
            for figure in measure(scale, device):
                figures.append(figure)
                write_csv(options.csv, figures, machine)
        except Exception:  # what was measured before is worth keeping
            failed = True
            say.print_exception()
    say.print(f"{time.perf_counter() - started:4.0f} s  done, written to {options.csv}", highlight=False)
    Console(file=sys.stdout, width=None if sys.stdout.isatty() else 160).print(as_table(figures))
    sys.exit(1 if failed else 0)


def condense_figures(scale: Scale, device: torch.device) -> Iterator[Figure]:
    """A step of distribution matching."""
    pairs = measure_in_turn(
        scale.num_pairs,
        lambda: in_fresh_process(condensing.time_naive, scale, device),
        lambda: in_fresh_process(condensing.time_ours, scale, device),
    )
    naive, ours = sorted(pairs, key=lambda pair: pair[0].seconds / pair[1].seconds)[len(pairs) // 2]
    images = NUM_CLASSES * (REAL_BATCH_SIZE + IMAGES_PER_CLASS)
    yield Figure.of_pairs("condense: a step", [(a.seconds, b.seconds) for a, b in pairs], ours.engine)
    yield Figure("condense: throughput", "images/s", images / naive.seconds, images / ours.seconds)
    shares = in_fresh_process(condensing.shares_of_limit, (naive, ours), device)
    yield Figure("condense: share of the arithmetic limit", "%", 100 * shares[0], 100 * shares[1], LIMIT)
    yield Figure("condense: choosing and compiling the engine", "s", None, ours.start_seconds)
    total = ours.start_seconds + ours.seconds * condensing.STEPS
    yield Figure("condense: 20,000 steps, estimate", "h", None, total / 3600)
    for name, seconds in ours.tried:
        yield Figure(f"condense: network part, {name}", "s", None, seconds)


def search_figures(scale: Scale, device: torch.device) -> Iterator[Figure]:
    """The sample on a proxy set, what Ray costs, and how workers scale."""
    pairs = measure_in_turn(
        scale.num_pairs,
        lambda: in_fresh_process(searching.time_naive, "random", scale.naive_search_steps, device),
        lambda: in_fresh_process(searching.time_ours, "random", scale.search_steps, device=device.type),
    )
    naive, ours = sorted(pairs, key=lambda pair: pair[0].seconds_per_step / pair[1].seconds_per_step)[len(pairs) // 2]
    naive_seconds, our_seconds = (PROXY_STEPS * searching.work_of_space() * t.seconds_per_step for t in (naive, ours))
    seconds = [(a.seconds_per_step, b.seconds_per_step) for a, b in pairs]
    yield Figure.of_pairs(f"search: {len(SAMPLE)} nets, a step each", seconds)
    yield Figure("search: 720 archs x 1 seed, estimate", "h", naive_seconds / 3600, our_seconds / 3600)
    yield Figure(
        "search: throughput, 1 seed", "archs/min", NUM_ARCHS / naive_seconds * 60, NUM_ARCHS / our_seconds * 60
    )
    between = in_fresh_process(searching.time_between_trials)
    yield Figure("search: Ray and records, a trial", "ms", None, 1000 * between)
    yield Figure("search: starting and stopping Ray", "s", None, ours.around_seconds)
    ray_seconds = ours.around_seconds + NUM_ARCHS * between
    share = ray_seconds / (ray_seconds + our_seconds)
    yield Figure("search: share of Ray and records, 720 archs x 1 seed", "%", None, 100 * share)
    if device.type == "cpu":
        scaling = in_fresh_process(searching.measure_scaling, 2 * scale.search_steps, num_cores())
        yield Figure(f"search: {num_cores()} workers against one, one thread each", "x", None, scaling)


def full_training_figures(scale: Scale, device: torch.device) -> Iterator[Figure]:
    """The sample on the whole training set."""
    pairs = measure_in_turn(
        scale.num_pairs,
        lambda: in_fresh_process(searching.time_naive, "whole", scale.naive_full_steps, device),
        lambda: in_fresh_process(searching.time_ours, "whole", scale.full_steps, device=device.type),
    )
    figure = Figure.of_pairs(
        f"full training: {len(SAMPLE)} nets, a step each", [(a.seconds_per_step, b.seconds_per_step) for a, b in pairs]
    )
    yield figure
    hours = figure.ours * FULL_STEPS * searching.work_of_space() / 3600
    yield Figure("full training: 720 archs x 100 epochs, estimate", "h", None, hours)


GPU_VARIANTS: dict[str, dict[str, float | int | str]] = {
    "without CUDA graphs": {"cuda_graphs": False},
    "5 seeds (a seed)": {"seeds": NUM_SEEDS},
    "2 workers a GPU": {"gpus_per_worker": 0.5},
    "bfloat16": {"precision": "bfloat16"},
    "bfloat16, 5 seeds (a seed)": {"precision": "bfloat16", "seeds": NUM_SEEDS},
}
"""What else is tried on a GPU, to choose between."""


def gpu_figures(scale: Scale, device: torch.device) -> Iterator[Figure]:
    """The sample on a proxy set in other ways; nothing on a CPU."""
    for label, settings in GPU_VARIANTS.items() if device.type == "cuda" else ():
        timing = in_fresh_process(searching.time_ours, "random", scale.search_steps, **settings)
        seconds = timing.seconds_per_step / int(settings.get("seeds", 1))
        yield Figure(f"search: {len(SAMPLE)} nets, a step each, {label}", "s", None, seconds)


def stacking_figures(scale: Scale, device: torch.device) -> Iterator[Figure]:
    """Ways to train several seeds of a net at once."""
    timings = in_fresh_process(stacking.time_all, scale.stacked_archs, NUM_SEEDS, device)
    for arch_id, times in timings.items():
        for way, seconds in times.items():
            note = f"{times['one by one'] / seconds:.2f} x as fast as one by one"
            yield Figure(f"{NUM_SEEDS} seeds at once: {arch_id}, {way}", "s", None, seconds, note)


def as_table(figures: list[Figure]) -> Table:
    """For people."""
    table = Table("figure", "unit")
    for name in ("naive", "ours", "ratio"):
        table.add_column(name, justify="right")
    table.add_column("of the pairs")
    table.add_column("")
    for figure in figures:
        numbers = ("" if value is None else f"{value:.3g}" for value in (figure.naive, figure.ours, figure.ratio))
        spread = f"{min(figure.ratios):.2f} to {max(figure.ratios):.2f}" if figure.ratios else ""
        table.add_row(figure.what, figure.unit, *numbers, spread, figure.note)
    return table


def write_csv(path: Path, figures: list[Figure], machine: dict[str, str]) -> None:
    """For machines, device and versions in each line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [
        asdict(figure)
        | {"ratio": figure.ratio, "ratios": " ".join(f"{ratio:.4g}" for ratio in figure.ratios)}
        | machine
        for figure in figures
    ]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
