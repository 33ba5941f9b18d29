"""Scores and true accuracies of architectures from CSV files, as trials.

A file has one row per architecture: its `arch_id`, and a number or one per seed. What it does not say (data, split,
space, factors) is not compared with what searches say either. Rows without a number are architectures without one.
"""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from nasproxy.errors import InputError, unknown_name
from nasproxy.tables.cells import from_cell
from nasproxy.trials import ProxyKind, Rung, SearchInfo, State, Trial, Trials

SECONDS = "train_seconds"
"""Column of what scoring an architecture took, all seeds together; tables need not have it."""


def read_truth(path: str | Path) -> Trials:
    """True accuracies, or those of a proxy that was trained elsewhere.

    Columns: arch_id; test_accuracy, or seed by seed test_accuracy_1, test_accuracy_2, ...; if known, val_accuracy or
    val_accuracy_1, ... of all, and train_seconds. Further columns are not looked at, so that what `nasproxy export`
    writes of a search is one. Accuracies are fractions.

    Raises:
        InputError: unreadable, a column is missing, an id is there twice, or an accuracy is missing or no fraction.
    """
    path = Path(path)
    frame = _read(path)
    val, test = (_columns_of(frame, f"{kind}_accuracy") for kind in ("val", "test"))
    if not test:
        raise InputError(f"{path} has no column 'test_accuracy' or 'test_accuracy_1'; name the true accuracies so")
    for name in val + test:
        _check_fractions(frame, name, path)
    known = _with_numbers(frame, test, path, "a test accuracy")
    if known[val].isna().any(axis=None):  # some are no column to rank by
        val = []
    info = SearchInfo(
        name=path.stem, proxy=path.name, kind=ProxyKind.TABLE, num_seeds=len(test), has_validation=bool(val)
    )
    return Trials(info, tuple(_trial(row, val or test, test) for row in known.to_dict("records")))


def read_scores(path: str | Path, column: str) -> Trials:
    """Scores of any kind from one column; higher is better.

    Columns: arch_id; the one that is named, or seed by seed NAME_1, NAME_2, ...; train_seconds if known. Where a score
    is infinite the architecture has no rank, as in a search of ours.

    Raises:
        InputError: unreadable, a column is missing (the nearest is named), an id is there twice, a score is no number.
    """
    path = Path(path)
    frame = _read(path)
    names = [column] if column in frame else _columns_of(frame, column)
    if not names:
        raise InputError(f"{path}: {unknown_name('column', column, [str(name) for name in frame])}")
    for name in names:
        _check_numbers(frame, name, path)
    known = _with_numbers(frame, names, path, f"a {column}")
    info = SearchInfo(
        name=f"{path.stem}:{column}",
        proxy=f"{path.name}:{column}",
        kind=ProxyKind.TABLE,
        score_name=column,
        num_seeds=len(names),
    )
    return Trials(info, tuple(_trial(row, names, names) for row in known.to_dict("records")))


UNFINISHED = (State.PRUNED, State.WAITING, State.FAILED, State.LOST)
"""States in a table of ours whose row has no score, or that of another rung."""


def _read(path: Path) -> pd.DataFrame:
    try:
        frame = pd.read_csv(path, dtype={"arch_id": str})
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read the table {path}: {str(error).strip()}; give a CSV file") from None
    if "arch_id" in frame:  # what `write_table` keeps from being a formula
        frame["arch_id"] = frame["arch_id"].map(from_cell, na_action="ignore")
    else:
        raise InputError(f"{path} has no column 'arch_id', only {', '.join(map(str, frame))}; name it so")
    if "state" in frame:  # a table of ours: of these there is no score, or one of another rung
        frame = frame[~frame["state"].isin([*UNFINISHED])]
    if SECONDS in frame:
        _check_numbers(frame, SECONDS, path)
    if twice := list(frame["arch_id"][frame["arch_id"].duplicated()]):
        raise InputError(f"{path} has architecture {twice[0]!r} twice; keep one row per architecture")
    return frame


def _check_numbers(frame: pd.DataFrame, name: str, path: Path) -> None:
    numbers = pd.to_numeric(frame[name], errors="coerce")
    if (wrong := frame[name].notna() & numbers.isna()).any():
        row = frame[wrong].iloc[0]
        raise InputError(
            f"{path}: {name} of {row['arch_id']} is {row[name]!r}, no number; leave it empty where there is none"
        )


def _columns_of(frame: pd.DataFrame, name: str) -> list[str]:
    """The columns seed by seed, or the one of the mean."""
    seeds = [str(column) for column in frame if re.fullmatch(rf"{re.escape(name)}_[0-9]+", str(column))]
    return seeds or [str(column) for column in frame if column == name]


def _check_fractions(frame: pd.DataFrame, name: str, path: Path) -> None:
    values = pd.to_numeric(frame[name], errors="coerce")
    wrong = frame[name].notna() & ~values.between(0, 1)
    if wrong.any():
        row = frame[wrong].iloc[0]
        raise InputError(
            f"{path}: {name} of {row['arch_id']} is {row[name]}, no fraction from 0 to 1; write 0.853 for 85.3 %"
        )


def _with_numbers(frame: pd.DataFrame, columns: list[str], path: Path, what: str) -> pd.DataFrame:
    """The rows that have all of them."""
    known = frame.dropna(subset=columns)
    if known.empty:
        raise InputError(f"{path} has no architecture with {what}; fill the column")
    return known


def _trial(row: Mapping[Any, Any], selection: Sequence[str], evaluation: Sequence[str]) -> Trial:
    judged_by = tuple(float(row[name]) for name in evaluation)
    selected_by = tuple(float(row[name]) for name in selection)
    lost = [score for score in judged_by if not math.isfinite(score)]
    seconds = float(row.get(SECONDS, math.nan))
    is_timed = math.isfinite(seconds)
    return Trial(
        arch_id=str(row["arch_id"]),
        factors={},
        state=State.NOT_FINITE if lost else State.COMPLETE,
        rungs=(Rung(selected_by, judged_by),),
        train_seconds=seconds if is_timed else None,
        reason=f"{len(lost)} of {len(judged_by)} scores not finite" if lost else None,
    )
