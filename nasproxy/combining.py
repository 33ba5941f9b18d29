"""Several proxies as one: the mean of their ranks, or a fit to a small sample of the truth.

A combination is a record of trials like that of any proxy, so that it is ranked, exported and compared as one.

Notation: A architectures that all proxies scored, P proxies, S seeds.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from nasproxy.alignment import Alignment, Array, Indices, align
from nasproxy.errors import InputError, SettingsError, unknown_name
from nasproxy.ranking import average_ranks, count_seeds, fit_combination
from nasproxy.trials import ProxyCost, ProxyKind, Rung, SearchInfo, State, Trial, Trials, sum_seconds

COMBINATIONS = {
    "average": "mean of the proxies' ranks; needs no truth",
    "log-average": "mean of the logarithms of the ranks: a low rank by one proxy weighs more; needs no truth",
    "fitted": "ridge regression of the truth's ranks on the proxies', cross-validated; needs a truth for some",
}
"""Ways to combine proxies."""
SCORE_NAME = "combined rank"


def combine_trials(
    proxies: Sequence[Trials], how: str, truth: Trials | None = None, *, name: str | None = None, seed: int = 0
) -> Trials:
    """Proxies of the same architectures as one.

    An architecture that one of them did not score is left out. What they cost is added up. An average has as many seeds
    as the proxy with the fewest, but for those with one, which enter all of its seeds alike; a fit has one.
    Architectures with a truth get the prediction of fits that did not see theirs, so that the same truth can judge the
    combination. Where proxies are of a sample, ranks are weighted as its architectures are, and these keep their
    weights; a sample of the truth alone makes none of the combination.

    Args:
        proxies: two or more.
        how: a key of `COMBINATIONS`.
        truth: for 'fitted': full training of some of the architectures.
        name: of the combination; None: after its parts.
        seed: of the folds of 'fitted'.

    Raises:
        SettingsError: another `how`, fewer than two proxies, no truth for 'fitted', or too few architectures with one.
        InputError: the proxies are about different data or spaces, or have no architecture in common.
    """
    if how not in COMBINATIONS:
        raise unknown_name("way to combine proxies", how, COMBINATIONS)
    if len(proxies) < 2:
        raise SettingsError(f"{len(proxies)} proxy is no combination; name two searches or more")
    alignment = align(proxies, truth.weighted({}, None) if truth and how == "fitted" else None)
    rows = common_rows(alignment)
    if how == "fitted":
        scores, error = _fit(alignment, rows, truth, seed)
    else:
        scores, error = _average(alignment, rows, is_log=how == "log-average"), 0.0
    info = replace(_describe(proxies, how, name, num_seeds=scores.shape[1]), fit_error=error)
    combined = [_combined(proxies, alignment.arch_ids[row], scores[at]) for at, row in enumerate(rows)]
    weights = alignment.sample_weights_of(rows)
    if weights is not None:
        stands_for = zip(combined, weights.tolist(), strict=True)
        combined = [replace(trial, weight=weight) for trial, weight in stands_for]
    return Trials(replace(info, sample=alignment.sample), tuple(combined))


def common_rows(alignment: Alignment) -> Indices:
    """Indices of the architectures that all proxies scored.

    Raises:
        InputError: there are none.
    """
    rows = alignment.common(*range(len(alignment.proxies)), with_truth=False)
    if not len(rows):
        names = ", ".join(scores.name for scores in alignment.proxies)
        raise InputError(f"no architecture has a score by each of {names}; search the same ones")
    return rows


def _average(alignment: Alignment, rows: Indices, *, is_log: bool) -> Array:
    """(A, S): ranks among the architectures, or their logarithms, seed by seed, averaged over the proxies."""
    selections = [scores.selection[rows] for scores in alignment.proxies]
    counts = [int(count_seeds(selection).min()) for selection in selections]
    num_seeds = min((count for count in counts if count > 1), default=1)
    by_seed = [
        [selection[:, seed if count > 1 else 0] for selection, count in zip(selections, counts, strict=True)]
        for seed in range(num_seeds)
    ]
    weights = alignment.sample_weights_of(rows)
    return np.stack([average_ranks(scores, weights=weights, is_log=is_log) for scores in by_seed], axis=1)


def _fit(alignment: Alignment, rows: Indices, truth: Trials | None, seed: int) -> tuple[Array, float]:
    """(A, 1): predicted ranks; the error of the fit."""
    if truth is None:
        raise SettingsError("a fitted combination needs a truth for some architectures; give --truth, or 'average'")
    scores = [proxy.selection_means[rows] for proxy in alignment.proxies]
    try:
        fit = fit_combination(scores, alignment.truth.evaluation_means[rows], seed=seed)
    except ValueError as error:
        raise SettingsError(f"cannot fit a combination to {truth.name}: {error}") from None
    return np.asarray(fit.predictions, dtype=float)[:, None], fit.error


def _combined(proxies: Sequence[Trials], arch_id: str, scores: Array) -> Trial:
    """One architecture's trial by the combination."""
    parts = [trials.by_id[arch_id] for trials in proxies]
    known = next((part for part in parts if part.num_params is not None), parts[0])
    return Trial(
        arch_id=arch_id,
        factors=known.factors,
        state=State.COMPLETE,
        rungs=(Rung(tuple(scores.tolist()), tuple(scores.tolist())),),
        num_params=known.num_params,
        flops=known.flops,
        latency=known.latency,
        train_seconds=sum_seconds([trials.by_id[arch_id].train_seconds for trials in _distinct(proxies)]),
    )


def _distinct(proxies: Sequence[Trials]) -> list[Trials]:
    """One of those of each search: its signals cost nothing more."""
    return list({trials.run.path if trials.run else id(trials): trials for trials in proxies}.values())


def _describe(proxies: Sequence[Trials], how: str, name: str | None, *, num_seeds: int) -> SearchInfo:
    infos = [trials.info for trials in proxies]
    parts = ", ".join(info.label for info in infos)
    return SearchInfo(
        name=name or f"{how} of {parts}",
        proxy=f"{how} of {parts if len(infos) < 3 else f'{len(infos)} proxies'}",
        kind=ProxyKind.COMBINATION,
        space=infos[0].space,
        space_hash=infos[0].space_hash,
        dataset=infos[0].dataset,
        data_hash=infos[0].data_hash,
        split_hash=infos[0].split_hash,
        data=infos[0].data,
        score_name=SCORE_NAME,
        cost=sum((trials.info.cost for trials in _distinct(proxies)), ProxyCost()),
        num_seeds=num_seeds,
        parts=tuple(info.name for info in infos),
        is_fitted=how == "fitted",
        device=infos[0].device,
    )
