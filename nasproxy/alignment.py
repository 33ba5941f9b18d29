"""Scores of several searches beside a truth, aligned by architecture: the one place where they are paired.

Ranking, combining, report, tables and dashboard all read an `Alignment`.

Notation: A architectures that any of the searches knows, P proxies, S seeds.
"""

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nasproxy.errors import InputError, SettingsError
from nasproxy.factors import ABSENT, FactorValue
from nasproxy.ranking import mean_over_seeds
from nasproxy.screened import by_place, to_the_end
from nasproxy.trials import SampleInfo, Trial, Trials, factors_of

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Indices = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Scores:
    """What one search says of each architecture of an alignment."""

    name: str
    """Of the search."""
    is_known: Mask
    """(A,) whether the architecture has finite scores; the other rows of the arrays below are NaN."""
    selection: Array
    """(A, S) what architectures are selected by; rows of fewer seeds than the most end with NaN."""
    evaluation: Array
    """(A, S) what the search is judged by, or judges by where it is the truth."""
    fit_error: float = 0.0
    """As `SearchInfo.fit_error`."""

    @property
    def selection_means(self) -> Array:
        """(A,) over seeds."""
        return mean_over_seeds(self.selection)

    @property
    def evaluation_means(self) -> Array:
        """(A,) over seeds."""
        return mean_over_seeds(self.evaluation)

    @property
    def ranks(self) -> Array:
        """(A,) 1 is selected first; equal scores share the better rank; NaN where it is not known."""
        return _competition_ranks(self.selection_means)


@dataclass(frozen=True, eq=False)
class Alignment:
    """Proxies and a truth of the same space, architecture by architecture."""

    arch_ids: tuple[str, ...]
    """(A,) in alphabetical order."""
    factors: Mapping[str, tuple[FactorValue, ...]]
    """Name of each factor -> (A,) its values."""
    num_params: tuple[int | None, ...]
    """(A,)"""
    flops: tuple[int | None, ...]
    latency: tuple[float | None, ...]
    """(A,) of the forward pass of one image; a multiply-add counts as two."""
    proxies: tuple[Scores, ...]
    """(P,)"""
    truth: Scores
    """Nothing in it is known where there is no truth."""
    weights: Array | None = None
    """(A,) of how many architectures that proxies scored each one with a truth stands for, NaN without a truth; None:
    each for itself."""
    truth_for: str = "all"
    """How the architectures with a truth were chosen: 'all', 'top:5%', 'sample:20'; 'some' where nobody says."""
    sample: SampleInfo | None = None
    """How the architectures that proxies scored were drawn; None: they were not."""
    sample_weights: Array | None = None
    """(A,) of how many architectures of the space each one stands for (`Trial.weight`); None: each for itself."""

    def __len__(self) -> int:
        return len(self.arch_ids)

    @property
    def is_scored(self) -> Mask:
        """(A,) whether any proxy has a score of the architecture."""
        scored: Mask = np.logical_or.reduce([scores.is_known for scores in self.proxies])
        return scored

    @property
    def num_scored(self) -> int:
        """Architectures that any proxy scored."""
        return int(self.is_scored.sum())

    @property
    def with_truth(self) -> Indices:
        """Indices of the architectures that any proxy and the truth scored."""
        return np.flatnonzero(self.is_scored & self.truth.is_known)

    @property
    def is_complete(self) -> bool:
        """Whether every architecture that a proxy scored has a truth."""
        return len(self.with_truth) == self.num_scored

    @property
    def is_whole(self) -> bool:
        """Whether those with a truth are all there are: all that a proxy scored, and no sample."""
        return self.is_complete and self.sample is None

    @property
    def is_representative(self) -> bool:
        """Whether those with a truth stand for all there are, with their weights."""
        return self.is_complete or self.weights is not None

    @property
    def true_ranks(self) -> Array:
        """(A,) by true evaluation score, 1 is the best; equal ones share the better rank; NaN without a truth."""
        return _competition_ranks(self.truth.evaluation_means)

    def common(self, *proxies: int, with_truth: bool = True) -> Indices:
        """Indices of the architectures that these proxies, and the truth, all scored; in the order of `arch_ids`."""
        masks = [self.proxies[proxy].is_known for proxy in proxies]
        if with_truth:
            masks.append(self.truth.is_known)
        return np.flatnonzero(np.logical_and.reduce(masks))

    def order(self, proxy: int) -> Indices:
        """Indices of the architectures that a proxy scored, the one that it selects first leading; ties by id."""
        known = np.flatnonzero(self.proxies[proxy].is_known)
        best_first: Indices = known[np.argsort(-self.proxies[proxy].selection_means[known], kind="stable")]
        return best_first

    def weights_of(self, rows: Indices) -> Array | None:
        """(n,) of how many architectures of the space each of these, with a truth, stands for; None where that is one,
        or the same for all of a uniform sample: figures are then those of the sample."""
        if self.weights is None:
            is_uniform = self.sample_weights is None or np.ptp(self.sample_weights) == 0
            return None if is_uniform else self.sample_weights_of(rows)
        of_sample = self.sample_weights_of(rows)
        weights: Array = self.weights[rows] if of_sample is None else self.weights[rows] * of_sample
        return weights

    def sample_weights_of(self, rows: Indices) -> Array | None:
        """(n,) weights of architectures, with a truth or not; None where each stands for itself."""
        return None if self.sample_weights is None else self.sample_weights[rows]


