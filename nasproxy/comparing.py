"""Proxies judged by the truth, one by one (Table 5 of the main paper, with intervals) and against each other.

Accuracies are fractions in [0, 1]; times are seconds. Where nets are trained, architectures are selected by validation
accuracy and correlated by test accuracy; a training-free proxy has one score for both.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nasproxy.errors import InputError, SettingsError
from nasproxy.ranking import (
    Difference,
    Estimate,
    average_ranks,
    ceiling,
    compare_correlations,
    correct_attenuation,
    correct_range_restriction,
    correlate,
    count_of,
    factor_effects,
    precision_at,
    random_regret_curve,
    regret_at,
    regret_curve,
    reliability,
    select_top,
)
from nasproxy.space import FactorValue, sort_values
from nasproxy.study import ACCURACY, State, Trial, Trials

TEST_ACCURACY = "test accuracy"
SOME = "some"
"""Which architectures have a truth, where nobody says how they were chosen."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Ranking:
    """A proxy judged by the truth: one column of Table 5 of the main paper, with intervals."""

    name: str
    """Name of the proxy's run."""
    label: str
    """Name in tables and pictures: the proxy's; the run's where a comparison has that proxy twice."""
    proxy: str
    num_archs: int
    """Architectures scored by both proxy and truth."""
    by: str
    """What is correlated with the truth's test accuracy: the proxy's (`TEST_ACCURACY`), or the name of its score."""
    selected: str | None
    """Id of the best architecture by proxy score, among those with a truth."""
    selected_truth_accuracy: float | None
    """Test accuracy of the selected architecture after full training."""
    best_truth_accuracy: float | None
    """Best test accuracy after full training among the architectures with a truth."""
    top_fraction: float
    top_spearman: Estimate
    """Over the top fraction by proxy score."""
    top_kendall: Estimate
    spearman: Estimate
    """Over all architectures with a truth."""
    kendall: Estimate
    true_top_spearman: Estimate
    """Over the top fraction by truth."""
    true_top_kendall: Estimate
    spearman_of_seeds: Estimate
    """As `spearman`; the interval is over seeds of proxy and truth, the architectures being fixed."""
    space_spearman: Estimate
    """Of the whole space, corrected for which architectures were given a truth; `note` has the assumption."""
    precision: Estimate
    """Share of the top fraction by proxy that is in the top fraction by truth, among architectures with a truth."""
    regret: Estimate
    """Accuracy lost by training only the architecture that the proxy puts first."""
    top_regret: Estimate
    """Accuracy lost by training the proxy's top fraction and keeping the best."""
    regret_curve: tuple[float, ...]
    """Accuracy lost by training the proxy's k best and keeping the best of them, k = 1 to A."""
    reliability: Estimate
    """Rank correlation to expect between this proxy and itself with other seeds."""
    corrected_spearman: Estimate
    """`spearman` without the seed noise of proxy and truth (attenuation-corrected)."""
    search_seconds: float
    """Time of training or scoring, summed over all trials and seeds, also those without a truth."""
    condense_seconds: float
    num_images: int
    """Images that nets are trained on, or that a score looks at: decoded ones of a compact proxy set."""
    num_stored_images: int
    num_stored_numbers: int
    truth_epochs: int | None
    """Passes over the whole set that the truth was trained for; None where it was told a number of updates."""
    truth_num_seeds: int
    num_failed: int
    num_not_finite: int
    """Trials without a finite score: they are in no ranking and no correlation."""
    num_flagged: int
    """Trials that diverged or stayed at chance: they are ranked as measured."""


@dataclass(frozen=True)
class FactorEffect:
    """What one factor does to accuracy, by the truth and by a proxy: does the proxy get 'which norm is best' right?"""

    factor: str
    values: tuple[FactorValue, ...]
    truth: tuple[Estimate, ...]
    """A value each: its architectures' mean true test accuracy minus the mean of all, as a fraction."""
    proxies: tuple[tuple[Estimate, ...], ...]
    """(P, values): the same under each proxy, in standard deviations of its ranks."""
    agreement: tuple[Estimate, ...]
    """(P,): rank correlation of the proxy's effects with the truth's, over values; no value below three values."""
    best_by_truth: FactorValue | None
    """None where no effect is known."""
    best_by_proxy: tuple[FactorValue | None, ...]
    """(P,)"""


