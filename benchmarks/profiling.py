"""`python -m benchmarks.profiling`: what the two hot loops spend their time on, by torch.profiler."""

import argparse

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.workload import BATCH_SIZE, IMAGES_PER_CLASS, NUM_CLASSES, STACKED, make_data, random_images
from nasproxy.condensing import condense
from nasproxy.config import RecipeSettings
from nasproxy.device import find_device, retain_freed_memory
from nasproxy.images import make_generator
from nasproxy.nets.convnet import parse_arch
from nasproxy.training import make_net, train

ROWS = 12


def main() -> None:
    """Prints a table for a condensation and for the training of each of some nets."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profiling", description=__doc__)
    parser.add_argument("--engine", default="compiled-bfloat16-64", help="of condensing")
    parser.add_argument("--archs", nargs="+", default=[*STACKED, "w128-d3-instance-relu-none"])
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    device = find_device(options.device)
    print(f"condensing, {options.engine}, {options.steps} steps, {torch.get_num_threads()} threads")
    print(profile_condensing(options.engine, options.steps, device))
    for arch_id in options.archs:
        print(f"training {arch_id}, {options.steps} steps of {BATCH_SIZE} images, {torch.get_num_threads()} threads")
        print(profile_training(arch_id, options.steps, device))


def profile_condensing(engine: str, steps: int, device: torch.device) -> str:
    """Of steps after as many that warm up."""
    data = make_data(50_000).to(device)
    profiler = _make_profiler(device)

    def on_checkpoint(_: object) -> None:
        if profiler.profiler is None:
            profiler.start()

    condense(
        data,
        "dm",
        images_per_class=IMAGES_PER_CLASS,
        steps=2 * steps,
        checkpoint_every=steps,
        engine=engine,
        on_checkpoint=on_checkpoint,
    )
    profiler.stop()
    return _as_table(profiler, device)


def profile_training(arch_id: str, steps: int, device: torch.device) -> str:
    """Of an augmented training after one that warms up."""
    images = random_images(NUM_CLASSES * IMAGES_PER_CLASS, "train").to(device)
    net, recipe = make_net(parse_arch(arch_id), images, 0), RecipeSettings(steps=steps, batch_size=BATCH_SIZE)
    with retain_freed_memory():
        train([net], images, recipe, [make_generator(0)])
        with _make_profiler(device) as profiler:
            train([net], images, recipe, [make_generator(0)])
    return _as_table(profiler, device)


def _make_profiler(device: torch.device) -> profile:
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if device.type == "cuda" else [])
    return profile(activities=activities)


def _as_table(profiler: profile, device: torch.device) -> str:
    averages = profiler.key_averages()
    key = f"self_{device.type}_time_total"
    table: str = averages.table(sort_by=key, row_limit=ROWS, max_name_column_width=60)
    return table


if __name__ == "__main__":
    main()
