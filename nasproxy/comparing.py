"""Proxies judged by the truth, one by one (Table 5 of the main paper, with intervals) and against each other.

Accuracies are fractions in [0, 1]; times are seconds. Where nets are trained, architectures are selected by validation
accuracy and correlated by test accuracy; a training-free proxy has one score for both.

Proxies are judged each for itself (`Ranking`) and as methods (`Method`): a proxy set is one draw of its method, and
which is better is said of methods.

Where the architectures with a truth are a sample of the space, order, differences, precision and ceiling are weighted
to be those of the space. Regret and effects of factors are of the architectures with a truth, and say so.

Notation: A architectures, P proxies, G methods.
"""

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import TypeVar

import numpy as np

from nasproxy.alignment import Alignment, Array, Indices, align, cut_to_sample, describe_truth
from nasproxy.errors import SettingsError
from nasproxy.factors import FactorValue, sort_values
from nasproxy.formatting import format_estimate
from nasproxy.ranking import (
    Diagnosis,
    Difference,
    Estimate,
    Resolution,
    SetNoise,
    adjust_p_values,
    average_ranks,
    ceiling,
    compare_methods,
    correlate,
    correlate_sets,
    count_of,
    diagnose,
    factor_effects,
    include_fit,
    noise_regret,
    precision_at,
    random_regret_curve,
    regret_at,
    regret_curve,
    resolve,
    select_top,
    set_noise,
)
from nasproxy.rundir import RunDir
from nasproxy.screened import by_place, to_the_end
from nasproxy.trials import FLAGGED, ProxyCost, ProxyKind, SearchInfo, State, Trials

AnyEstimate = TypeVar("AnyEstimate", bound=Estimate)
SAMPLED = "of the whole space, weighted by the strata of the sample"
UNIFORM = "of the whole space, from a uniform sample of it"
OF_SAMPLE = "of the architectures of the sample, not of the whole space"
PARTIAL = "of the architectures with a truth, not of the whole space"
NEARLY_ALL = 0.9
"""Share of the architectures with a truth that makes it one at chance."""

MAX_LEVELS = 24
"""Values of a factor whose effects are estimated one by one."""


@dataclass(frozen=True)
class Ranking:
    """A proxy judged by the truth: one column of Table 5 of the main paper, with intervals."""

    name: str
    """Name of the proxy's search."""
    label: str
    """Name in tables and pictures: the shortest of the proxy's (`SearchInfo.label`, else `proxy`) that no other has,
    the search's where a comparison has that proxy twice; with the number of the set where its method has several."""
    method: str
    """Label of its method."""
    kind: ProxyKind
    metric: str
    """What is correlated with the truth's test accuracy: the proxy's, or the name of its score."""
    num_archs: int
    """Architectures scored by both proxy and truth."""
    selected: str
    """Id of the best architecture by proxy score, among those with a truth."""
    is_selected_at_chance: bool
    """Whether the proxy's nets of it are no better than guessing."""
    selected_truth_accuracy: float
    """Test accuracy of the selected architecture after full training."""
    best_truth_accuracy: float
    """Best test accuracy after full training among all architectures with a truth."""
    top_fraction: float
    spearman: Estimate
    """Over all architectures with a truth."""
    diagnosis: Diagnosis
    """Whether it is carried by a few of them: its interval is too short then."""
    worst_judged: tuple[str, ...]
    """Ids of the architectures that the diagnosis found to be judged worst, the worst one leading."""
    kendall: Estimate
    top_spearman: Estimate
    """Over the top fraction by proxy score."""
    top_kendall: Estimate
    true_top_spearman: Estimate
    """Over the top fraction by truth."""
    precision: Estimate
    """Share of the top fraction by proxy that is in the top fraction by truth, among architectures with a truth."""
    regret: Estimate
    """Accuracy lost by training only the architecture that the proxy puts first."""
    top_regret: Estimate
    """Accuracy lost by training the proxy's top fraction and keeping the best."""
    noise_regret: Estimate
    """Accuracy that a perfect proxy would seem to lose by its first pick: the best measured one is a lucky one."""
    top_noise_regret: Estimate
    """The same of its top fraction."""
    regret_curve: tuple[float, ...]
    """Accuracy lost by training the proxy's k best and keeping the best of them, k = 1 to A."""
    cost: ProxyCost
    num_failed: int
    """Trials that raised an error or were lost."""
    num_not_finite: int
    """Trials without a finite score: like failed ones they are in no ranking and no correlation."""
    num_flagged: int
    """Trials that diverged or stayed at chance: they are ranked as measured."""

    def __repr__(self) -> str:
        return (
            f"<Ranking {self.label}: rho {format_estimate(self.spearman)} over {self.num_archs:,} architectures, "
            f"first {self.selected}, regret {format_estimate(self.regret, scale=100)} points>"
        )

    @property
    def num_stored_images(self) -> int | None:
        """Images whose memory has to be kept for the proxy; None of a table: nobody says what was behind it."""
        return None if self.kind is ProxyKind.TABLE else self.cost.num_stored_images


