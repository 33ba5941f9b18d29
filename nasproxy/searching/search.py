"""A search: every architecture of a schedule, trained on Ray Tune, recorded in an Optuna study.

The driver asks the schedule for architectures, Tune hands them to workers that live as long as the search, and each
ended trial is written to the study at once. A search that is cut short goes on from the study alone.
"""

import contextlib
import logging
import math
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import ray
import torch
from ray import tune
from ray.tune.search import Searcher

from nasproxy.config import MachineSettings, SearchConfig, make_config
from nasproxy.device import describe_device, find_device, num_cores
from nasproxy.errors import ArchError, NasproxyError, SettingsError
from nasproxy.images import ImageData
from nasproxy.proxyset import ProxySet
from nasproxy.scoring import Costs, measure_costs
from nasproxy.searching.proxies import Proxy, default_recipe, make_proxy
from nasproxy.searching.schedule import Schedule, Signal, make_schedule
from nasproxy.searching.worker import ASSIGNMENT, METRIC, RECORD, TRACEBACK, ArchTrainer, Assignment, Job
from nasproxy.space import Arch, SearchSpace
from nasproxy.study import State, StudyInfo, Trial, Trials, TrialStore, create_store

OnTrial = Callable[[Trial], None]


@dataclass(frozen=True)
class Plan:
    """What a search will do, decided before any training."""

    space: SearchSpace
    archs: tuple[Arch, ...]
    """Those that can be trained, in the order of the space."""
    costs: dict[str, Costs | None]
    """By architecture id; None where the builder does not run on the meta device."""
    left_out: dict[str, str]
    """Id -> reason, of architectures that do not fit the images."""
    num_trials: int
    """How many of `archs` the strategy will try."""


def plan_search(
    space: SearchSpace, data: ImageData, config: SearchConfig, arch_ids: Sequence[str] | None = None
) -> Plan:
    """Decides which architectures a search is about, and leaves out those that do not fit the images.

    Args:
        space: the search space.
        data: gives the image shape and the number of classes.
        config: `config.search` has the strategy and the number of architectures.
        arch_ids: only these; None: the whole space.

    Raises:
        SettingsError: an unknown architecture id, or none fits the images.
    """
    costs: dict[str, Costs | None] = {}
    left_out: dict[str, str] = {}
    wanted = space.archs() if arch_ids is None else space.pick(arch_ids)
    for arch in wanted:
        try:
            costs[arch.id] = measure_costs(arch, data.image_shape, data.num_classes)
        except ArchError as error:
            left_out[arch.id] = str(error)
        except NasproxyError:
            raise
        except Exception:  # a user's builder: if it is broken, its trials will say so
            costs[arch.id] = None
    archs = tuple(arch for arch in wanted if arch.id in costs)
    if not archs:
        raise SettingsError(f"no architecture of {space.name} fits these images: {next(iter(left_out.values()))}")
    limit = config.search.num_archs or (math.ceil(len(archs) / 10) if config.search.strategy == "tpe" else len(archs))
    return Plan(space, archs, costs, left_out, min(limit, len(archs)))


def search(
    space: SearchSpace,
    proxy: ProxySet | str,
    data: ImageData,
    *,
    archs: Sequence[str] | None = None,
    config: SearchConfig | None = None,
    plan: Plan | None = None,
    store: TrialStore | None = None,
    retry_failed: bool = False,
    log_path: Path | None = None,
    on_trial: OnTrial = lambda trial: None,
    **overrides: Any,
) -> Trials:
    """Scores architectures of a space by a proxy.

    Args:
        space: the search space.
        proxy: a proxy set, 'whole' or 'early-stop'.
        data: the images; validation accuracy selects, test accuracy is reported.
        archs: ids of the architectures to score, e.g. `trials.top(0.05)`; None: the whole space.
        config: all settings at once, instead of `overrides`.
        plan: what `plan_search` said, if it was asked already.
        store: the study to record to, and to continue; None: a new one in memory.
        retry_failed: trains failed architectures of the store again.
        log_path: file that Ray's own output is appended to; None: dropped.
        on_trial: told of every trial that ends.
        overrides: fields of `SearchSettings`, `RecipeSettings` and `MachineSettings`, e.g. `seeds=5, epochs=100`.

    Returns:
        All trials, those that were in the store included.

    Raises:
        SettingsError: an unknown setting, strategy or architecture.
        ProxySetError: the proxy set does not belong to the data.
    """
    if config is None:
        config = config_from_overrides(proxy, overrides)
    chosen = make_proxy(proxy, data, config.recipe)
    plan = plan or plan_search(space, data, config, archs)
    store = store or create_store(describe_study("search", space, chosen, data, config), None)
    settings = config.search
    done = [trial for trial in store.trials() if trial.has_scores or not retry_failed]
    schedule = make_schedule(
        settings.strategy,
        space,
        plan.archs,
        num_archs=plan.num_trials,
        seed=settings.seed,
        round_size=settings.round_size,
        done=done,
    )
    device = find_device(config.machine.device)
    workers, threads = count_workers(config.machine, device)
    job = Job(
        train=chosen.images.to("cpu"),
        val=data.val.to("cpu"),
        test=data.test.to("cpu"),
        recipe=config.recipe,
        num_seeds=settings.seeds,
        seed=settings.seed,
        device=device.type,
        num_threads=threads,
    )
    recorder = _Recorder(store, space, schedule, on_trial)
    with _ray_log(log_path) as log, _ray(config.machine, workers * threads):
        recorder.log = log
        resources = {"cpu": threads, "gpu": config.machine.gpus_per_worker if device.type == "cuda" else 0}
        with tempfile.TemporaryDirectory(prefix="nasproxy-tune-") as scratch:
            tune.Tuner(
                tune.with_resources(tune.with_parameters(ArchTrainer, job=job), resources),
                tune_config=tune.TuneConfig(
                    search_alg=_ScheduleSearcher(schedule, plan.costs),
                    num_samples=-1,
                    max_concurrent_trials=workers,
                    reuse_actors=True,
                    trial_dirname_creator=lambda trial: trial.trial_id,
                ),
                run_config=tune.RunConfig(name="search", storage_path=scratch, verbose=0, callbacks=[recorder]),
            ).fit()
    return store.trials()


