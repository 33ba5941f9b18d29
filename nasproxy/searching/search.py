"""A search: every architecture of a schedule, scored on Ray Tune, recorded in an Optuna study.

The driver asks the schedule for architectures, Tune hands them to workers that live as long as the search, and each
ended trial is written to the study at once. A search that is cut short goes on from the study alone.
"""

import contextlib
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO

from ray import tune
from ray.tune.search import Searcher

from nasproxy.errors import InputError
from nasproxy.images import ImageData
from nasproxy.proxyset import ProxySet
from nasproxy.searching.cluster import ray_output_to, running_ray
from nasproxy.searching.plan import Plan, SpaceCosts, config_from_overrides, plan_search
from nasproxy.searching.schedule import Schedule, Signal, make_schedule
from nasproxy.searching.worker import ASSIGNMENT, METRIC, RECORD, TRACEBACK, ArchTrainer, Assignment, Job
from nasproxy.space import Arch, SearchSpace
from nasproxy.store import TrialStore, create_store
from nasproxy.trials import State, Trial, Trials

OnTrial = Callable[[Trial], None]
MAX_LOSSES = 2
"""Times that an architecture is tried again after its process or node died."""
STORE_PATIENCE_SECONDS = 120.0
"""How long a storage may refuse results before a search gives up."""
STORE_RETRY_SECONDS = 1.0
"""Between attempts, when all trials have ended."""


def search(
    space: SearchSpace,
    proxy: ProxySet | str,
    data: ImageData,
    *,
    archs: Sequence[str] | None = None,
    on_trial: OnTrial = lambda trial: None,
    **overrides: Any,
) -> Trials:
    """Scores architectures of a space by a proxy, and keeps the trials in memory.

    Args:
        space: the search space.
        proxy: a proxy set, or a name of `PROXIES`: 'whole', 'early-stop', or a training-free score such as 'naswot'.
        data: the images; validation accuracy selects, test accuracy is reported.
        archs: ids of the architectures to score, e.g. `trials.top(0.05)`; None: the whole space.
        on_trial: told of every trial that ends.
        overrides: fields of `SearchSettings`, `RecipeSettings` and `MachineSettings`, e.g. `seeds=5, epochs=100`.

    Raises:
        NasproxyError: see `plan_search`.
    """
    plan = plan_search(space, proxy, data, config_from_overrides(proxy, overrides), archs)
    info = plan.describe(f"{data.name}-{space.name}-{plan.proxy.name}")
    return run_plan(plan, create_store(info, space.factors, None), on_trial=on_trial)


def run_plan(
    plan: Plan,
    store: TrialStore,
    *,
    retry_failed: bool = False,
    log_path: Path | None = None,
    on_trial: OnTrial = lambda trial: None,
) -> Trials:
    """Scores what is planned and not yet in the store.

    Args:
        plan: what to do.
        store: the study to record to; what it holds is not scored again.
        retry_failed: tries failed architectures of the store again; lost ones are tried again in any case.
        log_path: file that Ray's own output is appended to; None: dropped.
        on_trial: told of every trial that ends.

    Returns:
        All trials, those that were in the store included.

    Raises:
        SettingsError: no Ray cluster, or one without the resources of a single worker.
        InputError: the store could not be written to for long; what it lacks is scored again when the search goes on.
    """
    settings = plan.config.search
    schedule = make_schedule(
        settings.strategy,
        plan.space,
        plan.archs,
        num_archs=plan.num_trials,
        size_of=plan.size_of,
        seed=settings.seed,
        round_size=settings.round_size,
        done=store.trials(),
        retry_failed=retry_failed,
    )
    job = Job(
        images=plan.proxy.images.to("cpu"),
        val=plan.data.val.to("cpu"),
        test=plan.data.test.to("cpu"),
        scored_by=plan.proxy.scored_by,
        num_seeds=settings.seeds,
        seed=settings.seed,
        num_threads=plan.workforce.threads_per_worker,
        cuda_graphs=plan.config.machine.cuda_graphs,
    )
    recorder = _Recorder(store, schedule, on_trial)
    with ray_output_to(log_path) as log, running_ray(plan.workforce) as resources:
        recorder.log = log
        with tempfile.TemporaryDirectory(prefix="nasproxy-tune-") as scratch:
            tune.Tuner(
                tune.with_resources(tune.with_parameters(ArchTrainer, job=job), resources),
                tune_config=tune.TuneConfig(
                    search_alg=_ScheduleSearcher(schedule, plan.costs, recorder),
                    num_samples=-1,
                    max_concurrent_trials=plan.workforce.num_workers,
                    reuse_actors=True,
                    trial_dirname_creator=lambda trial: trial.trial_id,
                ),
                run_config=tune.RunConfig(
                    name="search",
                    storage_path=scratch,
                    verbose=0,
                    callbacks=[recorder],
                    failure_config=tune.FailureConfig(max_failures=MAX_LOSSES),
                ),
            ).fit()
    recorder.close()
    return store.trials()


