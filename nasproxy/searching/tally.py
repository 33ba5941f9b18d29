"""How far a search is, as its listener is told."""

import math
from collections import Counter
from dataclasses import InitVar, dataclass
from functools import cached_property

import numpy as np

from nasproxy.searching.plan import Plan
from nasproxy.searching.screen import Screen
from nasproxy.talk import Listener
from nasproxy.trials import FLAGGED, State, Trial, Trials


@dataclass
class Tally:
    """Counts trials for the line of progress."""

    done: InitVar[Trials]
    """Those of an earlier part of the search."""
    plan: Plan
    listener: Listener

    def __post_init__(self, done: Trials) -> None:
        self.states: dict[str, State] = {}
        self.counts: Counter[State] = Counter()
        self.best: Trial | None = None
        self.is_at_chance = done.is_at_chance
        self.sizes = {arch.id: self.plan.size_of(arch) for arch in self.plan.archs}
        self.work = 0.0
        self.ended: Counter[int] = Counter()
        """Rung of a screen -> architectures that were measured in it."""
        for trial in done:
            self._count(trial)
        self._show()

    def add(self, trial: Trial) -> None:
        """A trial has ended."""
        self._count(trial)
        if not trial.is_ranked:
            self.listener.warn(f"{trial.state}: {trial.arch_id}: {trial.reason}")
        self._show()

    def _count(self, trial: Trial) -> None:
        before = self.states.get(trial.arch_id)
        if before is None:  # not tried before
            self.work += self.sizes.get(trial.arch_id, 0)
            self.ended.update(range(trial.round + 1 if self.plan.screen else 1))
        else:
            self.counts[before] -= 1
            if before is State.WAITING and trial.state is not State.PRUNED:
                self.ended[trial.round] += 1
        self.states[trial.arch_id] = trial.state
        self.counts[trial.state] += 1
        if not trial.is_ranked or trial.rungs[-1].metric or self.is_at_chance(trial):
            return
        if self.best is None or trial.order < self.best.order:
            self.best = trial

    def _show(self) -> None:
        notes = [f"best {self._show_score(self.best)} {self.best.arch_id}"] if self.best else []
        states = (*FLAGGED, State.NOT_FINITE, State.PRUNED)
        notes += [f"{self.counts[state]} {state}" for state in states if self.counts[state]]
        notes.append(f"{self.counts[State.FAILED] + self.counts[State.LOST]} failed")
        self.listener.progress(
            "searching", sum(self.ended.values()), self.plan.num_measurements, ", ".join(notes), work=self._work_done()
        )

    def _show_score(self, trial: Trial) -> str:
        is_score = self.plan.proxy.score_name is not None
        return f"{trial.selection_score:.4g}" if is_score else f"{trial.selection_score:.1%}"

    def _work_done(self) -> float | None:
        """By FLOPs, where it is known which architectures will be tried and what each costs; of a screen by updates."""
        if self.plan.screen is not None:
            return self._share_of_screen(self.plan.screen)
        if self.plan.is_open or self.plan.num_trials < len(self.sizes) or math.isinf(self.total_work):
            return None
        return self.work / self.total_work

    def _share_of_screen(self, screen: Screen) -> float:
        counts = screen.count_archs(self.plan.num_trials)
        work = [stage.work(self.plan.num_images) for stage in screen.stages]
        done = [min(self.ended[number], count) for number, count in enumerate(counts)]
        return float(np.dot(work, done) / np.dot(work, counts))

    @cached_property
    def total_work(self) -> float:
        """FLOPs of all architectures, of one image each."""
        return sum(self.sizes.values())
