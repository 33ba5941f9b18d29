"""Which architecture next: the strategies of a search, independent of how many workers ask.

'grid' and 'random' are fixed orders, gone through once, or again in each rung of a screen. 'tpe' and 'nsga2' learn:
they propose a round of architectures at a time from the results of the earlier rounds only, so the same seed gives the
same trials for any number of workers, and again after a resume.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from typing import TYPE_CHECKING

from nasproxy.errors import SettingsError, unknown_name
from nasproxy.searching.proposing import Candidates, propose_nsga2, propose_tpe
from nasproxy.seeding import derive_seed
from nasproxy.space import Arch, SearchSpace
from nasproxy.trials import State, Trial

if TYPE_CHECKING:
    from nasproxy.searching.screen import Screen  # it needs torch, and who reads what was searched does not

STRATEGIES = {
    "grid": "every architecture, the largest first",
    "random": "architectures in a random order, none twice",
    "tpe": "Optuna's TPE on the scores so far, in rounds",
    "asha": "architectures in a random order, stopped as soon as they are behind (Ray Tune's ASHA); not reproducible",
    "nsga2": "Optuna's NSGA-II: the best so far crossed and mutated, a round a generation",
}
LEARNING = ("tpe", "nsga2")
"""Those that learn from scores, and may look for what is worth its cost."""


class Signal(Enum):
    """What a schedule answers when it has no architecture to give."""

    WAIT = "wait"
    """Ask again when a trial has ended."""
    END = "end"
    """There will be none."""


Propose = Callable[[int, Sequence[Trial]], list[Arch]]
"""(number of the round, all trials so far) -> the round's architectures; none: the search is over."""


class Schedule:
    """Gives out architectures round by round and waits for each round to end before the next is proposed."""

    has_rungs = False
    """Whether later rounds give out what earlier ones did."""

    def __init__(self, propose: Propose, done: Iterable[Trial] = (), *, retry_failed: bool = False) -> None:
        """Starts, or goes on after `done`: lost trials are given out again, failed ones only if asked."""
        self._propose = propose
        self._trials = {trial.arch_id: trial for trial in done}
        again = {State.LOST, State.FAILED} if retry_failed else {State.LOST}
        self._again = {arch_id for arch_id, trial in self._trials.items() if trial.state in again}
        self._round = -1
        self._queue: deque[Arch] = deque()
        self._open: set[str] = set()
        self._ended = self._is_closed = False

    @property
    def round(self) -> int:
        """Number of the current round."""
        return max(self._round, 0)

    def next(self) -> Arch | Signal:
        """The next architecture, or why there is none now."""
        while not self._queue and not self._open and not self._ended:
            if self._is_closed and not self.has_rungs:
                self._ended = True
                break
            self._round += 1
            proposed = self._propose(self._round, list(self._trials.values()))
            self._ended = not proposed
            self._queue.extend(arch for arch in proposed if self._is_open(arch.id))
        if self._queue:
            arch = self._queue.popleft()
            self._open.add(arch.id)
            return arch
        return Signal.END if self._ended else Signal.WAIT

    def finish(self, trial: Trial) -> None:
        """Tells how an architecture that was given out ended."""
        self._open.discard(trial.arch_id)
        self._again.discard(trial.arch_id)
        self._trials[trial.arch_id] = trial

    def take_pruned(self) -> list[Trial]:
        """What was cut since the last call: nothing, but in a screen."""
        return []

    def begin_no_more(self) -> None:
        """Gives out no architecture from now on that has never been given out."""
        self._is_closed = True
        self._queue = deque(arch for arch in self._queue if arch.id in self._trials)

    def _is_open(self, arch_id: str) -> bool:
        """Whether an architecture has not ended in the current round, nor for good."""
        trial = self._trials.get(arch_id)
        if trial is None:
            return not self._is_closed
        if arch_id in self._again:  # in the round that it was lost in
            return trial.round == self._round
        return trial.state is State.WAITING and trial.round < self._round


