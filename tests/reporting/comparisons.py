"""Comparisons of real trials with simulated accuracies."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nasproxy.comparing import Comparison, compare_trials
from nasproxy.ranking import Difference, Estimate
from nasproxy.space import Arch
from nasproxy.spacefile import load_space
from nasproxy.trials import ProxyCost, ProxyKind, Rung, SearchInfo, State, Trial, Trials

NOTHING = Estimate(None, None, None, 0, note="too few architectures")
KINDS = {"whole": ProxyKind.FULL_TRAINING, "early-stop": ProxyKind.EARLY_STOPPING}
"""Name of a proxy -> its kind; formulas have a score's name, others are proxy sets."""
Floats = NDArray[np.float64]


def estimate(value: float, low: float, high: float, num_archs: int = 40, note: str | None = None) -> Estimate:
    return Estimate(value, low, high, num_archs, note=note)


def difference(low: float, high: float, *, is_sure: bool | None = None) -> Difference:
    """Sure where its interval excludes 0, if nothing else is said: one of a single pair."""
    excludes_zero = low > 0 or high < 0
    adjusted = 0.01 if (excludes_zero if is_sure is None else is_sure) else 0.3
    return Difference(
        (low + high) / 2, low, high, 40, p_value=0.01 if excludes_zero else 0.3, adjusted_p_value=adjusted
    )


def make_info(name: str, proxy: str, *, score_name: str | None = None, **more: object) -> SearchInfo:
    """Of a search in convnet720; one with a `score_name` trains nothing."""
    info = SearchInfo(
        name=name,
        proxy=proxy,
        kind=ProxyKind.FORMULA if score_name else KINDS.get(proxy, ProxyKind.PROXY_SET),
        space="convnet720",
        space_hash="s",
        dataset="cifar10-jpeg",
        data_hash="d",
        split_hash="p",
        score_name=score_name,
        cost=ProxyCost(num_images=100, num_stored_images=100, num_stored_numbers=307_200),
    )
    return replace(info, **more)  # type: ignore[arg-type]


def make_trials(info: SearchInfo, archs: Sequence[Arch], scores: Floats) -> Trials:
    """Trials of (A, S) accuracies or scores, one column per seed."""
    items = []
    for arch, row in zip(archs, scores.tolist(), strict=True):
        width, depth = int(arch.factors["width"]), int(arch.factors["depth"])
        trial = Trial(
            arch.id,
            arch.factors,
            State.COMPLETE,
            (Rung(tuple(row), tuple(row)),),
            num_params=9 * width * width * depth + 10 * width,
            flops=int(2e5) * width * depth**2 + (5_000_000 if arch.factors["pooling"] == "none" else 0),
            train_seconds=12.5,
        )
        items.append(trial)
    return Trials(info, tuple(items))


def make_comparison(
    num_archs: int = 40, seed: int = 0, *, truth_for: str | None = None, num_sets: int = 1
) -> Comparison:
    """Two trained and two training-free proxies beside a truth of three seeds."""
    generator = np.random.default_rng(seed)
    every = load_space("convnet720").archs()
    archs = [every[index] for index in generator.choice(len(every), num_archs, replace=False)]
    merit = np.array([_merit(arch) for arch in archs]) + generator.normal(0, 0.02, num_archs)
    truth = make_trials(
        make_info("cifar10-whole", "whole", num_seeds=3, recipe={"epochs": 100, "steps": None}),
        archs,
        merit[:, None] + generator.normal(0, 0.008, (num_archs, 3)),
    )
    sizes = np.array([math.log(trial.num_params or 1) for trial in truth])[:, None]
    noise = generator.normal(0, 1, (num_archs, 5))
    dm = make_info("cifar10-convnet720-dm-50", "cifar10-convnet720-dm-50", num_seeds=5)
    naswot = make_info("naswot", "naswot", score_name="naswot", num_seeds=5)
    proxies: tuple[Trials, ...] = (
        make_trials(
            replace(dm, cost=replace(dm.cost, condense_seconds=4300.0)),
            archs, 0.25 + 0.4 * merit[:, None] + 0.012 * noise + 0.01 * noise[:, :1],
        ),
        make_trials(naswot, archs, 1500 + 900 * merit[:, None] + 110 * noise[::-1, :1] + 9 * noise),
        make_trials(
            make_info("random-50", "random-50", num_seeds=5),
            archs, 0.3 + 0.2 * merit[:, None] + 0.055 * np.roll(noise, 1, axis=0),
        ),
        make_trials(make_info("params", "params", score_name="params"), archs, np.exp(sizes).round()),
    )  # fmt: skip
    for number in range(1, num_sets):
        other = 0.25 + 0.4 * merit[:, None] + 0.03 * generator.normal(0, 1, (num_archs, 5))
        proxies += (make_trials(replace(dm, name=f"{dm.name}-{number + 1}", set_seed=number), archs, other),)
    return compare_trials(proxies, truth, top=0.2, truth_for=truth_for)


def partial_comparison(truth_for: str, *, weights: float | None = None) -> Comparison:
    """As `make_comparison`, with a truth for every other architecture, each of which stands for `weights` of them."""
    whole = make_comparison()
    some = whole.truth.of([trial.arch_id for trial in whole.truth][::2])
    stands_for = None if weights is None else dict.fromkeys((trial.arch_id for trial in some), weights)
    return compare_trials(whole.proxies, some, top=0.2, truth_for=truth_for, weights=stands_for)


def degenerate_comparison() -> Comparison:
    """One early-stopped proxy, equal scores for three equal architectures, one more without a truth of one seed."""
    archs = load_space("convnet-mini").archs()[:4]
    truth = make_trials(make_info("whole-3", "whole", recipe={"epochs": 3}), archs[:3], np.array([[0.1], [0.2], [0.3]]))
    proxy = make_trials(make_info("stopped", "early-stop"), archs, np.full((4, 1), 0.1))
    truth, proxy = (
        replace(trials, items=tuple(replace(trial, factors=archs[0].factors) for trial in trials))
        for trials in (truth, proxy)
    )
    return compare_trials([proxy], truth, top=0.2, truth_for="some")


def _merit(arch: Arch) -> float:
    bonus = {"none": -0.06, "batch": 0.05, "layer": -0.02, "instance": 0.04, "group": 0.03}
    pooling = {"none": -0.03, "max": 0.01, "avg": 0.02}
    return (
        0.6
        + bonus[str(arch.factors["norm"])]
        + pooling[str(arch.factors["pooling"])]
        + 0.02 * math.log2(int(arch.factors["width"]) / 32)
        - (0.12 if arch.factors["activation"] == "sigmoid" else 0)
    )
