"""Results on stdout: JSON, or something for people; what to do next goes to stderr."""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

import nasproxy as nap


def run_of(result: "nap.ProxySet | nap.Trials | nap.Comparison | nap.Replays") -> "nap.RunDir":
    """The run that a result was made in."""
    assert result.run is not None
    return result.run


def print_json(value: Any) -> None:
    """One JSON document."""
    print(json.dumps(value, indent=2, default=str))


def print_result(result: Mapping[str, Any], *, as_json: bool, next_step: str) -> None:
    """A mapping as JSON or as `key: value` lines, then the next command."""
    if as_json:
        print_json(result)
        return
    for key, value in result.items():
        print(f"{key}: {value:.1f}" if isinstance(value, float) else f"{key}: {value}")
    print(f"next: {next_step}", file=sys.stderr)


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, title: str | None = None, to_stderr: bool = False
) -> None:
    """A table; its first column is left-aligned, on a pipe it is as wide as it needs."""
    console = Console(stderr=to_stderr)
    if not console.is_terminal:
        console = Console(stderr=to_stderr, width=200)
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table, markup=False)
