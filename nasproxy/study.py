"""Trials as records of an Optuna study: the one place where results are kept.

One Optuna trial an architecture, added in one transaction when all its seeds are done, so there is never half a trial:
factors as parameters, its score as value, losses as intermediate values, all else as user attributes. The dashboard,
resume, tables and samplers all read this record.
"""

import math
import statistics
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import quote

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from nasproxy.config import without_password
from nasproxy.errors import InputError, RunError, SettingsError, StudyNotFoundError
from nasproxy.ranking import count_of
from nasproxy.seeding import derive_seed
from nasproxy.space import Arch, FactorValue, SearchSpace

optuna.logging.set_verbosity(optuna.logging.WARNING)

Factors = Mapping[str, Sequence[FactorValue]]
"""All values of every factor of a space."""

ACCURACY = "mean validation accuracy"
"""What architectures are ranked by where nets are trained."""


class State(StrEnum):
    """How a trial ended."""

    COMPLETE = "complete"
    DIVERGED = "diverged"
    """At least one seed's loss became not finite; accuracies are as measured."""
    AT_CHANCE = "at-chance"
    """Validation accuracy within two standard errors of always guessing the largest class."""
    NOT_FINITE = "not-finite"
    """A training-free score is infinite or NaN for at least one seed: it has no rank."""
    FAILED = "failed"
    """It raised, or its process died: nothing was measured."""


@dataclass(frozen=True)
class Trial:
    """One architecture scored by one proxy, over all its seeds. Accuracies are fractions."""

    arch_id: str
    factors: Mapping[str, FactorValue]
    state: State
    val_accuracies: tuple[float, ...] = ()
    """One a seed."""
    test_accuracies: tuple[float, ...] = ()
    """One a seed."""
    num_params: int | None = None
    flops: int | None = None
    """Of the forward pass of one image; a multiply-add counts as two."""
    train_seconds: float = 0.0
    """Of all seeds together; of scoring them, where nothing is trained."""
    reason: str | None = None
    """Why it failed, or what is not finite."""
    round: int = 0
    """Number of the proposal round, for strategies that learn."""
    worker: str | None = None
    """Host and process that trained or scored it."""
    scores: tuple[float, ...] = ()
    """One a seed, as measured, of a training-free proxy; none where nets were trained."""
    loss_curve: Mapping[int, float] = field(default_factory=dict, compare=False)
    """Training loss, mean over seeds, after so many updates; none where nothing was trained."""
    started: datetime | None = field(default=None, compare=False)
    """With a time zone; when it was recorded, where that is not known."""
    ended: datetime | None = field(default=None, compare=False)
    """With a time zone; when it was recorded, where that is not known."""

    @property
    def is_ranked(self) -> bool:
        """Whether it can be ranked."""
        return self.state not in (State.FAILED, State.NOT_FINITE)

    @property
    def score(self) -> float:
        """What architectures are ranked by: the mean training-free score, or the mean validation accuracy (of a truth
        from elsewhere that has none, the test accuracy).

        NaN where it cannot be ranked.
        """
        return _mean(self.scores or self.val_accuracies or self.test_accuracies)

    @property
    def val_accuracy(self) -> float:
        """Mean over seeds; NaN where there are none."""
        return _mean(self.val_accuracies)

    @property
    def test_accuracy(self) -> float:
        """Mean over seeds; NaN where there are none."""
        return _mean(self.test_accuracies)


@dataclass(frozen=True)
class StudyInfo:
    """What all trials of a search have in common."""

    name: str
    space: str
    space_hash: str
    proxy: str
    dataset: str
    data_hash: str
    split_hash: str
    num_images: int
    """Images that nets are trained on, or that a score looks at: decoded ones of a compact proxy set."""
    num_stored_images: int
    """Images that take the memory of what has to be kept for this proxy."""
    num_stored_numbers: int
    """Numbers that have to be kept of images."""
    condense_seconds: float
    """Wall time to make the proxy set; 0 for the others."""
    num_seeds: int = 1
    """Nets trained or scored for each architecture."""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    """How nets were trained, or which images a training-free score looked at."""
    metric: str = ACCURACY
    """What architectures are ranked by: `ACCURACY`, or the name of a training-free score."""
    device: str = ""

    def differences(self, other: "StudyInfo") -> list[str]:
        """Names of what decides results and is not the same; time and place do not."""
        mine, theirs = vars(self), vars(other)
        return [name for name in mine if name not in ("device", "condense_seconds") and mine[name] != theirs[name]]


