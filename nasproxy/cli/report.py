"""`nasproxy report`: one page about proxies and how far they can be trusted."""

from pathlib import Path
from typing import Annotated

import nasproxy as nap
from nasproxy.cli import options
from nasproxy.cli.flags import takes_settings
from nasproxy.cli.printing import print_result


@takes_settings(nap.RankConfig, takes_any=False)
def report(
    given: nap.Tree,
    runs: Annotated[list[str], options.run_argument("A comparison, or searches with proxies.")],
    output: Annotated[
        Path | None,
        options.run_option(
            "-o",
            "--output",
            metavar="FOLDER",
            help="Default: the comparison's own, or report-RUN in --runs-dir.",
        ),
    ] = None,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    verbose: options.Verbose = None,
    json: options.Json = False,
) -> None:
    """Write report.html, figures and tables of a comparison, or of searches and their --truth."""
    with nap.Talk(verbose=verbose) as talk:
        page = nap.Runs(runs_dir, progress=talk).report(runs, settings=given, folder=output)
    result = {"report": str(page), "table": str(page.with_name("comparison.csv"))}
    print_result(result, as_json=json, next_step=f"open {page} in a browser")
