"""A search as a cluster would do it, on a clock of its own: schedule, recorder and study are those of a real search."""

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from nasproxy.errors import InputError, SettingsError
from nasproxy.replaying.replay import size_of
from nasproxy.screened import by_place
from nasproxy.searching.recorder import Recorder
from nasproxy.searching.schedule import make_schedule
from nasproxy.space import Arch, SearchSpace
from nasproxy.store import create_store
from nasproxy.trials import Trial, Trials

FLOPS_PER_SECOND = 1e9
"""Of a simulated worker, where nobody says how long an architecture takes: FLOPs of one image's forward pass."""
START = datetime(2000, 1, 1, tzinfo=UTC)
"""What the clock shows at first."""


@dataclass(frozen=True)
class Simulation:
    """A search with simulated workers."""

    trials: Trials
    """As a search gives them, in the order in which they ended, `started` and `ended` by the simulated clock."""
    num_workers: int
    makespan: float
    """Seconds until the last one ended."""
    busy_seconds: float
    """Summed over all workers."""

    @property
    def utilisation(self) -> float:
        """Fraction of their time that workers had something to do."""
        return self.busy_seconds / (self.makespan * self.num_workers) if self.makespan else 1.0


def simulate(
    space: SearchSpace,
    scores: Trials,
    strategy: str,
    *,
    num_workers: int,
    num_archs: int | None = None,
    seconds_of: Callable[[Arch], float] | None = None,
    round_size: int = 8,
    seed: int = 0,
) -> Simulation:
    """Searches a space on looked-up scores with so many workers; the trials do not depend on their number.

    Args:
        space: what is searched: its architectures that have scores.
        scores: a table or an earlier search.
        strategy: a key of `STRATEGIES`.
        num_workers: simulated ones.
        num_archs: at most so many; None: all.
        seconds_of: how long a worker takes for an architecture; None: its FLOPs at `FLOPS_PER_SECOND`.
        round_size: architectures a round of 'tpe'.
        seed: of 'random' and 'tpe'.

    Raises:
        SettingsError: an unknown strategy, a number below 1, or architectures whose time nobody knows.
        InputError: no architecture of the space has scores.
    """
    scores = by_place(scores)
    archs = [arch for arch in space.archs() if arch.id in scores.by_id]
    if num_workers < 1 or (num_archs is not None and num_archs < 1):
        raise SettingsError(f"num_workers={num_workers}, num_archs={num_archs} leave nothing to do; give 1 or more")
    if not archs:
        raise InputError(f"table {scores.name} has no architecture of space {space.name}; name one of this space")
    sizes = {arch.id: size_of(arch, scores.by_id[arch.id]) for arch in archs}
    seconds = {arch.id: seconds_of(arch) if seconds_of else sizes[arch.id] / FLOPS_PER_SECOND for arch in archs}
    unknown = next((name for name, value in seconds.items() if not (math.isfinite(value) and value > 0)), None)
    if unknown is not None:
        raise SettingsError(f"{unknown} takes {seconds[unknown]} s: give seconds_of, with finite times above 0")
    schedule = make_schedule(
        strategy,
        space,
        archs,
        num_archs=min(num_archs or len(archs), len(archs)),
        size_of=lambda arch: sizes[arch.id],
        seed=seed,
        round_size=round_size,
    )
    info = replace(scores.info, name=f"{scores.name}-{strategy}", space=space.name, space_hash=space.content_hash())
    recorder = Recorder(create_store(info, space.factors, None), schedule, (), lambda trial: None)
    running: list[tuple[float, int, Trial]] = []
    now, num_started = 0.0, 0
    while True:
        while len(running) < num_workers and isinstance(arch := schedule.next(), Arch):
            end = now + seconds[arch.id]
            record = replace(
                scores.by_id[arch.id],
                factors=arch.factors,
                round=schedule.round,
                worker=None,
                started=START + timedelta(seconds=now),
                ended=START + timedelta(seconds=end),
            )
            heapq.heappush(running, (end, num_started, record))
            num_started += 1
        if not running:
            break
        now, _, record = heapq.heappop(running)
        recorder.finish(record, None)
    recorder.close()
    trials = Trials(info, recorder.trials)
    return Simulation(trials, num_workers, now, math.fsum(seconds[trial.arch_id] for trial in trials))