@dataclass(frozen=True)
class Trials(Sequence[Trial]):
    """All trials of a search, and what they have in common."""

    info: StudyInfo
    items: tuple[Trial, ...]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: Any) -> Any:
        return self.items[index]

    def __iter__(self) -> Iterator[Trial]:
        return iter(self.items)

    def of(self, arch_ids: Collection[str] | None) -> "Trials":
        """Those of these architectures; None: all."""
        if arch_ids is None:
            return self
        wanted = set(arch_ids)
        return Trials(self.info, tuple(trial for trial in self.items if trial.arch_id in wanted))

    def ranked(self) -> list[Trial]:
        """Best score first, equal ones by id; those without one last."""
        return sorted(self.items, key=lambda trial: (-trial.score if trial.is_ranked else math.inf, trial.arch_id))

    def top(self, amount: int | float) -> list[str]:
        """Ids of the best architectures, best first: an int is their number, a float their fraction (rounded up)."""
        scored = [trial.arch_id for trial in self.ranked() if trial.is_ranked]
        return scored[: count_of(amount, len(scored)) if isinstance(amount, float) else amount]


class TrialStore:
    """The Optuna study of one search. Made by `create_store`, opened by `open_store`."""

    def __init__(self, study: optuna.Study) -> None:
        self._study = study

    @property
    def info(self) -> StudyInfo:
        return StudyInfo(**self._study.user_attrs["nasproxy"])

    def add(self, trial: Trial, space: SearchSpace) -> None:
        """Records a trial, in one transaction."""
        self._study.add_trial(to_optuna(trial, space.factors))

    def trials(self) -> Trials:
        """All trials in the order they ended; of an architecture that was tried again, the last."""
        latest: dict[str, Trial] = {}
        for frozen in self._study.get_trials(deepcopy=False):
            if "arch_id" in frozen.user_attrs:
                trial = _from_optuna(frozen)
                latest.pop(trial.arch_id, None)
                latest[trial.arch_id] = trial
        return Trials(self.info, tuple(latest.values()))


def create_store(info: StudyInfo, url: str | None) -> TrialStore:
    """A new study called `info.name`: in memory, or at an Optuna storage URL.

    Raises:
        RunError: the storage has a study of this name.
        InputError: the storage cannot be reached.
    """
    try:
        study = optuna.create_study(study_name=info.name, storage=_storage(url), direction="maximize")
    except optuna.exceptions.DuplicatedStudyError:
        raise RunError(
            f"storage {without_password(url or '')} has a study {info.name!r} already; choose another --name"
        ) from None
    study.set_user_attr("nasproxy", {**vars(info), "recipe": dict(info.recipe)})
    with warnings.catch_warnings(action="ignore", category=optuna.exceptions.ExperimentalWarning):
        study.set_metric_names([info.metric])
    return TrialStore(study)


def open_store(name: str, url: str, expected: StudyInfo | None = None) -> TrialStore:
    """The study of an earlier search.

    Args:
        name: of the study.
        url: Optuna storage URL.
        expected: what the study must be about, if it is to be continued.

    Raises:
        StudyNotFoundError: no such study.
        RunError: it is about something else than `expected`.
        InputError: the storage cannot be reached.
    """
    try:
        store = TrialStore(optuna.load_study(study_name=name, storage=_storage(url)))
    except KeyError:
        raise _no_study(name, url) from None
    if expected is not None and (differ := store.info.differences(expected)):
        raise RunError(
            f"study {name!r} in {without_password(url)} has another {', '.join(differ)}; choose another --name"
        )
    return store


def find_study(name: str, url: str) -> tuple[optuna.storages.BaseStorage, int]:
    """The storage that a search is recorded in, and the id of its study there: what a dashboard needs.

    Raises:
        StudyNotFoundError: no such study.
        InputError: the storage cannot be reached.
    """
    storage = _storage(url)
    try:
        return storage, storage.get_study_id_from_name(name)
    except KeyError:
        raise _no_study(name, url) from None


def _no_study(name: str, url: str) -> StudyNotFoundError:
    return StudyNotFoundError(f"storage {without_password(url)} holds no study {name!r}; was the search started?")


def sqlite_url(path: Path) -> str:
    """Optuna storage URL of a SQLite file."""
    return f"sqlite:///{quote(str(path.resolve()))}"


