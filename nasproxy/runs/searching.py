"""The work of `nasproxy search`."""

import contextlib
import math
import shutil
from dataclasses import dataclass
from pathlib import Path

from nasproxy.config import SearchConfig, dump_config
from nasproxy.errors import NasproxyError, StudyNotFoundError, UsageError
from nasproxy.files import write_text
from nasproxy.images import load_images
from nasproxy.proxyset import ProxySet
from nasproxy.rundir import RunDir, create_run
from nasproxy.runs.listener import Listener
from nasproxy.runs.references import find_proxy, read_arch_ids
from nasproxy.searching import Plan, plan_search, run_plan
from nasproxy.space import load_space
from nasproxy.study import State, StudyInfo, Trial, Trials, TrialStore, create_store, open_store, sqlite_url
from nasproxy.tables import csv_text, trials_frame


def run_search(
    config: SearchConfig,
    *,
    root: Path,
    name: str | None,
    resume: RunDir | None,
    retry_failed: bool,
    listener: Listener,
) -> tuple[RunDir, Trials]:
    """Scores architectures in a run folder: `study.db` (or the storage asked for) and `trials.csv`.

    Args:
        config: all settings; those of the run where one is resumed.
        root: folder of all runs.
        name: of the run and of its study; None: after data, space and proxy.
        resume: the run to go on with: what its study holds is not scored again.
        retry_failed: failed architectures of the resumed run are tried again.
        listener: told about progress.

    Raises:
        NasproxyError: see `load_images`, `find_proxy`, `plan_search`, `run_plan`, `create_run`.
    """
    settings = config.search
    space = load_space(settings.space)
    data = load_images(settings=config.images, progress=listener.progress)
    proxy = find_proxy(settings.proxy, root)
    arch_ids = read_arch_ids(_archs_of(resume) or settings.archs, root)
    plan = plan_search(space, proxy, data, config, arch_ids)
    for arch_id, reason in list(plan.left_out.items())[:1]:
        listener.say(f"{len(plan.left_out)} architecture(s) left out, e.g. {arch_id}: {reason}")
    parents = {"data": data.data_hash, "split": data.split_hash, "space": space.content_hash()}
    if isinstance(proxy, ProxySet):
        parents["proxy_set"] = proxy.images.content_hash()
    run = resume or create_run(
        root,
        name,
        f"{data.name}-{space.name}-{plan.proxy.name}",
        command=config.command,
        config_text=dump_config(config),
        parents=parents,
    )
    run.check_parents(parents)
    store = _open_store(run, settings.storage, plan.describe(run.name), is_new=resume is None)
    try:
        with run.running():
            workforce = {"workers": plan.workforce.num_workers, "threads_per_worker": plan.workforce.threads_per_worker}
            run.update_meta(device=plan.workforce.device_name, workforce=workforce, left_out=plan.left_out)
            if arch_ids is not None:  # the run that they were the best of may go on
                write_text(run.archs_path, "".join(f"{arch_id}\n" for arch_id in arch_ids))
            tally = _Tally(list(store.trials()), plan, listener)
            run.log(
                f"search {space.name} by {plan.proxy.name}: {plan.num_trials} trials, {len(tally.trials)} done before"
            )
            trials = run_plan(plan, store, retry_failed=retry_failed, log_path=run.log_path, on_trial=tally.add)
            write_text(run.path / "trials.csv", csv_text(trials_frame(trials)))
            run.log(f"done: {len(trials)} trials")
    except UsageError:  # found only when Ray was asked, before any training
        if resume is None and len(store.trials()) == 0:
            shutil.rmtree(run.path)
        raise
    return run, trials


@dataclass
class _Tally:
    """Counts trials for the progress line."""

    trials: list[Trial]
    plan: Plan
    listener: Listener

    def __post_init__(self) -> None:
        self._show()

    def add(self, trial: Trial) -> None:
        self.trials = [*(t for t in self.trials if t.arch_id != trial.arch_id), trial]
        if not trial.is_ranked:
            self.listener.say(f"{trial.state}: {trial.arch_id}: {trial.reason}")
        self._show()

    def _show(self) -> None:
        scored = [trial for trial in self.trials if trial.is_ranked]
        best = max(scored, key=lambda trial: trial.score, default=None)
        note = f"best {_show_score(best)} {best.arch_id}, " if best else ""
        num_failed = sum(trial.state is State.FAILED for trial in self.trials)
        self.listener.progress(
            "searching",
            len(self.trials),
            self.plan.num_trials,
            f"{note}{num_failed} failed",
            work=self._work_done(),
        )

    def _work_done(self) -> float | None:
        """By FLOPs, where it is known which architectures will be tried, and what each costs."""
        sizes = {arch.id: self.plan.size_of(arch) for arch in self.plan.archs}
        total = sum(sizes.values())
        if self.plan.num_trials < len(sizes) or math.isinf(total):
            return None
        return sum(sizes[trial.arch_id] for trial in self.trials if trial.arch_id in sizes) / total


def _show_score(trial: Trial) -> str:
    return f"{trial.score:.4g}" if trial.scores else f"{trial.score:.1%}"


def _archs_of(run: RunDir | None) -> str | None:
    """The file of ids that a resumed run was asked for."""
    return str(run.archs_path) if run and run.archs_path.is_file() else None


def _open_store(run: RunDir, url: str | None, info: StudyInfo, *, is_new: bool) -> TrialStore:
    """A new run's new study; a resumed run's own, or a new one where it was stopped before it had one.

    A new run whose study cannot be made leaves no folder.
    """
    url = url or sqlite_url(run.study_path)
    if not is_new:
        with contextlib.suppress(StudyNotFoundError):
            return open_store(run.name, url, expected=info)
    try:
        return create_store(info, url)
    except NasproxyError:
        if is_new:
            shutil.rmtree(run.path)
        raise
