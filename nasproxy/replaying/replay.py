"""Regret of a search strategy against its cost, over many repetitions of the search on looked-up scores.

A repetition is a whole search with a seed of its own, by the schedule that a search on nets has. After k architectures
its pick is the best of them by selection score, ties by id; its regret is the best true test accuracy among all
architectures that scores and truth know, less that of the pick.

What a repetition sees is what a search sees that trains one net per architecture: where a table has scores of several
seeds, one of them is drawn for each architecture (independently between repetitions and tables; the same for every
strategy, so that strategies differ by what they do, not by what they were shown). The noise of seeds is then in the
band, and the cost of a score is that of one training. The truth is the mean over its seeds.

'halving' is successive halving (Jamieson & Talwalkar, "Non-stochastic Best Arm Identification", AISTATS 2016): n random
architectures are scored by the first table, the best n/eta of them by the next, and so on. Our deviations:
1. eta is the ratio of the costs of two tables, unless given, so that every table takes the same share of the budget.
2. A score by the next table costs its full price: tables are of separate trainings, not of one that goes on.
3. Its budget is decided before it starts: the curve's point n is that of a search begun with n architectures.

Notation: A architectures that scores and truth know, S seeds, J tables, R repetitions, K architectures of a search.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import pairwise
from multiprocessing import get_context
from typing import Any

import numpy as np
import numpy.typing as npt

from nasproxy.alignment import Array, by_seed, check_same_task
from nasproxy.errors import InputError, SettingsError, unknown_name
from nasproxy.formatting import format_number
from nasproxy.ranking import count_seeds
from nasproxy.rundir import RunDir
from nasproxy.screened import by_place, to_the_end
from nasproxy.searching.schedule import STRATEGIES, make_schedule
from nasproxy.seeding import derive_seed
from nasproxy.space import Arch, SearchSpace, load_costs
from nasproxy.trials import Rung, State, Trial, Trials

HALVING = "halving"
REPLAYED = {
    **{name: summary for name, summary in STRATEGIES.items() if name != "asha"},
    HALVING: "random architectures by the cheapest table, the best of them by the next, and so on",
}
"""Strategies that can be replayed: those of a search, and one for several tables."""
CHUNK = 10
"""Repetitions that a process does at once."""
SIZES_FOR = ((3, 32, 32), 10)
"""Images and classes that FLOPs are counted for where a table has none: they only say which architecture is larger."""

Floats = npt.NDArray[np.floating[Any]]
Indices = npt.NDArray[np.intp]
OnProgress = Callable[[int, int], None]
"""(repetitions done, of how many)."""


@dataclass(frozen=True)
class Fidelity:
    """Scores from a table, and what one of them costs."""

    scores: Trials
    cost: float = 1.0
    """Of the score of one architecture by one seed, in any unit, e.g. epochs."""


@dataclass(frozen=True, eq=False)
class Replay:
    """Regrets of a strategy: a curve for each repetition."""

    strategy: str
    tables: tuple[str, ...]
    """Names of the tables that gave the scores."""
    costs: Floats
    """(K,) of the first k architectures, in the unit of the tables; 'halving': of a search begun with k."""
    regrets: npt.NDArray[np.float32]
    """(R, K) true accuracy lost by the pick, a fraction."""
    best_arch: str
    """The best architecture by the truth."""
    best_accuracy: float
    """Its true accuracy, a fraction."""
    num_known: int
    """A: architectures that all tables and the truth know."""

    @property
    def label(self) -> str:
        """What it is, for people."""
        return f"{self.strategy}, {' > '.join(self.tables)}"

    @property
    def num_repetitions(self) -> int:
        """R; 1 where nothing is left to chance."""
        return len(self.regrets)

    @property
    def mean(self) -> Floats:
        """(K,) mean over repetitions."""
        mean: Floats = self.regrets.mean(axis=0, dtype=np.float64)
        return mean

    @property
    def standard_error(self) -> Floats:
        """(K,) of the mean; NaN for one repetition."""
        if self.num_repetitions == 1:
            return np.full(len(self.costs), np.nan)
        deviation: Floats = self.regrets.std(axis=0, ddof=1, dtype=np.float64)
        return deviation / math.sqrt(self.num_repetitions)

    def band(self, low: float = 0.05, high: float = 0.95) -> tuple[Floats, Floats]:
        """(K,) and (K,): quantiles over repetitions."""
        ends: Floats = np.quantile(self.regrets, (low, high), axis=0)
        return ends[0], ends[1]

    def __repr__(self) -> str:
        return (
            f"<Replay {self.label}: {self.num_repetitions:,} repetition(s) over {self.num_known:,} architectures, "
            f"mean regret {format_number(100 * self.mean[-1])} points in the end>"
        )

    def at(self, cost: float) -> int | None:
        """Index of the last point that costs no more; None: before the first or beyond the last point."""
        if not self.costs[0] <= cost <= self.costs[-1]:
            return None
        return int(np.searchsorted(self.costs, cost, side="right")) - 1


@dataclass(frozen=True, eq=False)
class Replays(Sequence[Replay]):
    """Strategies replayed on the same space and truth, their costs in one unit."""

    items: tuple[Replay, ...]
    cost_unit: str = "scores"
    """For people."""
    run: RunDir | None = field(default=None, repr=False)
    """Folder that keeps them; None: they are in memory only."""

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: Any) -> Any:
        return self.items[index]

    def __iter__(self) -> Iterator[Replay]:
        return iter(self.items)

    def budgets(self, count: int = 6) -> list[float]:
        """At most so many costs to compare strategies at: 1, 2, 5, 10, ... within what they cover, and the highest."""
        low, high = min(item.costs[0] for item in self), max(item.costs[-1] for item in self)
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        round_numbers = [float(step * 10.0**power) for power in powers for step in (1, 2, 5)]
        found = sorted({number for number in round_numbers if low <= number <= high} | {float(high)})
        chosen = np.linspace(0, len(found) - 1, min(count, len(found))).round().astype(int)
        return [found[place] for place in chosen]


def replay(
    space: SearchSpace,
    scores: Trials | Sequence[Fidelity],
    truth: Trials,
    strategy: str,
    *,
    num_archs: int = 100,
    repetitions: int = 1000,
    round_size: int = 8,
    eta: float | None = None,
    seed: int = 0,
    num_processes: int = 1,
    on_progress: OnProgress = lambda done, total: None,
) -> Replay:
    """Repeats a search on looked-up scores.

    Args:
        space: what is searched; architectures without a score or without a truth are left out.
        scores: a table, whose scores cost 1 each; or tables of rising cost, several of them for 'halving'.
        truth: what picks are judged by: test accuracies.
        strategy: a key of `REPLAYED`.
        num_archs: K, or all where there are fewer; 'halving': the largest number to begin with.
        repetitions: R. Of 'grid' on scores of one seed there is one: nothing in it is left to chance.
        round_size: architectures a round of 'tpe'.
        eta: of 'halving': an eta-th goes on to the next table; None: the ratio of the costs of both.
        seed: of every random draw.
        num_processes: the result does not depend on it.
        on_progress: told about every few repetitions.

    Raises:
        SettingsError: an unknown strategy, a number below 1, tables that do not suit the strategy, or a truth without
            accuracies.
        InputError: scores and truth are of different data or spaces, or have no architecture in common.
    """
    plan = plan_replay(
        space, scores, truth, strategy,
        num_archs=num_archs, repetitions=repetitions, round_size=round_size, eta=eta, seed=seed,
    )  # fmt: skip
    return plan.perform(num_processes, on_progress)


def plan_replay(
    space: SearchSpace,
    scores: Trials | Sequence[Fidelity],
    truth: Trials,
    strategy: str,
    *,
    num_archs: int = 100,
    repetitions: int = 1000,
    round_size: int = 8,
    eta: float | None = None,
    seed: int = 0,
) -> "ReplayPlan":
    """What `replay` will do, checked.

    Raises:
        SettingsError: as for `replay`.
        InputError: as for `replay`.
    """
    fidelities = [Fidelity(scores)] if isinstance(scores, Trials) else list(scores)
    fidelities = [replace(fidelity, scores=by_place(fidelity.scores)) for fidelity in fidelities]
    truth = to_the_end(truth)
    _check(fidelities, truth, strategy, num_archs, repetitions, eta)
    every = space.archs() if space.is_listed else _listed_in(truth, space)
    known = [fidelity.scores.by_id for fidelity in fidelities] + [truth.by_id]
    places = [
        place
        for place, arch in enumerate(every)
        if all(arch.id in trials and trials[arch.id].is_ranked for trials in known)
    ]
    if not places:
        names = ", ".join(fidelity.scores.name for fidelity in fidelities)
        raise InputError(
            f"scores {names} and truth {truth.name} have no architecture of space {space.name} in common; "
            "name tables of this space"
        )
    archs = tuple(every[place] for place in places)
    kept = _halve(np.arange(1, min(num_archs, len(archs)) + 1), _etas(fidelities, eta))
    first = fidelities[0].scores.by_id
    return ReplayPlan(
        space=space,
        strategy=strategy,
        archs=archs,
        place_of={arch.id: row for row, arch in enumerate(archs)},
        space_places=np.array(places),
        id_ranks=_ranks_of(np.argsort(np.array([arch.id for arch in archs]))),
        sizes=np.array([size_of(arch, first[arch.id]) for arch in archs]),
        tables=tuple(_Table.of(fidelity.scores, archs) for fidelity in fidelities),
        truth=np.array([truth.by_id[arch.id].evaluation_score for arch in archs]),
        kept=kept,
        costs=np.array([fidelity.cost for fidelity in fidelities]) @ kept,
        repetitions=repetitions,
        round_size=round_size,
        seed=seed,
    )


@dataclass(frozen=True)
class _Table:
    """Scores of one table as arrays."""

    name: str
    by_seed: Array
    """(A, S); rows of fewer seeds than the most end with NaN."""

    @classmethod
    def of(cls, scores: Trials, archs: Sequence[Arch]) -> "_Table":
        return cls(scores.name, by_seed([scores.by_id[arch.id].selection_scores for arch in archs]))


@dataclass(frozen=True)
class ReplayPlan:
    """Everything that a repetition depends on but its number: what a process is sent."""

    space: SearchSpace
    strategy: str
    archs: tuple[Arch, ...]
    """(A,) in the order of the space."""
    place_of: Mapping[str, int]
    """Id -> row of A."""
    space_places: Indices
    """(A,) their places in the space: draws go by them, whatever else tables know."""
    id_ranks: Indices
    """(A,) their order by id."""
    sizes: Floats
    """(A,) FLOPs."""
    tables: tuple[_Table, ...]
    truth: Floats
    """(A,)."""
    kept: Indices
    """(J, K) how many of the first k architectures are scored by each table."""
    costs: Floats
    """(K,)."""
    repetitions: int
    """As asked for."""
    round_size: int
    seed: int

    @property
    def has_chance(self) -> bool:
        """Whether repetitions can differ."""
        return self.strategy != "grid" or any(table.by_seed.shape[1] > 1 for table in self.tables)

    def perform(self, num_processes: int = 1, on_progress: OnProgress = lambda done, total: None) -> Replay:
        """All repetitions, by so many processes.

        Raises:
            SettingsError: none of them.
        """
        if num_processes < 1:
            raise SettingsError(f"num_processes={num_processes} leaves nobody to replay; give 1 or more")
        best = int(self.truth.argmax())
        return Replay(
            strategy=self.strategy,
            tables=tuple(table.name for table in self.tables),
            costs=self.costs,
            regrets=np.concatenate(list(self._play_all(num_processes, on_progress))),
            best_arch=self.archs[best].id,
            best_accuracy=float(self.truth[best]),
            num_known=len(self.archs),
        )

    def _play_all(self, num_processes: int, on_progress: OnProgress) -> Iterator[npt.NDArray[np.float32]]:
        """Regrets (CHUNK, K) of repetition after repetition."""
        count = self.repetitions if self.has_chance else 1
        chunks = [range(start, min(start + CHUNK, count)) for start in range(0, count, CHUNK)]
        if num_processes == 1:
            for chunk in chunks:
                yield self._play(chunk)
                on_progress(chunk.stop, count)
            return
        with ProcessPoolExecutor(min(num_processes, len(chunks)), get_context("spawn")) as pool:
            for chunk, rows in zip(chunks, pool.map(self._play, chunks), strict=True):
                yield rows
                on_progress(chunk.stop, count)

    def _play(self, repetitions: range) -> npt.NDArray[np.float32]:
        """Regrets (len(repetitions), K)."""
        return np.array([self._regrets(repetition) for repetition in repetitions], dtype=np.float32)

    def _regrets(self, repetition: int) -> Floats:
        """(K,)."""
        scores = [self._draw(table, repetition) for table in self.tables]
        order = self._order(scores[0], repetition)
        ranks = [_ranks_of(np.lexsort((self.id_ranks[order], -score[order]))) for score in scores]
        if len(ranks) == 1:
            best = np.minimum.accumulate(ranks[0])
        else:
            best = np.array([self._survivor(ranks, k) for k in range(len(order))])
        picks = order[np.argsort(ranks[-1])][best]
        regrets: Floats = self.truth.max() - self.truth[picks]
        return regrets

    def _draw(self, table: _Table, repetition: int) -> Floats:
        """(A,) one seed's score of each architecture."""
        if table.by_seed.shape[1] == 1:
            return table.by_seed[:, 0]
        generator = np.random.default_rng(derive_seed(self.seed, "replay scores", table.name, repetition))
        num_places = len(self.space) if self.space.is_listed else int(self.space_places.max()) + 1
        drawn = (generator.random(num_places)[self.space_places] * count_seeds(table.by_seed)).astype(int)
        scores: Floats = table.by_seed[np.arange(len(drawn)), drawn]
        return scores

    def _order(self, scores: Floats, repetition: int) -> Indices:
        """(K,) the architectures that the schedule gives to one worker."""
        schedule = make_schedule(
            "random" if self.strategy == HALVING else self.strategy,
            self.space,
            self.archs,
            num_archs=len(self.costs),
            size_of=lambda arch: float(self.sizes[self.place_of[arch.id]]),
            seed=derive_seed(self.seed, "replay", repetition),
            round_size=self.round_size,
        )
        order: list[int] = []
        while isinstance(arch := schedule.next(), Arch):
            order.append(self.place_of[arch.id])
            score = (float(scores[order[-1]]),)
            schedule.finish(Trial(arch.id, arch.factors, State.COMPLETE, (Rung(score, score),), round=schedule.round))
        return np.array(order)

    def _survivor(self, ranks: Sequence[Indices], k: int) -> int:
        """Rank by the last table of the pick among the first k + 1 architectures; `ranks` are (K,) by each table."""
        left = np.arange(k + 1)
        for rank, kept in zip(ranks, self.kept[1:, k], strict=False):
            left = left[np.argpartition(rank[left], kept - 1)[:kept]]
        return int(ranks[-1][left].min())


