"""Scores one architecture: by training nets of it, by a formula, or from a table. Knows nothing of Ray."""

import math
import os
import platform
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import torch

from nasproxy.config import RecipeSettings
from nasproxy.errors import NasproxyError
from nasproxy.images import ImageSet
from nasproxy.scoring import SCORES, Costs, score_nets
from nasproxy.space import Arch
from nasproxy.training import Halt, NetFolder, SeedScores, train_seeds
from nasproxy.trials import PER_SEED, Rung, State, Trial, Trials, is_chance, sum_seconds


@dataclass(frozen=True)
class Measurement:
    """How all architectures of a rung are scored."""

    images: ImageSet
    """What nets are trained on, or what a training-free score looks at."""
    scored_by: RecipeSettings | str
    """How nets are trained; or the name of a training-free score."""
    num_seeds: int
    seed: int
    """From `Proxy.seed_for`."""
    first_seed: int = 0
    """Nets that the rung before has trained in the same way: they stay."""
    is_kept: bool = True
    """Whether its nets are those of the last rung, and kept where nets are."""


@dataclass(frozen=True)
class Job:
    """What all trials of a search share: goes to every worker once."""

    stages: tuple[tuple[Measurement, ...], ...]
    """Of each rung one, or several that become one; a search without a screen has one rung."""
    val: ImageSet
    test: ImageSet
    num_threads: int
    cuda_graphs: bool
    keep: NetFolder | None = None
    """Where trained nets are kept; None: nowhere."""
    rungs: tuple[int, ...] = ()
    """Updates after which a training may be stopped, by ASHA."""


