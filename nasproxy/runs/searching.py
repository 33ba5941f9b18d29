"""The work of `nasproxy search`."""

import contextlib
import math
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b

from nasproxy.config import CompareSettings, RecipeSettings, SearchConfig, SearchSettings
from nasproxy.errors import NasproxyError, StudyNotFoundError, UsageError
from nasproxy.images import ImageData
from nasproxy.proxyset import ProxySet
from nasproxy.rundir import RunDir
from nasproxy.runs.asked import Asked, read_numbers, write_numbers
from nasproxy.runs.budgets import MANY, fit_search
from nasproxy.runs.handing_out import write_model
from nasproxy.runs.loading import Task, describe_few, describe_strangers, load_proxy, load_quantity, read_arch_ids
from nasproxy.runs.place import Place
from nasproxy.runs.writing import write_trials
from nasproxy.searching.costing import Limits, SpaceCosts, measure_quantity
from nasproxy.searching.plan import NUM_EXAMPLES, Plan, limits_of, plan_search
from nasproxy.searching.precision import settle_precision
from nasproxy.searching.sample import COSTS, Quantity, draw_from_large, draw_sample
from nasproxy.searching.schedule import LEARNING
from nasproxy.searching.search import run_plan
from nasproxy.space import SearchSpace, source_of
from nasproxy.spacefile import load_space
from nasproxy.store import TrialStore, create_store, open_store, sqlite_url
from nasproxy.training import NetFolder
from nasproxy.trials import State, Trial, Trials


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
    budget: float | None = None,
    begin_until: float | None = None,
) -> Trials:
    """Scores architectures in a run folder: `study.db` (or the storage asked for) and `trials.csv`.

    Args:
        place: where runs lie, and who is told about progress.
        config: all settings; those of the run where one is resumed.
        given: what is in memory already.
        name: of the run and of its study; None: after data, space and proxy.
        resume: the run to go on with: what its study holds is not scored again.
        retry_failed: failed architectures of the resumed run are tried again, not only lost ones.
        budget: seconds of wall time, from now; None: no limit. As many architectures as fit are scored.
        begin_until: as for `run_plan`.

    Raises:
        StudyNotFoundError: the run to go on with has lost its study.
        NasproxyError: see `load_images`, `find_proxy`, `plan_search`, `run_plan`, `create_run`.
    """
    started, settings = time.monotonic(), config.search
    space = given.space or load_space(settings.space)
    data = given.data or place.load_images(config.images)
    proxy = given.proxy or load_proxy(settings.proxy, place.root, Task.on(data, space))
    asked = (Asked.kept_in(resume) if resume else None) or given.asked
    timed = read_numbers(resume.latency_path, "latency") if resume and resume.latency_path.is_file() else None
    costs, limits = given.costs or SpaceCosts(), limits_of(config, timed)
    if asked is None:
        asked = choose_archs(settings, space, data, place, given.arch_ids, costs=costs, limits=limits)
        if few := describe_few(settings.archs, asked.arch_ids):
            place.listener.warn(few)
    if resume is not None and resume.meta.get("is_timed") and begin_until is None:
        begin_until = math.inf  # nobody waits now, but what was left out stays out

    def make_plan(asked: Asked) -> Plan:
        return plan_search(
            space, proxy, data, config, asked.arch_ids, costs, asked.sample, latency=timed, listener=place.listener
        )

    is_endless = budget is not None and asked.arch_ids is None and not space.is_listed and settings.num_archs is None
    if is_endless:  # planned by a few
        few_of_many = {"num_archs": MANY} if settings.strategy in LEARNING else {"sample": str(NUM_EXAMPLES)}
        config = config.model_copy(update={"search": settings.model_copy(update=few_of_many)})
        asked = choose_archs(config.search, space, data, place, costs=costs, limits=limits)
    plan = make_plan(asked)
    settled = settle_precision(plan, place.listener)
    if settled is not config:
        config = settled
        plan = make_plan(asked)
    if budget is not None and plan.proxy.is_at_hand:
        if is_endless:
            space.archs()  # says what to ask for
        place.listener.say(f"no budget is needed: {plan.proxy.name} is looked up or counted")
    elif budget is not None:
        place.listener.say("timing some steps for the plan")
        fit = fit_search(plan, started + budget - time.monotonic(), is_endless=is_endless)
        place.listener.say(fit.describe(None if is_endless else plan.num_trials))
        if is_endless and settings.strategy not in LEARNING:
            in_order = {"strategy": "random"} if settings.strategy == "grid" else {}
            settings = config.search.model_copy(update={"sample": str(fit.num_archs)} | in_order)
            asked = choose_archs(settings, space, data, place, costs=costs, limits=limits)
        else:
            settings, asked = fit.cut(plan, asked)
        config = config.model_copy(update={"search": settings})
        begin_until = time.monotonic() + fit.begin_seconds
        plan = make_plan(asked)
    settings = config.search
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
    parents |= hash_trainer(plan.proxy.scored_by)
    default_name = f"{data.name}-{space.name}-{plan.proxy.name.replace(':', '-')}"
    run = place.begin_run(config, parents, default_name, name=name, resume=resume)
    store = None if resume is None else _open_store(run, plan, settings.storage, is_new=False)
    try:
        with run.running():
            store = store or _open_store(run, plan, settings.storage, is_new=True)
            done = store.trials()
            workforce = {"workers": plan.workforce.num_workers, "threads_per_worker": plan.workforce.threads_per_worker}
            left_out = dict(plan.costs.left_out)
            run.update_meta(has_study=True, device=plan.workforce.device_name, workforce=workforce, left_out=left_out)
            run.update_meta(images=data.describe(), is_timed=begin_until is not None)
            if given.data is None:
                place.tell_images(data)
            asked.keep_in(run)

            def keep_latencies(trial: Trial | None = None) -> None:  # of what may be proposed they come one by one
                if plan.limits.is_timed and (trial is None or plan.is_open):
                    write_numbers(run.latency_path, "latency", plan.costs.latencies)

            keep_latencies()
            if given.known is not None:
                done = _take_over(given.known, plan, store)
                place.listener.say(f"{len(done)} architecture(s) taken over from {given.known.name}")
            run.log(f"search {space.name} by {plan.proxy.name}: {plan.num_trials} trials, {len(done)} done before")
            trials = run_plan(
                plan,
                store,
                done=done,
                retry_failed=retry_failed,
                log_path=run.log_path,
                keep=NetFolder(run.nets_path.resolve()) if settings.keep_nets else None,
                folder=run.path,
                begin_until=begin_until,
                on_trial=keep_latencies,
                listener=place.listener,
            )
            if begin_until is not None and len(trials) < plan.num_trials:  # it is no search of all that was asked for
                asked.narrowed_to([trial.arch_id for trial in trials]).keep_in(run)
            trials = replace(trials, info=replace(trials.info, name=run.name), run=run)
            write_trials(run, trials)
            if settings.keep_nets:
                write_model(run, plan, trials)
            run.log(f"done: {len(trials)} trials")
    except NasproxyError as error:
        if resume is None and (store is None or _was_refused(error, store)):
            if store is not None:
                store.delete()
            shutil.rmtree(run.path)
        raise
    return trials


