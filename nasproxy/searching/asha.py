"""Asynchronous successive halving: a training goes on only while it is among the best that came as far, by then.

Li et al., "A System for Massively Parallel Hyperparameter Tuning" (MLSys 2020), by Ray Tune's own scheduler, which
stops trainings rather than pausing them. Workers never wait for each other; so which ones are stopped depends on which
came first, and neither another number of workers nor a resume gives the same trials. `nasproxy.searching.screen` has
the synchronous form.

Unlike a rung of a screen, one here is a moment of the one training: the rate has not dropped yet.
"""

import math
import queue
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from ray.tune.schedulers import AsyncHyperBandScheduler

from nasproxy.config import SearchSettings
from nasproxy.searching.scorer import ArchScorer, Assignment
from nasproxy.training import Halt, Measure
from nasproxy.trials import Rung, State, Trial

ASHA = "asha"
STEPS, ACCURACY = "steps", "rung_accuracy"
"""Keys of a Tune result: updates so far, and validation accuracy after them."""


def find_rungs(num_steps: int, settings: SearchSettings) -> tuple[int, ...]:
    """Updates after which a training may be stopped, rising: the first share of all, then so many times as many."""
    rungs, rung = [], max(round(settings.first_rung * num_steps), 1)
    while rung < num_steps:
        rungs.append(rung)
        rung *= settings.reduction_factor
    return tuple(rungs)


def make_scheduler(rungs: Sequence[int], num_steps: int, settings: SearchSettings) -> AsyncHyperBandScheduler:
    """Ray Tune's, for trainings that report at these rungs."""
    return AsyncHyperBandScheduler(
        time_attr=STEPS,
        metric=ACCURACY,
        mode="max",
        max_t=num_steps,
        grace_period=rungs[0] if rungs else num_steps,
        reduction_factor=settings.reduction_factor,
    )


class HaltedTraining:
    """One architecture in training, in a thread of its own that waits at every rung to be told whether to go on."""

    def __init__(self, scorer: ArchScorer, assignment: Assignment, rungs: Sequence[int], judge: str = ASHA) -> None:
        """Of one net, halted after each of these numbers of updates; `judge` is who may stop it, for the reason."""
        self._scorer, self._assignment, self._rungs, self._judge = scorer, assignment, tuple(rungs), judge
        self._told: queue.Queue[bool] = queue.Queue()
        self._found: queue.Queue[tuple[int | None, Any]] = queue.Queue()
        self._measured: list[Rung] = []
        self._thread = threading.Thread(target=self._train, daemon=True)
        self._is_waiting = False

    def next(self) -> tuple[Trial, str | None, bool]:
        """The trial as it would be if it were stopped at the next rung, or as it ended.

        Returns:
            The trial, the traceback of what it raised, and whether it is the end.

        Raises:
            torch.AcceleratorError: as `ArchScorer.score`.
        """
        if self._is_waiting:
            self._told.put(True)
        elif self._thread.ident is None:
            self._thread.start()
        step, found = self._found.get()
        self._is_waiting = step is not None
        if step is not None:
            return found, None, False
        if isinstance(found, BaseException):
            raise found
        trial, trace = found
        return trial, trace, True

    def stop(self) -> None:
        """Ends the training where it waits, or at its next rung; does nothing where it is over."""
        if self._thread.is_alive():
            self._told.put(False)
            self._thread.join()
        self._is_waiting = False

    def _train(self) -> None:
        torch.set_num_threads(self._scorer.job.num_threads)  # a thread has its own
        try:
            trial, trace = self._scorer.score(self._assignment, Halt(frozenset(self._rungs), self._wait))
            rungs = (*self._measured, *trial.rungs)
            trial = replace(trial, rungs=rungs, round=len(self._measured) if trial.is_ranked else 0)
            self._found.put((None, (trial, trace)))
        except BaseException as error:  # it is raised where somebody listens
            self._found.put((None, error))

    def _wait(self, step: int, val: Measure, test: Measure) -> bool:
        if not math.isfinite(val.loss):
            return False  # it has diverged, and its losses say so
        rung = Rung((val.accuracy,), (test.accuracy,), step, (val.loss,), (test.loss,))
        self._measured.append(rung)
        place = f"update {step} of its training (rung {len(self._measured)})"
        trial = self._assignment.record(
            State.PRUNED,
            rungs=tuple(self._measured),
            train_seconds=None,
            reason=f"stopped by {self._judge} after {place}",
        )
        self._found.put((step, replace(trial, round=len(self._measured) - 1)))
        return self._told.get()
