"""Trials and rankings as tables: CSV, Parquet and JSON.

Accuracies are fractions in [0, 1]; times are seconds. The score of a trial is what it is ranked by: its mean validation
accuracy, or a training-free score.
"""

import io
import math
import re
import statistics
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from nasproxy.comparing import Comparison, Ranking, check_comparable
from nasproxy.errors import InputError, SettingsError
from nasproxy.files import write_atomically
from nasproxy.study import ACCURACY, State, StudyInfo, Trial, Trials

FORMATS = (".csv", ".parquet", ".json")


def trials_frame(trials: Trials, truth: Trials | None = None) -> pd.DataFrame:
    """One row an architecture, best score first.

    Columns: rank, arch_id, the factors, num_params, flops, state, score, score_std, val_accuracy, val_accuracy_std,
    test_accuracy, test_accuracy_std, num_seeds, train_seconds, reason, and seed by seed score_1 ... or val_accuracy_1
    ..., test_accuracy_1 ...; with a truth also truth_val_accuracy, truth_test_accuracy and truth_rank (by true
    validation accuracy, or test accuracy where that is missing, among these rows). Standard deviations are over seeds
    (n - 1), empty for one seed; trials without a score have no rank, training-free ones no accuracies.

    Raises:
        InputError: proxy and truth are about different data or spaces.
        SettingsError: the truth has no accuracies.
    """
    if truth is not None:
        check_comparable(trials, truth)
    ranked = trials.ranked()
    frame = pd.DataFrame([_row(trial) for trial in ranked])
    if frame.empty:
        raise InputError(f"run {trials.info.name} has no finished trials yet; continue the search with --resume")
    ranks = [number + 1 if trial.is_ranked else None for number, trial in enumerate(ranked)]
    frame.insert(0, "rank", pd.Series(ranks, dtype="Int64"))
    if truth is not None:
        true = pd.DataFrame(
            {
                "arch_id": [trial.arch_id for trial in truth],
                "truth_val_accuracy": [_or_none(trial.val_accuracy) for trial in truth],
                "truth_test_accuracy": [_or_none(trial.test_accuracy) for trial in truth],
            }
        )
        frame = frame.merge(true, on="arch_id", how="left")
        by = "truth_val_accuracy" if frame["truth_val_accuracy"].notna().any() else "truth_test_accuracy"
        frame["truth_rank"] = frame[by].rank(ascending=False, method="min").astype("Int64")
    return frame


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Writes .csv, .parquet or .json (a list of rows), whole or not at all.

    Raises:
        SettingsError: another suffix.
    """
    writers = {
        ".csv": lambda scratch: frame.to_csv(scratch, index=False),
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
    frame.to_csv(text, index=False)
    return text.getvalue()


def ranking_row(ranking: Ranking) -> dict[str, Any]:
    """A ranking as one flat row, for CSV and JSON; its regret curve is a column of `comparison_frame`."""
    row: dict[str, Any] = {}
    for name, value in asdict(ranking).items():
        if isinstance(value, dict):
            row |= {f"{name}_{part}": content for part, content in value.items()}
        elif name != "regret_curve":
            row[name] = value
    return row


def comparison_frame(comparison: Comparison) -> pd.DataFrame:
    """One row an architecture that any proxy scored, best truth first, those without a truth last.

    Columns: arch_id, the factors, num_params, flops, truth_rank, truth_test_accuracy, truth_test_accuracy_std,
    truth_val_accuracy; for each proxy NAME: 'NAME score', 'NAME rank', 'NAME score_std', 'NAME test_accuracy' (where it
    trains), 'NAME rank among those with a truth', to be set beside truth_rank, and 'NAME regret': accuracy lost by full
    training of the proxy's best down to this one, and of no other.
    """
    archs = {trial.arch_id: trial for trials in comparison.proxies for trial in trials}
    frame = pd.DataFrame(
        [
            {"arch_id": arch_id, **trial.factors, "num_params": trial.num_params, "flops": trial.flops}
            for arch_id, trial in archs.items()
        ]
    ).set_index("arch_id")
    true = {trial.arch_id: trial for trial in comparison.truth if trial.is_ranked}
    frame["truth_rank"] = _ranks(pd.Series({key: trial.test_accuracy for key, trial in true.items()}))
    frame["truth_test_accuracy"] = pd.Series({key: trial.test_accuracy for key, trial in true.items()}, dtype=float)
    frame["truth_test_accuracy_std"] = pd.Series({key: _std(trial.test_accuracies) for key, trial in true.items()})
    frame["truth_val_accuracy"] = pd.Series({key: _or_none(trial.val_accuracy) for key, trial in true.items()})
    for trials, ranking in zip(comparison.proxies, comparison.rankings, strict=True):
        frame = frame.join(_proxy_columns(trials, ranking, set(true)))
    return frame.sort_values(["truth_rank", "arch_id"], na_position="last").reset_index()


def _proxy_columns(trials: Trials, ranking: Ranking, with_truth: set[str]) -> pd.DataFrame:
    name, scored = trials.info.name, [trial for trial in trials.ranked() if trial.is_ranked]
    columns = pd.DataFrame(index=pd.Index([trial.arch_id for trial in scored], name="arch_id"))
    columns[f"{name} score"] = [trial.score for trial in scored]
    columns[f"{name} rank"] = _ranks(columns[f"{name} score"])
    columns[f"{name} score_std"] = [_std(trial.scores or trial.val_accuracies) for trial in scored]
    if trials.info.metric == ACCURACY:
        columns[f"{name} test_accuracy"] = [trial.test_accuracy for trial in scored]
    common = [trial.arch_id for trial in scored if trial.arch_id in with_truth]
    columns[f"{name} rank among those with a truth"] = _ranks(columns.loc[common, f"{name} score"])
    columns[f"{name} regret"] = pd.Series(ranking.regret_curve, index=common, dtype=float)
    return columns


def _ranks(scores: "pd.Series[float]") -> "pd.Series[int]":
    """1 is the best; equal scores share the better rank."""
    return scores.rank(ascending=False, method="min").astype("Int64")


def rankings_frame(rankings: list[Ranking]) -> pd.DataFrame:
    """One row a proxy."""
    return pd.DataFrame([ranking_row(ranking) for ranking in rankings])


def _row(trial: Trial) -> dict[str, Any]:
    return {
        "arch_id": trial.arch_id,
        **trial.factors,
        "num_params": trial.num_params,
        "flops": trial.flops,
        "state": trial.state.value,
        "score": _or_none(trial.score),
        "score_std": _std(trial.scores or trial.val_accuracies),
        "val_accuracy": _or_none(trial.val_accuracy),
        "val_accuracy_std": _std(trial.val_accuracies),
        "test_accuracy": _or_none(trial.test_accuracy),
        "test_accuracy_std": _std(trial.test_accuracies),
        "num_seeds": len(trial.scores or trial.val_accuracies),
        "train_seconds": trial.train_seconds,
        "reason": trial.reason,
        **_seed_columns("score", trial.scores),
        **_seed_columns("val_accuracy", trial.val_accuracies),
        **_seed_columns("test_accuracy", trial.test_accuracies),
    }


def _seed_columns(name: str, values: tuple[float, ...]) -> dict[str, float]:
    return {f"{name}_{number}": value for number, value in enumerate(values, start=1)}


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value


def _std(values: tuple[float, ...]) -> float | None:
    return statistics.stdev(values) if len(values) > 1 and all(map(math.isfinite, values)) else None


SEED_COLUMN = re.compile(r"(val|test)_accuracy_[0-9]+")


def read_truth(path: Path) -> Trials:
    """A truth from elsewhere: a CSV with one row an architecture.

    Columns: arch_id; test_accuracy, or seed by seed test_accuracy_1, test_accuracy_2, ...; and, if known, val_accuracy
    or val_accuracy_1, ... Further columns are not looked at, so that what `nasproxy export` writes of a search by
    'whole' is one. Accuracies are fractions. Rows without a test accuracy are architectures without a truth. What the
    file does not say (data, split, space) is not compared with the proxies' either.

    Raises:
        InputError: unreadable, a column is missing, an id is there twice, or an accuracy is missing or no fraction.
    """
    try:
        frame = pd.read_csv(path, dtype={"arch_id": str})
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read the truth {path}: {error}; give a CSV file") from None
    if "arch_id" not in frame:
        raise InputError(f"{path} has no column 'arch_id', only {', '.join(map(str, frame))}; name it so")
    columns = {kind: _accuracy_columns(frame, kind) for kind in ("val", "test")}
    if not columns["test"]:
        raise InputError(f"{path} has no column 'test_accuracy' or 'test_accuracy_1'; name the true accuracies so")
    if twice := list(frame["arch_id"][frame["arch_id"].duplicated()]):
        raise InputError(f"{path} has architecture {twice[0]!r} twice; keep one row an architecture")
    for name in columns["val"] + columns["test"]:
        _check_fractions(frame, name, path)
    rows = [dict(row) for _, row in frame.dropna(subset=columns["test"]).iterrows()]
    if not rows:
        raise InputError(f"{path} has no architecture with a test accuracy; fill the column")
    trials = tuple(_truth_trial(row, columns) for row in rows)
    return Trials(_truth_info(path, len(columns["test"])), trials)


def _accuracy_columns(frame: pd.DataFrame, kind: str) -> list[str]:
    """The columns seed by seed, or the one of the mean."""
    seeds = [name for name in frame if SEED_COLUMN.fullmatch(str(name)) and str(name).startswith(kind)]
    mean = [name for name in frame if name == f"{kind}_accuracy"]
    return [str(name) for name in seeds or mean]


def _check_fractions(frame: pd.DataFrame, name: str, path: Path) -> None:
    values = pd.to_numeric(frame[name], errors="coerce")
    wrong = frame[name].notna() & ~values.between(0, 1)
    if wrong.any():
        row = frame[wrong].iloc[0]
        raise InputError(
            f"{path}: {name} of {row['arch_id']} is {row[name]}, no fraction from 0 to 1; write 0.853 for 85.3 %"
        )


def _truth_trial(row: dict[str, Any], columns: dict[str, list[str]]) -> Trial:
    val, test = (tuple(float(row[name]) for name in columns[kind]) for kind in ("val", "test"))
    val = () if any(map(math.isnan, val)) else val
    return Trial(str(row["arch_id"]), {}, State.COMPLETE, val, test)


def _truth_info(path: Path, num_seeds: int) -> StudyInfo:
    """Of a truth from a file, which knows its name and seeds only."""
    return StudyInfo(
        name=path.stem,
        space="",
        space_hash="",
        proxy="whole",
        dataset="",
        data_hash="",
        split_hash="",
        num_images=0,
        num_stored_images=0,
        num_stored_numbers=0,
        condense_seconds=0.0,
        num_seeds=num_seeds,
    )
