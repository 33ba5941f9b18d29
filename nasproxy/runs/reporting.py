"""From runs to a comparison and its report: what `compare`, `report`, `export` and `dashboard` show of one."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from nasproxy.combining import combine_trials
from nasproxy.comparing import Comparison, compare_trials
from nasproxy.errors import DataError, RunError, format_command
from nasproxy.images.imageset import read_classes
from nasproxy.proxies import COMPOSITES
from nasproxy.reporting import RunRecord, write_report
from nasproxy.rundir import RunDir, find_run
from nasproxy.runs.asked import Asked, read_numbers
from nasproxy.runs.loading import Task, load_scored, load_truth
from nasproxy.runs.place import Place
from nasproxy.runs.references import find_search_run
from nasproxy.tables import comparison_frame, rankings_frame, write_table
from nasproxy.trials import ProxyKind, Trials


@dataclass(frozen=True)
class Parts:
    """The runs that a comparison is made of; kept in its `meta.json`."""

    proxies: tuple[str, ...]
    """Runs with the trials of each proxy, with the signal that they are ranked by."""
    truth: str
    """A search by 'whole', a published truth with its data set, or a CSV file."""
    composites: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Proxies that are several as one, a key of `COMPOSITES` each: runs with the trials of its parts."""
    condensed: tuple[str, ...] = ()
    """Runs that made proxy sets."""
    combine: tuple[str, ...] = ()
    """Combinations of all proxies."""
    truth_for: str | None = None
    """Which architectures the truth was made for; None: nobody says."""
    truth_archs: str | None = None
    """File of those, with the number of architectures that each one stands for, in the run of the comparison."""
    top: float = 0.05
    seed: int = 0


def judge(
    parts: Parts, proxies: Sequence[Trials], truth: Trials, weights: Mapping[str, float] | None = None
) -> Comparison:
    """Judges proxies and their combinations.

    Args:
        parts: how they are compared.
        proxies: trials of each.
        truth: of the architectures that have one.
        weights: how many architectures each of those stands for, where they are a sample.

    Raises:
        NasproxyError: see `combine_trials`, `compare_trials`.
    """
    combined = [combine_trials(proxies, how, truth, name=how, seed=parts.seed) for how in parts.combine]
    is_sample = (parts.truth_for or "").startswith("sample")
    return compare_trials(
        [*proxies, *combined],
        truth,
        top=parts.top,
        seed=parts.seed,
        truth_for=parts.truth_for,
        weights=weights if is_sample else None,
    )


def compose(name: str, parts: Sequence[Trials]) -> Trials:
    """A proxy that is several as one.

    Args:
        name: a key of `COMPOSITES`.
        parts: trials of its parts.

    Raises:
        InputError: see `combine_trials`.
    """
    combined = combine_trials(parts, COMPOSITES[name].how, name=name)
    is_free = all(trials.info.kind is ProxyKind.FORMULA for trials in parts)
    kind = ProxyKind.FORMULA if is_free else combined.info.kind
    return replace(combined, info=replace(combined.info, proxy=name, kind=kind))


def truth_of(truth: Trials, asked: Asked, chosen: Collection[str] | None) -> Trials:
    """A truth of what is compared, or of what was chosen of that to have one; still of its run."""
    return replace(asked.part_of(truth).of(chosen), run=truth.run)


def load_comparison(run: RunDir, place: Place) -> tuple[Comparison, Parts]:
    """A finished comparison, made again from its runs.

    Raises:
        RunError: it is not finished.
        NasproxyError: see `judge`; one of its runs is gone.
    """
    if "parts" not in run.meta:
        raise RunError(
            f"comparison {run.name} is not finished; go on with {format_command('compare', '--resume', run.name)}"
        )
    parts = Parts(**run.meta["parts"])
    asked = Asked.kept_in(run) or Asked()
    weights = read_numbers(run.path / parts.truth_archs, "weight") if parts.truth_archs else None
    alone = [asked.part_of(load_scored(name, place.root)) for name in parts.proxies]
    composed = {
        composite: [asked.part_of(load_scored(name, place.root)) for name in names]
        for composite, names in parts.composites.items()
    }
    searched = [*alone, *(trials for several in composed.values() for trials in several)]
    proxies = [*alone, *(compose(composite, several) for composite, several in composed.items())]
    truth = truth_of(load_truth(parts.truth, place, Task.of(searched[0], place.root)), asked, weights)
    return replace(judge(parts, proxies, truth, weights), run=run), parts


def write_comparison(
    comparison: Comparison, parts: Parts, root: Path, folder: Path, *, title: str, dashboard: str | None = None
) -> Path:
    """Writes `report.html` with its figures and tables, `comparison.csv` (one row per proxy) and `architectures.csv`.

    `dashboard` is the run that `nasproxy dashboard` opens on the comparison.

    Returns:
        The page.
    """
    write_table(rankings_frame(list(comparison.rankings)), folder / "comparison.csv")
    write_table(comparison_frame(comparison), folder / "architectures.csv")
    return write_report(comparison, find_records(comparison, parts, root), folder, title=title, dashboard=dashboard)


def find_records(comparison: Comparison, parts: Parts, root: Path) -> list[RunRecord]:
    """What the report says about each run."""
    records = [_record(find_run(name, root), "condense") for name in parts.condensed]
    searched = {trials.run.path.resolve(): trials.run for trials in comparison.proxies if trials.run}
    for name in (name for names in parts.composites.values() for name in names):
        run = find_search_run(name, root)
        searched.setdefault(run.path.resolve(), run)
    records += [_record(run, "proxy") for run in searched.values()]
    return records + ([_record(comparison.truth.run, "truth")] if comparison.truth.run else [])


def _record(run: RunDir, role: str) -> RunRecord:
    settings: Mapping[str, Any] = {
        section: values for section, values in run.read_config().items() if isinstance(values, dict)
    }
    if not run.picture_path.is_file():
        return RunRecord(run.name, role, settings, run.meta)
    return RunRecord(run.name, role, settings, run.meta, run.picture_path, _classes_of(run))


def _classes_of(run: RunDir) -> tuple[str, ...]:
    """Names of the classes of a proxy set; none where its file is gone or damaged: a picture can do without."""
    try:
        return read_classes(run.proxy_path)
    except DataError:
        return ()


def find_pictures(comparison: Comparison, parts: Parts, root: Path) -> dict[str, Path]:
    """Pictures of the proxy sets, by the search that trained on each."""
    condensed = {name: find_run(name, root) for name in parts.condensed}
    pictures = {}
    for trials in comparison.proxies:
        search = trials.run.read_config().get("search", {}) if trials.run else {}
        made = condensed.get(search.get("proxy", ""))
        if made is not None and made.picture_path.is_file():
            pictures[trials.name] = made.picture_path
    return pictures


def keep_parts(run: RunDir, parts: Parts) -> None:
    """Writes down what a comparison is made of."""
    run.update_meta(parts=asdict(parts))
