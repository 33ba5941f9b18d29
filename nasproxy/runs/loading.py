"""Trials, truths and architectures from the runs and files that their names mean."""

import contextlib
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from nasproxy.config import SearchConfig, parse_share, read_config
from nasproxy.errors import InputError, NasproxyError, RunNotFoundError, SettingsError, StudyNotFoundError
from nasproxy.rundir import RunDir, list_runs
from nasproxy.runs.place import Place
from nasproxy.runs.references import (
    SCORED,
    TABLE,
    find_proxy,
    find_search_run,
    names_table,
    search_behind,
    split_table,
    split_top,
)
from nasproxy.searching.sample import COSTS, Quantity
from nasproxy.signals import by_signal, split_signal
from nasproxy.space import SearchSpace
from nasproxy.spacefile import load_space
from nasproxy.store import open_store, sqlite_url
from nasproxy.tables import read_scores, read_truth
from nasproxy.tables.cells import from_cell
from nasproxy.trials import FEWEST, Signal, Trial, Trials
from nasproxy.truths import TRUTHS, load_published, load_published_scores, names_truth

if TYPE_CHECKING:
    from nasproxy.images import ImageData
    from nasproxy.proxyset import ProxySet


def load_trials(run: RunDir) -> Trials:
    """All trials of a search or combination, finished or not.

    Raises:
        InputError: the study cannot be read.
    """
    trials = open_store(run.study_name, storage_url(run)).trials()
    return replace(trials, info=replace(trials.info, name=run.name), run=run)


def load_scored(reference: str, root: Path) -> Trials:
    """All trials that a name, a path or @last refers to, by the signal that it names.

    Raises:
        RunNotFoundError: no such run.
        RunError: a run without trials.
        InputError: the study cannot be read, or has no such signal.
    """
    trials, (_, signal) = load_trials(find_search_run(reference, root)), split_signal(reference)
    return trials if signal is Signal.ACCURACY else by_signal(trials, signal)


@dataclass(frozen=True)
class Task:
    """What a truth is wanted for, as far as it is known: it decides what names of truths and architectures mean."""

    dataset: str = ""
    """Name of the data set."""
    classes: tuple[str, ...] = ()
    """Names of its classes; empty where nobody knows."""
    space: SearchSpace | None = None

    @classmethod
    def on(cls, data: "ImageData", space: SearchSpace) -> "Task":
        """That of images and a space."""
        return cls(data.name, data.classes, space)

    @classmethod
    def of(cls, trials: Trials, root: Path) -> "Task":
        """That of a search."""
        space = None
        if trials.run is not None:
            with contextlib.suppress(NasproxyError):  # the file of the space may be gone, and few truths need it
                behind = search_behind(trials.run, root)
                space = load_space(behind.search.space) if behind else None
        return cls(trials.info.dataset, space=space)


def load_truth(reference: str, place: Place, task: Task) -> Trials:
    """The truth that `--truth` names: a published one, a search by 'whole', or a CSV file of true accuracies, of which
    it is said how many rows are no architectures of the space.

    Raises:
        SettingsError: a published truth of other data.
        RunNotFoundError: no such run; published truths are named.
        RunError: a run without trials.
        InputError: the study or file cannot be read.
    """
    if names_truth(reference):
        return load_published(reference, task.dataset, task.classes)
    if Path(reference).suffix == ".csv":
        truth = load_table(reference, task)
        if task.space is not None and (strangers := describe_strangers(truth, task.space)):
            place.listener.warn(strangers)
        return truth
    try:
        return load_scored(reference, place.root)
    except RunNotFoundError as error:
        nearest = get_close_matches(reference, TRUTHS, n=1, cutoff=0.7)
        hint = f"did you mean {nearest[0]!r}" if nearest else f"truths that need no run: {', '.join(TRUTHS)}"
        raise RunNotFoundError(f"{error}; {hint}") from None


def load_proxy(reference: str, root: Path, task: Task) -> "ProxySet | Trials | str":
    """What `--proxy` names: a table of scores, or what `find_proxy` finds.

    Raises:
        NasproxyError: see `load_table`, `find_proxy`.
    """
    return load_table(reference, task) if names_table(reference) else find_proxy(reference, root)


def load_table(reference: str, task: Task) -> Trials:
    """Scores that were measured elsewhere: `table:` and a published table, `FILE.csv` (accuracies), `FILE.csv:COLUMN`.

    Raises:
        SettingsError: an unknown published table (the nearest is named), or one of other data.
        InputError: the file cannot be read.
    """
    file, column = split_table(reference)
    if file is None:
        return load_published_scores(reference.removeprefix(TABLE), task.dataset, task.classes)
    path = Path(file).expanduser()
    table = read_scores(path, column) if column else read_truth(path)
    return table if task.space is None else _by_own_ids(table, task.space)


