"""Several proxies as one: the mean of their ranks, or a fit to a small sample of the truth.

A combination is a record of trials like that of any proxy, so that it is ranked, exported and compared as one.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nasproxy.comparing import check_comparable, check_same_task
from nasproxy.errors import InputError, SettingsError, unknown_name
from nasproxy.ranking import average_ranks, fit_combination
from nasproxy.study import State, StudyInfo, Trial, Trials

COMBINATIONS = {
    "average": "mean of the proxies' ranks; needs no truth",
    "fitted": "ridge regression of the truth's ranks on the proxies', cross-validated; needs a truth for some",
}
"""Ways to combine proxies."""
METRIC = "combined rank"

Array = NDArray[np.float64]
Rows = list[list[Trial]]
"""Of each proxy, its trials of the common architectures in one order."""


def combine_trials(
    proxies: Sequence[Trials], how: str, truth: Trials | None = None, *, name: str | None = None, seed: int = 0
) -> Trials:
    """Proxies of the same architectures as one.

    An architecture that one of them did not score is left out. What they cost is added up. An average has as many seeds
    as the proxy with the fewest, a fit has one. Architectures with a truth get the prediction of fits that did not see
    theirs, so that the same truth can judge the combination.

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
    for other in proxies[1:]:
        check_same_task(proxies[0], other)
    rows = common_rows(proxies)
    scores = _average(rows) if how == "average" else _fit(proxies, rows, truth, seed)
    trials = (_combined([row[index] for row in rows], scores[index]) for index in range(len(rows[0])))
    return Trials(_describe(proxies, how, name, num_seeds=scores.shape[1]), tuple(trials))


def common_rows(proxies: Sequence[Trials]) -> Rows:
    """Of each proxy, its trials of the architectures that all of them scored, in the order of the first one's.

    Raises:
        InputError: there are none.
    """
    scored = [{trial.arch_id: trial for trial in trials if trial.is_ranked} for trials in proxies]
    common = [arch_id for arch_id in scored[0] if all(arch_id in trials for trials in scored)]
    if not common:
        names = ", ".join(trials.info.name for trials in proxies)
        raise InputError(f"no architecture has a score by each of {names}; search the same ones")
    return [[trials[arch_id] for arch_id in common] for trials in scored]


def _average(rows: Rows) -> Array:
    """(A, S): ranks among the architectures, seed by seed, averaged over the proxies."""
    seeds = [[trial.scores or trial.val_accuracies for trial in row] for row in rows]
    num_seeds = min(len(values) for row in seeds for values in row)
    return np.stack(
        [average_ranks([[values[seed] for values in row] for row in seeds]) for seed in range(num_seeds)], axis=1
    )


def _fit(proxies: Sequence[Trials], rows: Rows, truth: Trials | None, seed: int) -> Array:
    """(A, 1): predicted ranks."""
    if truth is None:
        raise SettingsError("a fitted combination needs a truth for some architectures; give --truth, or 'average'")
    check_comparable(proxies[0], truth)
    known = {trial.arch_id: trial.test_accuracy for trial in truth if trial.is_ranked}
    targets = [known.get(trial.arch_id, np.nan) for trial in rows[0]]
    try:
        fit = fit_combination([[trial.score for trial in row] for row in rows], targets, seed=seed)
    except ValueError as error:
        raise SettingsError(f"cannot fit a combination to {truth.info.name}: {error}") from None
    return np.asarray(fit.predictions, dtype=float)[:, None]


def _combined(parts: Sequence[Trial], scores: Array) -> Trial:
    """One architecture's trial by the combination."""
    return Trial(
        arch_id=parts[0].arch_id,
        factors=parts[0].factors,
        state=State.COMPLETE,
        num_params=parts[0].num_params,
        flops=parts[0].flops,
        train_seconds=sum(trial.train_seconds for trial in parts),
        scores=tuple(scores.tolist()),
    )


def _describe(proxies: Sequence[Trials], how: str, name: str | None, *, num_seeds: int) -> StudyInfo:
    infos = [trials.info for trials in proxies]
    parts = ", ".join(info.proxy for info in infos)
    return StudyInfo(
        name=name or f"{how} of {parts}",
        space=infos[0].space,
        space_hash=infos[0].space_hash,
        proxy=f"{how} of {parts if len(infos) < 3 else f'{len(infos)} proxies'}",
        dataset=infos[0].dataset,
        data_hash=infos[0].data_hash,
        split_hash=infos[0].split_hash,
        num_images=sum(info.num_images for info in infos),
        num_stored_images=sum(info.num_stored_images for info in infos),
        num_stored_numbers=sum(info.num_stored_numbers for info in infos),
        condense_seconds=sum(info.condense_seconds for info in infos),
        num_seeds=num_seeds,
        recipe={"combination": how, "of": [info.name for info in infos]},
        metric=METRIC,
        device=infos[0].device,
    )
