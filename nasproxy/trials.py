"""Trials: what a search found out about each architecture.

Records only. `nasproxy.store` keeps them in an Optuna study, `nasproxy.alignment` sets those of several searches beside
one another, `nasproxy.tables` writes them down.

Notation: S seeds.
"""

import math
import statistics
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from hashlib import blake2b
from typing import Any, Self

from nasproxy.factors import FactorValue, sort_values
from nasproxy.rundir import RunDir

COST_FIELDS = {"params": "num_params", "flops": "flops", "latency": "latency"}
"""Name of a cost -> field of a trial."""
Factors = Mapping[str, Sequence[FactorValue]]
"""All values of every factor."""

VALIDATION_ACCURACY = "mean validation accuracy"
"""What architectures are selected by where nets are trained."""
TEST_ACCURACY = "test accuracy"
"""What architectures are judged by where nets are trained."""
FEWEST = 10
"""Architectures that are worth to look at of a ranking: of fewer, little can be said."""


class State(StrEnum):
    """How a trial ended."""

    COMPLETE = "complete"
    DIVERGED = "diverged"
    """The loss of at least one seed became infinite or NaN; scores are as measured."""
    AT_CHANCE = "at-chance"
    """Validation accuracy is within two standard errors of always guessing the largest class."""
    NOT_FINITE = "not-finite"
    """A training-free score is infinite or NaN for at least one seed: the architecture has no rank."""
    FAILED = "failed"
    """It raised an error: nothing was measured."""
    LOST = "lost"
    """Its process or node died before anything was measured; a resumed search tries it again."""
    WAITING = "waiting"
    """Measured in a rung of a screen that is not decided yet."""
    PRUNED = "pruned"
    """Cut by a screen: ranked behind those that went on, by what it was cut by."""


UNRANKED = frozenset({State.NOT_FINITE, State.FAILED, State.LOST})
"""States without a finite score."""
FLAGGED = (State.DIVERGED, State.AT_CHANCE)
"""States that are ranked as measured, but should be looked at."""
CUT = frozenset({State.WAITING, State.PRUNED})
"""States of what a screen has measured, but not to the end: scores of different rungs say nothing of each other."""


class ProxyKind(StrEnum):
    """Where the scores of a search come from."""

    FULL_TRAINING = "full-training"
    """Nets trained on the whole training set: the truth."""
    EARLY_STOPPING = "early-stopping"
    """Nets trained on the whole training set, for fewer updates."""
    PROXY_SET = "proxy-set"
    """Nets trained on a small image set."""
    FORMULA = "formula"
    """Nothing is trained: a training-free score."""
    COMBINATION = "combination"
    """Several proxies as one."""
    TABLE = "table"
    """True accuracies, or scores, that were measured elsewhere: of a file, or published."""

    @property
    def is_trained(self) -> bool:
        """Whether nets were trained here."""
        return self in (ProxyKind.FULL_TRAINING, ProxyKind.EARLY_STOPPING, ProxyKind.PROXY_SET)


class Signal(StrEnum):
    """What trials of trained nets are ranked by."""

    ACCURACY = "accuracy"
    """Validation accuracy to select, test accuracy to judge."""
    CROSS_ENTROPY = "cross-entropy"
    """Mean cross-entropy on the validation images to select, on the test images to judge; negative."""
    TRAINING_LOSS = "training-loss"
    """Mean training loss over the second half of the updates; negative. Ru et al., "Speedy Performance Estimation for
    Neural Architecture Search", NeurIPS 2021, section 3 (TSE-E), whose sum is over the last epochs."""
    TSE = "tse"
    """Mean training loss over all updates: how fast a net learns; negative. Ibid. (TSE), where it is the sum."""


@dataclass(frozen=True)
class ProxyCost:
    """What a proxy costs."""

    num_images: int = 0
    """Images that nets are trained on, or that a training-free score looks at; decoded ones of a compact proxy set."""
    num_stored_images: int = 0
    """Images whose memory has to be kept for this proxy."""
    num_stored_numbers: int = 0
    """Numbers that have to be kept of images."""
    condense_seconds: float = 0.0
    """Wall time to make the proxy set; 0 where there is none."""
    search_seconds: float | None = 0.0
    """Time of training or scoring, summed over all architectures and seeds; None where nobody says."""

    def __add__(self, other: "ProxyCost") -> "ProxyCost":
        return ProxyCost(
            self.num_images + other.num_images,
            self.num_stored_images + other.num_stored_images,
            self.num_stored_numbers + other.num_stored_numbers,
            self.condense_seconds + other.condense_seconds,
            sum_seconds([self.search_seconds, other.search_seconds]),
        )


