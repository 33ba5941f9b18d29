"""Trials, rankings and comparisons as tables: CSV, Parquet and JSON.

Accuracies are fractions in [0, 1]; times are seconds. The score of a trial is what it is selected by: its mean
validation accuracy, or a training-free score.
"""

import io
import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nasproxy.alignment import check_same_task
from nasproxy.comparing import Comparison, Ranking
from nasproxy.errors import InputError, SettingsError
from nasproxy.factors import ABSENT
from nasproxy.files import write_atomically
from nasproxy.ranking import pareto_front
from nasproxy.replaying import Replays
from nasproxy.screened import to_the_end
from nasproxy.tables.cells import to_cell
from nasproxy.trials import COST_FIELDS, ProxyKind, SearchInfo, Signal, State, Trial, Trials

FORMATS = (".csv", ".parquet", ".json")
Frame = pd.DataFrame
"""A table in memory."""


def trials_frame(trials: Trials, truth: Trials | None = None) -> pd.DataFrame:
    """One row per architecture, best score first.

    Columns: rank, arch_id, the factors, num_params, flops, latency (seconds, where it was measured), front (the costs
    that it is on the Pareto front of the score against, e.g. 'params flops'), weight (only of a sample), state, rung
    and scored_by (only of a screen: the number of the last rung it was in, and what scored it there; the front is of
    those of the last rung alone), score, score_std, val_accuracy,
    val_accuracy_std, test_accuracy, test_accuracy_std, num_seeds, train_seconds, reason, and seed by seed score_1 ...
    or val_accuracy_1 ..., test_accuracy_1 ...; with a truth also truth_val_accuracy, truth_test_accuracy and truth_rank
    (by true validation accuracy, or test accuracy where that is missing, among these rows). Standard deviations are
    over seeds (n - 1), empty for one seed; trials without a score have no rank, training-free ones no accuracies. What
    a screen cut has the scores of its last rung: after a composite those of its last part.

    Raises:
        InputError: there are no trials, or proxy and truth are about different data or spaces.
        SettingsError: the truth has no accuracies.
    """
    if truth is not None:
        if not truth.info.has_accuracies:
            raise SettingsError(
                f"{truth.name} has {truth.info.score_name} scores, no accuracies; the truth is a search by 'whole'"
            )
        check_same_task(trials, truth)
        truth = to_the_end(truth)
    ranked = trials.ranked()
    frame = pd.DataFrame([_row(trial, trials.info, list(trials.factors)) for trial in ranked])
    if len(frame):
        frame["front"] = fronts_of(ranked)
    if all(trial.latency is None for trial in ranked):
        frame = frame.drop(columns="latency", errors="ignore")
    if not trials.is_sample:
        frame = frame.drop(columns="weight", errors="ignore")
    if not trials.info.screen:
        frame = frame.drop(columns=["rung", "scored_by"], errors="ignore")
    if frame.empty:
        raise InputError(f"run {trials.name} has no finished trials yet; continue the search with --resume")
    ranks = [number + 1 if trial.is_ranked else None for number, trial in enumerate(ranked)]
    frame.insert(0, "rank", pd.Series(ranks, dtype="Int64"))
    if truth is not None:
        true = pd.DataFrame({"arch_id": [trial.arch_id for trial in truth]})
        true["truth_val_accuracy"] = [_or_none(_validation(trial, truth.info)) for trial in truth]
        true["truth_test_accuracy"] = [_or_none(trial.evaluation_score) for trial in truth]
        frame = frame.merge(true, on="arch_id", how="left")
        by = "truth_val_accuracy" if frame["truth_val_accuracy"].notna().any() else "truth_test_accuracy"
        frame["truth_rank"] = _ranks(frame[by])
    return frame


def fronts_of(trials: Sequence[Trial]) -> list[str | None]:
    """Of each trial the costs that it is on the Pareto front of the score against, e.g. 'params flops'; None: none."""
    on: dict[int, list[str]] = {}
    for name, cost in COST_FIELDS.items():
        known = [
            place
            for place, trial in enumerate(trials)
            if trial.is_ranked and trial.state not in (State.PRUNED, State.WAITING) and getattr(trial, cost) is not None
        ]
        points = [(float(getattr(trials[place], cost)), trials[place].selection_score) for place in known]
        front = {points[index] for index in pareto_front(*zip(*points, strict=True))} if points else set()
        for place, point in zip(known, points, strict=True):
            if point in front:  # equal ones are on it together
                on.setdefault(place, []).append(name)
    return [" ".join(on[place]) if place in on else None for place in range(len(trials))]


