"""The work of `nasproxy search`."""

import contextlib
import math
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import InitVar, dataclass, replace
from functools import cached_property
from pathlib import Path

from nasproxy.config import CompareSettings, SearchConfig, SearchSettings
from nasproxy.errors import NasproxyError, StudyNotFoundError, UsageError
from nasproxy.files import write_text
from nasproxy.images import ImageData
from nasproxy.proxyset import ProxySet
from nasproxy.rundir import RunDir
from nasproxy.runs.asked import Asked
from nasproxy.runs.loading import Task, describe_few, describe_strangers, load_proxy, load_quantity, read_arch_ids
from nasproxy.runs.place import Listener, Place
from nasproxy.searching.plan import Plan, SpaceCosts, measure_quantity, plan_search
from nasproxy.searching.sample import COSTS, Quantity, draw_sample
from nasproxy.searching.search import run_plan
from nasproxy.space import SearchSpace, load_space
from nasproxy.store import TrialStore, create_store, open_store, sqlite_url
from nasproxy.tables import csv_text, trials_frame
from nasproxy.trials import FLAGGED, State, Trial, Trials


@dataclass(frozen=True)
class SearchInput:
    """What a search is about, as far as it is in memory already; None: it is loaded by what the settings say."""

    data: ImageData | None = None
    space: SearchSpace | None = None
    proxy: ProxySet | Trials | str | None = None
    arch_ids: Sequence[str] | None = None
    asked: Asked | None = None
    """Which architectures, where that is decided."""
    costs: SpaceCosts | None = None
    """Of all its architectures."""
    known: Trials | None = None
    """Of an equal search of other architectures, or fewer: what it has scored is taken over."""


def run_search(
    place: Place,
    config: SearchConfig,
    given: SearchInput = SearchInput(),
    *,
    name: str | None = None,
    resume: RunDir | None = None,
    retry_failed: bool = False,
) -> Trials:
    """Scores architectures in a run folder: `study.db` (or the storage asked for) and `trials.csv`.

    Args:
        place: where runs lie, and who is told about progress.
        config: all settings; those of the run where one is resumed.
        given: what is in memory already.
        name: of the run and of its study; None: after data, space and proxy.
        resume: the run to go on with: what its study holds is not scored again.
        retry_failed: failed architectures of the resumed run are tried again, not only lost ones.

    Raises:
        StudyNotFoundError: the run to go on with has lost its study.
        NasproxyError: see `load_images`, `find_proxy`, `plan_search`, `run_plan`, `create_run`.
    """
    settings = config.search
    space = given.space or load_space(settings.space)
    data = given.data or place.load_images(config.images)
    proxy = given.proxy or load_proxy(settings.proxy, place.root, Task.on(data, space))
    asked = (Asked.kept_in(resume) if resume else None) or given.asked
    if asked is None:
        asked = choose_archs(settings, space, data, place.root, given.arch_ids)
        if few := describe_few(settings.archs, asked.arch_ids):
            place.listener.warn(few)
    plan = plan_search(space, proxy, data, config, asked.arch_ids, given.costs, asked.sample)
    if isinstance(proxy, Trials) and (strangers := describe_strangers(proxy, space)):
        place.listener.warn(strangers)
    for arch_id, reason in list(plan.costs.left_out.items())[:1]:
        place.listener.warn(f"{len(plan.costs.left_out)} architecture(s) left out, e.g. {arch_id}: {reason}")
    if given.asked is None and not plan.proxy.is_at_hand and plan.workforce.crowd:  # a comparison says it once
        place.listener.warn(plan.workforce.crowd)
    if resume is None and (first := _describe_first(plan, asked)):
        place.listener.warn(first)
    parents = {"data": data.data_hash, "split": data.split_hash, "space": space.content_hash()}
    if isinstance(proxy, ProxySet):
        parents["proxy_set"] = proxy.content_hash
    elif isinstance(proxy, Trials):
        parents["table"] = proxy.content_hash
    default_name = f"{data.name}-{space.name}-{plan.proxy.name.replace(':', '-')}"
    run = place.begin_run(config, parents, default_name, name=name, resume=resume)
    store = _open_store(run, plan, settings.storage, is_new=resume is None)
    done = store.trials()
    try:
        with run.running():
            workforce = {"workers": plan.workforce.num_workers, "threads_per_worker": plan.workforce.threads_per_worker}
            left_out = dict(plan.costs.left_out)
            run.update_meta(has_study=True, device=plan.workforce.device_name, workforce=workforce, left_out=left_out)
            run.update_meta(images=data.describe())
            if given.data is None:
                place.tell_images(data)
            asked.keep_in(run)
            if given.known is not None:
                done = _take_over(given.known, plan, store)
                place.listener.say(f"{len(done)} architecture(s) taken over from {given.known.name}")
            run.log(f"search {space.name} by {plan.proxy.name}: {plan.num_trials} trials, {len(done)} done before")
            tally = _Tally(done, plan, place.listener)
            trials = run_plan(
                plan, store, done=done, retry_failed=retry_failed, log_path=run.log_path, on_trial=tally.add
            )
            trials = replace(trials, info=replace(trials.info, name=run.name), run=run)
            write_text(run.path / "trials.csv", csv_text(trials_frame(trials)))
            run.log(f"done: {len(trials)} trials")
    except UsageError:  # found only when Ray was asked, before any training
        if resume is None and len(store.trials()) == 0:
            store.delete()
            shutil.rmtree(run.path)
        raise
    return trials


