"""What a shell completes: names of runs, and what settings take."""

from collections.abc import Callable, Iterator

import typer

import nasproxy as nap

Complete = Callable[..., Iterator[str]]
"""The context where it takes one, and what is typed so far -> what may be meant."""
CATALOGS = {
    "dataset": ("datasets",),
    "method": ("methods",),
    "nets": ("nets",),
    "proxies": ("methods", "proxies"),
    "proxy": ("proxies",),
    "scores": ("proxies",),
    "space": ("spaces",),
    "strategy": ("strategies",),
    "screen": ("screens",),
    "truth": ("truths",),
    "combine": ("combinations",),
}
"""Key of a setting -> what of 'nasproxy ls' it takes."""
OF_RUNS = {"proxies", "proxy", "scores", "truth"}
"""Keys of settings that take names of runs as well."""


def complete_runs(context: typer.Context, typed: str) -> Iterator[str]:
    """Names of runs, the newest first."""
    runs_dir = context.params.get("runs_dir")
    runs = nap.Runs(runs_dir) if runs_dir else nap.Runs()
    yield from (run.name for run in reversed(runs.all()) if run.name.startswith(typed))


def complete_preset(incomplete: str) -> Iterator[str]:
    """Names of presets."""
    yield from (name for name in nap.catalog("presets") if name.startswith(incomplete))


def complete_recipes(incomplete: str) -> Iterator[str]:
    """Names of recipes."""
    yield from (name for name in nap.catalog("recipes") if name.startswith(incomplete))


def completion_of(key: str) -> Complete | None:
    """How a setting is completed; None: it takes no names. Of names with commas the last one is."""
    if key not in CATALOGS:
        return None

    def complete(context: typer.Context, typed: str) -> Iterator[str]:
        before, comma, last = typed.rpartition(",")
        for catalog in CATALOGS[key]:
            names = [name for name in nap.catalog(catalog) if name.islower()]  # not RUN, FILE.csv:COLUMN and such
            yield from (f"{before}{comma}{name}" for name in names if name.startswith(last))
        if key in OF_RUNS:
            yield from (f"{before}{comma}{name}" for name in complete_runs(context, last))

    return complete
