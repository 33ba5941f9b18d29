"""`python -m benchmarks.methods`: every condensation method with the same time and memory, and its cost per step.

Each method runs in a process of its own: its engine is chosen, steps are timed, then it condenses for as many steps as
fit the time that was given, at most those of its paper, and nets of the kind that it condensed with are trained on the
result. For dc and dsa the steps of a reference written straight from Algorithm 1 are timed as well. The net that
coresets are selected by is trained once and kept in the data folder; its time counts for each.
"""

import argparse
import contextlib
import csv
import itertools
import math
import resource
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch
from rich.console import Console

from benchmarks import naive
from benchmarks.accuracy import show
from benchmarks.condensing import EnoughError
from benchmarks.machine import describe, in_fresh_process
from nasproxy.augment import augment_batch, parse_strategy
from nasproxy.condensing import METHODS, condense
from nasproxy.condensing.condense import complete_settings
from nasproxy.condensing.embedding import find_embedding_arch, make_embedding_net
from nasproxy.config import (
    CondenseConfig,
    CondenseSettings,
    ImageSettings,
    RecipeSettings,
    make_config,
    parse_overrides,
)
from nasproxy.device import find_device, retain_freed_memory
from nasproxy.images import ImageData, load_images, make_generator
from nasproxy.nets.classifier import Classifier
from nasproxy.nets.zoo import parse_net
from nasproxy.seeding import derive_seed
from nasproxy.training import train_seeds

GRADIENT_METHODS = ("dc", "dsa")
TIMED_SECONDS = 10.0
"""How long steps are timed for, at least; what comes before the second report of progress does not count."""
NAIVE_STEPS = 3


@dataclass(frozen=True)
class Row:
    """What is known of a method."""

    method: str
    steps: int
    """Updates done; 0 where images are selected."""
    seconds: float
    """To make the set, once; what was timed before is not counted."""
    step_seconds: float
    """Of one update, without choosing an engine; NaN where there are none."""
    naive_step_seconds: float
    """Of the reference; NaN where there is none."""
    peak_mebibytes: float
    """Memory beyond that of the images, at most: of the process on a CPU, of tensors on a GPU."""
    num_images: int
    """Decoded images."""
    num_stored_numbers: int
    accuracies: tuple[float, ...]
    """Test accuracies of nets trained on the set."""


@dataclass(frozen=True)
class Job:
    """What is asked for."""

    images: ImageSettings
    ipc: int
    seconds: float
    embedding_net: str
    real_batch_size: int | None
    num_nets: int
    epochs: int
    device: str


def main() -> None:
    """Runs the methods one after another, and writes a line for each as it is done."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.methods", description=__doc__)
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--data-dir", type=Path, default=Path("~/.cache/nasproxy"))
    parser.add_argument(
        "--methods", default=",".join(METHODS), help="separated by commas, with settings: 'dm,lodm init=real'"
    )
    parser.add_argument("--ipc", type=int, default=10, help="images per class")
    parser.add_argument("--seconds", type=float, default=60, help="of condensing")
    parser.add_argument("--embedding-net", default="auto", help="net to condense with and to evaluate")
    parser.add_argument("--real-batch-size", type=int, help="images per class and step; default: the method's")
    parser.add_argument("--nets", type=int, default=5, help="trained for each accuracy")
    parser.add_argument("--epochs", type=int, default=300, help="of each net")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--csv", type=Path, help="file to write the rows to")
    options = parser.parse_args()
    images = ImageSettings(dataset=options.dataset, data_dir=options.data_dir)
    job = Job(
        images, options.ipc, options.seconds, options.embedding_net, options.real_batch_size, options.nets,
        options.epochs, options.device,
    )  # fmt: skip
    console = Console(highlight=False, soft_wrap=True)
    console.print(", ".join(f"{key} {value}" for key, value in describe(find_device(job.device)).items()))
    rows: list[Row] = []
    for method in options.methods.split(","):
        rows.append(in_fresh_process(run, method, job))
        console.print(describe_row(rows[-1]))
        if options.csv is not None:
            write_rows(rows, options.csv)


def run(method: str, job: Job) -> Row:
    """Condenses, evaluates and times; alone in its process."""
    device = find_device(job.device)
    data = load_images(settings=job.images).to(device)
    name, *overrides = method.split()
    own = {"images_per_class": job.ipc, "embedding_net": job.embedding_net, "real_batch_size": job.real_batch_size}
    given = parse_overrides(CondenseConfig, overrides)
    asked = make_config(CondenseConfig, {"condense": {"method": name} | own}, given).condense
    complete = complete_settings(asked, data.train)
    step_seconds, steps = math.nan, 0
    before = _memory(device)
    if complete.steps:
        step_seconds, engine = time_steps(data, asked)
        steps = max(min(int(job.seconds / step_seconds), complete.steps), 1)
        asked = asked.model_copy(update={"engine": engine})
    before = before if device.type == "cpu" else _reset_peak(device)
    cache_dir = job.images.data_dir.expanduser() / "selectors"
    proxy = condense(data, settings=asked.model_copy(update={"steps": steps}), cache_dir=cache_dir)
    peak = _peak_memory(device) - before
    naive_seconds = time_naive(data, complete) if name in GRADIENT_METHODS else math.nan
    arch = parse_net(job.embedding_net, data.image_shape)
    with retain_freed_memory():
        scores = train_seeds(
            arch, proxy.images, RecipeSettings(epochs=job.epochs, batch_size=256), val=None, test=data.test,
            num_seeds=job.num_nets, seed=0,
        )  # fmt: skip
    return Row(
        method, steps, proxy.seconds, step_seconds, naive_seconds, peak / 2**20, len(proxy.images),
        proxy.num_stored_numbers, scores.test_accuracies,
    )  # fmt: skip


def time_steps(data: ImageData, settings: CondenseSettings) -> tuple[float, str]:
    """Mean seconds of an update once the engine is chosen and warm, and the engine's name."""
    told: list[tuple[int, float]] = []
    engines = [settings.engine]

    def on_step(step: int, _loss: float) -> None:
        told.append((step, time.perf_counter()))
        if len(told) > 2 and told[-1][1] - told[1][1] > TIMED_SECONDS:
            raise EnoughError

    with contextlib.suppress(EnoughError):
        condense(data, settings=settings, on_step=on_step, on_engine=lambda name, _: engines.append(name))
    (first, started), (last, ended) = told[1], told[-1]
    return (ended - started) / (last - first), engines[-1]


