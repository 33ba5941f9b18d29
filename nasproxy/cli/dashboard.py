"""`nasproxy dashboard`: the Optuna dashboard on searches; on one of them also while it runs."""

import contextlib
import sys
from typing import Annotated

import nasproxy as nap
from nasproxy.cli import options


def dashboard(
    runs: Annotated[list[str] | None, options.run_argument("A comparison, or searches. Default: @last.")] = None,
    port: Annotated[
        int, options.run_option(metavar="N", help="Port on 127.0.0.1; if it is taken, any free one.")
    ] = nap.DASHBOARD_PORT,
    snapshot: Annotated[
        bool, options.run_option("--snapshot", help="One search as it is now, with a note on every trial.")
    ] = False,
    allow_changes: Annotated[
        bool, options.run_option("--allow-changes", help="Let the page add notes, rename and delete.")
    ] = False,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    verbose: options.Verbose = None,
) -> None:
    """Serve the Optuna dashboard on this machine until Ctrl-C.

    One search is shown live, also while it runs.
    A comparison or several searches are shown side by side as they are now.
    """
    with nap.Talk(verbose=verbose) as talk:
        opened = nap.Runs(runs_dir, progress=talk).dashboard(
            runs or [nap.LAST], port=port, snapshot=snapshot, allow_changes=allow_changes
        )
    with contextlib.suppress(KeyboardInterrupt), opened as server:
        print(server.address, flush=True)
        print("Ctrl-C stops the dashboard", file=sys.stderr)
        server.serve()
