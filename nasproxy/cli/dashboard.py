"""`nasproxy dashboard`: the Optuna dashboard on searches; on one of them also while it runs."""

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nasproxy.cli import options
from nasproxy.config import DASHBOARD_PORT
from nasproxy.errors import SettingsError
from nasproxy.rundir import LAST, RunDir, find_run

if TYPE_CHECKING:
    from nasproxy.dashboard import Dashboard


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("dashboard")(dashboard)


def dashboard(
    runs: Annotated[
        list[str] | None, typer.Argument(metavar="[RUN]...", help="A comparison, or searches; default @last.")
    ] = None,
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; if it is taken, any free one.")] = DASHBOARD_PORT,
    snapshot: Annotated[
        bool, typer.Option("--snapshot", help="One search as it is now, with a note on every trial.")
    ] = False,
    allow_changes: Annotated[
        bool,
        typer.Option(
            "--allow-changes",
            help="Notes, renaming and deleting in the browser are kept; without it the dashboard is read-only.",
        ),
    ] = False,
    runs_dir: options.RunsDir = options.RUNS_DIR,
) -> None:
    """Serve the Optuna dashboard on this machine until Ctrl-C.

    One search is shown live, also while it runs. A comparison or several searches are shown side by side as they are
    now.
    """
    from nasproxy.runs.references import SCORED

    found = [find_run(run, runs_dir, *SCORED, "compare") for run in runs or [LAST]]
    opened = open_dashboard(found, runs_dir, port, snapshot=snapshot, allow_changes=allow_changes)
    with contextlib.suppress(KeyboardInterrupt), opened as server:
        print(server.address, flush=True)
        print("Ctrl-C stops the dashboard", file=sys.stderr)
        server.serve()


def open_dashboard(
    runs: list[RunDir], runs_dir: Path, port: int, *, snapshot: bool, allow_changes: bool = False
) -> "Dashboard":
    """Live on the record of one search; a snapshot of a comparison, of several searches, or where one is asked for."""
    from nasproxy.dashboard import Dashboard
    from nasproxy.runs.references import load_trials, storage_url
    from nasproxy.runs.reporting import find_pictures, load_comparison

    kinds = {run.meta["command"] for run in runs}
    if "compare" in kinds and len(runs) > 1:
        raise SettingsError("a comparison is shown alone; name one comparison, or searches")
    if len(runs) == 1 and not snapshot and "compare" not in kinds:
        return Dashboard.of_search(runs[0].name, storage_url(runs[0]), port, allow_changes=allow_changes)
    print("a snapshot: trials and notes that come later are not in it or not kept", file=sys.stderr)
    if "compare" in kinds:
        comparison, parts = load_comparison(runs[0], runs_dir)
        pictures = find_pictures(parts, runs_dir)
        return Dashboard.of_comparison(runs[0].name, comparison, pictures, port, allow_changes=allow_changes)
    return Dashboard.of_searches([load_trials(run) for run in runs], port, allow_changes=allow_changes)