@dataclass(frozen=True)
class Rung:
    """What was measured of one architecture at one fidelity, seed by seed."""

    selection_scores: tuple[float, ...]
    """(S,) what architectures are selected by: validation accuracies, or the scores of a proxy that trains nothing."""
    evaluation_scores: tuple[float, ...]
    """(S,) what the proxy is judged by: test accuracies, or the same scores."""
    num_steps: int | None = None
    """Updates of each net; None where nothing was trained, or nobody says."""
    selection_losses: tuple[float, ...] = ()
    """(S,) mean cross-entropy on the validation images; empty where no net was trained here."""
    evaluation_losses: tuple[float, ...] = ()
    """(S,) mean cross-entropy on the test images; empty where no net was trained here."""
    training_losses: tuple[float, ...] = ()
    """(S,) mean training loss over all updates; empty where no net was trained here."""
    late_training_losses: tuple[float, ...] = ()
    """(S,) mean training loss over the second half of the updates; empty where no net was trained here."""
    metric: str = ""
    """Name of the training-free score, in a rung of a screen that trains nothing; empty: what `SearchInfo` says."""

    @property
    def num_seeds(self) -> int:
        """S."""
        return len(self.evaluation_scores)


PER_SEED = (
    "selection_scores",
    "evaluation_scores",
    "selection_losses",
    "evaluation_losses",
    "training_losses",
    "late_training_losses",
)
"""Fields of a rung that hold one number per seed."""


@dataclass(frozen=True)
class Trial:
    """One architecture scored by one proxy. Accuracies are fractions, higher scores are better."""

    arch_id: str
    factors: Mapping[str, FactorValue]
    state: State
    rungs: tuple[Rung, ...] = ()
    """Results at rising fidelity, the last one counts; none where nothing was measured."""
    num_params: int | None = None
    flops: int | None = None
    """Of the forward pass of one image; a multiply-add counts as two."""
    train_seconds: float | None = 0.0
    """Of training all seeds; of scoring them, where nothing is trained; None where nobody says."""
    reason: str | None = None
    """Why it failed, what is not finite, or after which rung it was cut."""
    round: int = 0
    """Number of the proposal round, for strategies that learn; of the rung, in a screen."""
    worker: str | None = None
    """Host and process that trained or scored it."""
    loss_curve: Mapping[int, float] = field(default_factory=dict, compare=False, repr=False)
    """Updates done -> training loss, mean over seeds; empty where nothing was trained."""
    started: datetime | None = field(default=None, compare=False)
    """With a time zone; the time of recording, where it is not known."""
    ended: datetime | None = field(default=None, compare=False)
    """With a time zone; the time of recording, where it is not known."""
    weight: float = 1.0
    """Architectures of the space that it stands for: more than itself where those to score are a sample."""
    latency: float | None = None
    """Seconds of a forward pass, where that was measured."""
    place: int | None = None
    """Among those of the rung that it was cut after, 1 is the best; None: it was not cut."""

    @property
    def is_ranked(self) -> bool:
        """Whether it has a finite score."""
        return self.state not in UNRANKED

    @property
    def selection_scores(self) -> tuple[float, ...]:
        """(S,) what it is selected by, at the highest fidelity; empty where nothing was measured there."""
        return self.rungs[-1].selection_scores if self._is_measured else ()

    @property
    def evaluation_scores(self) -> tuple[float, ...]:
        """(S,) what it is judged by, at the highest fidelity; empty where nothing was measured there."""
        return self.rungs[-1].evaluation_scores if self._is_measured else ()

    @property
    def _is_measured(self) -> bool:
        """Whether its last rung is what it was to be measured in: one that failed in a later one has earlier ones."""
        return bool(self.rungs) and self.state not in (State.FAILED, State.LOST)

    @property
    def selection_score(self) -> float:
        """Mean over seeds; NaN where it cannot be ranked."""
        return _mean(self.selection_scores)

    @property
    def evaluation_score(self) -> float:
        """Mean over seeds; NaN where it cannot be ranked."""
        return _mean(self.evaluation_scores)

    @property
    def num_seeds(self) -> int:
        """Seeds measured at the highest fidelity."""
        return len(self.evaluation_scores)

    @property
    def order(self) -> tuple[float, ...]:
        """Sorts the best first: by selection score; then what a screen has not measured to the end, the last rung
        leading, and of a rung what is not cut; then those without a score."""
        if not self.is_ranked:
            return (2.0,)
        if self.state in CUT:
            return (1.0, -len(self.rungs), self.place or 0, -self.selection_score)
        return (0.0, -self.selection_score)