def propose_tpe(
    space: SearchSpace, candidates: Sequence[Arch], history: Iterable[Trial], count: int, seed: int
) -> list[Arch]:
    """Up to `count` architectures to try next, by Optuna's TPE on what is known; none that was tried.

    Deterministic in its arguments: trials enter in the order of their ids, whatever order they ended in.

    Args:
        space: gives the factors.
        candidates: what may be proposed.
        history: trials so far.
        count: how many to propose at once.
        seed: of the sampler.
    """
    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=derive_seed(seed) % 2**32, constant_liar=True), direction="maximize"
    )
    past = sorted(history, key=lambda trial: trial.arch_id)
    study.add_trials([to_optuna(trial, space.factors) for trial in past])
    tried = {trial.arch_id for trial in past}
    open_archs = {arch.id: arch for arch in candidates if arch.id not in tried}
    proposed: list[Arch] = []
    for _ in range(20 * count):
        if len(proposed) == count or not open_archs:
            break
        asked = study.ask(make_distributions(space.factors))
        arch = open_archs.pop(space.arch(asked.params).id, None)
        if arch is not None:
            proposed.append(arch)
    return proposed + list(open_archs.values())[: count - len(proposed)]


def _storage(url: str | None) -> optuna.storages.BaseStorage:
    if url is None:
        return optuna.storages.InMemoryStorage()
    if url.startswith("postgresql://"):  # SQLAlchemy's own default is an older driver than the one we ask for
        url = url.replace("://", "+psycopg://", 1)
    options: dict[str, Any] = {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {"pool_pre_ping": True}
    try:
        return optuna.storages.RDBStorage(url, engine_kwargs=options)
    except ImportError as error:
        raise SettingsError(
            f"storage {without_password(url)} needs a driver: {error}; pip install nasproxy[postgresql]"
        ) from None
    except Exception as error:  # SQLAlchemy and every driver have trees of their own
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"cannot open storage {without_password(url)}: {reason}; check the URL and that it is up"
        ) from error


def make_distributions(factors: Factors) -> dict[str, BaseDistribution]:
    """Factors as Optuna's parameters: categories, numbers too, because a space has nothing between its values."""
    return {name: CategoricalDistribution(values) for name, values in factors.items()}


_ATTRIBUTES = (
    "arch_id", "val_accuracies", "test_accuracies", "num_params", "flops", "train_seconds", "reason", "round", "worker",
)  # fmt: skip
"""Fields of a trial that are user attributes as they are."""


def to_optuna(trial: Trial, factors: Factors) -> FrozenTrial:
    """A trial as Optuna keeps it.

    Args:
        trial: what is to be kept.
        factors: all values of every factor, in the order in which pictures show them.
    """
    attributes = {name: getattr(trial, name) for name in _ATTRIBUTES} | {"state": trial.state.value}
    if trial.scores:  # JSON has neither infinity nor NaN: those are texts
        attributes["scores"] = [score if math.isfinite(score) else str(score) for score in trial.scores]
    if trial.test_accuracies:
        attributes["test_accuracy"] = trial.test_accuracy
    frozen = create_trial(
        params=dict(trial.factors),
        distributions=make_distributions(factors),
        value=trial.score if trial.is_ranked else None,
        state=TrialState.COMPLETE if trial.is_ranked else TrialState.FAIL,
        user_attrs=attributes,
        intermediate_values=dict(trial.loss_curve),
    )
    set_times(frozen, trial)
    return frozen


def set_times(frozen: FrozenTrial, trial: Trial) -> None:
    """When a trial started and ended, where that is known: Optuna keeps local times without a zone."""
    if trial.started is not None and trial.ended is not None:
        frozen.datetime_start = trial.started.astimezone().replace(tzinfo=None)
        frozen.datetime_complete = trial.ended.astimezone().replace(tzinfo=None)


def _from_optuna(frozen: FrozenTrial) -> Trial:
    attributes = {name: frozen.user_attrs[name] for name in _ATTRIBUTES}
    for name in ("val_accuracies", "test_accuracies"):
        attributes[name] = tuple(attributes[name])
    return Trial(
        factors=frozen.params,
        state=State(frozen.user_attrs["state"]),
        scores=tuple(float(score) for score in frozen.user_attrs.get("scores", ())),
        loss_curve=frozen.intermediate_values,
        started=frozen.datetime_start and frozen.datetime_start.astimezone(UTC),
        ended=frozen.datetime_complete and frozen.datetime_complete.astimezone(UTC),
        **attributes,
    )


def _mean(values: tuple[float, ...]) -> float:
    return statistics.fmean(values) if values and all(map(math.isfinite, values)) else math.nan
