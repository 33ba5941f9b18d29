"""Which network to use after a comparison: the best one, how sure that is, and what to do next.

Architectures are chosen by validation accuracy, and reported with their test accuracy.
"""

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from nasproxy.comparing import Comparison
from nasproxy.errors import format_command
from nasproxy.formatting import (
    MISSING,
    PERCENT,
    format_interval,
    format_number,
    format_percent,
    format_size,
    join_names,
)
from nasproxy.ranking import Estimate, accuracy_intervals, answer_error, count_of
from nasproxy.ranking.jackknife import QUANTILE
from nasproxy.screened import to_the_end
from nasproxy.signals import join_signal
from nasproxy.trials import FEWEST, Trials

SEEDS = 5
"""Fewest that a hint suggests."""


@dataclass(frozen=True)
class Candidate:
    """An architecture that one may use."""

    arch_id: str
    num_params: int | None
    flops: int | None
    selection: float | None
    """The truth's accuracy that it is chosen by; None: it has no truth."""
    test: Estimate
    """The truth's test accuracy."""
    proxy_rank: int | None
    """By the best-ranking proxy; None: that has no score of it."""
    is_tied: bool | None = None
    """Whether its test accuracy cannot be told from that of the chosen one; None where nobody knows."""


@dataclass(frozen=True)
class Choice:
    """The best architectures of a comparison: by the truth those that have one, then by the best-ranking proxy."""

    candidates: tuple[Candidate, ...]
    """The best `FEWEST`, the chosen one leading; none where the truth is at chance."""
    ties: tuple[Candidate, ...] | None
    """All others that cannot be told from the chosen one, the best leading; None where nobody knows."""
    proxy: str
    """Label of the best-ranking proxy."""
    limits: tuple[str, ...]
    """Why the truth does not tell architectures apart; empty where it does."""
    reason: str
    """What the chosen one was chosen by, and of how many; why there is none."""
    next_arguments: tuple[str, ...]
    """Of the nasproxy command to run next; empty where no run is known."""

    @property
    def command(self) -> str:
        """What to run next, as one types it."""
        return format_command(*self.next_arguments) if self.next_arguments else ""

    @property
    def answer(self) -> str:
        """Which one, in a sentence."""
        if not self.candidates:
            return f"Which network to use cannot be said: {self.reason}."
        return f"Use {self.candidates[0].arch_id}: {_describe(self.candidates[0])}; {self.reason}."

    @property
    def certainty(self) -> str:
        """How sure that is, in a sentence; empty where none is chosen."""
        if not self.candidates:
            return ""
        if self.ties is None:
            return f"How sure that is cannot be said ({self.candidates[0].test.note})."
        if not self.ties:
            return "No other architecture with a truth comes within its interval."
        count = f"{len(self.ties)} other{'s' if len(self.ties) > 1 else ''}"
        sentence = f"It is a tie: {count} cannot be told from it by test accuracy"
        known = [one for one in (self.candidates[0], *self.ties) if one.flops is not None]
        cheapest = min(known, key=lambda one: (one.flops, one.num_params), default=None)
        if cheapest is None:
            return f"{sentence}."
        if cheapest.arch_id == self.candidates[0].arch_id:
            return f"{sentence}; it is the cheapest of them."
        return f"{sentence}; the cheapest of them is {cheapest.arch_id}: {_describe(cheapest)}."

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Heads of columns, and a row of texts for each candidate."""
        heads = [
            "architecture",
            "chosen by",
            "validation",
            "test",
            "tie",
            "parameters",
            "FLOPs",
            f"rank by {self.proxy}",
        ]
        return heads, [self._row(candidate) for candidate in self.candidates]

    def _row(self, candidate: Candidate) -> list[str]:
        tie = {None: MISSING, True: "yes", False: "no"}[candidate.is_tied]
        has_truth = candidate.selection is not None
        return [
            candidate.arch_id,
            "truth" if has_truth else self.proxy,
            _percent(candidate.selection),
            _accuracy(candidate.test),
            "best" if candidate is self.candidates[0] else tie,
            _size(candidate.num_params),
            _size(candidate.flops),
            MISSING if candidate.proxy_rank is None else f"{candidate.proxy_rank:,}",
        ]


def choose(comparison: Comparison) -> Choice:
    """The answer to 'which network should I use?'.

    Of the architectures with a truth that is better than guessing, the one with the best validation accuracy; test
    accuracy where a table has no other. Another one is tied with it where the interval of its test accuracy (for other
    seeds and images) reaches the interval of the chosen one, or lies above.
    """
    label = comparison.rankings[_best_proxy(comparison)].label
    limits = tuple(describe_limits(comparison))
    if comparison.is_truth_at_chance:
        return Choice((), None, label, limits, "the truth is at chance", _next_arguments(comparison, 0))
    judged, ties = _judged(comparison)
    listed = [*judged[:FEWEST], *_not_judged(comparison)][:FEWEST]
    following = _next_arguments(comparison, len(ties or ()))
    return Choice(tuple(listed), ties, label, limits, _reason(comparison, len(judged)), following)


def describe_limits(comparison: Comparison) -> list[str]:
    """Why the truth does not tell architectures apart, and with it no proxies."""
    resolution, count = comparison.resolution, len(comparison.alignment.with_truth)
    if comparison.is_truth_at_chance:
        return [
            f"{comparison.num_at_chance:,} of {count:,} architectures are at chance in the truth: it says nothing of "
            "architectures or proxies. Train it longer."
        ]
    spread = f"the truth's accuracies differ by a standard deviation of {_points(resolution.spread)}"
    limits = []
    if resolution.is_within_images and comparison.truth.info.data is not None and resolution.image_error is not None:
        limits.append(
            f"{comparison.truth.info.data.num_test:,} test images cannot tell these architectures apart: {spread}, and "
            f"the images alone make {_points(resolution.image_error)}. Test on more images, or architectures that "
            "differ more."
        )
    if resolution.is_within_seeds and resolution.seed_error is not None:
        limits.append(
            f"Seed noise hides what architectures differ by: {spread}, and seeds alone make "
            f"{_points(resolution.seed_error)}. Train more seeds, or longer."
        )
    return limits


def describe_validation(searches: Sequence[Trials], labels: Sequence[str]) -> list[str]:
    """Which searches select by too few validation images to tell the architectures apart that they put first."""
    blind: dict[int, list[str]] = {}
    for trials, label in zip(searches, labels, strict=True):
        data = trials.info.data
        is_accuracy = trials.info.kind.is_trained and trials.info.has_accuracies
        if data is not None and is_accuracy and _is_blind(trials, data.num_val):
            blind.setdefault(data.num_val, []).append(label)
    return [
        f"Validation has {count:,} images: a step is {100 / count:.2g} points, "
        f"± {100 * QUANTILE * answer_error([0.5], count):.2g} points at 50{PERCENT}; {join_names(names)} cannot tell "
        f"apart the architectures that {'it puts' if len(names) == 1 else 'they put'} first."
        for count, names in blind.items()
    ]


def describe_top(comparison: Comparison) -> str:
    """That the top fraction is very few architectures; empty where it is not."""
    fraction, count = comparison.rankings[0].top_fraction, comparison.alignment.num_scored
    few = count_of(fraction, count)
    if few >= min(FEWEST, count):
        return ""
    share = min(math.ceil(100 * FEWEST / count), 100)
    return (
        f"The top {format_percent(fraction)} of {count:,} architectures is {few}: figures of so few say little; "
        f"--top {share}% takes {count_of(share / 100, count)}."
    )


def _is_blind(trials: Trials, num_images: int) -> bool:
    """Whether the best by validation differ by less (standard deviation) than the error of one of them."""
    kept = to_the_end(trials)
    best = [kept.by_id[arch_id].selection_score for arch_id in kept.top(FEWEST)]
    return len(best) > 1 and answer_error(best, num_images) > statistics.stdev(best)


def _best_proxy(comparison: Comparison) -> int:
    return comparison.methods[0].members[0]


def _judged(comparison: Comparison) -> tuple[list[Candidate], tuple[Candidate, ...] | None]:
    """Those with a truth better than guessing, the best leading; and which of them tie with that one."""
    alignment, truth = comparison.alignment, comparison.truth
    rows = [row for row in alignment.with_truth if not truth.is_at_chance(truth.by_id[alignment.arch_ids[row]])]
    rows.sort(key=lambda row: -alignment.truth.selection_means[row])
    num_test = truth.info.data.num_test if truth.info.data else None
    tests = accuracy_intervals(alignment.truth.evaluation[rows], num_test)
    judged = [_candidate(comparison, row, test) for row, test in zip(rows, tests, strict=True)]
    low = judged[0].test.low
    if low is None:
        return judged, None
    others = [replace(one, is_tied=(one.test.high or 0) >= low) for one in judged[1:]]
    return [judged[0], *others], tuple(one for one in others if one.is_tied)


def _not_judged(comparison: Comparison) -> Iterator[Candidate]:
    """Those without a truth, as the best-ranking proxy ranks them."""
    index, tried = _best_proxy(comparison), comparison.truth.by_id
    proxy, nothing = comparison.proxies[index], Estimate(None, None, None, 1)
    for row in comparison.alignment.order(index):
        arch_id = comparison.alignment.arch_ids[row]
        if arch_id not in tried and not proxy.is_at_chance(proxy.by_id[arch_id]):
            yield _candidate(comparison, row, nothing)


def _candidate(comparison: Comparison, row: int, test: Estimate) -> Candidate:
    alignment, scores = comparison.alignment, comparison.alignment.proxies[_best_proxy(comparison)]
    return Candidate(
        alignment.arch_ids[row],
        alignment.num_params[row],
        alignment.flops[row],
        None if test.value is None else float(alignment.truth.selection_means[row]),
        test,
        int(scores.ranks[row]) if scores.is_known[row] else None,
    )


def _reason(comparison: Comparison, num_judged: int) -> str:
    count = len(comparison.alignment.with_truth)
    by = comparison.truth.info.selection_metric.removeprefix("mean ")
    among = f"the {count:,} architectures" if count > 1 else "the one architecture"
    sentence = f"the best {by} of {among}"
    if not comparison.alignment.is_complete:
        sentence += f" with a truth, of {comparison.alignment.num_scored:,}"
    at_chance = count - num_judged
    return f"{sentence} ({at_chance:,} at chance left out)" if at_chance else sentence


def _next_arguments(comparison: Comparison, num_ties: int) -> tuple[str, ...]:
    """Full training of what the best-ranking proxy puts first, as long as that has no truth; then of the best again,
    with more seeds."""
    truth, search = comparison.truth, ("search", "--proxy", "whole", "--archs")
    index = next((index for index, trials in enumerate(comparison.proxies) if trials.run is not None), None)
    is_settled = truth.run is not None and not comparison.is_truth_at_chance
    if index is not None:
        first = comparison.alignment.order(index)[:FEWEST]
        is_settled = is_settled and bool(comparison.alignment.truth.is_known[first].all())
    if is_settled and truth.run is not None:
        count, seeds = min(num_ties + 1, FEWEST), max(2 * truth.info.num_seeds, SEEDS)
        return (*search, f"top:{truth.run.name}:{count}", "--seeds", str(seeds))
    best = comparison.proxies[index] if index is not None else None
    if best is None or best.run is None:
        return ()
    return (*search, f"top:{join_signal(best.run.name, best.info.signal)}:{FEWEST}")


def _describe(candidate: Candidate) -> str:
    return (
        f"{_accuracy(candidate.test)} test accuracy, {_size(candidate.num_params)} parameters, "
        f"{_size(candidate.flops)} FLOPs"
    )


def _accuracy(test: Estimate) -> str:
    if test.value is None:
        return MISSING
    return f"{_percent(test.value)} {format_interval(test, scale=100, digits=1)}".strip()


def _percent(accuracy: float | None) -> str:
    return MISSING if accuracy is None else f"{format_number(100 * accuracy, 1)}{PERCENT}"


def _size(count: int | None) -> str:
    return MISSING if count is None else format_size(count)


def _points(deviation: float) -> str:
    return f"{format_number(100 * deviation, 1)} points"
