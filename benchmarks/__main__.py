"""`python -m benchmarks [--full] [--csv FILE]`: one table of how fast nasproxy is on this machine.

Everything is measured in one run, naive and ours in turn, each in a fresh process.
"""

import argparse
import csv
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

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
from nasproxy.device import find_device

NUM_ARCHS, NUM_SEEDS = 720, 5


@dataclass(frozen=True)
class Figure:
    """A line of the table."""

    what: str
    unit: str
    naive: float | None
    ours: float
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times faster ours is; of times only."""
        return self.naive / self.ours if self.naive is not None and self.unit == "s" else None


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--full", action="store_true", help="the longer measurement, for a GPU")
    parser.add_argument("--csv", type=Path, default=Path("runs/benchmarks.csv"), help="file to write")
    parser.add_argument("--device", default="auto", help="cpu, cuda or auto")
    options = parser.parse_args()
    device, scale = find_device(options.device), FULL if options.full else QUICK
    machine, started = describe(device), time.perf_counter()
    say = Console(stderr=True)
    say.print(", ".join(f"{key} {value}" for key, value in machine.items()))
    figures: list[Figure] = []
    for measure in (condense_figures, search_figures, full_training_figures, stacking_figures):
        say.print(f"{time.perf_counter() - started:4.0f} s  {measure.__name__.replace('_', ' ')}", highlight=False)
        figures += measure(scale, device)
    say.print(f"{time.perf_counter() - started:4.0f} s  done", highlight=False)
    write_csv(options.csv, figures, machine)
    Console(file=sys.stdout, width=None if sys.stdout.isatty() else 140).print(as_table(figures))
    say.print(f"written to {options.csv}")


def condense_figures(scale: Scale, device: torch.device) -> list[Figure]:
    """A step of distribution matching."""
    naive = in_fresh_process(condensing.time_naive, scale, device)
    ours = in_fresh_process(condensing.time_ours, scale, device)
    share_naive = in_fresh_process(condensing.share_of_limit, naive, device)
    share_ours = in_fresh_process(condensing.share_of_limit, ours, device)
    images = NUM_CLASSES * (REAL_BATCH_SIZE + IMAGES_PER_CLASS)
    figures = [
        Figure("condense: a step", "s", naive.seconds, ours.seconds, ours.engine),
        Figure("condense: throughput", "images/s", images / naive.seconds, images / ours.seconds),
        Figure("condense: share of the arithmetic limit", "%", 100 * share_naive, 100 * share_ours),
        Figure("condense: choice of the engine", "s", None, ours.trial_seconds),
        Figure("condense: 20,000 steps, estimate", "h", None, ours.seconds * condensing.STEPS / 3600),
    ]
    tried = [Figure(f"condense: network part, {name}", "s", None, seconds) for name, seconds in ours.tried]
    return figures + tried


def search_figures(scale: Scale, device: torch.device) -> list[Figure]:
    """The sample on a proxy set, what Ray costs, and how workers scale."""
    naive = in_fresh_process(searching.time_naive, "random", scale.naive_search_steps, device)
    ours = in_fresh_process(searching.time_ours, "random", scale.search_steps, device=device.type)
    between = in_fresh_process(searching.time_between_trials)
    work = searching.work_of_space()
    space_seconds = ours.seconds_per_step * PROXY_STEPS * work
    ray_seconds = ours.around_seconds + NUM_ARCHS * between
    figures = [
        Figure(f"search: {len(SAMPLE)} nets, a step each", "s", naive.seconds_per_step, ours.seconds_per_step),
        Figure("search: 720 archs x 1 seed, estimate", "h", naive_hours(naive, work), space_seconds / 3600),
        Figure("search: throughput, 1 seed", "archs/min", None, NUM_ARCHS / space_seconds * 60),
        Figure("search: Ray and records, a trial", "ms", None, 1000 * between),
        Figure("search: starting and stopping Ray", "s", None, ours.around_seconds),
        Figure(
            "search: share of Ray and records, 720 archs x 1 seed", "%", None,
            100 * ray_seconds / (ray_seconds + space_seconds),
        ),
    ]  # fmt: skip
    if device.type == "cpu":
        alone = in_fresh_process(
            searching.time_ours, "random", scale.search_steps, device="cpu", workers=1, threads_per_worker=1
        )
        ratio = alone.seconds / ours.seconds
        return [*figures, Figure("search: all workers against one, one thread each", "x", None, ratio)]
    for label, settings in GPU_VARIANTS.items():
        timing = in_fresh_process(searching.time_ours, "random", scale.search_steps, **settings)
        seeds = int(settings.get("seeds", 1))
        figures.append(Figure(f"search: a step each, {label}", "s", None, timing.seconds_per_step / seeds))
    return figures


GPU_VARIANTS: dict[str, dict[str, float | int | str]] = {
    "5 seeds (a seed)": {"seeds": NUM_SEEDS},
    "2 workers a GPU": {"gpus_per_worker": 0.5},
    "4 workers a GPU": {"gpus_per_worker": 0.25},
    "bfloat16": {"precision": "bfloat16"},
    "bfloat16, 5 seeds (a seed)": {"precision": "bfloat16", "seeds": NUM_SEEDS},
}
"""What else is tried on a GPU, to choose between."""


def full_training_figures(scale: Scale, device: torch.device) -> list[Figure]:
    """The sample on the whole training set."""
    naive = in_fresh_process(searching.time_naive, "whole", scale.naive_full_steps, device)
    ours = in_fresh_process(searching.time_ours, "whole", scale.full_steps, device=device.type)
    hours = ours.seconds_per_step * FULL_STEPS * searching.work_of_space() / 3600
    return [
        Figure(f"full training: {len(SAMPLE)} nets, a step each", "s", naive.seconds_per_step, ours.seconds_per_step),
        Figure("full training: 720 archs x 100 epochs, estimate", "h", None, hours),
    ]


def stacking_figures(scale: Scale, device: torch.device) -> list[Figure]:
    """Ways to train several seeds of a net at once."""
    timings = in_fresh_process(stacking.time_all, scale.stacked_archs, NUM_SEEDS, device)
    return [
        Figure(f"{NUM_SEEDS} seeds at once: {arch_id}, {way}", "s", times["one by one"], seconds)
        for arch_id, times in timings.items()
        for way, seconds in times.items()
    ]


def naive_hours(naive: searching.Timing, work: float) -> float:
    """Estimate of the whole space the naive way."""
    return naive.seconds_per_step * PROXY_STEPS * work / 3600


def as_table(figures: list[Figure]) -> Table:
    """For people."""
    table = Table("figure", "unit")
    for name in ("naive", "ours", "ratio"):
        table.add_column(name, justify="right")
    table.add_column("")
    for figure in figures:
        numbers = ("" if value is None else f"{value:.3g}" for value in (figure.naive, figure.ours, figure.ratio))
        table.add_row(figure.what, figure.unit, *numbers, figure.note)
    return table


def write_csv(path: Path, figures: list[Figure], machine: dict[str, str]) -> None:
    """For machines, device and versions in each line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [asdict(figure) | {"ratio": figure.ratio} | machine for figure in figures]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
