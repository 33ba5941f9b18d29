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
    found = list({(run := nap.Runs(runs_dir).find(name)).path.resolve(): run for name in runs}.values())
    names = [run.name for run in found]
    removals = [nap.plan_removal(run, runs_dir, others=names) for run in found]
    for removal in removals:
        if removal.users and not force:
            raise nap.RunError(
                f"run {removal.run.name} is named by {', '.join(removal.users)}; remove these as well, or give --force"
            )
    for removal in removals:
        study = f", and its study in {nap.without_password(removal.storage)}" if removal.storage else ""
        print(f"{removal.run.path}: {removal.num_bytes / 1e6:,.1f} MB{study}", file=sys.stderr)
    if not yes:
        if not sys.stdin.isatty():
            raise nap.RunError("nobody can answer here whether to remove these; give --yes")
        typer.confirm(f"Remove {len(removals)} run(s)?", abort=True, err=True)
    for removal in removals:
        nap.remove_run(removal)