def config_from_overrides(proxy: ProxySet | str, overrides: dict[str, Any]) -> SearchConfig:
    """Settings of a search from flat keyword arguments, over the recipe of the proxy's kind."""
    name = proxy if isinstance(proxy, str) else f"{proxy.method}-{proxy.images_per_class}"
    tree: dict[str, dict[str, Any]] = {"search": {"proxy": name}, "recipe": {}, "machine": {}}
    for key, value in overrides.items():
        for section, fields in (("recipe", type(default_recipe(proxy))), ("machine", MachineSettings)):
            if key in fields.model_fields:
                tree[section][key] = value
                break
        else:
            tree["search"][key] = value
    return make_config(SearchConfig, {"recipe": default_recipe(proxy).model_dump()}, tree)


def describe_study(name: str, space: SearchSpace, proxy: Proxy, data: ImageData, config: SearchConfig) -> StudyInfo:
    """What the study of a search says about it."""
    return StudyInfo(
        name=name,
        space=space.name,
        proxy=proxy.name,
        dataset=data.name,
        data_hash=data.data_hash,
        split_hash=data.split_hash,
        num_stored_images=proxy.num_stored_images,
        condense_seconds=proxy.condense_seconds,
        recipe=config.recipe.model_dump(mode="json"),
        device=describe_device(find_device(config.machine.device)),
    )


def count_workers(machine: MachineSettings, device: torch.device) -> tuple[int, int]:
    """Workers, and CPU threads of each: workers x threads = cores, where neither is set.

    Raises:
        SettingsError: more threads in all than there are cores.
    """
    cores = num_cores()
    if machine.address is not None:
        return machine.workers or 0, machine.threads_per_worker or 1
    if device.type == "cuda":
        if machine.gpus_per_worker == 0:
            raise SettingsError("gpus_per_worker=0 on a GPU: give a share above 0, or --device cpu")
        workers = machine.workers or max(int(torch.cuda.device_count() / machine.gpus_per_worker), 1)
    else:
        workers = machine.workers or max(cores // (machine.threads_per_worker or 1), 1)
    return workers, machine.threads_per_worker or max(cores // workers, 1)


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
        self._on_trial(record)


@contextlib.contextmanager
def _ray(machine: MachineSettings, num_cpus: int) -> Iterator[None]:
    """Ray for the length of a search: a cluster, a Ray that runs in this process already, or a local one of our own."""
    if ray.is_initialized():
        yield
        return
    options: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
    if machine.address is not None:
        try:
            ray.init(address=machine.address, **options)
        except (ConnectionError, ValueError) as error:
            raise SettingsError(
                f"no Ray cluster at {machine.address!r}: {error}; start one with 'ray start --head'"
            ) from None
    else:
        ray.init(num_cpus=num_cpus, include_dashboard=False, **options)
    try:
        yield
    finally:
        ray.shutdown()


@contextlib.contextmanager
def _ray_log(path: Path | None) -> Iterator[TextIO]:
    """Sends what Ray prints and logs in this process to a file."""
    with (path or Path(os.devnull)).open("a", buffering=1, encoding="utf-8") as log:
        handler = logging.StreamHandler(log)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        loggers = [logging.getLogger(name) for name in ("ray", "ray.tune", "ray.data", "ray.train")]
        before = [(logger, logger.handlers, logger.propagate) for logger in loggers]
        for logger in loggers:
            logger.handlers, logger.propagate = [], logger.name != "ray"
        loggers[0].handlers = [handler]
        # Tune writes no result files for us (the study has the results) and would complain about each missing one.
        logging.getLogger("ray.tune.analysis.experiment_analysis").setLevel(logging.ERROR)
        try:
            with contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
                yield log
        finally:
            for logger, handlers, propagate in before:
                logger.handlers, logger.propagate = handlers, propagate