@dataclass(frozen=True)
class Comparison:
    """Proxies of one space and data set beside one truth."""

    truth: Trials
    proxies: tuple[Trials, ...]
    """Best whole-space Spearman first."""
    rankings: tuple[Ranking, ...]
    """(P,), in the same order."""
    differences: tuple[tuple[Difference, ...], ...]
    """(P, P): Spearman of the row's proxy minus that of the column's, over the architectures that both scored."""
    factor_effects: tuple[FactorEffect, ...]
    """One a factor that varies."""
    truth_reliability: Estimate
    """Rank correlation to expect between this truth and itself with other seeds."""
    ceiling: Estimate
    """Highest rank correlation with this truth that a proxy can be expected to be measured at: its square root."""
    random_regret_curve: tuple[float, ...]
    """Expected accuracy lost by training k architectures drawn at random and keeping the best, k = 1 to A."""
    truth_for: str
    """Which architectures were given a truth: 'all', 'top:5%', 'sample:20'; 'some' where nobody says."""
    num_archs: int
    """Architectures of the space that any proxy scored."""


def rank(
    trials: Trials,
    truth: Trials,
    *,
    top: float = 0.05,
    seed: int = 0,
    weights: Mapping[str, float] | None = None,
) -> Ranking:
    """Judges a proxy by the truth (main paper, section 3.6 and Table 5).

    Architectures are selected by proxy *validation* accuracy; correlations are between *test* accuracies. A proxy
    without accuracies is judged by its score instead, in both. The top fraction by proxy is taken of all architectures
    that the proxy scored; of those, the ones with a truth count. All other figures are over the architectures that
    both scored.

    Args:
        trials: of the proxy.
        truth: of full training; may cover only some of the architectures.
        top: fraction of the architectures, in (0, 1].
        seed: of every random draw.
        weights: architectures of the space that each one with a truth stands for, by id, where those are a stratified
            sample (`nasproxy.ranking.sample_stratified`).

    Raises:
        InputError: proxy and truth are about different data or spaces, or have no architecture in common.
        SettingsError: `top` is no fraction, or `truth` is no search by 'whole'.
    """
    _check_truth(truth)
    if not 0 < top <= 1:
        raise SettingsError(f"top={top} is no fraction of the architectures; give one above 0 and up to 1 (or 100%)")
    check_comparable(trials, truth)
    pair = _Pair.of(trials, truth)
    count = count_of(top, len(pair.common))
    best = pair.best_by_proxy(top)
    best_by_truth = [pair.common[index] for index in select_top(pair.true_means, top)]
    return Ranking(
        name=trials.info.name,
        label=trials.info.proxy,
        proxy=trials.info.proxy,
        num_archs=len(pair.common),
        by=pair.by,
        selected=pair.common[0].arch_id,
        selected_truth_accuracy=pair.true[pair.common[0].arch_id].test_accuracy,
        best_truth_accuracy=max(trial.test_accuracy for trial in pair.true.values()),
        top_fraction=top,
        top_spearman=pair.correlate(best, seed=seed),
        top_kendall=pair.correlate(best, kind="kendall", seed=seed),
        spearman=pair.correlate(pair.common, seed=seed),
        kendall=pair.correlate(pair.common, kind="kendall", seed=seed),
        true_top_spearman=pair.correlate(best_by_truth, seed=seed),
        true_top_kendall=pair.correlate(best_by_truth, kind="kendall", seed=seed),
        spearman_of_seeds=pair.correlate(pair.common, over="seeds", seed=seed),
        space_spearman=_space_spearman(pair, weights, seed),
        precision=precision_at(pair.scores, pair.true_means, count, seed=seed),
        regret=regret_at(pair.scores, pair.true_means, 1, seed=seed),
        top_regret=regret_at(pair.scores, pair.true_means, count, seed=seed),
        regret_curve=tuple(regret_curve(pair.scores, pair.true_means).tolist()),
        reliability=reliability(pair.measured(pair.scored), seed=seed),
        corrected_spearman=correct_attenuation(pair.measured(pair.common), pair.true_measured(pair.common), seed=seed),
        search_seconds=math.fsum(trial.train_seconds for trial in trials),
        condense_seconds=trials.info.condense_seconds,
        num_images=trials.info.num_images,
        num_stored_images=trials.info.num_stored_images,
        num_stored_numbers=trials.info.num_stored_numbers,
        truth_epochs=None if truth.info.recipe.get("steps") else truth.info.recipe.get("epochs"),
        truth_num_seeds=truth.info.num_seeds,
        num_failed=sum(trial.state is State.FAILED for trial in trials),
        num_not_finite=sum(trial.state is State.NOT_FINITE for trial in trials),
        num_flagged=sum(trial.state in (State.DIVERGED, State.AT_CHANCE) for trial in trials),
    )