@dataclass(frozen=True)
class Method:
    """Proxies that differ in nothing but the draw of their proxy sets; any other proxy is a method of its own."""

    label: str
    kind: ProxyKind
    members: tuple[int, ...]
    """Indices of its rankings, in the order of its sets' seeds."""
    spearman: Estimate
    """Mean over its sets, over the architectures that all of them and the truth scored; the interval has the noise from
    set to set in it, where the comparison knows of any."""
    spread: float | None
    """Standard deviation (R - 1) of rho from set to set, as measured; None where it has one set."""

    @property
    def is_drawn(self) -> bool:
        """Whether its proxies are draws: proxy sets."""
        return self.kind is ProxyKind.PROXY_SET


@dataclass(frozen=True)
class FactorEffect:
    """What one factor does to accuracy, by the truth and by a proxy: does the proxy get 'which norm is best' right?"""

    factor: str
    values: tuple[FactorValue, ...]
    truth: tuple[Estimate, ...]
    """Per value: its architectures' mean true test accuracy minus the mean of all, as a fraction."""
    proxies: tuple[tuple[Estimate, ...], ...]
    """(P, values): the same under each proxy, in standard deviations of its ranks."""


@dataclass(frozen=True)
class Comparison:
    """Proxies of one space and data set beside one truth."""

    truth: Trials
    proxies: tuple[Trials, ...]
    """(P,) highest Spearman first."""
    alignment: Alignment
    """Scores and truth by architecture, proxies in the same order."""
    rankings: tuple[Ranking, ...]
    """(P,), in the same order."""
    methods: tuple[Method, ...]
    """(G,) highest mean Spearman first."""
    set_noise: SetNoise | None
    """From set to set, pooled over methods with several; None: no method has."""
    differences: tuple[tuple[Difference, ...], ...]
    """(G, G): mean Spearman of the row's method minus that of the column's, over the architectures that all of their
    proxies and the truth scored; p-values are adjusted for all pairs."""
    factor_effects: tuple[FactorEffect, ...]
    """One per factor that varies."""
    ceiling: Estimate
    """Highest rank correlation with this truth that a proxy can be expected to be measured at."""
    random_regret_curve: tuple[float, ...]
    """Expected accuracy lost by training k architectures drawn at random and keeping the best, k = 1 to A."""
    resolution: Resolution
    """Whether the truth's accuracies differ by more than its test images and seeds explain."""
    num_at_chance: int
    """Architectures whose truth is no better than guessing."""
    run: RunDir | None = field(default=None, compare=False, repr=False)
    """Folder of the comparison; None: there is none."""

    def __repr__(self) -> str:
        rows = "".join(f"\n  {ranking!r}" for ranking in self.rankings)
        return f"<Comparison with {self.truth.name}:{rows}>"

    @property
    def is_truth_at_chance(self) -> bool:
        """Whether nearly all architectures with a truth are no better than guessing."""
        return self.num_at_chance >= NEARLY_ALL * len(self.alignment.with_truth)

    @property
    def can_judge(self) -> bool:
        """Whether the truth tells architectures apart, as far as that is known: else it says nothing of proxies."""
        return self.resolution.is_enough and not self.is_truth_at_chance


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
        weights: architectures that each one with a truth stands for, by id, where those are a stratified sample
            (`nasproxy.ranking.sample_stratified`) of the ones that the proxy scored. What these stand for themselves
            (`Trial.weight`) counts in any case.

    Raises:
        InputError: proxy and truth are about different data or spaces, are of different samples, or have no
            architecture in common.
        SettingsError: `top` is no fraction, or `truth` is neither a search by 'whole' nor a table of accuracies.
    """
    return compare_trials([trials], truth, top=top, seed=seed, weights=weights).rankings[0]


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

    Where some of these searches are of a sample, all are cut to it.

    Args:
        proxies: of each proxy.
        truth: of full training; may cover only some of the architectures.
        top: fraction of the architectures, in (0, 1].
        seed: of every random draw.
        truth_for: how the architectures with a truth were chosen, in the words of `Alignment.truth_for`; None: all or
            some, as it is.
        weights: as for `rank`.

    Raises:
        InputError: as `rank`.
        SettingsError: as `rank`; no proxies, or two of one name.
    """
    if not 0 < top <= 1:
        raise SettingsError(f"top={top} is no fraction of the architectures; give one above 0 and up to 1 (or 100%)")
    proxies, truth = [by_place(trials) for trials in proxies], to_the_end(truth)
    alignment = align(proxies, truth, weights=weights, truth_for=truth_for)
    *proxies, cut = cut_to_sample([*proxies, truth])
    groups = _group(proxies)
    labels = _labels([trials.info for trials in proxies], groups)
    judged = [_judge(alignment, index, trials, labels[index], top, seed) for index, trials in enumerate(proxies)]
    best_first = sorted(range(len(judged)), key=lambda index: _or_least(judged[index].spearman), reverse=True)
    alignment = replace(alignment, proxies=tuple(alignment.proxies[index] for index in best_first))
    rankings = tuple(judged[index] for index in best_first)
    places = [tuple(best_first.index(index) for index in group) for group in groups]
    noise = _set_noise(alignment, places)
    methods = sorted(
        (_method(alignment, rankings, place, noise) for place in places),
        key=lambda method: (-_or_least(method.spearman), method.members),
    )
    with_truth = alignment.with_truth
    true = alignment.truth.evaluation[with_truth]
    judge = replace(describe_truth(cut, proxies).of(None if weights is None else weights.keys()), run=truth.run)
    return Comparison(
        truth=judge,
        proxies=tuple(proxies[index] for index in best_first),
        alignment=alignment,
        rankings=rankings,
        methods=tuple(methods),
        set_noise=noise,
        differences=_differences(alignment, methods, noise, seed),
        factor_effects=_factor_effects(alignment),
        ceiling=ceiling(true, weights=alignment.weights_of(with_truth), seed=seed),
        random_regret_curve=tuple(random_regret_curve(true).tolist()),
        resolution=resolve(true, judge.info.data.num_test if judge.info.data else None),
        num_at_chance=sum(judge.is_at_chance(judge.by_id[alignment.arch_ids[row]]) for row in with_truth),
    )


