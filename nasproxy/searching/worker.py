"""What runs in a worker process: a Ray Tune trainable that keeps process, data and device for its whole life."""

import contextlib
from typing import Any

import ray
import torch
from ray import tune

from nasproxy.device import retain_freed_memory
from nasproxy.searching.asha import ACCURACY, STEPS, HaltedTraining
from nasproxy.searching.scorer import ArchScorer, Assignment, Job, numbers_of

ASSIGNMENT = "assignment"
"""Key of a Tune configuration that holds the `Assignment`."""
RECORD = "record"
"""Key of a Tune result that holds the `Trial`."""
METRIC = "score"
"""Key of a Tune result that holds the selection score, NaN where there is none."""
TRACEBACK = "traceback"
"""Key of a Tune result that holds the traceback of a trial that raised, else None."""


class ArchTrainer(tune.Trainable):
    """Scores one architecture a `step`; Tune hands the same process the next one through `reset_config`."""

    def setup(self, config: dict[str, Any], job: Job) -> None:  # type: ignore[override] # Tune passes parameters on
        """Puts the images on the device, once in the life of the process."""
        torch.set_num_threads(job.num_threads)
        self._memory = contextlib.ExitStack()
        self._memory.enter_context(retain_freed_memory())
        device = torch.device("cpu")
        if ray.get_gpu_ids():
            device = torch.device("cuda", 0)
            share = ray.get_runtime_context().get_assigned_resources().get("GPU", 1.0)  # type: ignore[no-untyped-call]
            torch.cuda.set_per_process_memory_fraction(min(share, 1.0), device)
            torch.backends.cudnn.benchmark = True  # shapes recur: all nets of a space train on the same images
        self._scorer, self._rungs = ArchScorer.on(device, job), job.rungs
        self._training: HaltedTraining | None = None
        self.reset_config(config)

    def cleanup(self) -> None:
        """Ends the work of the process."""
        self._stop_training()
        self._memory.close()

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Takes the next architecture."""
        self._stop_training()
        self._assignment: Assignment = new_config[ASSIGNMENT]
        return True

    def step(self) -> dict[str, Any]:
        """Scores the architecture; of a training that may be stopped, until the next rung."""
        if self._rungs:
            self._training = self._training or HaltedTraining(self._scorer, self._assignment, self._rungs)
            trial, trace, is_over = self._training.next()
        else:
            trial, trace = self._scorer.score(self._assignment)
            is_over = True
        last = trial.rungs[-1] if trial.rungs else None
        far = {STEPS: last.num_steps, ACCURACY: last.selection_scores[0]} if self._rungs and last else {}
        plain = numbers_of(trial)  # for loggers
        return {**plain, **far, RECORD: trial, METRIC: trial.selection_score, TRACEBACK: trace, "done": is_over}

    def _stop_training(self) -> None:
        if self._training is not None:
            self._training.stop()
        self._training = None

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        """Nothing: a trial is short, and is done again when it is lost."""
        return {}

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing to load."""