def compare_trials(
    proxies: Sequence[Trials],
    truth: Trials,
    *,
    top: float = 0.05,
    seed: int = 0,
    truth_for: str | None = None,
    weights: Mapping[str, float] | None = None,
) -> Comparison:
    """Proxies beside one truth and against each other.

    Args:
        proxies: of each proxy.
        truth: of full training; may cover only some of the architectures.
        top: fraction of the architectures, in (0, 1].
        seed: of every random draw.
        truth_for: how the architectures with a truth were chosen, in the words of `Comparison.truth_for`; None: all or
            some, as it is.
        weights: as for `rank`.

    Raises:
        InputError: as `rank`.
        SettingsError: as `rank`; no proxies, or two of one name.
    """
    names = [trials.info.name for trials in proxies]
    if not names or len(set(names)) < len(names):
        raise SettingsError(f"a comparison needs proxies of different names, not {', '.join(names) or 'none'}")
    truth = _described(truth, proxies)
    judged = [(rank(trials, truth, top=top, seed=seed, weights=weights), trials) for trials in proxies]
    shown = Counter(ranking.label for ranking, _ in judged)
    judged.sort(key=lambda item: -math.inf if item[0].spearman.value is None else item[0].spearman.value, reverse=True)
    ordered = tuple(trials for _, trials in judged)
    scored = {trial.arch_id for trials in proxies for trial in trials if trial.is_ranked}
    with_truth = [trial for trial in truth if trial.is_ranked and trial.arch_id in scored]
    measured = _by_seed([trial.test_accuracies for trial in with_truth])
    return Comparison(
        truth=truth,
        proxies=ordered,
        rankings=tuple(
            ranking if shown[ranking.label] == 1 else replace(ranking, label=ranking.name) for ranking, _ in judged
        ),
        differences=_differences(ordered, truth, seed),
        factor_effects=_factor_effects(ordered, with_truth),
        truth_reliability=reliability(measured, seed=seed),
        ceiling=ceiling(measured, seed=seed),
        random_regret_curve=tuple(random_regret_curve(measured.mean(axis=1)).tolist()),
        truth_for=truth_for or ("all" if len(with_truth) == len(scored) else SOME),
        num_archs=len(scored),
    )


def _described(truth: Trials, proxies: Sequence[Trials]) -> Trials:
    """A truth from elsewhere with what the proxies know of its architectures, without those that none of them knows."""
    if truth.info.space_hash:
        return truth
    known = {trial.arch_id: trial for trials in proxies for trial in trials}
    items = (
        replace(trial, factors=arch.factors, num_params=arch.num_params, flops=arch.flops)
        for trial in truth
        if (arch := known.get(trial.arch_id))
    )
    task = ("space", "space_hash", "dataset", "data_hash", "split_hash")
    info = replace(truth.info, **{name: getattr(proxies[0].info, name) for name in task})
    return Trials(info, tuple(items))


