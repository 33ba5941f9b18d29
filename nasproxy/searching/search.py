"""A search: every architecture of a schedule, scored on Ray Tune, recorded in an Optuna study.

The driver asks the schedule for architectures, Tune hands them to workers that live as long as the search, and each
ended trial is written to the study at once. A search that is cut short goes on from the study alone.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.schedulers import AsyncHyperBandScheduler
from ray.tune.search import Searcher

from nasproxy.config import RecipeSettings
from nasproxy.images import ImageData
from nasproxy.proxyset import ProxySet
from nasproxy.searching.asha import make_scheduler
from nasproxy.searching.cluster import Interrupts, count_slots, noticing_interrupts, ray_output_to, running_ray
from nasproxy.searching.local_ray import environment, own_folder
from nasproxy.searching.loggers import make_loggers
from nasproxy.searching.plan import Plan, config_from_overrides, plan_search
from nasproxy.searching.precision import settle_precision
from nasproxy.searching.recorder import NotSaved, OnTrial, Recorder
from nasproxy.searching.schedule import Signal, make_schedule
from nasproxy.searching.scorer import ArchScorer, Assignment, Job, look_up
from nasproxy.searching.tally import Tally
from nasproxy.searching.worker import ASSIGNMENT, METRIC, ArchTrainer
from nasproxy.space import SearchSpace
from nasproxy.store import TrialStore, create_store
from nasproxy.talk import SILENCE, Listener, listening
from nasproxy.training import NetFolder, count_steps
from nasproxy.trials import State, Trial, Trials

PENDING = "TUNE_MAX_PENDING_TRIALS_PG"
"""Environment variable: how many trials wait for workers that are starting. With one, as Tune has it where nobody says
how many workers there will be, short trials are over before a second worker has started."""
MAX_LOSSES = 2
"""Times that an architecture is tried again after its process or node died."""


def search(
    space: SearchSpace,
    proxy: ProxySet | Trials | str,
    data: ImageData,
    *,
    archs: Sequence[str] | None = None,
    on_trial: OnTrial = lambda trial: None,
    progress: bool | Listener = False,
    **overrides: Any,
) -> Trials:
    """Scores architectures of a space by a proxy, and keeps the trials in memory.

    Args:
        space: the search space.
        proxy: a proxy set; a name of `PROXIES`: 'whole', 'early-stop', or a training-free score such as 'naswot'; or a
            table of scores that were measured elsewhere (`read_scores`).
        data: the images; validation accuracy selects, test accuracy is reported.
        archs: ids of the architectures to score, e.g. `trials.top(0.05)`; None: the whole space.
        on_trial: told of every trial that ends.
        progress: whether to show how far it is, on stderr; or who is told.
        overrides: fields of `SearchSettings`, `RecipeSettings` and `MachineSettings`, e.g. `seeds=5, epochs=100`.

    Raises:
        NasproxyError: see `plan_search`.
    """
    with listening(progress) as listener:
        plan = plan_search(space, proxy, data, config_from_overrides(proxy, overrides), archs, listener=listener)
        config = settle_precision(plan, listener)
        if config is not plan.config:
            plan = plan_search(space, proxy, data, config, archs, plan.costs)
        info = plan.describe(f"{data.name}-{space.name}-{plan.proxy.name}")
        store = create_store(info, space.factors, None)
        return run_plan(plan, store, on_trial=on_trial, listener=listener)


def run_plan(
    plan: Plan,
    store: TrialStore,
    *,
    done: Trials | None = None,
    retry_failed: bool = False,
    log_path: Path | None = None,
    keep: NetFolder | None = None,
    folder: Path | None = None,
    begin_until: float | None = None,
    on_trial: OnTrial = lambda trial: None,
    listener: Listener = SILENCE,
) -> Trials:
    """Scores what is planned and not yet in the store.

    Args:
        plan: what to do.
        store: the study to record to; what it holds is not scored again.
        done: what it holds, where the caller has read that already.
        retry_failed: tries failed architectures of the store again; lost ones are tried again in any case.
        log_path: file that Ray's own output is appended to; None: dropped.
        keep: where trained nets are kept, and trainings that were cut short go on from; None: nowhere.
        folder: that loggers write into, where the settings ask for some; None: the folder where one works.
        begin_until: by `time.monotonic`: architectures that are not begun then are left out; of a screen, the
            others go on. None: none is.
        on_trial: told of every trial that ends.
        listener: told how far the search is.

    Returns:
        All trials, those that were in the store included.

    Raises:
        SettingsError: no Ray cluster, or one without the resources of a single worker.
        InputError: the store could not be written to for long; what it lacks is scored again when the search goes on.
    """
    settings = plan.config.search
    done = store.trials() if done is None else done
    schedule = make_schedule(
        settings.strategy,
        plan.space,
        plan.admits if plan.is_open else plan.archs,
        num_archs=plan.num_trials,
        size_of=plan.size_of,
        seed=settings.seed,
        round_size=settings.round_size,
        against=settings.against,
        screen=plan.screen,
        done=done,
        retry_failed=retry_failed,
    )
    tally = Tally(done, plan, listener)

    def tell(trial: Trial) -> None:
        tally.add(trial)
        on_trial(trial)

    def forget(trial: Trial) -> None:
        if keep is not None and trial.state is not State.LOST:
            keep.forget_trainings(trial.arch_id)

    recorder = Recorder(store, schedule, done, tell, forget)
    recorder.begin_until = begin_until
    has_cut = any(trial.round > 0 or trial.state is State.PRUNED for trial in done)
    if begin_until is not None and plan.screen is not None and has_cut:
        recorder.begin_until = 0.0  # it is over: who was not begun then stays out
    if plan.proxy.is_at_hand:
        _score_here(plan, recorder)
    else:
        _score_on_ray(plan, recorder, plan.make_job(keep), log_path, folder)
    recorder.close()
    if begin_until is not None and (num_left_out := plan.num_trials - len(recorder.trials)) > 0:
        listener.warn(f"{num_left_out} architecture(s) were not begun: the time for the search was over")
    return Trials(done.info, recorder.trials)


def _score_here(plan: Plan, recorder: Recorder) -> None:
    """In this process: counting and looking up take less time than to start another."""
    table = plan.proxy.scored_by
    score = partial(look_up, table) if isinstance(table, Trials) else ArchScorer(plan.make_job()).score
    while isinstance(assignment := recorder.next(plan), Assignment):
        recorder.finish(*score(assignment))


def _score_on_ray(plan: Plan, recorder: Recorder, job: Job, log_path: Path | None, folder: Path | None) -> None:
    folder = (folder or Path()).resolve()
    loggers = make_loggers(plan.config.search.loggers, folder, plan.space.name)
    with (
        noticing_interrupts(frees_workers=ray.is_initialized()) as interrupts,
        ray_output_to(log_path) as log,
        running_ray(plan.workforce) as resources,
        environment({PENDING: str(count_slots(resources))}),
    ):
        recorder.log = log
        with own_folder() as scratch:
            tune.Tuner(
                tune.with_resources(tune.with_parameters(ArchTrainer, job=job), resources),
                tune_config=tune.TuneConfig(
                    search_alg=_ScheduleSearcher(plan, recorder),
                    num_samples=-1,
                    max_concurrent_trials=plan.workforce.num_workers,
                    scheduler=_make_scheduler(plan),
                    reuse_actors=True,
                    trial_dirname_creator=lambda trial: trial.trial_id,
                ),
                run_config=tune.RunConfig(
                    name="logs" if loggers else "search",
                    storage_path=str(folder if loggers else scratch),
                    verbose=0,
                    callbacks=[recorder, _Interruptible(interrupts), *loggers],
                    failure_config=tune.FailureConfig(max_failures=MAX_LOSSES),
                ),
            ).fit()
        recorder.log = None


def _make_scheduler(plan: Plan) -> AsyncHyperBandScheduler | None:
    if not plan.rungs:
        return None
    assert isinstance(plan.proxy.scored_by, RecipeSettings)
    return make_scheduler(plan.rungs, count_steps(plan.proxy.scored_by, plan.num_images), plan.config.search)


class _Interruptible(NotSaved, tune.Callback):
    """Ends a search at its next step where Ctrl-C was swallowed."""

    def __init__(self, interrupts: Interrupts) -> None:
        self._interrupts = interrupts

    def on_step_begin(self, iteration: int, trials: Any, **info: Any) -> None:
        self._interrupts.check()


class _ScheduleSearcher(NotSaved, Searcher):
    """Tune's view of our schedule."""

    def __init__(self, plan: Plan, recorder: Recorder) -> None:
        super().__init__(metric=METRIC, mode="max")
        self._plan, self._recorder = plan, recorder

    def suggest(self, trial_id: str) -> Any:
        answer = self._recorder.next(self._plan)
        if isinstance(answer, Assignment):
            return {ASSIGNMENT: answer, "arch_id": answer.arch.id, **answer.arch.factors}
        return Searcher.FINISHED if answer is Signal.END else None

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        """The recorder is told."""

    def save(self, checkpoint_path: str) -> None:
        """The study is the only record."""

    def restore(self, checkpoint_path: str) -> None:
        """The study is the only record."""