def hash_trainer(scored_by: object) -> dict[str, str]:
    """'trainer' -> hash of the file of a training loop of one's own, as a parent of a run; empty: there is none."""
    if not isinstance(scored_by, RecipeSettings) or scored_by.trainer is None:
        return {}
    source = "\0".join(source_of(scored_by.trainer))
    return {"trainer": blake2b(source.encode(), digest_size=16).hexdigest()}


def _was_refused(error: NasproxyError, store: TrialStore) -> bool:
    """Whether a search was wrong from the start, as only Ray could tell."""
    return isinstance(error, UsageError) and len(store.trials()) == 0


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
    place: Place,
    named: Sequence[str] | None = None,
    *,
    costs: SpaceCosts | None = None,
    limits: Limits | None = None,
) -> Asked:
    """The architectures that settings name, or what is drawn of these.

    Args:
        settings: of the search or comparison.
        space: the search space.
        data: the images: costs of architectures depend on them.
        place: where runs lie, and who is told where fewer are found.
        named: ids, instead of those that settings name.
        costs: of architectures, as far as they are known; those of a large space that are drawn are added.
        limits: what architectures of a large space may cost; None: as much as they do.

    Raises:
        NasproxyError: see `read_arch_ids`, `SearchSpace.pick`, `load_quantity`, `draw_sample`, `draw_from_large`.
    """
    task = Task.on(data, space)
    ids = read_arch_ids(settings.archs, place.root, task) if named is None else named
    if ids is None and settings.sample is None:
        return Asked()
    if ids is None and settings.sample is not None and not space.is_listed:
        known, allowed = costs or SpaceCosts(), limits or Limits()
        sample = draw_from_large(
            space,
            settings.sample,
            settings.sample_seed,
            lambda arch: allowed.admits(arch, known, data),
            place.listener,
        )
        return Asked(tuple(sample.weights), sample)
    archs = space.archs() if ids is None else space.pick(ids)  # people may call them otherwise than we do
    arch_ids = tuple(arch.id for arch in archs)
    if settings.sample is None:
        return Asked(arch_ids)

    def quantity_of(name: str) -> Quantity:
        return measure_quantity(name, archs, data) if name in COSTS else load_quantity(name, place.root, task)

    sample = draw_sample(arch_ids, settings.sample, settings.sample_seed, quantity_of)
    return Asked(tuple(sample.weights), sample)


def _open_store(run: RunDir, plan: Plan, url: str | None, *, is_new: bool) -> TrialStore:
    """A new run's new study; a resumed run's own, or a new one where it was stopped before it had one.

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
    return create_store(info, plan.space.factors, url)