class Screening(Schedule):
    """Gives out all architectures in the first round, in each later one those that the rung before has kept."""

    has_rungs = True

    def __init__(
        self, screen: "Screen", order: Sequence[Arch], done: Iterable[Trial] = (), *, retry_failed: bool = False
    ) -> None:
        """Starts, or goes on after `done`; in each rung in this order."""
        self._screen, self._order = screen, order
        self._pruned: list[Trial] = []
        super().__init__(self._propose_kept, done, retry_failed=retry_failed)

    def take_pruned(self) -> list[Trial]:
        """What was cut since the last call."""
        pruned, self._pruned = self._pruned, []
        return pruned

    def _propose_kept(self, number: int, trials: Sequence[Trial]) -> list[Arch]:
        if number == 0:
            return list(self._order)
        if number == len(self._screen.stages):
            return []
        kept, pruned = self._screen.cut(number - 1, trials)
        self._trials |= {trial.arch_id: trial for trial in pruned}
        self._pruned += pruned
        ids = {trial.arch_id for trial in kept}
        return [arch for arch in self._order if arch.id in ids]


def make_schedule(
    strategy: str,
    space: SearchSpace,
    archs: Candidates,
    *,
    num_archs: int,
    size_of: Callable[[Arch], float],
    seed: int,
    round_size: int,
    against: str | None = None,
    screen: "Screen | None" = None,
    done: Iterable[Trial] = (),
    retry_failed: bool = False,
) -> Schedule:
    """The schedule of a strategy.

    Args:
        strategy: a key of `STRATEGIES`.
        space: the whole space.
        archs: what may be given out, in the order of the space; for those that learn, maybe whether it may be.
        num_archs: how many at most, those in `done` counted.
        size_of: work of an architecture: the largest of those known to come is given out first, so that workers finish
            together; 'random' keeps its order, so that it can be stopped anywhere.
        seed: of all but 'grid'.
        round_size: architectures a round of those that learn.
        against: a cost to be small, for those that learn.
        screen: the rungs, where architectures are cut.
        done: trials of an earlier part of the same search.
        retry_failed: gives the failed ones of `done` out again, not only the lost ones.

    Raises:
        SettingsError: an unknown strategy, or one that learns with a screen.
    """
    if strategy in LEARNING:
        if screen is not None:
            raise SettingsError(
                f"--screen cuts among all architectures, and {strategy} proposes some at a time: use --strategy random"
            )

        def propose(number: int, trials: Sequence[Trial]) -> list[Arch]:
            count = min(round_size, num_archs - number * round_size)
            if count <= 0:
                return []
            earlier = [trial for trial in trials if trial.round < number]
            # a round that was begun before keeps what it had, even if a retried trial has changed what TPE would say
            begun = [space.find(trial.arch_id) for trial in trials if trial.round == number]
            if strategy == "tpe":
                fresh = propose_tpe(space, archs, earlier, count, derive_seed(seed, "tpe", number), against)
            else:
                fresh = propose_nsga2(space, archs, earlier, count, seed, against, population=max(round_size, 2))
            elsewhere = {trial.arch_id for trial in trials}
            chosen = (begun + [arch for arch in fresh if arch.id not in elsewhere])[:count]
            return sorted(chosen, key=size_of, reverse=True)

        return Schedule(propose, done, retry_failed=retry_failed)
    assert not callable(archs), strategy
    if strategy in ("random", "asha"):
        allowed = {arch.id for arch in archs}
        order = [arch for arch in space.shuffled(seed, archs) if arch.id in allowed][:num_archs]
    elif strategy == "grid":
        order = sorted(archs[:num_archs], key=size_of, reverse=True)
    else:
        raise unknown_name("strategy", strategy, STRATEGIES)
    if screen is not None:
        return Screening(screen, order, done, retry_failed=retry_failed)
    return Schedule(lambda number, trials: order if number == 0 else [], done, retry_failed=retry_failed)
