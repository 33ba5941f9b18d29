"""The program `nasproxy`: its commands in the order of the work, and what every error turns into."""

import signal
import sys
from importlib import metadata
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import nasproxy as nap
from nasproxy.cli.combine import combine
from nasproxy.cli.compare import compare
from nasproxy.cli.condense import condense
from nasproxy.cli.dashboard import dashboard
from nasproxy.cli.demo import demo
from nasproxy.cli.evaluate import evaluate
from nasproxy.cli.export import export
from nasproxy.cli.ls import ls
from nasproxy.cli.rank import rank
from nasproxy.cli.replay import replay
from nasproxy.cli.report import report
from nasproxy.cli.search import search
from nasproxy.cli.show import show

COMMANDS = {
    "The whole experiment": (compare, demo),
    "Step by step": (condense, evaluate, search, combine),
    "Judge and show": (rank, replay, report, export, dashboard),
    "Look up": (ls, show),
}
"""All commands, by section of the help."""
INTERRUPTED = 130


class _Group(TyperGroup):
    """Turns our errors into one line and an exit code; anything else keeps its traceback (exit code 1)."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except nap.NasproxyError as error:
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
for section, commands in COMMANDS.items():
    for command in commands:
        app.command(rich_help_panel=section)(command)


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
