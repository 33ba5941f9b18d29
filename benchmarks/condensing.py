"""A step of distribution matching: 10 classes, 50 synthetic and 256 real images per class, the default net."""

import contextlib
import itertools
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from benchmarks import naive
from benchmarks.machine import arithmetic_limit
from benchmarks.workload import IMAGES_PER_CLASS, NUM_CLASSES, REAL_BATCH_SIZE, Scale, make_data, random_images
from nasproxy.augment import parse_strategy
from nasproxy.condensing import condense
from nasproxy.condensing.engine import Engine
from nasproxy.config import CondenseSettings
from nasproxy.images import make_generator
from nasproxy.nets.classifier import Classifier
from nasproxy.nets.convnet import default_arch
from nasproxy.scoring import measure_costs
from nasproxy.space import build

STEPS = 20_000


@dataclass(frozen=True)
class Timing:
    """Timing of one step."""

    seconds: float
    engine: str = ""
    tried: tuple[tuple[str, float], ...] = ()
    """Engines and their seconds per step."""
    start_seconds: float = 0.0
    """Extra time of the first half of the steps over the second: choosing and compiling the engine."""


def time_naive(scale: Scale, device: torch.device) -> Timing:
    """Median over all steps but the first."""
    images = random_images(50_000, "train").to(device)
    synthetic = torch.randn(NUM_CLASSES, IMAGES_PER_CLASS, 3, 32, 32, device=device)
    arch = default_arch(images.image_shape)

    def make_net() -> Classifier:
        net = build(arch, images.image_shape, NUM_CLASSES).to(device)
        assert isinstance(net, Classifier)
        return net

    strategy, generator = parse_strategy("auto", flippable=True), make_generator("naive")
    pairs = naive.pair_drawer(images, REAL_BATCH_SIZE, strategy, generator)
    steps = naive.condense(synthetic, make_net, pairs, lr=1.0)
    times = [time.perf_counter()]
    for _ in itertools.islice(steps, scale.naive_condense_steps):
        times.append(time.perf_counter())
    return Timing(statistics.median(after - before for before, after in itertools.pairwise(times[1:])))


class EnoughError(Exception):
    """Ends a condensation that has run long enough to be timed."""


def time_ours(scale: Scale, device: torch.device) -> Timing:
    """A condensation of 20,000 steps as users start it, stopped early: mean over the second half of its steps."""
    data = make_data(50_000).to(device)
    at: dict[int, float] = {}
    chosen: list[tuple[str, dict[str, float]]] = []
    started = time.perf_counter()

    def on_step(step: int, _loss: float) -> None:
        at[step] = time.perf_counter()
        if step >= scale.condense_steps:
            raise EnoughError

    def on_engine(name: str, seconds: dict[str, float]) -> None:
        chosen.append((name, seconds))

    with contextlib.suppress(EnoughError):
        condense(data, settings=CondenseSettings(steps=STEPS), on_step=on_step, on_engine=on_engine)
    half, last = scale.condense_steps // 2, scale.condense_steps
    [(name, tried)] = chosen
    seconds = (at[last] - at[half]) / (last - half)
    return Timing(seconds, name, tuple(tried.items()), at[half] - started - half * seconds)


def shares_of_limit(timings: Sequence[Timing], device: torch.device) -> list[float]:
    """FLOP/s of the nets in a step (forward, and back to the images) over what the device does in that precision."""
    flops = measure_costs(default_arch((3, 32, 32)), (3, 32, 32), NUM_CLASSES).flops
    work = flops * NUM_CLASSES * (REAL_BATCH_SIZE + 2 * IMAGES_PER_CLASS)
    shares = []
    for timing in timings:
        precision = Engine.parse(timing.engine).precision if timing.engine else "float32"
        shares.append(work / timing.seconds / arithmetic_limit(device, precision))
    return shares
