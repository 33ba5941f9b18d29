"""Ray Tune's own loggers for a search: TensorBoard, CSV, JSON, MLflow, Weights & Biases. Imported where asked for."""

import os
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from ray import tune

from nasproxy.errors import SettingsError, unknown_name

LOGGERS = {
    "tensorboard": "event files in the run's logs/; tensorboard --logdir RUN/logs",
    "csv": "progress.csv of each trial in the run's logs/",
    "json": "result.json of each trial in the run's logs/",
    "mlflow": "runs in the run's mlruns.db, or at MLFLOW_TRACKING_URI (pip install mlflow)",
    "wandb": "runs in the run's wandb/, or online where WANDB_MODE says so (pip install wandb)",
}


def make_loggers(names: Sequence[str], folder: Path, project: str) -> list[tune.Callback]:
    """Callbacks for a Tuner.

    Args:
        names: keys of `LOGGERS`.
        folder: of the run.
        project: name of an MLflow experiment or a Weights & Biases project.

    Raises:
        SettingsError: an unknown name, or a package that is not installed.
    """
    made = []
    for name in names:
        if name not in LOGGERS:
            raise unknown_name("logger", name, LOGGERS)
        try:
            made.append(_only_plain(_make(name, folder, project)))
        except (ImportError, RuntimeError) as error:  # Tune raises either where a package is missing
            reason = str(error).splitlines()[0]
            raise SettingsError(f"loggers={name}: {reason}; pip install {name}, or leave it out") from None
    return made


_TUNES_OWN = {"tensorboard": "TBXLoggerCallback", "csv": "CSVLoggerCallback", "json": "JsonLoggerCallback"}


def _make(name: str, folder: Path, project: str) -> Any:
    if name in _TUNES_OWN:
        return getattr(import_module("ray.tune.logger"), _TUNES_OWN[name])()
    import_module(name)  # Tune says only later that it is missing
    if name == "mlflow":
        from ray.air.integrations.mlflow import MLflowLoggerCallback

        uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{folder / 'mlruns.db'}"
        return MLflowLoggerCallback(tracking_uri=uri, experiment_name=project)
    from ray.air.integrations.wandb import WandbLoggerCallback

    os.environ.setdefault("WANDB_MODE", "offline")
    return WandbLoggerCallback(project=project, dir=str(folder))


def _only_plain(callback: Any) -> tune.Callback:
    """The callback, told numbers and texts alone: a result has objects of ours as well."""
    log = callback.log_trial_result

    def log_plain(iteration: int, trial: Any, result: dict[str, Any]) -> None:
        log(iteration, trial, {name: value for name, value in result.items() if isinstance(value, _PLAIN)})

    callback.log_trial_result = log_plain
    made: tune.Callback = callback
    return made


_PLAIN = (bool, int, float, str)