def align(
    proxies: Sequence[Trials],
    truth: Trials | None = None,
    *,
    weights: Mapping[str, float] | None = None,
    truth_for: str | None = None,
) -> Alignment:
    """Sets searches beside one another; of the sample that some of them are of, if there is one (`cut_to_sample`).

    Args:
        proxies: searches of the same space and data, at least one; those with a screen by place (`by_place`).
        truth: full training of some or all of the architectures, without those that a screen cut; None: there is none.
        weights: architectures that each one with a truth stands for, by id, where those are a stratified sample
            (`nasproxy.ranking.sample_stratified`) of the ones that proxies scored; those without a weight get no truth.
            What these stand for themselves (`Trial.weight`) is multiplied with it.
        truth_for: how the architectures with a truth were chosen, in the words of `Alignment.truth_for`; None: all or
            some, as it is.

    Raises:
        SettingsError: no proxies, two of one name, or a truth without accuracies.
        InputError: they are about different data or spaces, or of different samples, or a proxy and the truth have no
            architecture in common.
    """
    proxies, truth = [by_place(trials) for trials in proxies], truth and to_the_end(truth)
    names = [trials.name for trials in proxies]
    if not names or len(set(names)) < len(names):
        raise SettingsError(f"a comparison needs proxies of different names, not {', '.join(names) or 'none'}")
    for other in proxies[1:]:
        check_same_task(proxies[0], other)
    if truth is not None:
        check_truth(truth)
        for trials in proxies:
            check_same_task(trials, truth)
        *proxies, truth = cut_to_sample([*proxies, truth])
        truth = truth if weights is None else truth.of(weights.keys())
    else:
        proxies = cut_to_sample(proxies)
    known: dict[str, Trial] = {}
    for trials in [*proxies, *([describe_truth(truth, proxies)] if truth else [])]:
        for trial in trials:
            if trial.arch_id not in known or known[trial.arch_id].num_params is None:
                known[trial.arch_id] = trial
    if any(trial.factors for trial in known.values()):  # rows of a table that no search knows are left out
        known = {arch_id: trial for arch_id, trial in known.items() if trial.factors}
    arch_ids = tuple(sorted(known))
    archs = [known[arch_id] for arch_id in arch_ids]
    aligned = Alignment(
        arch_ids=arch_ids,
        factors={name: tuple(arch.factors.get(name, ABSENT) for arch in archs) for name in factors_of(known.values())},
        num_params=tuple(arch.num_params for arch in archs),
        flops=tuple(arch.flops for arch in archs),
        latency=tuple(arch.latency for arch in archs),
        proxies=tuple(_scores(trials, arch_ids) for trials in proxies),
        truth=_scores(truth, arch_ids) if truth is not None else _unknown(len(arch_ids)),
        weights=None if weights is None else np.array([weights.get(arch_id, np.nan) for arch_id in arch_ids]),
        sample=proxies[0].info.sample,
        sample_weights=np.array([arch.weight for arch in archs]) if any(arch.weight != 1 for arch in archs) else None,
    )
    if truth is not None:
        _check_overlap(aligned, proxies, truth.name)
    return replace(aligned, truth_for=truth_for or ("all" if aligned.is_complete else "some"))


