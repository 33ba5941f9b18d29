"""The program `nasproxy`: its commands in the order of the work, and what every error turns into."""

import signal
import sys
from importlib import metadata
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

import nasproxy as nap
from nasproxy.cli.combine import combine
from nasproxy.cli.compare import compare
from nasproxy.cli.condense import condense
from nasproxy.cli.dashboard import dashboard
from nasproxy.cli.demo import demo
from nasproxy.cli.evaluate import evaluate
from nasproxy.cli.export import export
from nasproxy.cli.find import find
from nasproxy.cli.ls import ls
from nasproxy.cli.predict import predict
from nasproxy.cli.printing import command
from nasproxy.cli.rank import rank
from nasproxy.cli.replay import replay
from nasproxy.cli.report import report
from nasproxy.cli.rm import rm
from nasproxy.cli.search import search
from nasproxy.cli.show import show
from nasproxy.cli.train import train

COMMANDS = {
    "The whole experiment": (compare, demo),
    "Step by step": (condense, evaluate, search, combine),
    "Have the network": (find, train, predict),
    "Judge and show": (rank, replay, report, export, dashboard),
    "Look up": (ls, show, rm),
}
"""All commands, by section of the help."""
RESUMABLE = frozenset({"condense", "search", "compare"})
"""Commands that take --resume."""
INTERRUPTED = 130


class _Group(TyperGroup):
    """Turns our errors into one line and an exit code; anything else keeps its traceback (exit code 1)."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except nap.NasproxyError as error:
            print(f"error: {nap.printable(str(error))}", file=sys.stderr)
            raise typer.Exit(error.exit_code) from None
        except nap.Interrupted as interrupted:
            print(f"interrupted: {_how_to_go_on(interrupted.run)}", file=sys.stderr)
            raise typer.Exit(INTERRUPTED) from None
        except KeyboardInterrupt:
            print("interrupted: no new run was begun", file=sys.stderr)
            raise typer.Exit(INTERRUPTED) from None

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self.commands)

    def get_params(self, ctx: Any) -> list[Any]:
        return _without_types(super().get_params(ctx))


def _how_to_go_on(run: nap.RunDir) -> str:
    if run.command not in RESUMABLE:
        return f"run {run.name} is not finished; remove it with {command('rm', run.name, runs_dir=run.path.parent)}"
    if run.meta.get("is_timed"):
        return f"what is done is kept in run {run.name}; go on with the same 'nasproxy find' command"
    again = command(run.command, "--resume", run.name, runs_dir=run.path.parent)
    return f"what is done is kept in run {run.name}; go on with {again}"


class _Command(TyperCommand):
    def get_params(self, ctx: Any) -> list[Any]:
        return _without_types(super().get_params(ctx))


def _without_types(params: list[Any]) -> list[Any]:
    """Keeps the help from saying `<bool>` and `<list[str]>` of what has no metavar, or has one already."""
    for param in params:
        if param.param_type_name == "argument" or param.metavar is None:
            param.display_type_rich = lambda ctx: None
    return params


app = typer.Typer(
    name="nasproxy",
    cls=_Group,
    help="Rank neural architectures by training them on a condensed dataset: condense, search, rank, or compare.",
    epilog="A RUN is a name under runs/, a path, or @last. Start with: nasproxy demo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for section, functions in COMMANDS.items():
    for function in functions:
        app.command(cls=_Command, rich_help_panel=section)(function)


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.", is_eager=True)] = False,
) -> None:
    if version:
        print(f"nasproxy {metadata.version('nasproxy')}")
        raise typer.Exit


def main() -> None:
    """Runs the command line; a termination request or a hang-up ends it like Ctrl-C, so that state is kept."""
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
            signal.signal(number, _interrupt)
    app()


def _interrupt(number: int, frame: Any) -> None:
    raise KeyboardInterrupt
