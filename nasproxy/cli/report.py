"""`nasproxy report`: one page about proxies and how far they can be trusted."""

from pathlib import Path
from typing import Annotated

import typer

from nasproxy.cli import options
from nasproxy.cli.printing import print_result
from nasproxy.errors import SettingsError
from nasproxy.rundir import find_run


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("report")(report)


def report(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="A comparison, or searches with proxies.")],
    truth: options.Truth = None,
    top: options.Top = "5%",
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder. [the comparison's own, or report-RUN in --runs-dir]")
    ] = None,
    seed: options.Seed = None,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    json: options.Json = False,
) -> None:
    """Write report.html, figures and tables of a comparison, or of searches and their --truth."""
    from nasproxy.runs.references import SCORED, find_search_run, parse_fraction
    from nasproxy.runs.reporting import Parts, load_comparison, make_comparison, write_comparison

    first = find_run(runs[0], runs_dir, *SCORED, "compare")
    if first.meta["command"] == "compare":
        if len(runs) > 1 or truth:
            raise SettingsError(f"{first.name} is a comparison with its own proxies and truth; name nothing beside it")
        comparison, parts = load_comparison(first, runs_dir)
        folder, title = output or first.path, first.name
        shown = first.name
    else:
        if truth is None:
            raise SettingsError("no truth to compare with: give --truth a search made with --proxy whole, or a CSV")
        names = tuple(find_search_run(reference, runs_dir).name for reference in runs)
        parts = Parts(names, truth, top=parse_fraction(top), seed=seed or 0)
        folder, title = output or runs_dir / f"report-{first.name}", ", ".join(names)
        shown = None
        comparison = make_comparison(parts, runs_dir)
    page = write_comparison(comparison, parts, runs_dir, folder, title=title, dashboard=shown)
    result = {"report": str(page), "table": str(folder / "comparison.csv")}
    print_result(result, as_json=json, next_step=f"open {page} in a browser")