def cut_to_sample(searches: Sequence[Trials]) -> list[Trials]:
    """Searches of which some are of a sample, cut to it, with its weights; as they are where none is.

    Raises:
        InputError: an architecture stands for different numbers in two of them.
    """
    weights: dict[str, float] = {}
    named: dict[str, Trials] = {}
    for trials in searches:
        for trial in trials if trials.is_sample else ():
            if not math.isclose(weights.setdefault(trial.arch_id, trial.weight), trial.weight):
                other = named[trial.arch_id]
                raise InputError(
                    f"runs {other.name} and {trials.name} are of different samples: {trial.arch_id} stands for "
                    f"{weights[trial.arch_id]:.4g} architectures and for {trial.weight:.4g}; search both with one "
                    "--sample"
                )
            named.setdefault(trial.arch_id, trials)
    if not weights:
        return list(searches)
    info = next(
        (trials.info.sample for trials in searches if trials.is_sample and trials.info.sample is not None),
        SampleInfo.of(weights.values(), None if len(set(weights.values())) == 1 else ""),
    )
    return [replace(trials.of(weights).weighted(weights, info), run=trials.run) for trials in searches]


def describe_truth(truth: Trials, proxies: Sequence[Trials]) -> Trials:
    """A truth from a table with what the proxies know of its architectures, without those that none of them knows."""
    if truth.info.space_hash:
        return truth
    known = {trial.arch_id: trial for trials in proxies for trial in trials}
    items = (
        replace(trial, factors=arch.factors, num_params=arch.num_params, flops=arch.flops, latency=arch.latency)
        for trial in truth
        if (arch := known.get(trial.arch_id))
    )
    task = ["space", "space_hash", "dataset", "data_hash", "split_hash"]
    if "caution" not in truth.info.recipe:  # else it was measured on images of its own
        task.append("data")
    info = replace(truth.info, **{name: getattr(proxies[0].info, name) for name in task})
    return replace(truth, info=info, items=tuple(items))


def check_same_task(first: Trials, second: Trials) -> None:
    """Refuses searches of different images or spaces; what one of them does not know is not compared.

    Raises:
        InputError: the data, the split or the space differ.
    """
    has_hashes = first.info.space_hash and second.info.space_hash
    for decided_by in ("space_hash" if has_hashes else "space", "data_hash", "split_hash"):
        what = decided_by
        mine, other = getattr(first.info, what), getattr(second.info, what)
        if mine and other and mine != other:
            if what == "space_hash" and first.info.space != second.info.space:  # names say more
                what, mine, other = "space", first.info.space, second.info.space
            raise InputError(
                f"runs {first.name} and {second.name} cannot be compared: their {what} differs "
                f"({mine} and {other}); search both on the same images, split and space"
            )


def check_truth(truth: Trials) -> None:
    """Refuses what is neither full training nor a table of accuracies.

    Raises:
        SettingsError: it is not.
    """
    if not truth.info.is_truth:
        raise SettingsError(
            f"{truth.name} is a search by {truth.info.proxy}, not by 'whole'; the truth is full training"
        )


def _check_overlap(alignment: Alignment, proxies: Sequence[Trials], truth: str) -> None:
    for index, trials in enumerate(proxies):
        if not len(alignment.common(index)):
            raise InputError(
                f"runs {trials.name} and {truth} have no scored architecture in common; "
                f"search the same ones, e.g. with --archs {shlex.quote(trials.name_best(trials.name))}"
            )


def _scores(trials: Trials, arch_ids: Sequence[str]) -> Scores:
    found = [trials.by_id.get(arch_id) for arch_id in arch_ids]
    rows = [trial if trial is not None and trial.is_ranked else None for trial in found]
    selection = by_seed([trial.selection_scores if trial else None for trial in rows])
    evaluation = by_seed([trial.evaluation_scores if trial else None for trial in rows])
    is_known = np.array([trial is not None for trial in rows], dtype=bool)
    return Scores(trials.name, is_known, selection, evaluation, trials.info.fit_error)


def by_seed(rows: Sequence[tuple[float, ...] | None]) -> Array:
    """(A, S): S is the largest number of seeds, and NaN stands for what is not there."""
    num_seeds = max((len(row) for row in rows if row is not None), default=1)
    padded = np.full((len(rows), num_seeds), np.nan)
    for place, row in enumerate(rows):
        if row is not None:
            padded[place, : len(row)] = row
    return padded


def _unknown(num_archs: int) -> Scores:
    nothing = np.full((num_archs, 1), np.nan)
    return Scores("", np.zeros(num_archs, dtype=bool), nothing, nothing)


def _competition_ranks(scores: Array) -> Array:
    """(A,): one more than the number of higher scores; NaN stays NaN."""
    known = np.sort(scores[~np.isnan(scores)])
    higher = len(known) - np.searchsorted(known, scores, side="right")
    return np.where(np.isnan(scores), np.nan, higher + 1.0)