class _NotSaved:
    """Tune saves searchers and callbacks to restore them later; ours come back from the study instead."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class _ScheduleSearcher(_NotSaved, Searcher):
    """Tune's view of our schedule."""

    def __init__(self, schedule: Schedule, costs: SpaceCosts, recorder: "_Recorder") -> None:
        super().__init__(metric=METRIC, mode="max")
        self._schedule, self._costs, self._recorder = schedule, costs, recorder

    def suggest(self, trial_id: str) -> Any:
        if self._recorder.has_given_up:
            return Searcher.FINISHED
        answer = self._schedule.next()
        if isinstance(answer, Arch):
            return {ASSIGNMENT: Assignment(answer, self._costs.of[answer.id], self._schedule.round)}
        return Searcher.FINISHED if answer is Signal.END else None

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        """The recorder is told."""

    def save(self, checkpoint_path: str) -> None:
        """The study is the only record."""

    def restore(self, checkpoint_path: str) -> None:
        """The study is the only record."""


class _Recorder(_NotSaved, tune.Callback):
    """Writes every trial to the study as it ends, then tells the schedule and the caller.

    It never raises while Tune runs: Tune would take that for a failure of the trial, and go on. What the study refuses
    is kept and tried again with every later trial; after `STORE_PATIENCE_SECONDS` the search ends with the reason.
    """

    def __init__(self, store: TrialStore, schedule: Schedule, on_trial: OnTrial) -> None:
        self._store, self._schedule, self._on_trial = store, schedule, on_trial
        self._stdout, self._stderr = sys.stdout, sys.stderr
        self._unsaved: list[Trial] = []
        self._refused_since = 0.0
        self._problem: Exception | None = None
        self.has_given_up = False
        """Whether nothing more is to be started."""
        self.log: TextIO | None = None

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self._finish(_outcome_of(trial), trial.last_result.get(TRACEBACK))

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self._finish(_outcome_of(trial), None)

    def close(self) -> None:
        """Writes what the study refused before, and raises what went wrong.

        Raises:
            InputError: the study still refuses.
        """
        while self._unsaved and not self.has_given_up:
            time.sleep(STORE_RETRY_SECONDS)
            self._save()
        if self._unsaved:
            raise InputError(
                f"storage cannot be written to: {_first_line(self._problem)}; {len(self._unsaved)} result(s) are not "
                "recorded: mend it and go on with --resume, which scores them again"
            ) from self._problem
        if self._problem is not None:
            raise self._problem

    def _finish(self, record: Trial, trace: str | None) -> None:
        if self.log is not None and trace:
            self.log.write(trace)
        self._schedule.finish(record)
        self._unsaved.append(record)
        self._save()
        try:  # the caller's output is not Ray's: it goes where the caller sends it
            with contextlib.redirect_stdout(self._stdout), contextlib.redirect_stderr(self._stderr):
                self._on_trial(record)
        except Exception as error:
            self._problem, self.has_given_up = error, True

    def _save(self) -> None:
        try:
            while self._unsaved:
                self._store.add(self._unsaved[0])
                del self._unsaved[0]
            self._refused_since = 0.0
        except Exception as error:  # every database driver has a tree of its own
            self._refused_since = self._refused_since or time.monotonic()
            if time.monotonic() - self._refused_since > STORE_PATIENCE_SECONDS:
                self._problem, self.has_given_up = error, True
            if self.log is not None:
                self.log.write(f"storage refused a result, tried again later: {_first_line(error)}\n")


def _outcome_of(trial: Any) -> Trial:
    """How a trial of Tune's ended: with a result, whatever happened afterwards, or with the loss of its process."""
    record: Trial | None = (trial.last_result or {}).get(RECORD)
    if record is not None:
        return record
    assignment: Assignment = trial.config[ASSIGNMENT]
    error = trial.get_pickled_error() or trial.get_error()
    reason = f"worker process lost {trial.num_failures} time(s), the last time: {_first_line(error)}"
    return assignment.record(State.LOST, reason=reason)


def _first_line(error: Any) -> str:
    """Type and first line of an error; of one that a worker raised, the worker's own."""
    cause = getattr(error, "cause", None) or error
    lines = str(cause).strip().splitlines()
    return f"{type(cause).__name__}: {lines[0] if lines else 'no message'}"
