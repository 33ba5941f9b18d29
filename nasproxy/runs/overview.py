"""The run folders under a root at a glance. Imports nothing that loads torch: listing costs no time."""

import csv
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from nasproxy.errors import InputError
from nasproxy.rundir import RunDir, list_runs

AT_CHANCE = "at-chance"
"""State of trials that are ranked, and best of nothing."""


@dataclass(frozen=True)
class RunSummary:
    """What a list of runs says of one. None: it has none, or nobody says."""

    name: str
    command: str
    status: str
    dataset: str | None
    """By name, or the folder of the images."""
    space: str | None
    proxy: str | None
    """What architectures are scored or compared by; of a condensation its method."""
    best: str | None
    """Id of the best architecture of a search that is done; never one at chance."""
    best_score: float | None
    """What that is selected by: an accuracy as a fraction, or a score."""
    seconds: float | None
    """Wall time of the work so far, interruptions left out."""
    created: datetime
    """With a time zone."""


def summarize_runs(root: str | Path = "runs") -> list[RunSummary]:
    """All runs under a root, oldest first; a folder whose files are damaged says what it can."""
    return [summarize_run(run) for run in list_runs(Path(root))]


def summarize_run(run: RunDir) -> RunSummary:
    """A run at a glance, from its `meta.json`, `config.toml` and `trials.csv`.

    Raises:
        InputError: `meta.json` is damaged.
    """
    meta = run.meta
    config: Mapping[str, Any] = {}
    with suppress(InputError):
        config = run.read_config()
    asked = config.get(run.command, {})
    best, best_score = _find_best(run.path / "trials.csv")
    return RunSummary(
        name=run.name,
        command=run.command,
        status=str(meta.get("status", "")),
        dataset=config.get("images", {}).get("dataset"),
        space=asked.get("space"),
        proxy=_name_proxy(asked),
        best=best,
        best_score=best_score,
        seconds=meta.get("wall_seconds"),
        created=datetime.fromisoformat(meta["created"]),
    )


def _name_proxy(asked: Mapping[str, Any]) -> str | None:
    for key in ("proxy", "method", "proxies", "runs", "scores"):
        if value := asked.get(key):
            return value if isinstance(value, str) else ", ".join(map(str, value))
    return None


def _find_best(path: Path) -> tuple[str | None, float | None]:
    """Id and score of the first row, which is the best; none where that has no score, or is no better than guessing."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            row = next(csv.DictReader(file), {})
        if row.get("rank") and row["state"] != AT_CHANCE:
            return row["arch_id"], float(row["score"])
    except (OSError, ValueError, KeyError):
        pass
    return None, None