@dataclass(frozen=True)
class Assignment:
    """One architecture to score."""

    arch: Arch
    costs: Costs | None
    """None where the builder does not run on the meta device."""
    round: int
    weight: float
    """Architectures of the space that it stands for."""
    stage: int = 0
    """Number of the rung."""
    is_last: bool = True
    """Whether no rung follows."""
    earlier: Trial | None = None
    """What the rungs before have measured."""

    def record(
        self,
        state: State,
        *,
        rungs: tuple[Rung, ...] = (),
        train_seconds: float | None = 0.0,
        started: datetime | None = None,
        **values: Any,
    ) -> Trial:
        """How it ended: `values` are further fields of the trial."""
        earlier = self.earlier
        return Trial(
            arch_id=self.arch.id,
            factors=self.arch.factors,
            state=state,
            rungs=(*earlier.rungs, *rungs) if earlier else rungs,
            num_params=self.costs.num_params if self.costs else None,
            flops=self.costs.flops if self.costs else None,
            latency=self.costs.latency if self.costs else None,
            train_seconds=sum_seconds([earlier.train_seconds, train_seconds]) if earlier else train_seconds,
            weight=self.weight,
            round=self.round,
            started=earlier.started if earlier else started,
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
        moved: dict[int, ImageSet] = {}  # rungs share images
        stages = [
            [replace(one, images=moved.setdefault(id(one.images), one.images.to(device))) for one in stage]
            for stage in job.stages
        ]
        return cls(replace(job, stages=tuple(map(tuple, stages)), val=job.val.to(device), test=job.test.to(device)))

    def score(self, assignment: Assignment, halt: Halt | None = None) -> tuple[Trial, str | None]:
        """Scores all seeds of an architecture, in the rung that it is assigned for.

        Args:
            assignment: the architecture.
            halt: where the training of its one net halts; None: nowhere.

        Returns:
            The trial, and the traceback where something raised: that is a failed trial, not a dead worker.

        Raises:
            torch.AcceleratorError: the device is unusable for this process, which must end and be replaced.
        """
        started = datetime.now(UTC)
        try:
            measurements = self.job.stages[assignment.stage]
            if isinstance(measurements[0].scored_by, str):
                return self._by_formulas(assignment, measurements, started), None
            return self._by_training(assignment, measurements[0], measurements[0].scored_by, started, halt), None
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

    def _by_training(
        self,
        assignment: Assignment,
        by: Measurement,
        recipe: RecipeSettings,
        started: datetime,
        halt: Halt | None,
    ) -> Trial:
        earlier = assignment.earlier
        done = earlier.rungs[-1] if earlier and by.first_seed else None
        scores = train_seeds(
            assignment.arch,
            by.images,
            recipe,
            val=self.job.val,
            test=self.job.test,
            num_seeds=by.num_seeds,
            first_seed=by.first_seed,
            seed=by.seed,
            cuda_graphs=self.job.cuda_graphs,
            keep=self.job.keep if by.is_kept else None,
            halt=halt,
        )
        rung, curve = _to_rung(scores), scores.loss_curve
        if earlier and done:  # the same nets, and more
            curve = _join_curves(earlier.loss_curve, done.num_seeds, curve, rung.num_seeds)
            rung = _join(done, rung)
        state = _judge(rung, curve, self.job.val)
        return assignment.record(
            state if assignment.is_last else State.WAITING,
            rungs=(rung,),
            train_seconds=scores.train_seconds,
            loss_curve=curve,
            **_circumstances(started),
        )

    def _by_formulas(self, assignment: Assignment, by: tuple[Measurement, ...], started: datetime) -> Trial:
        rungs, seconds, lost = [], 0.0, []
        for one in by:
            assert isinstance(one.scored_by, str)
            scores, more = score_nets(
                SCORES[one.scored_by], assignment.arch, one.images, num_seeds=one.num_seeds, seed=one.seed
            )
            is_only = assignment.is_last and len(by) == 1
            rungs.append(Rung(scores, scores, metric="" if is_only else one.scored_by))
            lost += [score for score in scores if not math.isfinite(score)]
            seconds += more
        num_scores = sum(rung.num_seeds for rung in rungs)
        return assignment.record(
            State.NOT_FINITE if lost else State.COMPLETE if assignment.is_last else State.WAITING,
            rungs=tuple(rungs),
            train_seconds=seconds,
            reason=f"{len(lost)} of {num_scores} scores not finite: {', '.join(map(str, lost))}" if lost else None,
            **_circumstances(started),
        )


def numbers_of(trial: Trial) -> dict[str, Any]:
    """What of a trial is told to loggers and schedulers."""
    known = {
        "score": trial.selection_score,
        "evaluation_score": trial.evaluation_score,
        "num_params": trial.num_params,
        "flops": trial.flops,
        "latency": trial.latency,
        "train_seconds": trial.train_seconds,
    }
    return {"arch_id": trial.arch_id, "state": trial.state.value} | {
        name: value for name, value in known.items() if value is not None
    }


def _to_rung(scores: SeedScores) -> Rung:
    return Rung(
        selection_scores=scores.val_accuracies,
        evaluation_scores=scores.test_accuracies,
        num_steps=max(scores.loss_curve, default=None),
        selection_losses=tuple(measure.loss for measure in scores.val),
        evaluation_losses=tuple(measure.loss for measure in scores.test),
        training_losses=scores.training_losses,
        late_training_losses=scores.late_training_losses,
    )


def _join(first: Rung, second: Rung) -> Rung:
    """What was measured of some seeds and of others."""
    return replace(first, **{name: getattr(first, name) + getattr(second, name) for name in PER_SEED})


def _join_curves(
    first: Mapping[int, float], num_first: int, second: Mapping[int, float], num_second: int
) -> dict[int, float]:
    """The mean over all nets; where some diverged and stopped early, their curve."""
    if first.keys() != second.keys():
        return dict(next((curve for curve in (first, second) if not all(map(math.isfinite, curve.values()))), first))
    total = num_first + num_second
    return {step: (num_first * first[step] + num_second * second[step]) / total for step in first}


def _circumstances(started: datetime) -> dict[str, Any]:
    return {"worker": f"{platform.node()}:{os.getpid()}", "started": started, "ended": datetime.now(UTC)}


def _judge(rung: Rung, curve: Mapping[int, float], val: ImageSet) -> State:
    """Complete, diverged, or no better than always guessing the largest class (within two standard errors)."""
    if not all(map(math.isfinite, curve.values())):
        return State.DIVERGED
    mean = sum(rung.selection_scores) / rung.num_seeds
    return State.AT_CHANCE if is_chance(mean, val.largest_share, len(val) * rung.num_seeds) else State.COMPLETE
