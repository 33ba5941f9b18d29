"""Results on stdout: JSON, or something for people; what to do next goes to stderr."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import nasproxy as nap
from nasproxy.cli import options


def run_of(result: "nap.ProxySet | nap.Trials | nap.Comparison | nap.Replays") -> "nap.RunDir":
    """The run that a result was made in."""
    assert result.run is not None
    return result.run


def command(*arguments: str, runs_dir: Path) -> str:
    """A nasproxy command that can be pasted: with the folder of all runs, where that is another than without."""
    is_usual = runs_dir == Path(os.environ.get("NASPROXY_RUNS", options.RUNS_DIR))
    return nap.format_command(*arguments, *([] if is_usual else ["--runs-dir", str(runs_dir)]))


def print_json(value: Any) -> None:
    """One JSON document."""
    print(json.dumps(value, indent=2, default=str))


def print_result(result: Mapping[str, Any], *, as_json: bool, next_step: str, quiet: bool = False) -> None:
    """A mapping as JSON or as `key: value` lines, then, unless people want quiet, the next command."""
    if as_json:
        print_json(result)
        return
    for key, value in result.items():
        text = "none" if value is None else f"{value:.1f}" if isinstance(value, float) else str(value)
        print(f"{key}: {nap.printable(text)}")
    if not quiet:
        print(f"next: {next_step}", file=sys.stderr)


def print_choice(comparison: "nap.Comparison", runs_dir: Path) -> None:
    """Which network to use, how sure that is, what to do next, and the best architectures."""
    choice = nap.choose(comparison)
    for sentence in (*choice.limits, choice.answer, choice.certainty):
        if sentence:
            print(nap.printable(sentence))
    if choice.next_arguments:
        print(f"next: {command(*choice.next_arguments, runs_dir=runs_dir)}")
    if choice.candidates:
        heads, rows = choice.table()
        print()
        print_table(heads, rows)
    print()


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
        table.add_row(*map(nap.printable, row))
    console.print(table, markup=False)