def _group(proxies: Sequence[Trials]) -> list[tuple[int, ...]]:
    """Indices of the proxies of each method, in the order of their sets' seeds; in that of the first ones."""
    groups: list[list[int]] = []
    for index, trials in enumerate(proxies):
        for group in groups:
            if all(_is_other_set(proxies[member].info, trials.info) for member in group):
                group.append(index)
                break
        else:
            groups.append([index])
    return [tuple(sorted(group, key=lambda index: (proxies[index].info.set_seed or 0, index))) for group in groups]


def _is_other_set(first: SearchInfo, second: SearchInfo) -> bool:
    """Whether both are by different sets of one method."""
    seeds = {first.set_seed, second.set_seed}
    return first.is_of_method(second) and (len(seeds) > 1 or seeds == {None})


def _labels(infos: Sequence[SearchInfo], groups: Sequence[tuple[int, ...]]) -> dict[int, tuple[str, str]]:
    """Index -> label, which no other has, and that of the method."""
    firsts = [infos[group[0]] for group in groups]
    shown = Counter(name for info in firsts for name in {info.label, info.proxy})
    labels = {}
    for group, info in zip(groups, firsts, strict=True):
        method = next((name for name in (info.label, info.proxy) if shown[name] == 1), info.name)
        for number, index in enumerate(group, start=1):
            labels[index] = (method if len(group) == 1 else f"{method} (set {number})", method)
    return labels


