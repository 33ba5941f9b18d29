"""The run folders under a root at a glance. Imports nothing that loads torch: listing costs no time."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from nasproxy.errors import InputError
from nasproxy.rundir import RunDir, list_runs


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
    """Id of the best architecture of a search that was done; never one at chance."""
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
    """A run at a glance, from its `meta.json` and `config.toml`.

    Raises:
        InputError: `meta.json` is damaged.
    """
    meta = run.meta
    config: Mapping[str, Any] = {}
    with suppress(InputError):
        config = run.read_config()
    asked, best = _section(config, meta["command"]), _section(meta, "best")
    return RunSummary(
        name=run.name,
        command=meta["command"],
        status=run.status,
        dataset=_section(config, "images").get("dataset"),
        space=asked.get("space"),
        proxy=_name_proxy(asked),
        best=best.get("arch_id"),
        best_score=best.get("score"),
        seconds=meta.get("wall_seconds"),
        created=datetime.fromisoformat(meta["created"]),
    )


def _name_proxy(asked: Mapping[str, Any]) -> str | None:
    for key in ("proxy", "method", "proxies", "runs", "scores"):
        if value := asked.get(key):
            return value if isinstance(value, str) else ", ".join(map(str, value))
    return None


def _section(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A table of a configuration; empty where there is none."""
    section = config.get(name)
    return section if isinstance(section, dict) else {}