def write_table(frame: pd.DataFrame, path: str | Path) -> None:
    """Writes .csv, .parquet or .json (a list of rows), whole or not at all.

    Raises:
        SettingsError: another suffix.
    """
    path = Path(path)
    writers = {
        ".csv": lambda scratch: _harmless(frame).to_csv(scratch, index=False),
        ".parquet": lambda scratch: _of_one_type(frame).to_parquet(scratch, index=False),
        ".json": lambda scratch: frame.to_json(scratch, orient="records", indent=1),
    }
    if path.suffix not in writers:
        raise SettingsError(f"cannot write {path}: its suffix must be one of {', '.join(FORMATS)}, or '-' for CSV")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, writers[path.suffix])
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}; choose another place") from None


def _of_one_type(frame: pd.DataFrame) -> pd.DataFrame:
    """The table with factors that mix numbers and text as text: a Parquet column has one type."""
    mixed = [name for name in frame if len({type(value) for value in frame[name].dropna()}) > 1]
    return frame.astype(dict.fromkeys(mixed, str))


def csv_text(frame: pd.DataFrame) -> str:
    """The table as CSV."""
    text = io.StringIO()
    _harmless(frame).to_csv(text, index=False)
    return text.getvalue()


def _harmless(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.map(lambda value: to_cell(value) if isinstance(value, str) else value)


def ranking_row(ranking: Ranking) -> dict[str, Any]:
    """A ranking as one flat row, for CSV and JSON; its regret curve is a column of `comparison_frame`."""
    row: dict[str, Any] = {}
    for name, value in asdict(ranking).items():
        if name == "cost":
            row |= value
        elif isinstance(value, dict):
            row |= {f"{name}_{part}": content for part, content in value.items() if part not in ("num_archs", "worst")}
        elif name == "worst_judged":
            row[name] = " ".join(value)
        elif isinstance(value, bool):
            row[name] = int(value)
        elif name != "regret_curve":
            row[name] = str(value) if isinstance(value, ProxyKind) else value
    row["top_num_archs"] = ranking.top_spearman.num_archs
    return row


def rankings_frame(rankings: list[Ranking]) -> pd.DataFrame:
    """One row per proxy."""
    return pd.DataFrame([ranking_row(ranking) for ranking in rankings])


def comparison_frame(comparison: Comparison) -> pd.DataFrame:
    """One row per architecture that any proxy tried, best truth first, those without a truth last.

    Columns: arch_id, the factors, num_params, flops, weight (only of a sample), truth_rank, truth_test_accuracy,
    truth_test_accuracy_std, truth_val_accuracy; for each proxy, by its label (`Ranking.label`): 'LABEL score', 'LABEL
    rank', 'LABEL score_std', 'LABEL test_accuracy' (where it trains), 'LABEL rank among those with a truth', to be set
    beside truth_rank, and 'LABEL regret': accuracy lost, against the best with a truth, by full training of the proxy's
    best down to this one, and of no other.
    """
    alignment, truth = comparison.alignment, comparison.truth
    true = [truth.by_id.get(arch_id) for arch_id in alignment.arch_ids]
    columns: dict[str, Any] = {
        "arch_id": alignment.arch_ids,
        **alignment.factors,
        "num_params": alignment.num_params,
        "flops": alignment.flops,
        **({} if alignment.latency.count(None) == len(alignment) else {"latency": alignment.latency}),
        **({} if alignment.sample_weights is None else {"weight": alignment.sample_weights}),
        "truth_rank": _whole_numbers(alignment.true_ranks),
        "truth_test_accuracy": alignment.truth.evaluation_means,
        "truth_test_accuracy_std": [_std(trial.evaluation_scores) if trial else None for trial in true],
        "truth_val_accuracy": [_or_none(_validation(trial, truth.info)) if trial else None for trial in true],
    }
    for index in range(len(comparison.proxies)):
        columns |= _proxy_columns(comparison, index)
    tried = [any(arch_id in trials.by_id for trials in comparison.proxies) for arch_id in alignment.arch_ids]
    frame = pd.DataFrame(columns)[tried]
    return frame.sort_values(["truth_rank", "arch_id"], na_position="last").reset_index(drop=True)


def _proxy_columns(comparison: Comparison, index: int) -> dict[str, Any]:
    alignment, trials, scores = comparison.alignment, comparison.proxies[index], comparison.alignment.proxies[index]
    order = alignment.order(index)
    common = order[alignment.truth.is_known[order]]
    regret = np.full(len(alignment), np.nan)
    regret[common] = comparison.rankings[index].regret_curve
    among = np.full(len(alignment), np.nan)
    among[common] = scores.selection_means[common]
    spreads = [_std(trials.by_id[arch_id].selection_scores) if known else None
               for arch_id, known in zip(alignment.arch_ids, scores.is_known, strict=True)]  # fmt: skip
    columns: dict[str, Any] = {
        "score": scores.selection_means,
        "rank": _whole_numbers(scores.ranks),
        "score_std": spreads,
        **({"test_accuracy": scores.evaluation_means} if trials.info.has_accuracies else {}),
        **({"test score": scores.evaluation_means} if trials.info.signal is Signal.CROSS_ENTROPY else {}),
        "rank among those with a truth": _ranks(pd.Series(among)),
        "regret": regret,
    }
    return {f"{comparison.rankings[index].label} {name}": column for name, column in columns.items()}


def _ranks(scores: "pd.Series[float]") -> "pd.Series[int]":
    """1 is the best; equal scores share the better rank."""
    return scores.rank(ascending=False, method="min").astype("Int64")


def _whole_numbers(ranks: Any) -> "pd.Series[int]":
    return pd.Series(ranks).astype("Int64")


def _row(trial: Trial, info: SearchInfo, factors: Sequence[str]) -> dict[str, Any]:
    by_seed = {"score": trial.selection_scores}
    if info.has_accuracies and not (trial.rungs and trial.rungs[-1].metric):
        by_seed = {"val_accuracy": trial.selection_scores, "test_accuracy": trial.evaluation_scores}
    val, test = (by_seed.get(name, ()) for name in ("val_accuracy", "test_accuracy"))
    return {
        "arch_id": trial.arch_id,
        **{name: trial.factors.get(name, ABSENT) for name in factors},
        "num_params": trial.num_params,
        "flops": trial.flops,
        "latency": trial.latency,
        "front": None,
        "weight": trial.weight,
        "state": trial.state.value,
        "rung": trial.round + 1,
        "scored_by": (trial.rungs[-1].metric or info.selection_metric) if trial.selection_scores else None,
        "score": _or_none(trial.selection_score),
        "score_std": _std(trial.selection_scores),
        "val_accuracy": _or_none(_mean(val)),
        "val_accuracy_std": _std(val),
        "test_accuracy": _or_none(_mean(test)),
        "test_accuracy_std": _std(test),
        "num_seeds": trial.num_seeds,
        "train_seconds": trial.train_seconds,
        "reason": trial.reason,
        **{f"{name}_{seed}": value for name, values in by_seed.items() for seed, value in enumerate(values, start=1)},
    }


def _validation(trial: Trial, info: SearchInfo) -> float:
    """Mean validation accuracy; NaN for a table that has test accuracies only."""
    return trial.selection_score if info.has_validation else math.nan


def _mean(values: tuple[float, ...]) -> float:
    return statistics.fmean(values) if values else math.nan


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value


def _std(values: tuple[float, ...]) -> float | None:
    return statistics.stdev(values) if len(values) > 1 and all(map(math.isfinite, values)) else None


def replay_frame(replays: Replays, costs: Sequence[float] | None = None) -> pd.DataFrame:
    """Regret of strategies against cost, as fractions.

    Columns: strategy, scores (names of the tables, cheapest first), cost, num_archs (so many were looked up, or
    'halving' began with), repetitions, mean over them and its standard_error, low and high (5 % and 95 % of them).

    Args:
        replays: strategies.
        costs: of each strategy the last point that costs no more, where its curve covers that; None: every point.
    """
    rows = []
    for replay in replays:
        mean, error, (low, high) = replay.mean, replay.standard_error, replay.band()
        places = range(len(replay.costs)) if costs is None else [replay.at(cost) for cost in costs]
        rows += [
            {
                "strategy": replay.strategy,
                "scores": " ".join(replay.tables),
                "cost": replay.costs[place],
                "num_archs": place + 1,
                "repetitions": replay.num_repetitions,
                "mean": mean[place],
                "standard_error": error[place],
                "low": low[place],
                "high": high[place],
            }
            for place in places
            if place is not None
        ]
    return pd.DataFrame(rows)
