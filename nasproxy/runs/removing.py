"""Run folders that are no longer wanted: what is lost with one, and its removal."""

import shutil
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nasproxy.errors import InputError, RunError, StudyNotFoundError
from nasproxy.rundir import RunDir, hold, list_runs


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


def plan_removal(run: RunDir, root: Path, *, others: Collection[str] = ()) -> Removal:
    """What would go with a run.

    Args:
        run: that may be removed.
        root: where runs that use it may lie.
        others: names of runs that will be gone as well.

    Raises:
        InputError: its `meta.json` or `config.toml` is damaged.
    """
    gone = {run.name, *others}
    users = tuple(other.name for other in list_runs(root) if other.name not in gone and _uses(other, run))
    return Removal(run, _size(run.path), _storage_of(run), users)


def remove_run(removal: Removal) -> None:
    """Removes a run's folder, and its study where that is kept elsewhere.

    Raises:
        RunError: a live process works in the folder.
        InputError: its storage cannot be reached; nothing is removed.
    """
    run = removal.run
    with hold(run.path):
        if removal.storage is not None:
            from nasproxy.store import open_store  # only here: it loads Optuna

            with suppress(StudyNotFoundError):
                open_store(run.study_name, removal.storage).delete()
    try:
        shutil.rmtree(run.path)
    except OSError as error:
        raise RunError(f"cannot remove {run.path}: {error}; remove what is left of it by hand") from None


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _storage_of(run: RunDir) -> str | None:
    storage = run.read_config().get(run.command, {}).get("storage") if run.command == "search" else None
    return storage if storage and run.has_study else None


def _uses(other: RunDir, run: RunDir) -> bool:
    """Whether a run's settings, or the parts of a comparison, name another run."""
    try:
        named = [other.read_config().get(other.command, {}), other.meta.get("parts", {})]
    except InputError:
        return False
    paths = {run.name, str(run.path), str(run.path.resolve())}
    return any(not paths.isdisjoint((text, *text.split(":"))) for text in _texts(named))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