def _judge(alignment: Alignment, index: int, trials: Trials, labels: tuple[str, str], top: float, seed: int) -> Ranking:
    label, method = labels
    scores, order = alignment.proxies[index], alignment.order(index)
    has_truth = alignment.truth.is_known
    rows = order[has_truth[order]]
    best = order[select_top(scores.selection_means[order], top, weights=alignment.sample_weights_of(order))]
    best = best[has_truth[best]]
    true, selection = alignment.truth.evaluation_means[rows], scores.selection_means[rows]
    weights = alignment.weights_of(rows)
    count = count_of(top, len(rows) if weights is None else round(float(weights.sum())))
    num_trained, truth = count_of(top, len(rows)), alignment.truth.evaluation[rows]
    diagnosis = diagnose(scores.evaluation[rows], truth, weights=weights, seed=seed)
    return Ranking(
        name=trials.name,
        label=label,
        method=method,
        kind=trials.info.kind,
        metric=trials.info.evaluation_metric,
        num_archs=len(rows),
        selected=alignment.arch_ids[rows[0]],
        is_selected_at_chance=trials.is_at_chance(trials.by_id[alignment.arch_ids[rows[0]]]),
        selected_truth_accuracy=float(true[0]),
        best_truth_accuracy=float(np.nanmax(alignment.truth.evaluation_means)),
        top_fraction=top,
        spearman=_correlate(alignment, index, rows),
        diagnosis=diagnosis,
        worst_judged=tuple(alignment.arch_ids[rows[place]] for place in diagnosis.worst),
        kendall=_correlate(alignment, index, rows, kind="kendall"),
        top_spearman=_correlate(alignment, index, best),
        top_kendall=_correlate(alignment, index, best, kind="kendall"),
        true_top_spearman=_correlate(alignment, index, rows[select_top(true, top, weights=weights)]),
        precision=_noted(alignment, precision_at(selection, true, count, weights=weights, seed=seed)),
        regret=_noted(alignment, regret_at(selection, truth, 1, seed=seed), is_weighted=False),
        top_regret=_noted(alignment, regret_at(selection, truth, num_trained, seed=seed), is_weighted=False),
        noise_regret=_noted(alignment, noise_regret(truth, 1, seed=seed), is_weighted=False),
        top_noise_regret=_noted(alignment, noise_regret(truth, num_trained, seed=seed), is_weighted=False),
        regret_curve=tuple(regret_curve(selection, true).tolist()),
        cost=trials.cost,
        num_failed=trials.count(State.FAILED, State.LOST),
        num_not_finite=trials.count(State.NOT_FINITE),
        num_flagged=trials.count(*FLAGGED),
    )


def _correlate(alignment: Alignment, index: int, rows: Indices, *, kind: str = "spearman") -> Estimate:
    """Correlation of a proxy with the truth over some architectures that have one."""
    proxy, truth = alignment.proxies[index].evaluation[rows], alignment.truth.evaluation[rows]
    estimate = correlate(proxy, truth, kind=kind, weights=alignment.weights_of(rows))
    return _noted(alignment, include_fit(estimate, alignment.proxies[index].fit_error, kind=kind))


def _noted(alignment: Alignment, estimate: AnyEstimate, *, is_weighted: bool = True) -> AnyEstimate:
    """An estimate that says which architectures it is about, where those with a truth are not all."""
    if alignment.is_whole or estimate.note is not None:
        return estimate
    return replace(estimate, note=_scope(alignment, is_weighted=is_weighted))


def _scope(alignment: Alignment, *, is_weighted: bool) -> str:
    """What a figure is about where those with a truth are not all."""
    if not is_weighted or not alignment.is_representative:
        return OF_SAMPLE if alignment.is_complete else PARTIAL
    is_drawn_alike = alignment.weights is None and alignment.sample is not None and alignment.sample.by is None
    return UNIFORM if is_drawn_alike else SAMPLED


def _or_least(estimate: Estimate) -> float:
    return -math.inf if estimate.value is None else estimate.value


def _sets_of(alignment: Alignment, members: Sequence[int], rows: Indices) -> list[Array]:
    return [alignment.proxies[index].evaluation[rows] for index in members]


def _set_noise(alignment: Alignment, places: Sequence[Sequence[int]]) -> SetNoise | None:
    """From set to set, over the architectures that all sets of methods with several, and the truth, scored."""
    several = [members for members in places if len(members) > 1]
    if not several:
        return None
    rows = alignment.common(*(index for members in several for index in members))
    sets = [_sets_of(alignment, members, rows) for members in several]
    return set_noise(sets, alignment.truth.evaluation[rows], weights=alignment.weights_of(rows))