def size_of(arch: Arch, trial: Trial) -> float:
    """FLOPs of an architecture: of its trial, else as its space counts them for colour images of 32x32; else 0."""
    if trial.flops is not None:
        return float(trial.flops)
    return 0.0 if arch.costs is None else float(load_costs(arch.costs)(arch, *SIZES_FOR)[1])


def _check(
    fidelities: Sequence[Fidelity],
    truth: Trials,
    strategy: str,
    num_archs: int,
    repetitions: int,
    eta: float | None,
) -> None:
    for name, number in (("num_archs", num_archs), ("repetitions", repetitions)):
        if number < 1:
            raise SettingsError(f"{name}={number} leaves nothing to replay; give 1 or more")
    if strategy not in REPLAYED:
        raise unknown_name("strategy", strategy, REPLAYED)
    if not truth.info.has_accuracies:
        raise SettingsError(f"truth {truth.name} has {truth.info.score_name} scores; name one with test accuracies")
    costs = [fidelity.cost for fidelity in fidelities]
    if not all(0 < cost < math.inf for cost in costs):
        raise SettingsError(f"costs {costs}: a score costs something; give numbers above 0")
    if (strategy == HALVING) != (len(fidelities) > 1):
        needs = "several tables, of rising cost" if strategy == HALVING else "one table"
        raise SettingsError(f"strategy {strategy!r} goes by {needs}, not by {len(fidelities)}; name other scores")
    if any(cost >= dearer for cost, dearer in pairwise(costs)):
        raise SettingsError(f"costs {costs} of the tables of {HALVING!r} do not rise; name the cheapest table first")
    if eta is not None and not 1 < eta < math.inf:
        raise SettingsError(f"eta={eta} halves nothing; give a number above 1")
    for fidelity in fidelities:
        check_same_task(fidelity.scores, truth)


def _etas(fidelities: Sequence[Fidelity], eta: float | None) -> list[float]:
    return [eta or dearer.cost / cheaper.cost for cheaper, dearer in pairwise(fidelities)]


def _listed_in(truth: Trials, space: SearchSpace) -> list[Arch]:
    """The architectures of a space, too large to list, that stand in a table."""
    found = (space.standing_for(trial.arch_id) for trial in truth)
    return sorted({arch.id: arch for arch in found if arch is not None}.values(), key=lambda arch: arch.id)


def _halve(counts: Indices, etas: Sequence[float]) -> Indices:
    """(J, K) how many of (K,) counts each table scores, rounded up."""
    kept = [counts]
    for eta in etas:
        kept.append(np.ceil(kept[-1] / eta - 1e-9).astype(int))
    return np.array(kept)


def _ranks_of(order: Indices) -> Indices:
    """(A,) place of each in an order (A,)."""
    ranks = np.empty_like(order)
    ranks[order] = np.arange(len(order))
    return ranks
