"""The work of each command in its run folder: checks first, keeps its state when cut short, leaves files behind.

A job checks all it can before it makes a folder, so that a refused request leaves nothing behind. Given a `resume`
run it goes on with that run's own settings.
"""

import contextlib
import json
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from nasproxy.condensing import condense
from nasproxy.condensing.condense import check_settings
from nasproxy.condensing.state import CondenseState, load_state
from nasproxy.config import CondenseConfig, EvaluateConfig, SearchConfig, Tree, dump_config, make_config, read_config
from nasproxy.device import describe_device, find_device
from nasproxy.errors import (
    InputError,
    NasproxyError,
    RunError,
    RunNotFoundError,
    SettingsError,
    StudyNotFoundError,
)
from nasproxy.evaluating import Evaluation, evaluate
from nasproxy.images import load_images, save_picture_grid
from nasproxy.proxyset import ProxySet, load_proxy_set
from nasproxy.rundir import RunDir, create_run, find_run, versions, write_text
from nasproxy.searching import PROXIES, plan_search, run_plan
from nasproxy.searching.proxies import default_recipe
from nasproxy.space import load_space
from nasproxy.study import StudyInfo, Trial, Trials, TrialStore, create_store, open_store, sqlite_url
from nasproxy.tables import csv_text, trials_frame

LAST = "@last"
ARCHS_FILE = "archs.txt"
"""File of a search run: the ids that it was asked for, where not the whole space."""


class Listener(Protocol):
    """Whom a job tells what it does."""

    def progress(self, what: str, done: int, total: int, note: str = "") -> None:
        """`done` of `total` of something are done; `note` is the latest about it."""

    def say(self, text: str) -> None:
        """One line worth reading."""


def run_condense(
    config: CondenseConfig, *, root: Path, name: str | None, resume: RunDir | None, listener: Listener
) -> tuple[RunDir, ProxySet]:
    """Makes a proxy set in a run folder: `proxy.safetensors`, `proxy.png`, `metrics.jsonl`.

    Args:
        config: all settings; those of the run where one is resumed.
        root: folder of all runs.
        name: of the run; None: after data and method.
        resume: the run to go on with.
        listener: told about progress.

    Raises:
        NasproxyError: see `load_images`, `condense`, `create_run`.
    """
    if resume is not None and resume.meta["status"] == "done":
        raise RunError(f"run {resume.name} is finished; nothing is left to resume")
    settings = config.condense
    device = find_device(config.machine.device)
    data = load_images(settings=config.images, progress=listener.progress).to(device)
    check_settings(settings, data.train)
    if name in PROXIES:
        raise RunError(f"run name {name!r} means a proxy of its own in 'search --proxy'; choose another --name")
    parents = {"data": data.data_hash, "split": data.split_hash}
    run = resume or create_run(
        root,
        name,
        f"{data.name}-{settings.method}-{settings.images_per_class}",
        command=config.command,
        config_text=dump_config(config),
        parents=parents,
    )
    _check_same_parents(run, parents)
    with run.running():
        run.update_meta(device=describe_device(device))
        state = load_state(run.checkpoint_path) if run.checkpoint_path.is_file() else None
        _log(
            run,
            f"condense {data.name} by {settings.method}, {f'from step {state.step}' if state else 'from the start'}",
        )
        metrics = _Metrics(run, state)

        def on_step(step: int, loss: float) -> None:
            metrics.add(step, loss)
            listener.progress("condensing", step, settings.steps, f"loss a class {loss:.4g}")

        def on_checkpoint(state: CondenseState) -> None:
            state.save(run.checkpoint_path)

        proxy = condense(data, settings=settings, resume_from=state, on_step=on_step, on_checkpoint=on_checkpoint)
        proxy.save(run.proxy_path)
        save_picture_grid(proxy.images, run.picture_path)
        run.checkpoint_path.unlink(missing_ok=True)
        _log(run, f"done: {proxy.num_stored_images} images in {proxy.seconds:.1f} s")
    return run, proxy


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
        resume: the run to go on with: what its study holds is not trained again.
        retry_failed: failed architectures of the resumed run are trained again.
        listener: told about progress.

    Raises:
        NasproxyError: see `load_images`, `find_proxy`, `plan_search`, `search`, `create_run`.
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
    _check_same_parents(run, parents)
    store = _open_store(run, settings.storage, plan.describe(run.name), is_new=resume is None)
    with run.running():
        workforce = {"workers": plan.workforce.num_workers, "threads_per_worker": plan.workforce.threads_per_worker}
        run.update_meta(device=plan.workforce.device_name, workforce=workforce, left_out=plan.left_out)
        if arch_ids is not None:  # the run that they were the best of may go on
            write_text(run.path / ARCHS_FILE, "".join(f"{arch_id}\n" for arch_id in arch_ids))
        tally = _Tally(list(store.trials()), plan.num_trials, listener)
        _log(
            run, f"search {space.name} by {plan.proxy.name}: {plan.num_trials} trials, {len(tally.trials)} done before"
        )
        trials = run_plan(plan, store, retry_failed=retry_failed, log_path=run.log_path, on_trial=tally.add)
        write_text(run.path / "trials.csv", csv_text(trials_frame(trials)))
        _log(run, f"done: {len(trials)} trials")
    return run, trials


