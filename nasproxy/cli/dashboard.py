"""`nasproxy dashboard`: the Optuna dashboard on a search, also while it runs."""

import contextlib
import sys
from typing import Annotated

import typer

from nasproxy.cli import options
from nasproxy.rundir import find_run

DEFAULT_PORT = 8080


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("dashboard")(dashboard)


def dashboard(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A search.")] = "@last",
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; if it is taken, any free one.")] = DEFAULT_PORT,
    runs_dir: options.RunsDir = options.RUNS_DIR,
) -> None:
    """Serve the Optuna dashboard of a search on this machine until Ctrl-C."""
    from nasproxy.jobs.references import storage_url
    from nasproxy.study import Dashboard

    found = find_run(run, runs_dir, command="search")
    with contextlib.suppress(KeyboardInterrupt), Dashboard(found.name, storage_url(found), port) as server:
        print(server.address, flush=True)
        print("Ctrl-C stops the dashboard", file=sys.stderr)
        server.serve()
