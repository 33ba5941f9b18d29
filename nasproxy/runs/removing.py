"""Run folders that are no longer wanted: what is lost with them, and their removal."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nasproxy.condensing import METHODS
from nasproxy.errors import InputError, RunError
from nasproxy.proxies import PROXIES
from nasproxy.rundir import RunDir, hold, list_runs
from nasproxy.runs.references import split_table

REFERENCES = ("proxy", "proxies", "archs", "sample", "truth", "runs", "scores", "condensed")
"""Settings, and parts of a comparison, that may name runs."""
GOING = ".removing-"
"""What the name of a folder begins with while it is removed: such a folder is no run."""


@dataclass(frozen=True)
class Removal:
    """What removing a run takes away. Made by `plan_removal`."""

    run: RunDir
    num_bytes: int
    """Of its folder."""
    storage: str | None
    """Where its study is kept beside others, and removed as well; None: in the folder, or it has none."""
    users: tuple[str, ...]
    """Runs that name it: searches by it, combinations, comparisons. They keep their own results."""


def plan_removal(runs: Sequence[RunDir], root: Path) -> list[Removal]:
    """What would go with some runs.

    Args:
        runs: that may be removed, all of them.
        root: where runs that use them may lie, beside their own folders.

    Raises:
        InputError: a `meta.json` or `config.toml` is damaged.
    """
    gone = {run.path.resolve() for run in runs}
    removals = []
    for path in sorted(gone):
        others = [
            (other, folder)
            for folder in sorted({root.resolve(), path.parent})
            for other in list_runs(folder)
            if other.path.resolve() not in gone
        ]
        users = tuple(other.name for other, folder in others if _uses(other, folder, path))
        removals.append(Removal(RunDir(path), _size(path), _storage_of(RunDir(path)), users))
    return removals


def remove_runs(removals: Sequence[Removal]) -> None:
    """Removes the folders of runs, and their studies where these are kept elsewhere: of all, or of none.

    Raises:
        RunError: a live process works in a folder, or one cannot be removed.
        InputError: a storage cannot be reached.
    """
    with ExitStack() as held:
        for removal in removals:
            held.enter_context(hold(removal.run.path))
        for removal in removals:
            if removal.storage is not None:
                from nasproxy.store import delete_study  # only here: it loads Optuna

                delete_study(removal.run.study_name, removal.storage)
        for removal in removals:
            path = removal.run.path
            going = path.with_name(f"{GOING}{path.name}")
            try:
                path.rename(going)
                shutil.rmtree(going)
            except OSError as error:
                raise RunError(f"cannot remove {path}: {error}; remove what is left of it by hand") from None


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):  # a run that works makes and drops files
            total += path.lstat().st_size
    return total


def _storage_of(run: RunDir) -> str | None:
    storage = run.read_config().get(run.command, {}).get("storage") if run.command == "search" else None
    return storage if storage and run.has_study else None


def _uses(other: RunDir, root: Path, path: Path) -> bool:
    """Whether a run's settings, or the parts of a comparison, name the run in a folder, or a file in it."""
    try:
        settings: Any = other.read_config().get(other.command, {})
        parts: Any = other.meta.get("parts", {})
    except InputError:
        return False
    named = [text for tree in (settings, parts) if isinstance(tree, Mapping) for text in _references(tree)]
    places = [place.resolve() for text in named for place in (root / text, Path(text).expanduser())]
    return any(place == path or path in place.parents for place in places)


def _references(tree: Mapping[str, Any]) -> Iterator[str]:
    """What may be names of runs, or paths of them and of their files."""
    for key in REFERENCES:
        value = tree.get(key)
        for text in [value] if isinstance(value, str) else value if isinstance(value, list) else []:
            if key in ("proxy", "proxies") and (text in PROXIES or (key == "proxies" and text in METHODS)):
                continue  # a proxy or method of this name goes before a run
            bare = text
            if key == "archs" and text.startswith("top:"):
                bare = text.removeprefix("top:").rpartition(":")[0]
            elif key == "sample":
                bare = text.partition(":")[2]
            file, _ = split_table(bare)
            if file or bare:
                yield file or bare
