"""The work of `nasproxy condense`."""

import json
import shutil
import time
from dataclasses import replace

from nasproxy.condensing import condense
from nasproxy.condensing.condense import complete_settings, describe_method, refuse_budget
from nasproxy.condensing.state import CondenseState, load_state
from nasproxy.config import CondenseConfig, dump_config, refuse_changes
from nasproxy.device import computing_with, describe_device, find_device, holds
from nasproxy.errors import RunError, SettingsError
from nasproxy.files import write_text
from nasproxy.images import ImageData, save_picture_grid
from nasproxy.proxyset import ProxySet
from nasproxy.rundir import RunDir
from nasproxy.runs.place import Place


def run_condense(
    place: Place,
    config: CondenseConfig,
    *,
    data: ImageData | None = None,
    name: str | None = None,
    resume: RunDir | None = None,
    budget: float | None = None,
) -> ProxySet:
    """Makes a proxy set in a run folder: `proxy.safetensors`, `proxy.png`, `metrics.jsonl`.

    Args:
        place: where runs lie, and who is told about progress.
        config: all settings; those of the run where one is resumed.
        data: the images, where they are loaded already.
        name: of the run; None: after data and method.
        resume: the run to go on with.
        budget: seconds of wall time, from now; None: no limit. Fewer updates are done where not all fit.

    Raises:
        NasproxyError: see `load_images`, `condense`, `create_run`.
    """
    if resume is not None and resume.is_done:
        raise RunError(f"run {resume.name} is finished; nothing is left to resume")
    ends = None if budget is None else time.monotonic() + budget
    device = find_device(config.machine.device)
    is_read_here, data = data is None, data or place.load_images(config.images)
    settings = complete_settings(config.condense, data.train)
    if budget is not None:
        refuse_budget(settings)
    asked, config = config, config.model_copy(update={"condense": settings})
    if resume is not None:  # its settings are complete, unless an older version had no such setting
        refuse_changes(resume.name, asked, config)
    if holds(device, data.train.num_bytes):
        data = data.to(device)
    parents = {"data": data.data_hash, "split": data.split_hash}
    default_name = f"{data.name}-{describe_method(settings, data.train)}-{settings.images_per_class}"
    run = place.begin_run(config, parents, default_name, name=name, resume=resume)
    try:
        with run.running():
            run.update_meta(device=describe_device(device), images=data.describe())
            if is_read_here:
                place.tell_images(data)
            state = load_state(run.checkpoint_path) if run.checkpoint_path.is_file() else None
            begun = f"from step {state.step}" if state else "from the start"
            run.log(f"condense {data.name} by {settings.method}, {begun}")

            def on_checkpoint(state: CondenseState) -> None:
                state.save(run.checkpoint_path)

            def on_engine(name: str, seconds: dict[str, float]) -> None:
                tried = ", ".join(f"{engine} {time:.3g}" for engine, time in seconds.items())
                run.log(f"engine {name}{f'; seconds per step: {tried}' if tried else ''}")

            with computing_with(config.machine.threads_per_worker):
                proxy = condense(
                    data,
                    settings=settings,
                    device=device,
                    resume_from=state,
                    on_step=_Metrics(run, state).add,
                    on_checkpoint=on_checkpoint,
                    on_engine=on_engine,
                    cache_dir=config.images.data_dir.expanduser() / "selectors",
                    ends=ends,
                    progress=place.listener,
                )
            proxy.save(run.proxy_path)
            save_picture_grid(proxy.images, run.picture_path)
            if proxy.settings["steps"] != settings.steps:
                settings = settings.model_copy(update={"steps": proxy.settings["steps"]})
                write_text(run.config_path, dump_config(config.model_copy(update={"condense": settings})))
            run.checkpoint_path.unlink(missing_ok=True)
            run.log(f"done: {proxy.num_stored_images} images in {proxy.seconds:.1f} s")
    except SettingsError:  # wrong from the start: an engine that does not run here, a budget that is over
        if resume is None:
            shutil.rmtree(run.path)
        raise
    return replace(proxy, run=run)


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
            file.write(json.dumps({"step": step, "loss": loss}) + "\n")
