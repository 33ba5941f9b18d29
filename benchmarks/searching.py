"""Training the sample of architectures: on a proxy set of 500 images, as a search does, and on the whole set."""

import itertools
import time
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks import naive
from benchmarks.workload import BATCH_SIZE, EVEN, IMAGES_PER_CLASS, PROXY_STEPS, SAMPLE, make_data
from nasproxy.augment import augment_batch, parse_strategy
from nasproxy.condensing import condense
from nasproxy.images import ImageData, make_generator
from nasproxy.nets.convnet import parse_arch
from nasproxy.proxyset import ProxySet
from nasproxy.scoring import measure_costs
from nasproxy.searching.search import search
from nasproxy.space import build
from nasproxy.spacefile import load_space
from nasproxy.trials import Trials


@dataclass(frozen=True)
class Timing:
    """Of training the sample once."""

    seconds: float
    """From the first net's first update to the last net's evaluation."""
    steps: int
    """Updates of each net."""
    around_seconds: float = 0.0
    """Before the first net and after the last: starting and stopping Ray and its workers."""

    @property
    def seconds_per_step(self) -> float:
        """Of all nets of the sample."""
        return self.seconds / self.steps


def time_naive(proxy: str, steps: int, device: torch.device) -> Timing:
    """One net after another on all cores; `proxy` is 'random' (500 images, augmented) or 'whole'."""
    data = _make_data(proxy, steps)
    train = _proxy_set(data).images if proxy == "random" else data.train
    strategy = parse_strategy("auto" if proxy == "random" else "none", flippable=True)
    generator = make_generator("naive")
    loaders = [naive.loader(data.val, BATCH_SIZE, shuffle=False), naive.loader(data.test, BATCH_SIZE, shuffle=False)]
    batches = naive.loader(train, BATCH_SIZE, shuffle=True)
    torch.backends.cudnn.benchmark = True  # as our workers do

    def train_and_score(arch_id: str) -> None:
        net = build(parse_arch(arch_id), data.image_shape, data.num_classes).to(device)
        fit = naive.train(net, itertools.repeat(batches), lambda images: augment_batch(images, strategy, generator))
        for _ in itertools.islice(fit, steps):
            pass
        for loader in loaders:
            naive.accuracy(net, loader)

    train_and_score(SAMPLE[0])  # what a library does in its first calls is not compared
    started = time.perf_counter()
    for arch_id in SAMPLE:
        train_and_score(arch_id)
    return Timing(time.perf_counter() - started, steps)


def time_ours(proxy: str, steps: int, **settings: Any) -> Timing:
    """A search of the sample on Ray, as users start it."""
    data = _make_data(proxy, steps)
    started = time.time()
    trials = search(
        load_space("convnet720"),
        _proxy_set(data) if proxy == "random" else proxy,
        data,
        archs=SAMPLE,
        **{"seeds": 1, "steps": steps, **settings},
    )
    total = time.time() - started
    first, last = span(trials)
    return Timing(last - first, steps, total - (last - first))


def measure_scaling(steps: int, num_workers: int) -> float:
    """Speed-up of several workers over one, one thread each, from the time that nets of similar size take.

    The end of a search, when some workers are done before others, is left out: of 720 architectures it is little.
    """
    data = _make_data("random", steps)
    space, proxy = load_space("convnet720"), _proxy_set(data)
    busy = {}
    for workers in (1, num_workers):
        trials = search(
            space, proxy, data,
            archs=EVEN, seeds=1, steps=steps, device="cpu", workers=workers, threads_per_worker=1,
        )  # fmt: skip
        busy[workers] = busy_seconds(trials)
    return num_workers * busy[1] / busy[num_workers]


def time_between_trials() -> float:
    """Seconds from the end of a trial to the start of the next on the same worker: Ray, the record, the schedule."""
    data = make_data(1_000, share=0.0)
    archs = [arch.id for arch in load_space("convnet720").archs() if arch.factors["depth"] == 1][:24]
    trials = search(
        load_space("convnet720"), _proxy_set(data), data, archs=archs, seeds=1, steps=1, batch_size=10, workers=1
    )
    first, last = span(trials)
    return (last - first - busy_seconds(trials)) / (len(trials) - 1)


def busy_seconds(trials: Trials) -> float:
    """Of all workers, training and evaluating."""
    return sum((trial.ended - trial.started).total_seconds() for trial in trials if trial.ended and trial.started)


def span(trials: Trials) -> tuple[float, float]:
    """When the first trial began and the last ended."""
    started = [trial.started.timestamp() for trial in trials if trial.started]
    ended = [trial.ended.timestamp() for trial in trials if trial.ended]
    return min(started), max(ended)


def work_of_space() -> float:
    """Forward FLOPs of all 720 architectures over those of the sample."""
    costs = {arch.id: measure_costs(arch, (3, 32, 32), 10).flops for arch in load_space("convnet720").archs()}
    return sum(costs.values()) / sum(costs[arch_id] for arch_id in SAMPLE)


def _make_data(proxy: str, steps: int) -> ImageData:
    """With the share of the validation and test images that the steps are of all steps; hardly any for 'whole'."""
    return make_data(share=steps / PROXY_STEPS if proxy == "random" else 0.0)


def _proxy_set(data: ImageData) -> ProxySet:
    return condense(data, "random", images_per_class=IMAGES_PER_CLASS)
