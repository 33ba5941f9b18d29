"""Run folders that are no longer wanted: what is lost with them, and their removal."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nasproxy.condensing import METHODS
from nasproxy.config import parse_sample
from nasproxy.errors import InputError, RunError
from nasproxy.proxies import COMPOSITES, PROXIES
from nasproxy.rundir import RunDir, hold, list_runs
from nasproxy.runs.references import split_table, split_top
from nasproxy.signals import split_signal

REFERENCES = ("proxy", "proxies", "archs", "sample", "truth", "runs", "scores", "condensed")
"""Settings, and parts of a comparison, that may name runs."""
_NO_RUNS = {"proxy": {*PROXIES}, "proxies": {*PROXIES, *METHODS, *COMPOSITES}}
"""Setting -> names that go before those of runs."""
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


def plan_removal(runs: Sequence[RunDir], root: Path, *, force: bool = False) -> list[Removal]:
    """What would go with some runs.

    Args:
        runs: that may be removed, all of them.
        root: where runs that use them may lie, beside their own folders.
        force: also where other runs name one of them: searches by it, combinations, comparisons. They keep their own
            results, but no report of it can be made again.

    Raises:
        RunError: other runs name one, and `force` is not given.
        InputError: a `meta.json` or `config.toml` is damaged.
    """
    paths = sorted({run.path.resolve() for run in runs})
    if not force:
        folders = {root.resolve(), *(path.parent for path in paths)}
        others = [other for folder in sorted(folders) for other in list_runs(folder)]
        named = [(other.name, _named_by(other)) for other in others if other.path.resolve() not in paths]
        for path in paths:
            users = [name for name, places in named if any(_is_in(place, path) for place in places)]
            if users:
                raise RunError(
                    f"run {path.name} is named by {', '.join(users)}; remove these as well, or force it (--force)"
                )
    return [Removal(RunDir(path), _size(path), _storage_of(RunDir(path))) for path in paths]


def remove_runs(removals: Sequence[Removal]) -> None:
    """Removes the folders of runs, and their studies where these are kept elsewhere.

    Raises:
        RunError: a live process works in one of the folders, and nothing is removed; or a folder cannot be removed.
        InputError: a storage cannot be reached; no folder is removed.
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


def _is_in(place: Path, path: Path) -> bool:
    return place == path or path in place.parents


def _named_by(run: RunDir) -> set[Path]:
    """Where the runs, and files in their folders, would lie that its settings or the parts of a comparison name."""
    try:
        parts = run.meta.get("parts", {})
        composites = [{"proxies": list(names)} for names in parts.get("composites", {}).values()]
        trees: list[Any] = [run.read_config().get(run.command), parts, *composites]
    except InputError:
        return set()
    texts = [text for tree in trees if isinstance(tree, Mapping) for text in _references(tree)]
    return {place.resolve() for text in texts for place in (run.path.parent / text, Path(text).expanduser())}


def _references(tree: Mapping[str, Any]) -> Iterator[str]:
    """What may be names of runs, or paths of them and of their files."""
    for key in REFERENCES:
        value = tree.get(key)
        for text in [value] if isinstance(value, str) else value if isinstance(value, list) else []:
            reference: str | None = split_signal(text)[0]
            if reference in _NO_RUNS.get(key, ()):
                continue
            if key == "archs" and text.startswith("top:"):
                reference = split_signal(split_top(text)[0])[0]
            elif key == "sample":
                _, by = parse_sample(text)
                reference = split_signal(by)[0] if by else None
            if reference is not None:
                file, _ = split_table(reference)
                yield file or reference
