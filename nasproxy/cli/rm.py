"""`nasproxy rm`: remove runs."""

import sys
from typing import Annotated

import typer

import nasproxy as nap
from nasproxy.cli import options


def rm(
    runs: Annotated[list[str], options.run_argument("Runs to remove.", metavar="RUN...")],
    yes: Annotated[bool, options.run_option("--yes", "-y", help="Do not ask.")] = False,
    force: Annotated[bool, options.run_option("--force", help="Also where other runs name it.")] = False,
    runs_dir: options.RunsDir = options.RUNS_DIR,
) -> None:
    """Remove runs: their folders, and studies of theirs in a storage beside others.

    Asks first; --yes where nobody can answer. Runs that others name, such as a proxy set that was searched with, stay
    unless these go as well, or --force is given.
    """
    removals = nap.plan_removal([nap.Runs(runs_dir).find(name) for name in runs], runs_dir, force=force)
    for removal in removals:
        study = f", and its study in {nap.without_password(removal.storage)}" if removal.storage else ""
        print(f"{removal.run.path}: {removal.num_bytes / 1e6:,.1f} MB{study}", file=sys.stderr)
    if not yes and not is_terminal():
        raise nap.RunError("nobody can answer here whether to remove these; give --yes")
    if yes or _confirm(f"Remove {len(removals)} run(s)?"):
        nap.remove_runs(removals)
    else:
        print("nothing is removed", file=sys.stderr)


def is_terminal() -> bool:
    """Whether somebody can answer."""
    return sys.stdin.isatty()


def _confirm(question: str) -> bool:
    try:
        return typer.confirm(question, err=True)
    except typer.Abort:  # what it makes of Ctrl-C
        raise KeyboardInterrupt from None
