"""Which architecture next: the strategies of a search, independent of how many workers ask.

'grid' and 'random' are fixed orders. 'tpe' learns: it proposes a round of architectures at a time from the results
of the earlier rounds only, so the same seed gives the same trials for any number of workers, and again after a resume.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from enum import Enum

from nasproxy.errors import unknown_name
from nasproxy.seeding import derive_seed
from nasproxy.space import Arch, SearchSpace
from nasproxy.study import Trial, propose_tpe

STRATEGIES = {
    "grid": "every architecture, in the order of the space",
    "random": "architectures in a random order, none twice",
    "tpe": "Optuna's TPE on the validation accuracies so far, in rounds",
}


class Signal(Enum):
    """What a schedule answers when it has no architecture to give."""

    WAIT = "wait"
    """Ask again when a trial has ended."""
    END = "end"
    """There will be none."""


Propose = Callable[[int, Sequence[Trial]], list[Arch]]
"""(number of the round, trials of earlier rounds) -> the round's architectures; none: the search is over."""


class Schedule:
    """Gives out architectures round by round and waits for each round to end before the next is proposed."""

    def __init__(self, propose: Propose, done: Iterable[Trial] = ()) -> None:
        """Starts, or goes on after the trials in `done`, which are not given out again."""
        self._propose = propose
        self._trials = {trial.arch_id: trial for trial in done}
        self._round = -1
        self._queue: deque[Arch] = deque()
        self._open: set[str] = set()
        self._ended = False

    @property
    def round(self) -> int:
        """Number of the current round."""
        return max(self._round, 0)

    def next(self) -> Arch | Signal:
        """The next architecture, or why there is none now."""
        while not self._queue and not self._open and not self._ended:
            self._round += 1
            proposed = self._propose(self._round, [t for t in self._trials.values() if t.round < self._round])
            self._ended = not proposed
            self._queue.extend(arch for arch in proposed if arch.id not in self._trials)
        if self._queue:
            arch = self._queue.popleft()
            self._open.add(arch.id)
            return arch
        return Signal.END if self._ended else Signal.WAIT

    def finish(self, trial: Trial) -> None:
        """Tells how an architecture that was given out ended."""
        self._open.discard(trial.arch_id)
        self._trials[trial.arch_id] = trial


def make_schedule(
    strategy: str,
    space: SearchSpace,
    archs: Sequence[Arch],
    *,
    num_archs: int,
    seed: int,
    round_size: int,
    done: Iterable[Trial] = (),
) -> Schedule:
    """The schedule of a strategy.

    Args:
        strategy: a key of `STRATEGIES`.
        space: the whole space.
        archs: what may be given out, in the order of the space.
        num_archs: how many at most, those in `done` counted.
        seed: of 'random' and 'tpe'.
        round_size: architectures a round of 'tpe'.
        done: trials of an earlier part of the same search.

    Raises:
        SettingsError: an unknown strategy.
    """
    if strategy == "tpe":

        def propose(number: int, trials: Sequence[Trial]) -> list[Arch]:
            count = min(round_size, num_archs - number * round_size)
            if count <= 0:
                return []
            return propose_tpe(space, archs, trials, count, derive_seed(seed, "tpe", number))

        return Schedule(propose, done)
    if strategy == "random":
        allowed = {arch.id for arch in archs}
        order = [arch for arch in space.shuffled(seed) if arch.id in allowed][:num_archs]
    elif strategy == "grid":
        order = list(archs[:num_archs])
    else:
        raise unknown_name("strategy", strategy, STRATEGIES)
    return Schedule(lambda number, trials: order if number == 0 else [], done)
