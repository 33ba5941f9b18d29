"""A search: every architecture of a schedule, scored on Ray Tune, recorded in an Optuna study.

The driver asks the schedule for architectures, Tune hands them to workers that live as long as the search, and each
ended trial is written to the study at once. A search that is cut short goes on from the study alone.
"""

import contextlib
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO

from ray import tune
from ray.tune.search import Searcher

from nasproxy.images import ImageData
from nasproxy.proxyset import ProxySet
from nasproxy.scoring import Costs
from nasproxy.searching.cluster import ray_output_to, running_ray
from nasproxy.searching.plan import Plan, config_from_overrides, plan_search
from nasproxy.searching.schedule import Schedule, Signal, make_schedule
from nasproxy.searching.worker import ASSIGNMENT, METRIC, RECORD, TRACEBACK, ArchTrainer, Assignment, Job
from nasproxy.space import Arch, SearchSpace
from nasproxy.study import State, Trial, Trials, TrialStore, create_store

OnTrial = Callable[[Trial], None]


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
    return run_plan(plan, create_store(info, None), on_trial=on_trial)


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
        retry_failed: tries failed architectures of the store again.
        log_path: file that Ray's own output is appended to; None: dropped.
        on_trial: told of every trial that ends.

    Returns:
        All trials, those that were in the store included.

    Raises:
        SettingsError: no Ray cluster, or one without the resources of a single worker.
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
    recorder = _Recorder(store, plan.space, schedule, on_trial)
    with ray_output_to(log_path) as log, running_ray(plan.workforce) as resources:
        recorder.log = log
        with tempfile.TemporaryDirectory(prefix="nasproxy-tune-") as scratch:
            tune.Tuner(
                tune.with_resources(tune.with_parameters(ArchTrainer, job=job), resources),
                tune_config=tune.TuneConfig(
                    search_alg=_ScheduleSearcher(schedule, plan.costs),
                    num_samples=-1,
                    max_concurrent_trials=plan.workforce.num_workers,
                    reuse_actors=True,
                    trial_dirname_creator=lambda trial: trial.trial_id,
                ),
                run_config=tune.RunConfig(name="search", storage_path=scratch, verbose=0, callbacks=[recorder]),
            ).fit()
    return store.trials()


class _NotSaved:
    """Tune saves searchers and callbacks to restore them later; ours come back from the study instead."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class _ScheduleSearcher(_NotSaved, Searcher):
    """Tune's view of our schedule."""

    def __init__(self, schedule: Schedule, costs: dict[str, Costs | None]) -> None:
        super().__init__(metric=METRIC, mode="max")
        self._schedule = schedule
        self._costs = costs

    def suggest(self, trial_id: str) -> Any:
        answer = self._schedule.next()
        if isinstance(answer, Arch):
            return {ASSIGNMENT: Assignment(answer, self._costs[answer.id], self._schedule.round)}
        return Searcher.FINISHED if answer is Signal.END else None

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        """The recorder is told."""

    def save(self, checkpoint_path: str) -> None:
        """The study is the only record."""

    def restore(self, checkpoint_path: str) -> None:
        """The study is the only record."""


class _Recorder(_NotSaved, tune.Callback):
    """Writes every trial to the study as it ends, then tells the schedule and the caller."""

    def __init__(self, store: TrialStore, space: SearchSpace, schedule: Schedule, on_trial: OnTrial) -> None:
        self._store, self._space, self._schedule, self._on_trial = store, space, schedule, on_trial
        self._stdout, self._stderr = sys.stdout, sys.stderr
        self.log: TextIO | None = None

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        if self.log is not None and (trace := trial.last_result[TRACEBACK]):
            self.log.write(trace)
        self._record(trial.last_result[RECORD])

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        assignment: Assignment = trial.config[ASSIGNMENT]
        error = trial.get_pickled_error() or trial.get_error()
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else "no message"
        reason = f"worker process lost: {type(error).__name__}: {first_line}"
        self._record(assignment.record(State.FAILED, reason=reason))

    def _record(self, record: Trial) -> None:
        self._store.add(record, self._space)
        self._schedule.finish(record)
        # the caller's output is not Ray's: it goes where the caller sends it
        with contextlib.redirect_stdout(self._stdout), contextlib.redirect_stderr(self._stderr):
            self._on_trial(record)