@dataclass(frozen=True)
class SampleInfo:
    """How architectures were drawn."""

    num_archs: int
    num_all: int
    """Architectures that they stand for."""
    by: str | None = None
    """What the strata are of that they were drawn by; empty where nobody says; None: drawn from all alike."""

    @classmethod
    def of(cls, weights: Collection[float], by: str | None = None) -> "SampleInfo | None":
        """Of a sample with these weights; None where each architecture stands for itself."""
        is_part = any(weight != 1 for weight in weights)
        return cls(len(weights), round(math.fsum(weights)), by) if is_part else None

    def describe(self) -> str:
        """For people: 'a uniform sample of 100 of 6,461 architectures'."""
        kind = "a uniform sample" if self.by is None else "a weighted sample"
        strata = f" by strata of {self.by}" if self.by else ""
        return f"{kind} of {self.num_archs:,} of {self.num_all:,} architectures{strata}"


@dataclass(frozen=True)
class DataInfo:
    """How much the images of a search can say."""

    num_train: int
    num_val: int
    num_test: int
    chance: float
    """Test accuracy of always naming the class with most test images."""


@dataclass(frozen=True)
class SearchInfo:
    """What all trials of a search have in common."""

    name: str
    proxy: str
    """Name of the proxy, for people."""
    kind: ProxyKind
    space: str = ""
    space_hash: str = ""
    """Empty where nobody knows: a table."""
    dataset: str = ""
    data_hash: str = ""
    split_hash: str = ""
    data: DataInfo | None = None
    """None where nobody says."""
    score_name: str | None = None
    """Name of the score that architectures are ranked by; None: accuracies, validation to select and test to judge."""
    signal: Signal = Signal.ACCURACY
    """What of trained nets the scores are."""
    has_validation: bool = True
    """Whether accuracies to select by are of validation images; a table may have those of test images only."""
    cost: ProxyCost = ProxyCost()
    """Without the time of the search, which trials know (`Trials.cost`)."""
    num_seeds: int = 1
    """Nets trained or scored for each architecture."""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    """How nets were trained, or which images a training-free score looked at."""
    method: Mapping[str, Any] = field(default_factory=dict)
    """How the proxy set was made: all settings that change it but the seed; empty where there is none."""
    set_seed: int | None = None
    """Seed that the proxy set was made with."""
    parts: tuple[str, ...] = ()
    """Names of the searches that a combination is made of."""
    is_fitted: bool = False
    """Whether a combination was fitted to a truth."""
    fit_error: float = 0.0
    """Standard error of its Spearman correlation with that truth that the fit alone makes, on Fisher's z scale."""
    sample: SampleInfo | None = None
    """How the architectures were drawn; None: they were not."""
    screen: tuple[str, ...] = ()
    """Rungs that architectures were cut after, as they are written, and the last one; empty: none was cut."""
    device: str = ""

    @property
    def label(self) -> str:
        """Shortest name of the proxy, for people: of a column of a table without the file."""
        return self.score_name if self.kind is ProxyKind.TABLE and self.score_name else self.proxy

    @property
    def has_accuracies(self) -> bool:
        """Whether scores are accuracies."""
        return self.score_name is None

    @property
    def is_truth(self) -> bool:
        """Whether it can be what proxies are judged by: accuracies of full training, or of a table."""
        return self.has_accuracies and self.kind in (ProxyKind.FULL_TRAINING, ProxyKind.TABLE)

    def is_of_method(self, other: "SearchInfo") -> bool:
        """Whether both are by proxy sets that differ in nothing but the draw: seeds of one method, searched alike."""
        names = ("kind", "proxy", "method", "num_seeds", "data_hash", "split_hash", "space_hash", "screen")
        return (
            self.kind is ProxyKind.PROXY_SET
            and all(getattr(self, name) == getattr(other, name) for name in names)
            and self.whole_recipe == other.whole_recipe
        )

    @property
    def whole_recipe(self) -> Mapping[str, Any]:
        """The recipe with what those of an earlier version do not say."""
        return {**_LATER_SETTINGS, **self.recipe}

    @property
    def selection_metric(self) -> str:
        """What architectures are selected by, for people."""
        if self.signal is Signal.CROSS_ENTROPY:
            return "negative validation cross entropy"
        return self.score_name or (VALIDATION_ACCURACY if self.has_validation else TEST_ACCURACY)

    @property
    def evaluation_metric(self) -> str:
        """What the proxy is judged by, for people."""
        if self.signal is Signal.CROSS_ENTROPY:
            return "negative test cross entropy"
        return self.score_name or TEST_ACCURACY

    def differences(self, other: "SearchInfo") -> list[str]:
        """Names of what decides results and differs; time and place do not, and hashes stand for counts of images."""
        mine, theirs = (
            asdict(replace(info, device="", data=None, cost=replace(info.cost, condense_seconds=0.0)))
            for info in (self, other)
        )
        mine["recipe"], theirs["recipe"] = self.whole_recipe, other.whole_recipe
        by_content = {name for name in ("space", "dataset") if mine[_HASHES[name]] == theirs[_HASHES[name]] != ""}
        return [name for name in mine if mine[name] != theirs[name] and name not in by_content]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """From what `as_dict` gave, perhaps by way of JSON."""
        typed = {
            "kind": ProxyKind(values["kind"]),
            "signal": Signal(values.get("signal", Signal.ACCURACY)),
            "cost": ProxyCost(**values["cost"]),
            "parts": tuple(values["parts"]),
            "screen": tuple(values.get("screen", ())),
            "sample": SampleInfo(**sample) if (sample := values.get("sample")) else None,
            "data": DataInfo(**data) if (data := values.get("data")) else None,
        }
        return cls(**{**values, **typed})


