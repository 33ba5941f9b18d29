"""Options that are no settings: how they are made, and those that several commands share."""

from pathlib import Path
from typing import Annotated, Any

import typer

from nasproxy.cli.completion import Complete, complete_recipes, complete_runs


def run_option(
    *names: str, help: str, metavar: str = "", envvar: str | None = None, complete: Complete | None = None
) -> Any:
    """An option that is no setting, in a section of its own below the settings; without a metavar it is on or off."""
    return typer.Option(
        *names, help=help, metavar=metavar, envvar=envvar, rich_help_panel="This run", autocompletion=complete
    )


def run_argument(help: str, *, metavar: str = "RUN") -> Any:
    """An argument that names a run, or several."""
    return typer.Argument(metavar=metavar, help=help, autocompletion=complete_runs)


RUNS_DIR = Path("runs")
Config = Annotated[
    Path | None, run_option(metavar="PATH", help="Settings from a TOML file, e.g. config.toml of a run.")
]
Name = Annotated[
    str | None, run_option(metavar="NAME", help="Name of the run folder. Default: made of the data and what is done.")
]
Resume = Annotated[
    str | None, run_option(metavar="RUN", help="Go on with a run that was cut short.", complete=complete_runs)
]
Budget = Annotated[
    str | None, run_option("--budget", metavar="TIME", help="Wall time, 90s, 30m, 2h or 1d: what fits is done.")
]
RunsDir = Annotated[Path, run_option(metavar="PATH", envvar="NASPROXY_RUNS", help="Folder of all runs.")]
Verbose = Annotated[
    bool | None,
    run_option("--verbose/--quiet", "-v/-q", help="Say every second how far it is, or warnings only."),
]
Json = Annotated[bool, run_option("--json", help="Print the result as JSON.")]
Recipe = Annotated[
    str | None,
    run_option(
        metavar="NAME|FILE",
        help="How a net is trained, by name, see 'nasproxy ls recipes', or a .toml file. Single settings win over it.",
        complete=complete_recipes,
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE", help="Any other setting; 'nasproxy ls settings COMMAND' lists them."),
]
