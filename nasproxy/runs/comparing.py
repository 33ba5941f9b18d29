"""The work of `nasproxy compare`: condense, search with every proxy, make the truth, compare, report.

A piece of work that an earlier run with the same settings and data holds is read from there, and one that was cut short
goes on: a comparison is resumed by starting it again.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nasproxy.alignment import align, check_truth
from nasproxy.combining import COMBINATIONS, common_rows
from nasproxy.comparing import Comparison
from nasproxy.condensing import METHODS
from nasproxy.config import CompareConfig, Tree, make_config, parse_share
from nasproxy.errors import InputError, SettingsError, unknown_name
from nasproxy.images import ImageData
from nasproxy.proxies import COMPOSITES, PROXIES
from nasproxy.ranking import MIN_TRUTHS, average_ranks, sample_stratified
from nasproxy.rundir import LAST, RunDir, find_run
from nasproxy.runs.asked import Asked, read_numbers, write_numbers
from nasproxy.runs.estimating import Estimates
from nasproxy.runs.loading import describe_few, load_scored, load_truth
from nasproxy.runs.pieces import WHOLE, Condensing, Experiment, Piece, RunIndex, Searching
from nasproxy.runs.place import Place
from nasproxy.runs.references import (
    SCORED,
    is_kept_proxy_set,
    name_last,
    name_last_search,
    names_table,
    reference_of,
    settings_behind,
)
from nasproxy.runs.reporting import Parts, compose, judge, keep_parts, truth_of, write_comparison
from nasproxy.runs.searching import choose_archs
from nasproxy.scoring import SCORES
from nasproxy.searching.cluster import RaySession
from nasproxy.signals import join_signal, split_signal
from nasproxy.space import SearchSpace
from nasproxy.spacefile import load_space
from nasproxy.talk import listening
from nasproxy.trials import FEWEST, Signal, Trials
from nasproxy.truths import names_truth

TRAIN = "train"
"""The truth that is made here."""
TRUTH_ARCHS = "truth_archs.csv"
"""File of a comparison: the architectures that were chosen for the truth."""


@dataclass(frozen=True)
class PlanStep:
    """A line of the plan of a comparison."""

    what: str
    run: str | None
    """The earlier run that it is read from, or that goes on."""
    is_done: bool
    seconds: float
    """Estimated wall time of what is left; 0 where it is done, the whole where a search goes on."""


def settings_of_compare(given: Tree, root: Path) -> CompareConfig:
    """The settings of a new comparison: images and space of a published truth, where nothing else is asked for.

    @last is replaced by the run's name: it must mean the same later.

    Raises:
        SettingsError: an unknown or invalid setting.
        RunNotFoundError: @last where there is no run.
    """
    truth = str(given.get("compare", {}).get("truth", TRAIN))
    config = make_config(CompareConfig, settings_behind(truth, "compare"), given)
    settings = config.compare
    proxies = tuple(_name_last(name, root) for name in settings.proxies)
    truth = name_last_search(settings.truth, root)
    named = {"proxies": proxies, "truth": truth, "sample": name_last(settings.sample, root)}
    return config.model_copy(update={"compare": settings.model_copy(update=named)})


def _name_last(reference: str, root: Path) -> str:
    name, signal = split_signal(reference)
    return join_signal(find_run(LAST, root, "condense", *SCORED).name, signal) if name == LAST else reference


@dataclass(frozen=True)
class ComparisonPlan:
    """All pieces of a comparison, checked before anything is started. Made by `Runs.plan`."""

    experiment: Experiment
    pieces: tuple[Piece, ...]
    """Without the truth, which may depend on them."""
    composites: Mapping[str, tuple[Searching, ...]]
    """Proxies that are several as one, by name: the searches by their parts, which are among the pieces."""
    scored: Mapping[str, Trials]
    """Trials that are compared as they are, by the name of their run."""
    truth: Trials | None
    """The truth, where it is there."""
    resume: RunDir | None
    """The comparison that goes on."""

    @classmethod
    def make(
        cls,
        place: Place,
        config: CompareConfig,
        *,
        data: ImageData | None = None,
        space: SearchSpace | None = None,
        trials: Mapping[str, Trials] | None = None,
        truth: Trials | None = None,
        resume: RunDir | None = None,
    ) -> "ComparisonPlan":
        """Checks all that can be checked before anything is started.

        Args:
            place: where runs lie, and who is told about progress.
            config: all settings; those of the run where one is resumed.
            data: the images, where they are loaded already.
            space: the search space, where it is loaded already.
            trials: searches among the proxies that are in memory already, by the name of their run.
            truth: the truth, where it is in memory already.
            resume: the comparison to go on with.

        Raises:
            SettingsError: an unknown proxy, method, combination, or `truth_for`.
            NasproxyError: see `load_space`, `load_images`, `load_truth`, `find_run`.
        """
        settings, known = config.compare, dict(trials or {})
        _check(config)
        space = space or load_space(settings.space)
        is_read_here, data = data is None, data or place.load_images(config.images)
        kept = Asked.kept_in(resume) if resume else None
        asked = kept or choose_archs(settings, space, data, place)
        if kept is None and (few := describe_few(settings.archs, asked.arch_ids)):
            place.listener.warn(few)
        experiment = Experiment(place, config, data, space, RunIndex.of(place), asked)
        pieces, composites, scored = _take_apart(settings.proxies, experiment, known)
        if settings.truth != TRAIN:
            truth = truth or load_truth(settings.truth, place, experiment.task)
        plan = cls(experiment, pieces, composites, scored, truth, resume)
        plan._check_what_is_there()
        if is_read_here:
            place.tell_images(data)
        return plan

    def _check_what_is_there(self) -> None:
        """Refuses searches, or a truth, of other images or another space before anything is trained."""
        expected = self.experiment.parents | {"space": self.experiment.space_hash}
        for piece in self.pieces:
            if isinstance(piece, Searching):
                piece.check_signal()
        for other in [*self.scored.values(), *([self.truth] if self.truth else [])]:
            for what, mine in expected.items():
                theirs = getattr(other.info, f"{what}_hash")
                if theirs and theirs != mine:
                    raise InputError(
                        f"{other.name} cannot be compared here: its {what}_hash differs ({theirs} and {mine}); "
                        "search on the same images, split and space"
                    )
        if self.truth is not None:
            check_truth(self.truth)
            if not any(arch.id in self.truth.by_id for arch in self.experiment.archs):
                raise InputError(
                    f"truth {self.truth.name} has no architecture that is compared here, e.g. "
                    f"{self.experiment.archs[0].id} of space {self.experiment.space.name}: it has "
                    f"{self.truth[0].arch_id}; name its space"
                )

    def steps(self) -> list[PlanStep]:
        """What will be done, in order, and how long each piece takes on this machine: some steps are timed."""
        pieces = [(piece, 1.0) for piece in self.pieces]
        if self.truth is None:
            pieces.append((Searching(self.experiment, WHOLE), self._truth_share()))
        found = [piece.find() for piece, _ in pieces]
        left = [not (run and run.is_done) for run in found]
        takes_time = any(
            is_left and not (isinstance(piece, Searching) and piece.is_at_hand)
            for (piece, _), is_left in zip(pieces, left, strict=True)
        )
        estimates = None
        if takes_time and any(self.experiment.costs.of.values()):  # else nothing can be multiplied
            self.experiment.place.listener.say("timing some steps of training and condensing for the plan")
            estimates = Estimates.measure(self.experiment)
        steps, seen = [], []
        for (piece, share), run, is_left in zip(pieces, found, left, strict=True):
            work = replace(piece, signal=Signal.ACCURACY, is_part=False) if isinstance(piece, Searching) else piece
            takes = is_left and work not in seen  # one search is compared by several signals
            seconds = share * estimates.of(piece) if takes and estimates else 0
            steps.append(PlanStep(piece.what, run.name if run else None, not is_left, seconds))
            seen.append(work)
        return steps

    def perform(self, name: str | None = None) -> Comparison:
        """The whole experiment, in a run folder: `report.html`, `comparison.csv`, `architectures.csv`, `figures/`.

        Args:
            name: of the comparison; None: after data and space.

        Raises:
            NasproxyError: see `run_condense`, `run_search`, `compare_trials`.
        """
        experiment, config = self.experiment, self.experiment.config
        parents = experiment.parents | {"space": experiment.space_hash}
        default_name = f"{experiment.data.name}-{experiment.space.name}-comparison"
        run = experiment.place.begin_run(config, parents, default_name, name=name, resume=self.resume)
        with listening(experiment.place.listener), run.running():
            experiment.asked.keep_in(run)
            run.update_meta(images=experiment.data.describe())
            parts, proxies, truth, weights = self._perform_pieces(run)
            keep_parts(run, parts)
            experiment.place.listener.say("comparing")
            comparison = replace(judge(parts, proxies, truth, weights), run=run)
            write_comparison(comparison, parts, experiment.place.root, run.path, title=run.name, dashboard=run.name)
            run.log(f"done: {len(comparison.rankings)} proxies")
        return comparison

    def _perform_pieces(self, run: RunDir) -> tuple[Parts, list[Trials], Trials, dict[str, float] | None]:
        """Does every piece, the truth last."""
        settings, experiment = self.experiment.config.compare, self.experiment
        total = len(self.pieces) + (self.truth is None)
        condensed: list[str] = []
        truth, truth_name, chosen = self.truth, settings.truth, None
        if truth is not None and names_truth(truth_name):  # with its data set: a report is written without the images
            truth_name = truth.name
        with RaySession(experiment.config.machine, run.log_path, experiment.place.listener.warn) as ray:
            for number, piece in enumerate(self.pieces, start=1):
                experiment.place.listener.say(f"{number}/{total} {_describe(piece)}")
                made = piece.perform(ray)
                if isinstance(piece, Condensing):
                    condensed.append(made.name)
            searched = [piece.trials for piece in self.pieces if isinstance(piece, Searching) and not piece.is_part]
            proxies = {trials.name: experiment.asked.part_of(trials) for trials in (*searched, *self.scored.values())}
            composed = {
                name: [experiment.asked.part_of(part.trials) for part in parts]
                for name, parts in self.composites.items()
            }
            proxies |= {name: compose(name, parts) for name, parts in composed.items()}
            if truth is None:
                chosen = self._choose(list(proxies.values()), run)
                last = self._truth_for(run, chosen)
                experiment.place.listener.say(f"{total}/{total} {_describe(last)}")
                truth_name = last.perform(ray).name
                truth = last.trials
        parts = Parts(
            proxies=self._references(proxies.values()),
            composites={name: self._references(trials) for name, trials in composed.items()},
            truth=truth_name,
            condensed=tuple(condensed),
            combine=settings.combine,
            truth_for=settings.truth_for if chosen else None,
            truth_archs=TRUTH_ARCHS if chosen else None,
            top=settings.top,
            seed=settings.seed,
        )
        return parts, list(proxies.values()), truth_of(truth, experiment.asked, chosen), chosen

    def _references(self, proxies: Iterable[Trials]) -> tuple[str, ...]:
        """How those that have runs are written down."""
        root = self.experiment.place.root
        return tuple(reference_of(trials.run, root, trials.info.signal) for trials in proxies if trials.run)

    def _choose(self, proxies: Sequence[Trials], run: RunDir) -> dict[str, float] | None:
        """Architectures for the truth, and how many each one stands for; None: all. Chosen once, then kept."""
        kind, _, amount = self.experiment.config.compare.truth_for.partition(":")
        if kind == "all":
            return None
        if (run.path / TRUTH_ARCHS).is_file():
            return read_numbers(run.path / TRUTH_ARCHS, "weight")
        if kind == "top":
            weights = choose_top(proxies, parse_share(amount))
            if (few := min(len(trials.top(parse_share(amount))) for trials in proxies)) < FEWEST:
                self.experiment.place.listener.warn(
                    f"truth_for=top:{amount} is {few} architecture(s) of each proxy: figures of so few say little; "
                    "give a larger share"
                )
        else:
            weights = choose_sample(proxies, int(amount), seed=self.experiment.config.compare.seed)
        write_numbers(run.path / TRUTH_ARCHS, "weight", weights)
        return weights

    def _truth_for(self, run: RunDir, chosen: dict[str, float] | None) -> Searching:
        if chosen is None:
            return Searching(self.experiment, WHOLE)
        return Searching(self.experiment, WHOLE, arch_ids=tuple(chosen), archs=str((run.path / TRUTH_ARCHS).resolve()))

    def _truth_share(self) -> float:
        """Share of the architectures that the truth will be made for; of 'top' at most."""
        kind, _, amount = self.experiment.config.compare.truth_for.partition(":")
        num_proxies = len(self.scored) + sum(isinstance(piece, Searching) for piece in self.pieces)
        if kind == "top":
            return min(parse_share(amount) * num_proxies, 1.0)
        return min(int(amount) / len(self.experiment.archs), 1.0) if kind == "sample" else 1.0


def _take_apart(
    proxies: Sequence[str], experiment: Experiment, known: Mapping[str, Trials]
) -> tuple[tuple[Piece, ...], dict[str, tuple[Searching, ...]], dict[str, Trials]]:
    """The pieces of work that proxies need, the searches that composites are made of, and the trials there are."""
    pieces: list[Piece] = []
    scored: dict[str, Trials] = {}
    for reference in proxies:
        proxy, signal = (reference, Signal.ACCURACY) if names_table(reference) else split_signal(reference)
        if signal is not Signal.ACCURACY and (proxy in COMPOSITES or proxy in SCORES):
            raise SettingsError(f"proxy {reference!r}: {proxy} trains no nets that could be ranked by {signal}")
        if proxy in COMPOSITES:
            continue
        if proxy in METHODS:
            for number in range(1, experiment.config.compare.sets + 1):
                condensing = Condensing(experiment, proxy, number)
                condensing.config  # noqa: B018  # refuses wrong settings
                if condensing not in pieces:
                    pieces.append(condensing)
                pieces.append(Searching(experiment, proxy, condensing, signal=signal))
        elif _is_searched_with(proxy, experiment.place.root):
            pieces.append(Searching(experiment, proxy, signal=signal))
        else:
            found = known[reference] if reference in known else load_scored(reference, experiment.place.root)
            scored[found.name] = found
    composites: dict[str, tuple[Searching, ...]] = {}
    for name in filter(COMPOSITES.__contains__, proxies):
        asked = {piece.proxy: piece for piece in pieces if isinstance(piece, Searching)}
        parts = [asked.get(part) or Searching(experiment, part, is_part=True) for part in COMPOSITES[name].parts]
        pieces += [part for part in parts if part not in pieces]
        composites[name] = tuple(parts)
    return tuple(pieces), composites, scored


def choose_top(proxies: Sequence[Trials], fraction: float) -> dict[str, float]:
    """The best of each proxy, each architecture once; each stands for itself."""
    return {arch_id: 1.0 for trials in proxies for arch_id in trials.top(fraction)}


def choose_sample(proxies: Sequence[Trials], count: int, *, seed: int) -> dict[str, float]:
    """Architectures of all fifths of the proxies' average rank, and how many of their fifth each one stands for."""
    alignment = align(proxies)
    rows = common_rows(alignment)
    ranks = average_ranks([scores.selection_means[rows] for scores in alignment.proxies])
    chosen, weights = sample_stratified(ranks, count, seed=seed)
    return {alignment.arch_ids[rows[at]]: float(weight) for at, weight in zip(chosen, weights, strict=True)}


def _describe(piece: Piece) -> str:
    found = piece.find()
    if found is None:
        return piece.what
    return f"{piece.what}: {'read from' if found.is_done else 'going on with'} {found.name}"


def _is_searched_with(reference: str, root: Path) -> bool:
    """Whether it is a proxy that scores architectures here; else it is a run with trials."""
    if reference in PROXIES or Path(reference).suffix == ".safetensors" or names_table(reference):
        return True
    run = find_run(reference, root, "condense", *SCORED)
    return run.command == "condense" or is_kept_proxy_set(run)


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
        parse_share(amount)
    elif not (settings.truth_for == "all" or (kind == "sample" and amount.isdigit() and int(amount) > 0)):
        raise SettingsError(f"truth_for={settings.truth_for!r}; write all, top:5% or sample:36")
    if settings.truth != TRAIN and settings.truth_for != "all":
        raise SettingsError(
            f"truth_for={settings.truth_for!r} beside --truth: that truth is there; leave one of them out"
        )
    if "fitted" in settings.combine and kind == "sample" and int(amount) < MIN_TRUTHS:
        raise SettingsError(f"truth_for={settings.truth_for!r}: a fitted combination needs {MIN_TRUTHS} or more")