def _describe_first(plan: Plan, asked: Asked) -> str | None:
    """That a grid is cut to its first architectures, which are much alike; None: it is not."""
    count = plan.num_trials
    if plan.config.search.strategy != "grid" or asked.arch_ids is not None or count >= len(plan.archs):
        return None
    return (
        f"--num-archs {count} takes the first {count} of {len(plan.archs)} architectures in the order of the space, "
        f"which do not stand for it; give --sample {count} instead to draw them at random"
    )


def _take_over(known: Trials, plan: Plan, store: TrialStore) -> Trials:
    """Records what an equal search has scored of these architectures; what failed there is tried here.

    Returns:
        All trials of the store.
    """
    wanted = {arch.id for arch in plan.archs}.difference(trial.arch_id for trial in store.trials())
    for trial in known:
        if trial.arch_id in wanted and trial.state not in (State.FAILED, State.LOST):
            store.add(replace(trial, weight=plan.weight_of(trial.arch_id)))
    return store.trials()


def choose_archs(
    settings: SearchSettings | CompareSettings,
    space: SearchSpace,
    data: ImageData,
    root: Path,
    named: Sequence[str] | None = None,
) -> Asked:
    """The architectures that settings name, or what is drawn of these.

    Args:
        settings: of the search or comparison.
        space: the search space.
        data: the images: costs of architectures depend on them.
        root: where runs lie.
        named: ids, instead of those that settings name.

    Raises:
        NasproxyError: see `read_arch_ids`, `SearchSpace.pick`, `load_quantity`, `draw_sample`.
    """
    task = Task.on(data, space)
    ids = read_arch_ids(settings.archs, root, task) if named is None else named
    if ids is None and settings.sample is None:
        return Asked()
    archs = space.archs() if ids is None else space.pick(ids)  # people may call them otherwise than we do
    arch_ids = tuple(arch.id for arch in archs)
    if settings.sample is None:
        return Asked(arch_ids)

    def quantity_of(name: str) -> Quantity:
        return measure_quantity(name, archs, data) if name in COSTS else load_quantity(name, root, task)

    sample = draw_sample(arch_ids, settings.sample, settings.sample_seed, quantity_of)
    return Asked(tuple(sample.weights), sample)


@dataclass
class _Tally:
    """Counts trials for the progress line."""

    done: InitVar[Trials]
    """Those of an earlier part of the search."""
    plan: Plan
    listener: Listener

    def __post_init__(self, done: Trials) -> None:
        self.states: dict[str, State] = {}
        self.counts: Counter[State] = Counter()
        self.best: Trial | None = None
        self.is_at_chance = done.is_at_chance
        self.sizes = {arch.id: self.plan.size_of(arch) for arch in self.plan.archs}
        self.work = 0.0
        for trial in done:
            self._count(trial)
        self._show()

    def add(self, trial: Trial) -> None:
        self._count(trial)
        if not trial.is_ranked:
            self.listener.warn(f"{trial.state}: {trial.arch_id}: {trial.reason}")
        self._show()

    def _count(self, trial: Trial) -> None:
        before = self.states.get(trial.arch_id)
        if before is None:  # not tried before
            self.work += self.sizes.get(trial.arch_id, 0)
        else:
            self.counts[before] -= 1
        self.states[trial.arch_id] = trial.state
        self.counts[trial.state] += 1
        is_better = self.best is None or trial.selection_score > self.best.selection_score
        if trial.is_ranked and is_better and not self.is_at_chance(trial):
            self.best = trial

    def _show(self) -> None:
        notes = [f"best {self._show_score(self.best)} {self.best.arch_id}"] if self.best else []
        notes += [f"{self.counts[state]} {state}" for state in (*FLAGGED, State.NOT_FINITE) if self.counts[state]]
        notes.append(f"{self.counts[State.FAILED] + self.counts[State.LOST]} failed")
        self.listener.progress(
            "searching", len(self.states), self.plan.num_trials, ", ".join(notes), work=self._work_done()
        )

    def _show_score(self, trial: Trial) -> str:
        is_score = self.plan.proxy.score_name is not None
        return f"{trial.selection_score:.4g}" if is_score else f"{trial.selection_score:.1%}"

    def _work_done(self) -> float | None:
        """By FLOPs, where it is known which architectures will be tried, and what each costs."""
        if self.plan.num_trials < len(self.sizes) or math.isinf(self.total_work):
            return None
        return self.work / self.total_work

    @cached_property
    def total_work(self) -> float:
        """FLOPs of all architectures, of one image each."""
        return sum(self.sizes.values())


def _open_store(run: RunDir, plan: Plan, url: str | None, *, is_new: bool) -> TrialStore:
    """A new run's new study; a resumed run's own, or a new one where it was stopped before it had one.

    A new run whose study cannot be made leaves no folder.

    Raises:
        StudyNotFoundError: the resumed run had a study, and has lost it.
    """
    info, url = plan.describe(run.study_name), url or sqlite_url(run.study_path)
    if run.has_study:
        if url == sqlite_url(run.study_path) and not run.study_path.is_file():
            raise StudyNotFoundError(
                f"run {run.name} has lost its {run.study_path.name}, and with it all trials: put the file back, or "
                "search again under another --name"
            )
        return open_store(run.study_name, url, expected=info)
    if not is_new:  # stopped between making the study and saying so
        with contextlib.suppress(StudyNotFoundError):
            return open_store(run.study_name, url, expected=info)
    try:
        return create_store(info, plan.space.factors, url)
    except NasproxyError:
        if is_new:
            shutil.rmtree(run.path)
        raise
