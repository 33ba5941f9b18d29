"""`nasproxy export`: ranked architectures as a table."""

from pathlib import Path
from typing import Annotated

import typer

from nasproxy.cli import options
from nasproxy.errors import SettingsError
from nasproxy.rundir import find_run


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("export")(export)


def export(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A search, a combination, or a comparison.")],
    output: Annotated[str, typer.Option("-o", "--output", help=".csv, .parquet or .json; '-' is CSV on stdout.")] = "-",
    truth: options.Truth = None,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    json: Annotated[bool, typer.Option("--json", help="With '-': JSON instead of CSV.")] = False,
) -> None:
    """Write one row an architecture, best score first; of a comparison with every proxy's score, best truth first."""
    from nasproxy.runs.references import SCORED, load_trials, load_truth
    from nasproxy.runs.reporting import load_comparison
    from nasproxy.tables import comparison_frame, csv_text, trials_frame, write_table

    found = find_run(run, runs_dir, *SCORED, "compare")
    if found.meta["command"] == "compare":
        if truth:
            raise SettingsError(f"{found.name} is a comparison with a truth of its own; leave --truth out")
        frame = comparison_frame(load_comparison(found, runs_dir)[0])
    else:
        trials = load_trials(found)
        frame = trials_frame(trials, load_truth(truth, runs_dir) if truth else None)
    if output == "-":
        print(frame.to_json(orient="records", indent=1) if json else csv_text(frame), end="\n" if json else "")
        return
    write_table(frame, Path(output).expanduser())
    print(output)
