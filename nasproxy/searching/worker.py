"""What runs in a worker process: a Ray Tune trainable that keeps process, data and device for its whole life."""

import contextlib
import math
import os
import platform
import traceback
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import ray
import torch
from ray import tune

from nasproxy.config import RecipeSettings
from nasproxy.device import retain_freed_memory
from nasproxy.errors import NasproxyError
from nasproxy.images import ImageSet
from nasproxy.scoring import SCORES, Costs, score_nets
from nasproxy.space import Arch
from nasproxy.training import SeedScores, train_seeds
from nasproxy.trials import Rung, State, Trial

ASSIGNMENT = "assignment"
"""Key of a Tune configuration that holds the `Assignment`."""
RECORD = "record"
"""Key of a Tune result that holds the `Trial`."""
METRIC = "score"
"""Key of a Tune result that holds the selection score, NaN where there is none."""
TRACEBACK = "traceback"
"""Key of a Tune result that holds the traceback of a trial that raised, else None."""


@dataclass(frozen=True)
class Job:
    """What all trials of a search share: goes to every worker once."""

    images: ImageSet
    """What nets are trained on, or what a training-free score looks at."""
    val: ImageSet
    test: ImageSet
    scored_by: RecipeSettings | str
    """How nets are trained; or the name of a training-free score."""
    num_seeds: int
    seed: int
    num_threads: int
    cuda_graphs: bool


@dataclass(frozen=True)
class Assignment:
    """One architecture to score."""

    arch: Arch
    costs: Costs | None
    """None where the builder does not run on the meta device."""
    round: int

    def record(self, state: State, **values: Any) -> Trial:
        """How it ended: `values` are further fields of the trial."""
        return Trial(
            arch_id=self.arch.id,
            factors=self.arch.factors,
            state=state,
            num_params=self.costs.num_params if self.costs else None,
            flops=self.costs.flops if self.costs else None,
            round=self.round,
            **values,
        )


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
        self._job = job
        self._images, self._val, self._test = (images.to(device) for images in (job.images, job.val, job.test))
        self.reset_config(config)

    def cleanup(self) -> None:
        """Ends the work of the process."""
        self._memory.close()

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Takes the next architecture."""
        self._assignment: Assignment = new_config[ASSIGNMENT]
        return True

    def step(self) -> dict[str, Any]:
        """Scores all seeds of the architecture; what raises is a failed trial, not a dead worker."""
        self._started = datetime.now(UTC)
        scored_by = self._job.scored_by
        try:
            trial = self._by_formula(scored_by) if isinstance(scored_by, str) else self._by_training(scored_by)
        except torch.AcceleratorError:  # the device is unusable for this process: it must end, and be replaced
            raise
        except Exception as error:  # a user's builder may raise anything
            trace = None if isinstance(error, NasproxyError) else traceback.format_exc()
            return _as_result(self._failed(error), trace)
        return _as_result(trial, None)

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        """Nothing: a trial is short, and is done again when it is lost."""
        return {}

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing to load."""

    def _failed(self, error: Exception) -> Trial:
        if isinstance(error, torch.OutOfMemoryError):
            torch.cuda.empty_cache()
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        return self._assignment.record(State.FAILED, reason=reason, **self._circumstances())

    def _by_training(self, recipe: RecipeSettings) -> Trial:
        scores = train_seeds(
            self._assignment.arch,
            self._images,
            recipe,
            val=self._val,
            test=self._test,
            num_seeds=self._job.num_seeds,
            seed=self._job.seed,
            cuda_graphs=self._job.cuda_graphs,
        )
        return self._assignment.record(
            _judge(scores, self._val),
            rungs=(Rung(scores.val_accuracies, scores.test_accuracies, max(scores.loss_curve, default=None)),),
            train_seconds=scores.train_seconds,
            loss_curve=scores.loss_curve,
            **self._circumstances(),
        )

    def _by_formula(self, name: str) -> Trial:
        scores, seconds = score_nets(
            SCORES[name], self._assignment.arch, self._images, num_seeds=self._job.num_seeds, seed=self._job.seed
        )
        lost = [str(score) for score in scores if not math.isfinite(score)]
        return self._assignment.record(
            State.NOT_FINITE if lost else State.COMPLETE,
            rungs=(Rung(scores, scores),),
            train_seconds=seconds,
            reason=f"{len(lost)} of {len(scores)} scores not finite: {', '.join(lost)}" if lost else None,
            **self._circumstances(),
        )

    def _circumstances(self) -> dict[str, Any]:
        worker = f"{platform.node()}:{os.getpid()}"
        return {"worker": worker, "started": self._started, "ended": datetime.now(UTC)}


def _as_result(trial: Trial, trace: str | None) -> dict[str, Any]:
    return {RECORD: trial, METRIC: trial.selection_score, TRACEBACK: trace, "done": True}


def _judge(scores: SeedScores, val: ImageSet) -> State:
    """Complete, diverged, or no better than always guessing the largest class (within two standard errors)."""
    if scores.num_diverged:
        return State.DIVERGED
    chance = max(len(index) for index in val.class_indices) / len(val)
    num_answers = len(val) * len(scores.val_accuracies)
    mean = sum(scores.val_accuracies) / len(scores.val_accuracies)
    error = (chance * (1 - chance) / num_answers) ** 0.5
    return State.AT_CHANCE if mean <= chance + 2 * error else State.COMPLETE
