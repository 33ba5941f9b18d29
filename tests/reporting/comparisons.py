"""Comparisons made by hand: real trials with simulated accuracies, and stand-in estimates (Fisher's interval)."""

import math
from collections.abc import Sequence
from dataclasses import fields, replace

import numpy as np
from numpy.typing import NDArray

from nasproxy.comparing import Comparison, FactorEffect, Ranking
from nasproxy.ranking import Difference, Estimate
from nasproxy.space import Arch, load_space
from nasproxy.study import ACCURACY, State, StudyInfo, Trial, Trials

NOTHING = Estimate(None, None, None, 0, note="too few architectures")
Floats = NDArray[np.float64]


def estimate(value: float, low: float, high: float, num_archs: int = 40, note: str | None = None) -> Estimate:
    return Estimate(value, low, high, num_archs, p_value=0.0004 if low > 0 else 0.21, note=note)


def difference(low: float, high: float) -> Difference:
    return Difference((low + high) / 2, low, high, 40, 0.5)


def make_info(name: str, proxy: str, **more: object) -> StudyInfo:
    info = StudyInfo(name, "convnet720", "s", proxy, "cifar10-jpeg", "d", "p", 100, 100, 307_200, 0.0)
    return replace(info, **more)  # type: ignore[arg-type]


def make_trials(info: StudyInfo, archs: Sequence[Arch], scores: Floats) -> Trials:
    """Trials of (A, S) accuracies or scores, one column a seed."""
    trained = info.metric == ACCURACY
    items = []
    for arch, row in zip(archs, scores.tolist(), strict=True):
        width, depth = int(arch.factors["width"]), int(arch.factors["depth"])
        trial = Trial(
            arch.id,
            arch.factors,
            State.COMPLETE,
            val_accuracies=tuple(row) if trained else (),
            test_accuracies=tuple(row) if trained else (),
            scores=() if trained else tuple(row),
            num_params=9 * width * width * depth + 10 * width,
            flops=int(2e5) * width * depth**2 + (5_000_000 if arch.factors["pooling"] == "none" else 0),
            train_seconds=12.5,
        )
        items.append(trial)
    return Trials(info, tuple(items))


def make_comparison(num_archs: int = 40, seed: int = 0) -> Comparison:
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
    naswot = make_info("naswot", "naswot", metric="naswot", num_seeds=5, num_images=128)
    proxies = (
        make_trials(
            make_info("cifar10-convnet720-dm-50", "dm-50", num_seeds=5, condense_seconds=4300.0),
            archs, 0.25 + 0.4 * merit[:, None] + 0.012 * noise + 0.01 * noise[:, :1],
        ),
        make_trials(naswot, archs, 1500 + 900 * merit[:, None] + 110 * noise[::-1, :1] + 9 * noise),
        make_trials(
            make_info("random-50", "random-50", num_seeds=5), archs, 0.3 + 0.2 * merit[:, None] + 0.055 * noise
        ),
        make_trials(make_info("params", "params", metric="params"), archs, np.exp(sizes).round()),
    )  # fmt: skip
    return compare_by_hand(truth, proxies)


def degenerate_comparison() -> Comparison:
    """One early-stopped proxy, equal scores for three architectures, nothing estimated, one seed of a short truth."""
    archs = load_space("convnet-mini").archs()[:3]
    truth = make_trials(make_info("whole-3", "whole", recipe={"epochs": 3}), archs, np.array([[0.1], [0.2], [0.3]]))
    proxy = make_trials(make_info("stopped", "early-stop"), archs, np.full((3, 1), 0.1))
    comparison = compare_by_hand(truth, (proxy,))
    names = [
        field.name for field in fields(Ranking) if isinstance(getattr(comparison.rankings[0], field.name), Estimate)
    ]
    nothing = dict.fromkeys(names, NOTHING)
    ranking = replace(comparison.rankings[0], selected=None, regret_curve=(), **nothing)  # type: ignore[arg-type]
    return replace(
        comparison,
        rankings=(ranking,),
        ceiling=NOTHING,
        truth_reliability=NOTHING,
        factor_effects=(),
        random_regret_curve=(),
        num_archs=24,
        truth_for="some",
    )


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


def compare_by_hand(truth: Trials, proxies: tuple[Trials, ...], *, top: float = 0.2) -> Comparison:
    """Figures with the meaning of the real ones, by simple means."""
    true = np.array([trial.test_accuracy for trial in truth])
    scores = [np.array([trial.score for trial in trials]) for trials in proxies]
    rankings = [_ranking(trials, score, true, top) for trials, score in zip(proxies, scores, strict=True)]
    order = sorted(range(len(proxies)), key=lambda index: -(rankings[index].spearman.value or 0.0))
    gains = np.sort(true.max() - true)
    random = tuple(_expected_best(gains, count) for count in range(1, len(true) + 1))
    return Comparison(
        truth=truth,
        proxies=tuple(proxies[index] for index in order),
        rankings=tuple(rankings[index] for index in order),
        differences=tuple(tuple(_difference(rankings[i], rankings[j]) for j in order) for i in order),
        factor_effects=_effects(truth, true, [scores[index] for index in order]),
        truth_reliability=estimate(0.95, 0.91, 0.97),
        ceiling=estimate(0.97, 0.95, 0.985),
        random_regret_curve=random,
        truth_for="all",
        num_archs=len(truth),
    )


