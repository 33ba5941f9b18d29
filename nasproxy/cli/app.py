"""The program `nasproxy`: its commands in the order of the work, and what every error turns into."""

import signal
import sys
from importlib import metadata
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from nasproxy.cli import (
    combine,
    compare,
    condense,
    dashboard,
    demo,
    evaluate,
    export,
    ls,
    rank,
    report,
    search,
    show,
)
from nasproxy.errors import NasproxyError

INTERRUPTED = 130


class _Group(TyperGroup):
    """Turns our errors into one line and an exit code; anything else keeps its traceback (exit code 1)."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except NasproxyError as error:
            print(f"error: {error}", file=sys.stderr)
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            print("interrupted: what is done is kept; go on with --resume", file=sys.stderr)
            raise typer.Exit(INTERRUPTED) from None

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self.commands)


app = typer.Typer(
    name="nasproxy",
    cls=_Group,
    help="Rank neural architectures by training them on a condensed dataset: condense, search, rank, or compare.",
    epilog="A RUN is a name under runs/, a path, or @last. Start with: nasproxy demo",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (condense, evaluate, search, combine, rank, report, compare, export, dashboard, ls, show, demo):
    command.register(app)


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.", is_eager=True)] = False,
) -> None:
    if version:
        print(f"nasproxy {metadata.version('nasproxy')}")
        raise typer.Exit


def main() -> None:
    """Runs the command line; a termination request ends it like Ctrl-C, so that state is kept."""
    signal.signal(signal.SIGTERM, _interrupt)
    app()


def _interrupt(number: int, frame: Any) -> None:
    raise KeyboardInterrupt
