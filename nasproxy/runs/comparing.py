"""The work of `nasproxy compare`: condense, search with every proxy, make the truth, compare, report.

A piece of work that an earlier run with the same settings and data holds is read from there, and one that was cut short
goes on: a comparison is resumed by starting it again.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nasproxy.combining import COMBINATIONS, common_rows
from nasproxy.comparing import Comparison
from nasproxy.condensing import METHODS
from nasproxy.config import CompareConfig, Tree, dump_config, make_config
from nasproxy.errors import SettingsError, unknown_name
from nasproxy.files import write_text
from nasproxy.images import load_images
from nasproxy.proxies import PROXIES
from nasproxy.ranking import MIN_TRUTHS, average_ranks, sample_stratified
from nasproxy.rundir import LAST, RunDir, create_run, find_run
from nasproxy.runs.estimating import Speed
from nasproxy.runs.listener import Listener
from nasproxy.runs.pieces import WHOLE, Condensing, Piece, Searching, Task, is_done
from nasproxy.runs.references import SCORED, find_search_run, load_trials, load_truth, parse_fraction, read_arch_ids
from nasproxy.runs.reporting import Parts, keep_parts, make_comparison, write_comparison, write_weights
from nasproxy.space import load_space
from nasproxy.study import Trials

TRAIN = "train"
"""The truth that is made here."""
TRUTH_ARCHS = "truth_archs.csv"
"""File of a comparison: the architectures that were chosen for the truth."""


@dataclass(frozen=True)
class Step:
    """A line of the plan."""

    what: str
    run: str | None
    """The earlier run that it is read from, or that goes on."""
    is_done: bool
    seconds: float
    """Estimated wall time of what is left; 0 where it is done, the whole where a search goes on."""


def settings_of_compare(given: Tree, root: Path) -> CompareConfig:
    """The settings of a new comparison. @last is replaced by the run's name: it must mean the same later.

    Raises:
        SettingsError: an unknown or invalid setting.
        RunNotFoundError: @last where there is no run.
    """
    config = make_config(CompareConfig, given)
    settings = config.compare
    proxies = tuple(
        find_run(LAST, root, "condense", *SCORED).name if name == LAST else name for name in settings.proxies
    )
    truth = find_search_run(LAST, root).name if settings.truth == LAST else settings.truth
    return config.model_copy(update={"compare": settings.model_copy(update={"proxies": proxies, "truth": truth})})


def plan_compare(config: CompareConfig, *, root: Path, listener: Listener) -> list[Step]:
    """What a comparison will do, in order, and how long each piece takes on this machine.

    Raises:
        NasproxyError: see `run_compare`.
    """
    work = _Work.of(config, root, listener)
    pieces = [(piece, 1.0) for piece in work.pieces]
    if config.compare.truth == TRAIN:
        pieces.append((Searching(work.task, WHOLE), work.truth_share()))
    found = [piece.find() for piece, _ in pieces]
    if all(is_done(run) for run in found):
        return [Step(piece.what, run.name, True, 0.0) for (piece, _), run in zip(pieces, found, strict=True) if run]
    listener.say("timing some steps of training and condensing for the plan")
    speed = Speed.measure(work.task)
    return [
        Step(piece.what, run.name if run else None, is_done(run), 0.0 if is_done(run) else share * speed.of(piece))
        for (piece, share), run in zip(pieces, found, strict=True)
    ]


def run_compare(
    config: CompareConfig, *, root: Path, name: str | None, resume: RunDir | None, listener: Listener
) -> tuple[RunDir, Comparison]:
    """The whole experiment, in a run folder: `report.html`, `comparison.csv`, `architectures.csv`, `figures/`.

    Args:
        config: all settings; those of the run where one is resumed.
        root: folder of all runs.
        name: of the comparison; None: after data and space.
        resume: the comparison to go on with.
        listener: told about progress.

    Raises:
        SettingsError: an unknown proxy, method, combination, or `truth_for`.
        NasproxyError: see `run_condense`, `run_search`, `make_comparison`.
    """
    work = _Work.of(config, root, listener)
    task = work.task
    parents = task.parents | {"space": task.space.content_hash()}
    run = resume or create_run(
        root,
        name,
        f"{task.data.name}-{task.space.name}-comparison",
        command=config.command,
        config_text=dump_config(config),
        parents=parents,
    )
    run.check_parents(parents)
    with run.running():
        parts = work.perform(run, listener)
        keep_parts(run, parts)
        listener.say("comparing")
        comparison = make_comparison(parts, root, run)
        write_comparison(comparison, parts, root, run.path, title=run.name, dashboard=run.name)
        run.log(f"done: {len(comparison.rankings)} proxies")
    return run, comparison


@dataclass(frozen=True)
class _Work:
    """All pieces of a comparison."""

    task: Task
    pieces: tuple[Piece, ...]
    """Without the truth, which may depend on them."""
    scored: tuple[str, ...]
    """Earlier runs with trials that are compared as they are."""

    @classmethod
    def of(cls, config: CompareConfig, root: Path, listener: Listener) -> "_Work":
        """Checks all that can be checked before anything is started."""
        settings = config.compare
        _check(config)
        space = load_space(settings.space)
        data = load_images(settings=config.images, progress=listener.progress)
        arch_ids = read_arch_ids(settings.archs, root)
        task = Task(config, data, space, root, None if arch_ids is None else tuple(arch_ids))
        space.pick(arch_ids or ())
        pieces: list[Piece] = []
        scored: list[str] = []
        for proxy in settings.proxies:
            if proxy in METHODS:
                condensing = Condensing(task, proxy)
                condensing.config  # noqa: B018  # refuses wrong settings
                pieces += [condensing, Searching(task, proxy, condensing)]
            elif proxy in PROXIES or Path(proxy).suffix == ".safetensors" or _is_condensed(proxy, root):
                pieces.append(Searching(task, proxy))
            else:
                scored.append(proxy)
        if settings.truth != TRAIN:
            load_truth(settings.truth, root)
        return cls(task, tuple(pieces), tuple(scored))

    def perform(self, run: RunDir, listener: Listener) -> Parts:
        """Does every piece, the truth last."""
        settings = self.task.config.compare
        total = len(self.pieces) + (settings.truth == TRAIN)
        condensed: list[str] = []
        searched: list[str] = []
        for number, piece in enumerate(self.pieces, start=1):
            listener.say(f"{number}/{total} {_describe(piece)}")
            done = piece.perform(listener)
            (condensed if isinstance(piece, Condensing) else searched).append(done.name)
        proxies = (*searched, *self.scored)
        truth, chosen = settings.truth, None
        if truth == TRAIN:
            chosen = self._choose([self._load(name) for name in proxies], run)
            piece = self._truth_for(run, chosen)
            listener.say(f"{total}/{total} {_describe(piece)}")
            truth = piece.perform(listener).name
        if self.task.arch_ids is not None:
            write_text(run.archs_path, "".join(f"{arch_id}\n" for arch_id in self.task.arch_ids))
        return Parts(
            proxies=proxies,
            truth=truth,
            condensed=tuple(condensed),
            combine=settings.combine,
            truth_for=settings.truth_for if chosen else None,
            truth_archs=TRUTH_ARCHS if chosen else None,
            top=settings.top,
            seed=settings.seed,
        )

    def _load(self, name: str) -> Trials:
        """Trials of the architectures that are compared; a run that is read from may have more."""
        return load_trials(find_search_run(name, self.task.root)).of(self.task.arch_ids)

    def _choose(self, proxies: Sequence[Trials], run: RunDir) -> dict[str, float] | None:
        """Architectures for the truth, and how many each one stands for; None: all. Chosen once, then kept."""
        kind, _, amount = self.task.config.compare.truth_for.partition(":")
        if kind == "all":
            return None
        if kind == "top":
            weights = choose_top(proxies, parse_fraction(amount))
        else:
            weights = choose_sample(proxies, int(amount), seed=self.task.config.compare.seed)
        write_weights(run.path / TRUTH_ARCHS, weights)
        return weights

    def _truth_for(self, run: RunDir, chosen: dict[str, float] | None) -> Searching:
        if chosen is None:
            return Searching(self.task, WHOLE)
        return Searching(self.task, WHOLE, arch_ids=tuple(chosen), archs=str((run.path / TRUTH_ARCHS).resolve()))

    def truth_share(self) -> float:
        """Share of the architectures that the truth will be made for; of 'top' at most."""
        kind, _, amount = self.task.config.compare.truth_for.partition(":")
        num_proxies = len(self.task.config.compare.proxies)
        if kind == "top":
            return min(parse_fraction(amount) * num_proxies, 1.0)
        return min(int(amount) / len(self.task.archs), 1.0) if kind == "sample" else 1.0


def choose_top(proxies: Sequence[Trials], fraction: float) -> dict[str, float]:
    """The best of each proxy, each architecture once; each stands for itself."""
    return {arch_id: 1.0 for trials in proxies for arch_id in trials.top(fraction)}


def choose_sample(proxies: Sequence[Trials], count: int, *, seed: int) -> dict[str, float]:
    """Architectures of all fifths of the proxies' average rank, and how many of their fifth each one stands for."""
    rows = common_rows(proxies)
    ranks = average_ranks([[trial.score for trial in row] for row in rows])
    chosen, weights = sample_stratified(ranks, count, seed=seed)
    return {rows[0][index].arch_id: float(weight) for index, weight in zip(chosen, weights, strict=True)}


