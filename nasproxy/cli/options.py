"""Options that are no settings: how they are made, and those that several commands share."""

from pathlib import Path
from typing import Annotated, Any

import typer


def run_option(*names: str, help: str, metavar: str | None = None, envvar: str | None = None) -> Any:
    """An option that is no setting: it stands in a section of its own, below the settings."""
    return typer.Option(*names, help=help, metavar=metavar, envvar=envvar, rich_help_panel="This run")


RUNS_DIR = Path("runs")
Config = Annotated[Path | None, run_option(help="Settings from a TOML file, e.g. config.toml of a run.")]
Name = Annotated[str | None, run_option(help="Name of the run folder. Default: made of the data and what is done.")]
Resume = Annotated[str | None, run_option(metavar="RUN", help="Go on with a run that was cut short.")]
RunsDir = Annotated[Path, run_option(envvar="NASPROXY_RUNS", help="Folder of all runs.")]
Json = Annotated[bool, run_option("--json", help="Print the result as JSON.")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Any other setting; 'nasproxy show RUN' lists them.")
]
