"""`nasproxy export`: ranked architectures as a table."""

from pathlib import Path
from typing import Annotated

import typer

from nasproxy.cli import options
from nasproxy.rundir import find_run


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("export")(export)


def export(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A search.")],
    output: Annotated[str, typer.Option("-o", "--output", help=".csv, .parquet or .json; '-' is CSV on stdout.")] = "-",
    truth: options.Truth = None,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    json: Annotated[bool, typer.Option("--json", help="With '-': JSON instead of CSV.")] = False,
) -> None:
    """Write one row an architecture, best score first."""
    from nasproxy.jobs.references import load_trials
    from nasproxy.tables import csv_text, trials_frame, write_table

    found = find_run(run, runs_dir, command="search")
    true = load_trials(find_run(truth, runs_dir, command="search")) if truth else None
    frame = trials_frame(load_trials(found), true)
    if output == "-":
        print(frame.to_json(orient="records", indent=1) if json else csv_text(frame), end="\n" if json else "")
        return
    write_table(frame, Path(output).expanduser())
    print(output)