def _check_truth(truth: Trials) -> None:
    if truth.info.proxy != "whole":
        raise SettingsError(
            f"{truth.info.name} is a search by {truth.info.proxy}, not by 'whole'; the truth is full training"
        )


@dataclass(frozen=True)
class _Pair:
    """A proxy and a truth, and the architectures that both scored."""

    info_metric: str
    scored: list[Trial]
    """All that the proxy scored, best first."""
    common: list[Trial]
    """Those of them with a truth."""
    true: Mapping[str, Trial]
    """Trials of the truth by architecture id."""

    @classmethod
    def of(cls, trials: Trials, truth: Trials) -> "_Pair":
        scored = [trial for trial in trials.ranked() if trial.is_ranked]
        true = {trial.arch_id: trial for trial in truth if trial.is_ranked}
        common = [trial for trial in scored if trial.arch_id in true]
        if not common:
            raise InputError(
                f"runs {trials.info.name} and {truth.info.name} have no scored architecture in common; "
                f"search the same ones, e.g. with --archs top:{trials.info.name}:5%"
            )
        return cls(trials.info.metric, scored, common, true)

    @property
    def by(self) -> str:
        return TEST_ACCURACY if self.info_metric == ACCURACY else self.info_metric

    @property
    def scores(self) -> list[float]:
        """(A,) what the proxy selects by."""
        return [trial.score for trial in self.common]

    @property
    def true_means(self) -> list[float]:
        """(A,) true test accuracies."""
        return [self.true[trial.arch_id].test_accuracy for trial in self.common]

    def measured(self, rows: Sequence[Trial]) -> Array:
        """(A, S) what is correlated with the truth."""
        return _by_seed([trial.scores or trial.test_accuracies for trial in rows])

    def true_measured(self, rows: Sequence[Trial]) -> Array:
        """(A, S) true test accuracies."""
        return _by_seed([self.true[trial.arch_id].test_accuracies for trial in rows])

    def best_by_proxy(self, top: float) -> list[Trial]:
        """Those with a truth, of the best fraction of all that the proxy scored."""
        chosen = select_top([trial.score for trial in self.scored], top)
        return [self.scored[index] for index in chosen if self.scored[index].arch_id in self.true]

    def correlate(self, rows: Sequence[Trial], *, kind: str = "spearman", over: str = "archs", seed: int) -> Estimate:
        return correlate(self.measured(rows), self.true_measured(rows), kind=kind, over=over, seed=seed)


def _by_seed(values: Sequence[tuple[float, ...]]) -> Array:
    """(A, S); where architectures have different numbers of seeds, their means as one seed: (A, 1)."""
    if len({len(seeds) for seeds in values}) != 1:
        values = [(math.fsum(seeds) / len(seeds),) for seeds in values]
    return np.asarray(values, dtype=float).reshape(len(values), len(values[0]) if values else 1)


def _space_spearman(pair: _Pair, weights: Mapping[str, float] | None, seed: int) -> Estimate:
    """Spearman of all that the proxy scored, corrected for the choice of those with a truth."""
    proxy, truth = pair.measured(pair.common), pair.true_measured(pair.common)
    if len(pair.common) == len(pair.scored):
        return correlate(proxy, truth, seed=seed)
    if weights is not None:
        shares = [weights[trial.arch_id] for trial in pair.common]
        estimate = correlate(proxy, truth, weights=shares, seed=seed)
        return replace(estimate, note=estimate.note or "weighted by the strata of the sample")
    chosen = [index for index, trial in enumerate(pair.scored) if trial.arch_id in pair.true]
    return correct_range_restriction(pair.measured(pair.scored).mean(axis=1), chosen, truth.mean(axis=1), seed=seed)


def _differences(proxies: Sequence[Trials], truth: Trials, seed: int) -> tuple[tuple[Difference, ...], ...]:
    """(P, P): each pair over the architectures that both proxies and the truth scored; antisymmetric."""
    pairs = [_Pair.of(trials, truth) for trials in proxies]
    matrix: list[list[Difference]] = [[] for _ in pairs]
    for row, first in enumerate(pairs):
        for column, second in enumerate(pairs):
            known = column < row
            matrix[row].append(_negated(matrix[column][row]) if known else _difference(first, second, seed))
    return tuple(tuple(line) for line in matrix)