_LATER_SETTINGS = {
    "optimizer": "sgd", "schedule": "step", "warmup": 0.0, "nesterov": False, "label_smoothing": 0.0,
}  # fmt: skip
"""What a recipe does not say that was written before it had these settings."""
_HASHES = {"space": "space_hash", "dataset": "data_hash"}
"""Names of things -> hashes of what they are: where these are equal, names do not count."""


@dataclass(frozen=True)
class Trials(Sequence[Trial]):
    """All trials of a search, and what they have in common."""

    info: SearchInfo
    items: tuple[Trial, ...]
    run: RunDir | None = field(default=None, compare=False, repr=False)
    """Folder that keeps just these; None: they are in memory only."""

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: Any) -> Any:
        return self.items[index]

    def __iter__(self) -> Iterator[Trial]:
        return iter(self.items)

    def __repr__(self) -> str:
        best = f", best {self.best.arch_id}" if self.best else ""
        return f"<Trials {self.name}: {len(self):,} architectures by {self.info.proxy}{best}>"

    @property
    def name(self) -> str:
        """Of the search."""
        return self.info.name

    @cached_property
    def by_id(self) -> Mapping[str, Trial]:
        """Architecture id -> trial."""
        return {trial.arch_id: trial for trial in self.items}

    @cached_property
    def content_hash(self) -> str:
        """32 hex digits that depend on every score and number of updates, and on nothing else."""
        fields = ("selection_scores", "evaluation_scores", "num_steps")
        scores = sorted(
            (trial.arch_id, [{name: getattr(rung, name) for name in fields} for rung in trial.rungs])
            for trial in self.items
        )
        return blake2b(repr(scores).encode(), digest_size=16).hexdigest()

    @property
    def cost(self) -> ProxyCost:
        """What the proxy cost, the search included."""
        return replace(self.info.cost, search_seconds=sum_seconds([trial.train_seconds for trial in self.items]))

    @property
    def factors(self) -> Factors:
        """All values of every factor that occur: numbers by size, then text by the alphabet."""
        return factors_of(self.items)

    def of(self, arch_ids: Collection[str] | None) -> "Trials":
        """Those of these architectures; None: all. A part is not what the run keeps: it has none."""
        if arch_ids is None:
            return self
        wanted = set(arch_ids)
        part = tuple(trial for trial in self.items if trial.arch_id in wanted)
        return replace(self, items=part, run=self.run if len(part) == len(self) else None)

    @property
    def is_sample(self) -> bool:
        """Whether architectures stand for others."""
        return any(trial.weight != 1 for trial in self.items)

    def weighted(self, weights: Mapping[str, float], sample: SampleInfo | None) -> "Trials":
        """The same with these weights, by architecture id; 1 for the others."""
        items = tuple(replace(trial, weight=weights.get(trial.arch_id, 1.0)) for trial in self.items)
        return replace(self, info=replace(self.info, sample=sample), items=items)

    def count(self, *states: State) -> int:  # not of equal items, as sequences do
        """How many trials ended so."""
        counts = Counter(trial.state for trial in self.items)
        return sum(counts[state] for state in states)

    def is_at_chance(self, trial: Trial) -> bool:
        """Whether nets of a trial are no better than guessing.

        Its state says so where nets were trained here, unless they diverged: then validation accuracy, and of a table
        test accuracy, is compared with chance, where that is known.
        """
        data = self.info.data
        is_judged = trial.state is not State.DIVERGED and self.info.kind is not ProxyKind.TABLE
        if is_judged or trial.state is State.AT_CHANCE or data is None:
            return trial.state is State.AT_CHANCE
        if not (self.info.has_accuracies and trial.is_ranked):
            return False
        if self.info.kind.is_trained:  # test images choose nothing
            return is_chance(trial.selection_score, data.chance, data.num_val * trial.num_seeds)
        return is_chance(trial.evaluation_score, data.chance, data.num_test * trial.num_seeds)

    @property
    def best(self) -> Trial | None:
        """The one that is selected: the best selection score that is better than guessing; None: there is none."""
        to_the_end = (trial for trial in self.ranked() if trial.is_ranked and trial.state not in CUT)
        return next((trial for trial in to_the_end if not self.is_at_chance(trial)), None)

    def ranked(self) -> list[Trial]:
        """Best first, equal ones by id, see `Trial.order`."""
        return sorted(self.items, key=lambda trial: (*trial.order, trial.arch_id))

    def name_best(self, name: str) -> str:
        """How --archs names those of this search that are worth full training: the best 5 %, but not fewer than ten."""
        is_enough = 0.05 * sum(trial.is_ranked for trial in self.items) >= FEWEST
        return f"top:{name}:5%" if is_enough else f"top:{name}:{FEWEST}"

    def top(self, amount: int | float) -> list[str]:
        """Ids of the best architectures, best first: an int is their number, a float their fraction (rounded up)."""
        from nasproxy.ranking import count_of  # condensing needs costs of proxies, and no scipy

        scored = [trial.arch_id for trial in self.ranked() if trial.is_ranked]
        return scored[: count_of(amount, len(scored)) if isinstance(amount, float) else amount]


def factors_of(trials: Iterable[Trial]) -> Factors:
    """All values of every factor that occur: numbers by size, then text by the alphabet."""
    found: dict[str, set[FactorValue]] = {}
    for trial in trials:
        for name, value in trial.factors.items():
            found.setdefault(name, set()).add(value)
    return {name: sort_values(values) for name, values in found.items()}


def is_chance(accuracy: float, chance: float, num_answers: int) -> bool:
    """Whether an accuracy over so many answers is no better than chance, within two standard errors."""
    return accuracy <= chance + 2 * math.sqrt(chance * (1 - chance) / num_answers)


def sum_seconds(seconds: Sequence[float | None]) -> float | None:
    """Their sum; None where one of them is not known."""
    known = [value for value in seconds if value is not None]
    return math.fsum(known) if len(known) == len(seconds) else None


def _mean(values: tuple[float, ...]) -> float:
    return statistics.fmean(values) if values and all(map(math.isfinite, values)) else math.nan