def _ranking(trials: Trials, scores: Floats, true: Floats, top: float) -> Ranking:
    order = np.argsort(-scores, kind="stable")
    count = max(math.ceil(top * len(true)), 1)
    curve = tuple((true.max() - np.maximum.accumulate(true[order])).tolist())
    best_true = set(np.argsort(-true)[:count].tolist())
    rho = _correlation(scores, true)
    by_truth = np.argsort(-true)[:count]
    return Ranking(
        name=trials.info.name, label=trials.info.name, proxy=trials.info.proxy, num_archs=len(true),
        by="test accuracy" if trials.info.metric == ACCURACY else trials.info.metric,
        selected=trials[int(order[0])].arch_id, selected_truth_accuracy=float(true[order[0]]),
        best_truth_accuracy=float(true.max()), top_fraction=top,
        top_spearman=_correlation(scores[order[:count]], true[order[:count]]), top_kendall=NOTHING,
        spearman=rho, kendall=replace(rho, value=(rho.value or 0) * 0.75, low=(rho.low or 0) * 0.75,
                                      high=(rho.high or 0) * 0.75),
        true_top_spearman=_correlation(scores[by_truth], true[by_truth]), true_top_kendall=NOTHING,
        spearman_of_seeds=rho, space_spearman=rho,
        precision=estimate(len(best_true & set(order[:count].tolist())) / count, 0.1, 0.9),
        regret=estimate(curve[0], 0.0, curve[0] + 0.02), top_regret=estimate(curve[count - 1], 0.0, 0.03),
        regret_curve=curve, reliability=NOTHING,
        corrected_spearman=replace(rho, note="one score for all seeds: no noise to correct for"
                                   if trials.info.num_seeds == 1 else None),
        search_seconds=sum(trial.train_seconds for trial in trials), condense_seconds=trials.info.condense_seconds,
        num_images=100, num_stored_images=trials.info.num_stored_images, num_stored_numbers=307_200,
        truth_epochs=100, truth_num_seeds=3, num_failed=0, num_not_finite=0, num_flagged=0,
    )  # fmt: skip


def _correlation(scores: Floats, true: Floats) -> Estimate:
    count = len(true)
    if count < 4 or len(set(scores.tolist())) == 1:
        return Estimate(None, None, None, count, note="all scores are equal" if count >= 4 else "too few architectures")
    rho = float(np.corrcoef(np.argsort(np.argsort(scores)), np.argsort(np.argsort(true)))[0, 1])
    half = 1.96 / math.sqrt(count - 3)
    centre = math.atanh(min(max(rho, -0.999), 0.999))
    return estimate(rho, math.tanh(centre - half), math.tanh(centre + half), count)


def _difference(one: Ranking, other: Ranking) -> Difference:
    if one.spearman.value is None or other.spearman.value is None:
        return Difference(None, None, None, 0, None, note="no correlation to compare")
    value = one.spearman.value - other.spearman.value
    return Difference(value, value - 0.25, value + 0.25, one.num_archs, 0.1)


def _expected_best(gaps: Floats, count: int) -> float:
    """Expected smallest of `count` drawn from sorted (A,) gaps without replacement."""
    total = math.comb(len(gaps), count)
    return math.fsum(gap * math.comb(len(gaps) - 1 - i, count - 1) / total for i, gap in enumerate(gaps.tolist()))


def _effects(truth: Trials, true: Floats, scores: list[Floats]) -> tuple[FactorEffect, ...]:
    effects = []
    for factor in truth[0].factors:
        values = list(dict.fromkeys(trial.factors[factor] for trial in truth))
        if len(values) < 2:
            continue
        members = [np.array([trial.factors[factor] == value for trial in truth]) for value in values]
        of_proxies = [_means((score - score.mean()) / (score.std() or 1.0), members) for score in scores]
        of_truth = _means(true - true.mean(), members)
        best = [values[int(np.argmax([item.value or 0.0 for item in row]))] for row in [of_truth, *of_proxies]]
        agreement = tuple(NOTHING for _ in scores)
        effects.append(
            FactorEffect(factor, tuple(values), of_truth, tuple(of_proxies), agreement, best[0], tuple(best[1:]))
        )
    return tuple(effects)


def _means(values: Floats, members: list[NDArray[np.bool_]]) -> tuple[Estimate, ...]:
    means = [float(values[member].mean()) for member in members]
    halves = [1.96 * float(values[member].std()) / math.sqrt(int(member.sum())) for member in members]
    return tuple(Estimate(mean, mean - half, mean + half, 40) for mean, half in zip(means, halves, strict=True))