def describe_strangers(table: Trials, space: SearchSpace) -> str | None:
    """Which rows of a table are no architectures of a space; None: there are none."""
    strangers = [trial.arch_id for trial in table if space.standing_for(trial.arch_id) is None]
    if not strangers:
        return None
    return (
        f"{len(strangers)} row(s) of {table.name} are no architectures of {space.name}, e.g. {strangers[0]}: left out"
    )


def _by_own_ids(truth: Trials, space: SearchSpace) -> Trials:
    """A table whose architectures are called as we call them: of equal ones there is the row of the one that stands for
    all, else the first; what is no architecture of the space keeps its id."""
    by_id: dict[str, Trial] = {}
    for trial in truth:
        own_id = trial.arch_id
        with contextlib.suppress(SettingsError):
            own_id = space.own_id(trial.arch_id)
        standing = space.standing_for(own_id)
        found = standing.id if standing else own_id
        if found not in by_id or found == own_id:
            by_id[found] = replace(trial, arch_id=found)
    return replace(truth, items=tuple(by_id.values()))


def load_quantity(reference: str, root: Path, task: Task) -> Quantity:
    """What `--sample N:REFERENCE` names, where it is no cost: the selection scores of a search or table.

    Raises:
        NasproxyError: see `load_table`.
        RunNotFoundError: no such run; the nearest name is named.
        RunError: a run without trials.
        InputError: the study cannot be read.
    """
    if names_table(reference):
        return Quantity.of(load_table(reference, task))
    try:
        return Quantity.of(load_scored(reference, root))
    except RunNotFoundError as error:
        known = [*COSTS, *(run.name for run in list_runs(root) if run.command in SCORED)]
        nearest = get_close_matches(reference, known, n=1, cutoff=0.5)
        hint = f"did you mean {nearest[0]!r}? " if nearest else ""
        raise RunNotFoundError(f"{error}; {hint}sample by {', '.join(COSTS)}, or the scores of a search") from None


def storage_url(run: RunDir) -> str:
    """The Optuna storage of a run with trials.

    Raises:
        StudyNotFoundError: the run keeps its study in a file that is not there.
    """
    is_search = run.command == SearchConfig.command
    url = read_config(SearchConfig, run.config_path).search.storage if is_search else None
    if url is None and not run.study_path.is_file():
        raise StudyNotFoundError(f"run {run.name} has no {run.study_path.name}: {_why_no_study(run)}")
    return url or sqlite_url(run.study_path)


def _why_no_study(run: RunDir) -> str:
    if run.has_study:
        return "put the file back, or search again under another --name"
    return f"it has not begun; continue it with --resume {shlex.quote(run.name)}"


def read_arch_ids(reference: str, root: Path, task: Task) -> list[str] | None:
    """Ids that `--archs` names: None for 'all', the best of a search or table for top:RUN:5% or top:RUN:36, else a
    file's.

    A file has one id per line, or is a CSV with a column `arch_id`.

    Raises:
        SettingsError: top:RUN:AMOUNT of another form.
        InputError: the file or the run cannot be read.
    """
    if reference == "all":
        return None
    if reference.startswith("top:"):
        name, amount = split_top(reference)
        scored = load_table(name, task) if names_table(name) else load_scored(name, root)
        ids = scored.top(parse_amount(amount))
    else:
        try:
            lines = Path(reference).expanduser().read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(
                f"--archs {reference!r}: no such file of architecture ids ({error}); or give top:RUN:5%"
            ) from None
        rows = [line.split(",") for line in lines if line.strip() and not line.startswith("#")]
        column = rows[0].index("arch_id") if rows and "arch_id" in rows[0] else 0
        if short := next((row for row in rows if len(row) <= column), None):
            raise InputError(f"--archs {reference!r}: the line {','.join(short)!r} has no arch_id; complete it")
        ids = [from_cell(row[column].strip()) for row in rows if row[column].strip() != "arch_id"]
    if not ids:
        raise InputError(f"--archs {reference!r} names no architecture; check it")
    return ids


def describe_few(reference: str, arch_ids: Sequence[str] | None) -> str | None:
    """That a share of a search, top:RUN:5%, came to very few architectures; None: it did not."""
    if not (reference.startswith("top:") and reference.endswith("%")) or len(arch_ids or ()) >= FEWEST:
        return None
    few, (name, _) = len(arch_ids or ()), split_top(reference)
    return (
        f"{reference} is {few} architecture{'s' if few > 1 else ''}; give a number for more, e.g. top:{name}:{FEWEST}"
    )


def parse_amount(text: str) -> int | float:
    """'5%' -> 0.05, '36' -> 36.

    Raises:
        SettingsError: neither a percentage in (0, 100] nor a whole number above 0.
    """
    if text.endswith("%"):
        return parse_share(text)
    if not text.isdigit() or int(text) == 0:
        raise SettingsError(f"{text!r} is no amount; write a percentage like 5% or a whole number like 36")
    return int(text)
