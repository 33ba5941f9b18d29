"""Scores one architecture: by training nets of it, by a formula, or from a table. Knows nothing of Ray."""

import math
import os
import platform
import traceback
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import torch

from nasproxy.config import RecipeSettings
from nasproxy.errors import NasproxyError
from nasproxy.images import ImageSet
from nasproxy.scoring import SCORES, Costs, score_nets
from nasproxy.space import Arch
from nasproxy.training import SeedScores, train_seeds
from nasproxy.trials import Rung, State, Trial, Trials, is_chance


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
    """From `Proxy.seed_for`."""
    num_threads: int
    cuda_graphs: bool


@dataclass(frozen=True)
class Assignment:
    """One architecture to score."""

    arch: Arch
    costs: Costs | None
    """None where the builder does not run on the meta device."""
    round: int
    weight: float
    """Architectures of the space that it stands for."""

    def record(self, state: State, **values: Any) -> Trial:
        """How it ended: `values` are further fields of the trial."""
        return Trial(
            arch_id=self.arch.id,
            factors=self.arch.factors,
            state=state,
            num_params=self.costs.num_params if self.costs else None,
            flops=self.costs.flops if self.costs else None,
            weight=self.weight,
            round=self.round,
            **values,
        )


def look_up(table: Trials, assignment: Assignment) -> tuple[Trial, None]:
    """What a table says of an architecture, as `ArchScorer.score` would return it."""
    row = table.by_id[assignment.arch.id]
    trial = assignment.record(row.state, rungs=row.rungs, train_seconds=row.train_seconds, reason=row.reason)
    return trial, None


@dataclass(frozen=True)
class ArchScorer:
    """Scores architectures on the images of a job."""

    job: Job
    """Its images are on the device to work on."""

    @classmethod
    def on(cls, device: torch.device, job: Job) -> "ArchScorer":
        """Puts the images of a job on a device."""
        images, val, test = (images.to(device) for images in (job.images, job.val, job.test))
        return cls(replace(job, images=images, val=val, test=test))

    def score(self, assignment: Assignment) -> tuple[Trial, str | None]:
        """Scores all seeds of an architecture.

        Returns:
            The trial, and the traceback where something raised: that is a failed trial, not a dead worker.

        Raises:
            torch.AcceleratorError: the device is unusable for this process, which must end and be replaced.
        """
        started, scored_by = datetime.now(UTC), self.job.scored_by
        try:
            if isinstance(scored_by, str):
                return self._by_formula(assignment, scored_by, started), None
            return self._by_training(assignment, scored_by, started), None
        except torch.AcceleratorError:
            raise
        except Exception as error:  # a user's builder may raise anything
            trace = None if isinstance(error, NasproxyError) else traceback.format_exc()
            return self._failed(assignment, error, started), trace

    def _failed(self, assignment: Assignment, error: Exception, started: datetime) -> Trial:
        if isinstance(error, torch.OutOfMemoryError):
            torch.cuda.empty_cache()
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        return assignment.record(State.FAILED, reason=reason, **_circumstances(started))

    def _by_training(self, assignment: Assignment, recipe: RecipeSettings, started: datetime) -> Trial:
        scores = train_seeds(
            assignment.arch,
            self.job.images,
            recipe,
            val=self.job.val,
            test=self.job.test,
            num_seeds=self.job.num_seeds,
            seed=self.job.seed,
            cuda_graphs=self.job.cuda_graphs,
        )
        return assignment.record(
            _judge(scores, self.job.val),
            rungs=(_to_rung(scores),),
            train_seconds=scores.train_seconds,
            loss_curve=scores.loss_curve,
            **_circumstances(started),
        )

    def _by_formula(self, assignment: Assignment, name: str, started: datetime) -> Trial:
        scores, seconds = score_nets(
            SCORES[name], assignment.arch, self.job.images, num_seeds=self.job.num_seeds, seed=self.job.seed
        )
        lost = [str(score) for score in scores if not math.isfinite(score)]
        return assignment.record(
            State.NOT_FINITE if lost else State.COMPLETE,
            rungs=(Rung(scores, scores),),
            train_seconds=seconds,
            reason=f"{len(lost)} of {len(scores)} scores not finite: {', '.join(lost)}" if lost else None,
            **_circumstances(started),
        )


def _to_rung(scores: SeedScores) -> Rung:
    return Rung(
        selection_scores=scores.val_accuracies,
        evaluation_scores=scores.test_accuracies,
        num_steps=max(scores.loss_curve, default=None),
        selection_losses=tuple(measure.loss for measure in scores.val),
        evaluation_losses=tuple(measure.loss for measure in scores.test),
    )


def _circumstances(started: datetime) -> dict[str, Any]:
    return {"worker": f"{platform.node()}:{os.getpid()}", "started": started, "ended": datetime.now(UTC)}


def _judge(scores: SeedScores, val: ImageSet) -> State:
    """Complete, diverged, or no better than always guessing the largest class (within two standard errors)."""
    if scores.num_diverged:
        return State.DIVERGED
    num_seeds = len(scores.val)
    mean = sum(scores.val_accuracies) / num_seeds
    return State.AT_CHANCE if is_chance(mean, val.largest_share, len(val) * num_seeds) else State.COMPLETE