def run_evaluate(config: EvaluateConfig, *, root: Path, listener: Listener) -> Evaluation:
    """Test accuracy of nets trained on a proxy set; a condense run keeps the figures in its `evaluations.jsonl`.

    Raises:
        NasproxyError: see `find_proxy`, `load_images`, `evaluate`.
    """
    settings = config.evaluate
    device = find_device(config.machine.device)
    proxy = find_proxy(settings.proxy, root)
    if not isinstance(proxy, ProxySet):
        raise SettingsError(f"{settings.proxy!r} is no proxy set; name a condense run or a .safetensors file")
    data = load_images(settings=config.images, progress=listener.progress).to(device)
    listener.progress("training nets", 0, settings.num_nets)
    result = evaluate(proxy, data, config, lambda done: listener.progress("training nets", done, settings.num_nets))
    if Path(settings.proxy).suffix != ".safetensors":
        record = {
            "net": result.net,
            "test_accuracies": result.test_accuracies,
            "settings": config.model_dump(mode="json"),
            "device": describe_device(device),
            "versions": versions(),
        }
        with (find_run(settings.proxy, root).path / "evaluations.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
    return result


def find_proxy(reference: str, root: Path) -> ProxySet | str:
    """What `--proxy` names: a proxy of `PROXIES`, a `.safetensors` file, or a condense run.

    Raises:
        ProxySetError: the proxy set is unreadable.
        RunNotFoundError: no run of that name.
        RunError: a run that is no condense run, or is not finished.
    """
    if reference in PROXIES:
        return reference
    if Path(reference).suffix == ".safetensors":
        return load_proxy_set(Path(reference).expanduser())
    run = _find_condense_run(reference, root)
    if not run.proxy_path.is_file():
        raise RunError(f"run {run.name} has no proxy set yet; finish it with 'nasproxy condense --resume {run.name}'")
    return load_proxy_set(run.proxy_path)


def proxy_defaults(proxy: str, root: Path) -> Tree:
    """The images of the condense run that `--proxy` names, as settings to start from; none where it names no run."""
    if proxy in PROXIES or Path(proxy).suffix == ".safetensors":
        return {}
    config = read_config(CondenseConfig, _find_condense_run(proxy, root).config_path)
    return {"images": config.images.model_dump()}


def settings_of_search(given: Tree, root: Path) -> SearchConfig:
    """The settings of a new search, from what was asked for.

    The recipe is that of the proxy's kind; images and space are those of the run that `--archs top:RUN:AMOUNT` names;
    images are those of the condense run that `--proxy` names: all of it only where nothing else was asked for. @last is
    replaced by the run's name, because what is written down must mean the same later.

    Raises:
        SettingsError: no proxy, or an unknown or invalid setting.
        RunNotFoundError: no run of a name.
    """
    asked = given.get("search", {})
    proxy, archs = asked.get("proxy"), str(asked.get("archs", ""))
    if proxy is None:
        raise SettingsError("no proxy: give --proxy a condense run (e.g. @last), whole or early-stop")
    defaults: Tree = {}
    named: Tree = {"search": {}}
    if proxy == LAST:
        named["search"]["proxy"] = proxy = find_run(LAST, root, command="condense").name
    if archs.startswith("top:"):
        reference, amount = _split_top(archs)
        run = find_run(reference, root, command="search")
        named["search"]["archs"] = f"top:{run.name if reference == LAST else reference}:{amount}"
        config = read_config(SearchConfig, run.config_path)
        defaults = {"images": config.images.model_dump(), "search": {"space": config.search.space}}
    defaults |= {"recipe": default_recipe(proxy).model_dump()} | proxy_defaults(proxy, root)
    return make_config(SearchConfig, defaults, given, named)


def _find_condense_run(reference: str, root: Path) -> RunDir:
    try:
        return find_run(reference, root, command="condense")
    except RunNotFoundError as error:
        raise RunNotFoundError(f"{error}; proxies that need no run: {', '.join(PROXIES)}") from None


def read_arch_ids(reference: str, root: Path) -> list[str] | None:
    """Ids that `--archs` names: None for 'all', the best of a search for top:RUN:5% or top:RUN:36, else a file's.

    A file has one id a line, or is a CSV with a column `arch_id`.

    Raises:
        SettingsError: top:RUN:AMOUNT of another form.
        InputError: the file or the run cannot be read.
    """
    if reference == "all":
        return None
    if reference.startswith("top:"):
        name, amount = _split_top(reference)
        ids = load_trials(find_run(name, root, command="search")).top(parse_amount(amount))
    else:
        try:
            lines = Path(reference).expanduser().read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(
                f"--archs {reference!r}: no such file of architecture ids ({error}); or give top:RUN:5%"
            ) from None
        rows = [line.split(",") for line in lines if line.strip() and not line.startswith("#")]
        column = rows[0].index("arch_id") if rows and "arch_id" in rows[0] else 0
        ids = [row[column].strip() for row in rows if row[column].strip() != "arch_id"]
    if not ids:
        raise InputError(f"--archs {reference!r} names no architecture; check it")
    return ids


def _split_top(reference: str) -> tuple[str, str]:
    """RUN and AMOUNT of top:RUN:AMOUNT."""
    run, _, amount = reference.removeprefix("top:").rpartition(":")
    if not run or not amount:
        raise SettingsError(f"--archs {reference!r}: write top:RUN:5% or top:RUN:36")
    return run, amount


def parse_amount(text: str) -> int | float:
    """'5%' -> 0.05, '36' -> 36.

    Raises:
        SettingsError: neither a percentage in (0, 100] nor a whole number above 0.
    """
    if text.endswith("%"):
        return parse_fraction(text)
    if not text.isdigit() or int(text) == 0:
        raise SettingsError(f"{text!r} is no amount; write a percentage like 5% or a whole number like 36")
    return int(text)


def parse_fraction(text: str) -> float:
    """'5%' or '0.05' -> 0.05.

    Raises:
        SettingsError: nothing in (0, 1].
    """
    try:
        fraction = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        fraction = 0.0
    if not 0 < fraction <= 1:
        raise SettingsError(f"{text!r} is no share; write a percentage like 5%, up to 100%")
    return fraction


def load_trials(run: RunDir) -> Trials:
    """All trials of a search run, finished or not.

    Raises:
        InputError: the study cannot be read.
    """
    return open_store(run.name, storage_url(run)).trials()


def storage_url(run: RunDir) -> str:
    """The Optuna storage of a search run.

    Raises:
        InputError: the run keeps its study in a file that is not there.
    """
    url = read_config(SearchConfig, run.config_path).search.storage
    if url is None and not run.study_path.is_file():
        raise InputError(f"run {run.name} has no {run.study_path.name} yet; continue it with --resume {run.name}")
    return url or sqlite_url(run.study_path)


@dataclass
class _Tally:
    """Counts trials for the progress line."""

    trials: list[Trial]
    total: int
    listener: Listener

    def __post_init__(self) -> None:
        self._show()

    def add(self, trial: Trial) -> None:
        self.trials = [*(t for t in self.trials if t.arch_id != trial.arch_id), trial]
        if not trial.has_scores:
            self.listener.say(f"failed: {trial.arch_id}: {trial.reason}")
        self._show()

    def _show(self) -> None:
        scored = [trial for trial in self.trials if trial.has_scores]
        best = max(scored, key=lambda trial: trial.val_accuracy, default=None)
        note = f"best {best.val_accuracy:.1%} {best.arch_id}, " if best else ""
        self.listener.progress(
            "searching", len(self.trials), self.total, f"{note}{len(self.trials) - len(scored)} failed"
        )


class _Metrics:
    """The loss curve of a condensation, one JSON object a line."""

    def __init__(self, run: RunDir, state: CondenseState | None) -> None:
        self._path = run.metrics_path
        kept: list[str] = []
        if state is not None and self._path.is_file():
            lines = self._path.read_text(encoding="utf-8").splitlines()
            kept = [line for line in lines if json.loads(line)["step"] <= state.step]
        write_text(self._path, "".join(f"{line}\n" for line in kept))

    def add(self, step: int, loss: float) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, "loss_per_class": loss}) + "\n")


def _archs_of(run: RunDir | None) -> str | None:
    """The file of ids that a resumed run was asked for."""
    path = run.path / ARCHS_FILE if run else None
    return str(path) if path and path.is_file() else None


def _check_same_parents(run: RunDir, parents: dict[str, str]) -> None:
    """Refuses to go on with a run when what it is made from has changed since."""
    before = run.meta["parents"]
    changed = [what for what, content in parents.items() if before.get(what) != content]
    if changed:
        raise RunError(f"run {run.name} was started on another {' and '.join(changed)}; start a new run instead")


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


def _log(run: RunDir, text: str) -> None:
    with run.log_path.open("a", encoding="utf-8") as file:
        file.write(f"{datetime.now(UTC).isoformat(timespec='seconds')} {text}\n")
