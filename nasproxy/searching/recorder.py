"""Writes trials to the study as they end: the one place where results and losses are told apart."""

import contextlib
import pickle
import re
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TextIO

from ray import tune
from ray.tune import TuneError

from nasproxy.errors import InputError
from nasproxy.searching.plan import Plan
from nasproxy.searching.schedule import Schedule, Signal
from nasproxy.searching.scorer import Assignment
from nasproxy.searching.worker import ASSIGNMENT, RECORD, TRACEBACK
from nasproxy.store import TrialStore
from nasproxy.trials import State, Trial

OnTrial = Callable[[Trial], None]
STORE_PATIENCE_SECONDS = 120.0
"""How long a storage may refuse results before a search gives up."""
STORE_RETRY_SECONDS = 1.0
"""Between attempts, when all trials have ended."""
_CAUSE_OF_DEATH = re.compile(r"The (?:actor|node)[^.]*(?:dead|died) because[^\n]{0,400}?(?=consider|If the|$)")
"""What Ray says of the end of a process, without its advice on how to configure Ray."""


class NotSaved:
    """Tune saves searchers and callbacks to restore them later; ours come back from the study instead."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class Recorder(NotSaved, tune.Callback):
    """Writes every trial to the study as it ends, then tells the schedule and the caller.

    It never raises while Tune runs: Tune would take that for a failure of the trial, and go on. What the study refuses
    is kept and tried again with every later trial; after `STORE_PATIENCE_SECONDS` the search ends with the reason.
    """

    def __init__(
        self,
        store: TrialStore,
        schedule: Schedule,
        done: Iterable[Trial],
        on_trial: OnTrial,
        on_saved: OnTrial = lambda trial: None,
    ) -> None:
        self._store, self._schedule, self._on_trial, self._on_saved = store, schedule, on_trial, on_saved
        self._records = {trial.arch_id: trial for trial in done}
        self._stdout, self._stderr = sys.stdout, sys.stderr
        self._unsaved: list[Trial] = []
        self._refused_since = 0.0
        self._problem: Exception | None = None
        self.has_given_up = False
        """Whether nothing more is to be started."""
        self.begin_until: float | None = None
        """By `time.monotonic`: from then on no architecture is begun that has not been measured at all; None: never."""
        self.log: TextIO | None = None

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self.finish(_outcome_of(trial), trial.last_result.get(TRACEBACK))

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self.finish(_outcome_of(trial, is_lost=True), None)

    @property
    def trials(self) -> tuple[Trial, ...]:
        """All so far in the order they ended; of an architecture that was tried again, the last."""
        return tuple(self._records.values())

    def close(self) -> None:
        """Writes what the study refused before, and raises what went wrong.

        Raises:
            InputError: the study still refuses.
        """
        while self._unsaved and not self.has_given_up:
            time.sleep(STORE_RETRY_SECONDS)
            self._save()
        if self._unsaved:
            raise InputError(
                f"storage cannot be written to: {_first_line(self._problem)}; {len(self._unsaved)} result(s) are not "
                "recorded: mend it and go on with --resume, which scores them again"
            ) from self._problem
        if self._problem is not None:
            raise self._problem

    def next(self, plan: Plan) -> Assignment | Signal:
        """What is to be scored next, or why there is nothing now; writes what a screen has cut on the way."""
        if self.has_given_up:
            return Signal.END
        if self.begin_until is not None and time.monotonic() > self.begin_until:
            self._schedule.begin_no_more()
        answer = self._schedule.next()
        for record in self._schedule.take_pruned():
            self._keep(record)
        if isinstance(answer, Signal):
            return answer
        return plan.assign(answer, self._schedule.round, self._records.get(answer.id))

    def finish(self, record: Trial, trace: str | None) -> None:
        """Takes a trial that ended, or the end of one of its rungs, and the traceback of what it raised."""
        if self.log is not None and trace:
            self.log.write(trace)
        self._schedule.finish(record)
        self._keep(record)

    def _keep(self, record: Trial) -> None:
        self._records.pop(record.arch_id, None)
        self._records[record.arch_id] = record
        self._unsaved.append(record)
        self._save()
        try:  # the caller's output is not Ray's: it goes where the caller sends it
            with contextlib.redirect_stdout(self._stdout), contextlib.redirect_stderr(self._stderr):
                self._on_trial(record)
        except Exception as error:
            self._problem, self.has_given_up = error, True

    def _save(self) -> None:
        try:
            while self._unsaved:
                self._store.add(self._unsaved[0])
                self._on_saved(self._unsaved.pop(0))
            self._refused_since = 0.0
        except Exception as error:  # every database driver has a tree of its own
            self._refused_since = self._refused_since or time.monotonic()
            if time.monotonic() - self._refused_since > STORE_PATIENCE_SECONDS:
                self._problem, self.has_given_up = error, True
            if self.log is not None:
                self.log.write(f"storage refused a result, tried again later: {_first_line(error)}\n")


def _outcome_of(trial: Any, *, is_lost: bool = False) -> Trial:
    """How a trial of Tune's ended: with a result, whatever happened afterwards, or with the loss of its process.

    A result of a training that was half way, by ASHA, is no end where the process was lost.
    """
    record: Trial | None = (trial.last_result or {}).get(RECORD)
    if record is not None and not (is_lost and record.state is State.PRUNED):
        return record
    assignment: Assignment = trial.config[ASSIGNMENT]
    error = _last_error(trial)
    cause = _CAUSE_OF_DEATH.search(str(error))
    last = f"{_first_line(error)} {cause[0] if cause else ''}".strip()
    reason = f"worker process lost {trial.num_failures} time(s), the last time: {last}"
    return assignment.record(State.LOST, reason=reason)


def _last_error(trial: Any) -> Any:
    """What ended the last attempt, read where Tune writes it: `Trial.get_error` reads a copy that is made later."""
    for path, load in ((trial.pickled_error_file, pickle.loads), (trial.error_file, bytes.decode)):
        with contextlib.suppress(Exception):  # missing, or an exception of a class that does not unpickle
            return load(Path(path).read_bytes())
    return TuneError("Tune left no word of why")


def _first_line(error: Any) -> str:
    """Type and first line of an error; of one that a worker raised, the worker's own."""
    cause = getattr(error, "cause", None) or error
    lines = str(cause).strip().splitlines()
    return f"{type(cause).__name__}: {lines[0] if lines else 'no message'}"