def _method(
    alignment: Alignment, rankings: Sequence[Ranking], members: tuple[int, ...], noise: SetNoise | None
) -> Method:
    first = rankings[members[0]]
    rows = alignment.common(*members)
    truth, weights = alignment.truth.evaluation[rows], alignment.weights_of(rows)
    own_noise = noise if first.kind is ProxyKind.PROXY_SET else None
    mean = correlate_sets(_sets_of(alignment, members, rows), truth, weights=weights, noise=own_noise)
    mean = include_fit(mean, _fit_error(alignment, members))
    return Method(first.method, first.kind, members, _noted(alignment, mean), _spread(alignment, members, rows))


def _spread(alignment: Alignment, members: Sequence[int], rows: Indices) -> float | None:
    """Standard deviation of rho from set to set; None for one set, or where a set has no rho."""
    if len(members) == 1:
        return None
    by_set = [_correlate(alignment, index, rows).value for index in members]
    measured = [value for value in by_set if value is not None]
    return statistics.stdev(measured) if len(measured) == len(members) else None


def _differences(
    alignment: Alignment, methods: Sequence[Method], noise: SetNoise | None, seed: int
) -> tuple[tuple[Difference, ...], ...]:
    """(G, G): antisymmetric, with p-values adjusted for all pairs."""
    pairs = list(combinations(range(len(methods)), 2))
    above = [_difference(alignment, methods[row], methods[column], noise, seed) for row, column in pairs]
    tested = [number for number, difference in enumerate(above) if difference.p_value is not None]
    adjusted = adjust_p_values([above[number].p_value or 0.0 for number in tested])
    for number, p_value in zip(tested, adjusted, strict=True):
        above[number] = replace(above[number], adjusted_p_value=p_value)
    cells = dict(zip(pairs, above, strict=True))
    cells |= {(column, row): _negated(difference) for (row, column), difference in cells.items()}
    for row, method in enumerate(methods):
        cells[row, row] = Difference(0.0, 0.0, 0.0, len(alignment.common(*method.members)), p_value=1.0)
    return tuple(tuple(cells[row, column] for column in range(len(methods))) for row in range(len(methods)))


def _difference(alignment: Alignment, first: Method, second: Method, noise: SetNoise | None, seed: int) -> Difference:
    rows = alignment.common(*first.members, *second.members)
    one, other = (_sets_of(alignment, method.members, rows) for method in (first, second))
    difference = compare_methods(
        one,
        other,
        alignment.truth.evaluation[rows],
        weights=alignment.weights_of(rows),
        noise=noise,
        are_drawn=(first.is_drawn, second.is_drawn),
        fit_errors=(_fit_error(alignment, first.members), _fit_error(alignment, second.members)),
        seed=seed,
    )
    return _noted(alignment, difference)


def _fit_error(alignment: Alignment, members: Sequence[int]) -> float:
    return alignment.proxies[members[0]].fit_error  # a fit has no sets


def _negated(difference: Difference) -> Difference:
    value, low, high = (None if end is None else -end for end in (difference.value, difference.high, difference.low))
    return replace(difference, value=value, low=low, high=high)


def _factor_effects(alignment: Alignment) -> tuple[FactorEffect, ...]:
    """Effects over the architectures that the truth and every proxy scored."""
    rows = alignment.common(*range(len(alignment.proxies)))
    if not len(rows):
        return ()
    factors = {name: [values[row] for row in rows] for name, values in alignment.factors.items()}
    factors = {name: values for name, values in factors.items() if len(set(values)) <= MAX_LEVELS}  # else it is a range
    truth = factor_effects(factors, alignment.truth.evaluation_means[rows])
    ranks = [average_ranks(scores.selection_means[rows][None]) for scores in alignment.proxies]
    by_proxy = [factor_effects(factors, _standardised(scores)) for scores in ranks]
    effects = []
    for name, of_truth in truth.items():
        values = tuple(sort_values(of_truth))
        of_true, *of_proxies = (
            tuple(_noted(alignment, effect[name][value], is_weighted=False) for value in values)
            for effect in (truth, *by_proxy)
        )
        effects.append(FactorEffect(name, values, of_true, tuple(of_proxies)))
    return tuple(effects)


def _standardised(scores: Array) -> Array:
    centred: Array = scores - scores.mean()
    return centred / (scores.std() or 1.0)