def _difference(first: _Pair, second: _Pair, seed: int) -> Difference:
    others = {trial.arch_id: trial for trial in second.common}
    rows = [trial for trial in first.common if trial.arch_id in others]
    return compare_correlations(
        first.measured(rows),
        second.measured([others[trial.arch_id] for trial in rows]),
        first.true_measured(rows),
        seed=seed,
    )


def _negated(difference: Difference) -> Difference:
    if difference.value is None or difference.low is None or difference.high is None:
        return difference
    return replace(difference, value=-difference.value, low=-difference.high, high=-difference.low)


def _factor_effects(proxies: Sequence[Trials], with_truth: Sequence[Trial]) -> tuple[FactorEffect, ...]:
    """Effects over the architectures that the truth and every proxy scored."""
    scored = [{trial.arch_id: trial for trial in trials if trial.is_ranked} for trials in proxies]
    common = [trial for trial in with_truth if all(trial.arch_id in trials for trials in scored)]
    if not common:
        return ()
    factors = {name: [trial.factors[name] for trial in common] for name in common[0].factors}
    true = factor_effects(factors, [trial.test_accuracy for trial in common])
    ranks = [average_ranks([[trials[trial.arch_id].score for trial in common]]) for trials in scored]
    by_proxy = [factor_effects(factors, _standardised(scores)) for scores in ranks]
    return tuple(_factor_effect(name, true[name], [effects[name] for effects in by_proxy]) for name in true)


def _standardised(scores: Array) -> Array:
    centred: Array = scores - scores.mean()
    return centred / (scores.std() or 1.0)


def _factor_effect(
    name: str, truth: Mapping[FactorValue, Estimate], proxies: Sequence[Mapping[FactorValue, Estimate]]
) -> FactorEffect:
    values = tuple(sort_values(truth))
    return FactorEffect(
        factor=name,
        values=values,
        truth=tuple(truth[value] for value in values),
        proxies=tuple(tuple(effects[value] for value in values) for effects in proxies),
        agreement=tuple(_agreement(truth, effects) for effects in proxies),
        best_by_truth=_best(truth),
        best_by_proxy=tuple(_best(effects) for effects in proxies),
    )


def _agreement(truth: Mapping[FactorValue, Estimate], proxy: Mapping[FactorValue, Estimate]) -> Estimate:
    pairs = [(proxy[value].value, truth[value].value) for value in truth]
    known = [(mine, true) for mine, true in pairs if mine is not None and true is not None]
    return correlate([mine for mine, _ in known], [true for _, true in known])


def _best(effects: Mapping[FactorValue, Estimate]) -> FactorValue | None:
    """The value with the largest effect; None where no effect is known."""
    known = {value: effect.value for value, effect in effects.items() if effect.value is not None}
    return max(known, key=lambda value: known[value]) if known else None


def check_comparable(trials: Trials, truth: Trials) -> None:
    """Refuses to compare what was measured on different images or spaces, or with a truth that trained nothing.

    Raises:
        InputError: the data, the split or the space differ.
        SettingsError: the truth has no accuracies.
    """
    if truth.info.metric != ACCURACY:
        raise SettingsError(
            f"{truth.info.name} has {truth.info.metric} scores, no accuracies; the truth is a search by 'whole'"
        )
    check_same_task(trials, truth)


def check_same_task(first: Trials, second: Trials) -> None:
    """Refuses searches of different images or spaces; what one of them does not know is not compared.

    Raises:
        InputError: the data, the split or the space differ.
    """
    for what in ("space", "space_hash", "data_hash", "split_hash"):
        mine, other = getattr(first.info, what), getattr(second.info, what)
        if mine and other and mine != other:
            raise InputError(
                f"runs {first.info.name} and {second.info.name} cannot be compared: their {what} differs "
                f"({mine} and {other}); search both on the same images, split and space"
            )