def _describe(piece: Piece) -> str:
    found = piece.find()
    if found is None:
        return piece.what
    return f"{piece.what}: {'read from' if is_done(found) else 'going on with'} {found.name}"


def _is_condensed(reference: str, root: Path) -> bool:
    """Whether a run is a condense run; else it has trials."""
    return bool(find_run(reference, root, "condense", *SCORED).meta["command"] == "condense")


def _check(config: CompareConfig) -> None:
    settings = config.compare
    for how in settings.combine:
        if how not in COMBINATIONS:
            raise unknown_name("way to combine proxies", how, COMBINATIONS)
    if WHOLE in settings.proxies:
        raise SettingsError("'whole' is the truth that proxies are compared with; leave it out of the proxies")
    if twice := [name for name, count in Counter(settings.proxies).items() if count > 1]:
        raise SettingsError(f"proxy {twice[0]!r} is there twice; name each once")
    if settings.combine and len(settings.proxies) < 2:
        raise SettingsError(f"{settings.proxies[0]!r} alone is no combination; compare two proxies or more")
    kind, colon, amount = settings.truth_for.partition(":")
    if kind == "top" and colon:
        parse_fraction(amount)
    elif not (settings.truth_for == "all" or (kind == "sample" and amount.isdigit() and int(amount) > 0)):
        raise SettingsError(f"truth_for={settings.truth_for!r}; write all, top:5% or sample:36")
    if settings.truth != TRAIN and settings.truth_for != "all":
        raise SettingsError(
            f"truth_for={settings.truth_for!r} beside --truth: that truth is there; leave one of them out"
        )
    if "fitted" in settings.combine and kind == "sample" and int(amount) < MIN_TRUTHS:
        raise SettingsError(f"truth_for={settings.truth_for!r}: a fitted combination needs {MIN_TRUTHS} or more")
