"""`nasproxy ls`: what there is."""

from enum import StrEnum
from typing import Annotated

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
    PRESETS = "presets"
    COMBINATIONS = "combinations"


def ls(
    what: Annotated[What, typer.Argument(help="What to list.")] = What.RUNS,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    json: options.Json = False,
) -> None:
    """List runs, or the names that options take: methods, datasets, spaces, nets, proxies, strategies and so on."""
    if what is What.RUNS:
        metas = [run.meta for run in nap.Runs(runs_dir).all()]
        rows = [{key: str(meta.get(key, "")) for key in ("name", "command", "status", "created")} for meta in metas]
    else:
        rows = [{"name": name, "summary": summary} for name, summary in nap.catalog(what.value).items()]
    if json:
        print_json(rows)
    elif rows:
        print_table(list(rows[0]), [list(row.values()) for row in rows])