def time_naive(data: ImageData, settings: CondenseSettings) -> float:
    """Mean seconds of a step of Algorithm 1 of DC written straight, with the training of its net."""
    images = data.train
    strategy = parse_strategy(settings.augmentation or "none", flippable=images.flippable)
    generator, seeds = make_generator("naive"), itertools.count()
    arch = find_embedding_arch(settings.embedding_net, images)

    def make_net() -> Classifier:
        return make_embedding_net(arch, images, derive_seed("naive", next(seeds))).requires_grad_(True)

    shape = (images.num_classes, settings.images_per_class, *images.image_shape)
    assert settings.real_batch_size is not None  # complete settings
    steps = naive.condense_by_gradients(
        torch.randn(shape, generator=make_generator("naive", "noise")).to(images.device),
        images,
        make_net,
        naive.pair_drawer(images, settings.real_batch_size, strategy, generator),
        lambda batch: augment_batch(batch, strategy, generator),
        lr=0.1,
        outer_loop=settings.outer_loop or 1,
        inner_loop=settings.inner_loop or 0,
    )
    next(steps)
    started = time.perf_counter()
    for _ in itertools.islice(steps, NAIVE_STEPS):
        pass
    return (time.perf_counter() - started) / NAIVE_STEPS


def describe_row(row: Row) -> str:
    """One line."""
    parts = [f"{row.method}: {show(row.accuracies)} (n = {len(row.accuracies)})", f"{row.num_images} images"]
    if row.steps:
        parts.append(f"{row.steps} steps in {row.seconds:.0f} s, {row.step_seconds:.3g} s per step")
    else:
        parts.append(f"selected in {row.seconds:.0f} s")
    if not math.isnan(row.naive_step_seconds):
        parts.append(f"naive {row.naive_step_seconds:.3g} s ({row.naive_step_seconds / row.step_seconds:.1f} times)")
    return ", ".join([*parts, f"{row.peak_mebibytes:.0f} MiB"])


def write_rows(rows: Sequence[Row], path: Path) -> None:
    """All rows as CSV; accuracies separated by spaces."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)])
        writer.writeheader()
        for row in rows:
            writer.writerow(asdict(row) | {"accuracies": " ".join(f"{value:.4f}" for value in row.accuracies)})


def _memory(device: torch.device) -> int:
    """Bytes in use: of the process, or of tensors on a GPU."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    return int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1]) * resource.getpagesize()


def _reset_peak(device: torch.device) -> int:
    torch.cuda.reset_peak_memory_stats(device)
    return _memory(device)


def _peak_memory(device: torch.device) -> int:
    """Most bytes in use so far."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
