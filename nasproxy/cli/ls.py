"""`nasproxy ls`: what there is."""

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

import nasproxy as nap
from nasproxy.cli import options
from nasproxy.cli.printing import print_json, print_table


class What(StrEnum):
    """What can be listed."""

    RUNS = "runs"
    METHODS = "methods"
    DATASETS = "datasets"
    SPACES = "spaces"
    NETS = "nets"
    PROXIES = "proxies"
    TRUTHS = "truths"
    STRATEGIES = "strategies"
    SCREENS = "screens"
    LOGGERS = "loggers"
    RECIPES = "recipes"
    PRESETS = "presets"
    COMBINATIONS = "combinations"
    SETTINGS = "settings"


def ls(
    what: Annotated[What, typer.Argument(help="What to list.")] = What.RUNS,
    command: Annotated[
        str | None, typer.Argument(metavar="COMMAND", help="With 'settings': of this command. Default: of all.")
    ] = None,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    json: options.Json = False,
) -> None:
    """List runs, the names that options take (methods, datasets, spaces and so on), or all settings of a command."""
    if command is not None and what is not What.SETTINGS:
        raise typer.BadParameter(f"'nasproxy ls {what.value}' takes no more: {command!r}", param_hint="COMMAND")
    if what is What.RUNS:
        summaries = nap.summarize_runs(runs_dir)
        rows = [_record(summary) for summary in summaries] if json else [_row(summary) for summary in summaries]
    elif what is What.SETTINGS:
        rows = _describe_settings(command)
    else:
        rows = [{"name": name, "summary": summary} for name, summary in nap.catalog(what.value).items()]
    if json:
        print_json(rows)
    elif rows:
        print_table(list(rows[0]), [list(row.values()) for row in rows])


def _record(run: nap.RunSummary) -> dict[str, Any]:
    return asdict(run) | {"created": run.created.isoformat(timespec="milliseconds")}


def _row(run: nap.RunSummary) -> dict[str, str]:
    """A run for people: a folder of images by its name, times of this machine."""
    best = "" if run.best_score is None else f"{nap.format_score(run.best_score)} {run.best}"
    return {
        "name": run.name,
        "command": run.command,
        "status": run.status,
        "dataset": Path(run.dataset or "").name,
        "space": Path(run.space or "").stem,
        "proxy": run.proxy or "",
        "best": best,
        "took": "" if run.seconds is None else nap.format_duration(run.seconds),
        "created": f"{run.created.astimezone():%Y-%m-%d %H:%M}",
    }


def _describe_settings(command: str | None) -> list[dict[str, str]]:
    """A row a setting; where a dashed option sets it, that is its name."""
    return [
        {
            "command": name,
            "setting": info.name,
            "value": info.form,
            "default": info.default or "",
            "meaning": info.meaning,
        }
        for name, settings in nap.describe_commands(command).items()
        for info in settings
    ]
