"""Trials in an Optuna study: the one place where results are kept.

One Optuna trial per architecture, added in one transaction when it is done, so there is never half a trial: factors as
parameters, the selection score as value, validation accuracy as intermediate value, all else as user attributes. The
dashboard, resume, tables and samplers all read this record.

In a screen, an architecture has one Optuna trial as well. It is running from the end of its first rung on, and ends as
complete or pruned. What is known of it while it runs is one attribute, written in one transaction after each rung.
"""

import contextlib
import math
import statistics
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC
from pathlib import Path
from typing import Any
from urllib.parse import quote

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from nasproxy.config import without_password
from nasproxy.errors import InputError, RunError, SettingsError, StudyNotFoundError
from nasproxy.factors import FactorValue, FloatRange, IntRange
from nasproxy.trials import PER_SEED, Factors, Rung, SearchInfo, State, Trial, Trials

optuna.logging.set_verbosity(optuna.logging.WARNING)

INFO, FACTORS = "nasproxy", "factors"
"""User attributes of a study: what all trials have in common, and all values of every factor."""


class TrialStore:
    """The Optuna study of one search. Made by `create_store`, opened by `open_store`."""

    def __init__(self, study: optuna.Study) -> None:
        self._study, self._storage = study, study._storage
        self._factors: Factors = {
            name: _read_range(values) if isinstance(values, dict) else values
            for name, values in study.user_attrs[FACTORS].items()
        }
        self._running = self._find_running()
        self._is_unsure = False
        """Whether the storage has refused something: it may have been written all the same."""

    def _find_running(self) -> dict[str, FrozenTrial]:
        """By architecture id."""
        running = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        return {frozen.user_attrs["arch_id"]: frozen for frozen in running if "arch_id" in frozen.user_attrs}

    @property
    def info(self) -> SearchInfo:
        return SearchInfo.from_dict(self._study.user_attrs[INFO])

    def add(self, trial: Trial) -> None:
        """Records a trial, in one transaction; or how one goes on that is running."""
        frozen = to_optuna(trial, self._factors)
        try:
            if self._is_unsure and self._has(trial):
                self._is_unsure = False
                return
            known = self._running.get(trial.arch_id)
            if known is None:
                frozen._trial_id = self._storage.create_new_trial(self._study._study_id, template_trial=frozen)
                known = frozen
            else:
                self._go_on(known, frozen)
        except BaseException:
            self._is_unsure = True
            raise
        self._is_unsure = False
        if frozen.state is TrialState.RUNNING:
            self._running[trial.arch_id] = known
        else:
            self._running.pop(trial.arch_id, None)

    def _has(self, trial: Trial) -> bool:
        """Whether the storage has this very record, or else where that of its architecture is: it is asked anew."""
        self._running = self._find_running()
        found = self.trials().by_id.get(trial.arch_id)
        return found is not None and _attributes(found) == _attributes(trial)  # as JSON: NaN is no number there

    def _go_on(self, known: FrozenTrial, frozen: FrozenTrial) -> None:
        """Brings a running trial to what `frozen` says; its end is written last."""
        trial_id, is_over = known._trial_id, frozen.state is not TrialState.RUNNING
        for step, value in frozen.intermediate_values.items():
            if known.intermediate_values.get(step) != value:
                self._storage.set_trial_intermediate_value(trial_id, step, value)
        for name, value in frozen.system_attrs.items():
            self._storage.set_trial_system_attr(trial_id, name, value)
        for name, value in frozen.user_attrs.items() if is_over else ():
            if known.user_attrs.get(name, self) != value:
                self._storage.set_trial_user_attr(trial_id, name, value)
        if is_over:
            self._storage.set_trial_state_values(trial_id, frozen.state, frozen.values)

    def delete(self) -> None:
        """Removes the study from its storage."""
        optuna.delete_study(study_name=self._study.study_name, storage=self._storage)

    def trials(self) -> Trials:
        """All trials in the order they ended; of an architecture that was tried again, the last."""
        latest: dict[str, Trial] = {}
        for frozen in self._study.get_trials(deepcopy=False):
            if "arch_id" in frozen.user_attrs:
                trial = _from_optuna(frozen)
                latest.pop(trial.arch_id, None)
                latest[trial.arch_id] = trial
        return Trials(self.info, tuple(latest.values()))


def create_store(info: SearchInfo, factors: Factors, url: str | None) -> TrialStore:
    """A new study called `info.name`.

    Args:
        info: what all its trials will have in common.
        factors: all values of every factor, in the order in which pictures show them.
        url: Optuna storage URL; None: in memory.

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
    try:
        study.set_user_attr(INFO, info.as_dict())
        values_of = {
            name: asdict(values) if isinstance(values, IntRange | FloatRange) else list(values)
            for name, values in factors.items()
        }
        study.set_user_attr(FACTORS, values_of)
        with warnings.catch_warnings(action="ignore", category=optuna.exceptions.ExperimentalWarning):
            study.set_metric_names([info.selection_metric])
    except BaseException:  # half a study would be taken for one of another version
        optuna.delete_study(study_name=info.name, storage=study._storage)
        raise
    return TrialStore(study)


def open_store(name: str, url: str, expected: SearchInfo | None = None) -> TrialStore:
    """The study of an earlier search.

    Args:
        name: of the study.
        url: Optuna storage URL.
        expected: what the study must be about, if it is to be continued.

    Raises:
        StudyNotFoundError: no such study.
        RunError: it is about something else than `expected`, or was written by another version.
        InputError: the storage cannot be reached.
    """
    try:
        study = optuna.load_study(study_name=name, storage=_storage(url))
    except KeyError:
        raise _no_study(name, url) from None
    if FACTORS not in study.user_attrs:
        raise RunError(f"study {name!r} in {without_password(url)} was not written by this version; search again")
    store = TrialStore(study)
    if expected is not None and (differ := store.info.differences(expected)):
        raise RunError(
            f"study {name!r} in {without_password(url)} has another {', '.join(differ)}; choose another --name"
        )
    return store


def delete_study(name: str, url: str) -> None:
    """Removes a study from its storage, whichever version wrote it; one that is not there needs no removal.

    Raises:
        InputError: the storage cannot be reached.
    """
    with contextlib.suppress(KeyError):
        optuna.delete_study(study_name=name, storage=_storage(url))


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


def make_distributions(factors: Factors, of: Collection[str]) -> dict[str, BaseDistribution]:
    """Factors as Optuna's parameters: ranges, else categories, numbers too: a space has nothing between its values.

    Args:
        factors: all values of every factor.
        of: the factors that an architecture has.
    """
    return {name: make_distribution(values) for name, values in factors.items() if name in of}


def make_distribution(values: Sequence[FactorValue]) -> BaseDistribution:
    """A factor as a parameter of Optuna's."""
    if isinstance(values, IntRange):  # Optuna wants one whose steps fill it
        return IntDistribution(values.low, values[-1], log=values.log, step=values.step)
    if isinstance(values, FloatRange):
        return FloatDistribution(values.low, values.high, log=values.log, step=values.step)
    return CategoricalDistribution(values)


def _read_range(values: dict[str, Any]) -> IntRange | FloatRange:
    return IntRange(**values) if isinstance(values["low"], int) and values["step"] else FloatRange(**values)


_ATTRIBUTES = ("arch_id", "num_params", "flops", "latency", "train_seconds", "reason", "round", "worker")
"""Fields of a trial that are user attributes as they are."""
_WAITING = "waiting"
"""System attribute of a running trial: all that its user attributes would be if it ended now, written at once."""
_STATES = {State.WAITING: TrialState.RUNNING, State.PRUNED: TrialState.PRUNED}
"""Of Optuna; the others are complete, or failed where they have no score."""


def to_optuna(trial: Trial, factors: Factors) -> FrozenTrial:
    """A trial as Optuna keeps it.

    Args:
        trial: what is to be kept.
        factors: all values of every factor, in the order in which pictures show them.
    """
    attributes = _attributes(trial)
    state = _STATES.get(trial.state, TrialState.COMPLETE if trial.is_ranked else TrialState.FAIL)
    frozen = create_trial(
        params=dict(trial.factors),
        distributions=make_distributions(factors, trial.factors),
        value=trial.selection_score if state is TrialState.COMPLETE else None,
        state=state,
        user_attrs=attributes if state is not TrialState.RUNNING else _without_score(attributes),
        system_attrs={_WAITING: attributes} if state is TrialState.RUNNING else {},
        intermediate_values=_intermediate_values(trial),
    )
    set_times(frozen, trial)
    return frozen


def _attributes(trial: Trial) -> dict[str, Any]:
    """User attributes of a trial that has ended, as JSON values."""
    attributes = {name: getattr(trial, name) for name in _ATTRIBUTES} | {"state": trial.state.value}
    if trial.latency is None:
        del attributes["latency"]
    if trial.weight != 1:
        attributes["weight"] = trial.weight
    if trial.place is not None:
        attributes["place"] = trial.place
    attributes["rungs"] = [_to_json(rung) for rung in trial.rungs]
    attributes["loss_curve"] = [[step, _finite_or_text(loss)] for step, loss in trial.loss_curve.items()]
    if math.isfinite(trial.evaluation_score):
        attributes["evaluation_score"] = trial.evaluation_score
    return attributes


def _without_score(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """What a running trial has already: most of it stays if it is cut, and need not be written again."""
    return {name: value for name, value in attributes.items() if name != "evaluation_score"}


def set_times(frozen: FrozenTrial, trial: Trial) -> None:
    """When a trial started and ended, where that is known: Optuna keeps local times without a zone."""
    if trial.started is not None and trial.ended is not None:
        frozen.datetime_start = trial.started.astimezone().replace(tzinfo=None)
        if frozen.state.is_finished():
            frozen.datetime_complete = trial.ended.astimezone().replace(tzinfo=None)


def _intermediate_values(trial: Trial) -> dict[int, float]:
    """Updates of all its nets in a rung -> mean validation accuracy; nothing of rungs that train nothing."""
    return {
        rung.num_steps * len(rung.selection_scores): statistics.fmean(rung.selection_scores)
        for rung in trial.rungs
        if rung.num_steps and rung.selection_scores
    }


def _from_optuna(frozen: FrozenTrial) -> Trial:
    values = frozen.system_attrs.get(_WAITING, {}) if frozen.state is TrialState.RUNNING else frozen.user_attrs
    curve = values.get("loss_curve")
    return Trial(
        factors=frozen.params,
        state=State(values["state"]),
        rungs=tuple(map(_from_json, values["rungs"])),
        weight=values.get("weight", 1.0),
        place=values.get("place"),
        loss_curve=frozen.intermediate_values if curve is None else {step: float(loss) for step, loss in curve},
        started=frozen.datetime_start and frozen.datetime_start.astimezone(UTC),
        ended=frozen.datetime_complete and frozen.datetime_complete.astimezone(UTC),
        **{"latency": None} | {name: values[name] for name in _ATTRIBUTES if name in values},
    )


def _to_json(rung: Rung) -> dict[str, Any]:
    scores = {name: [_finite_or_text(score) for score in getattr(rung, name)] for name in PER_SEED}
    values = asdict(rung) | scores
    return values if rung.metric else {name: value for name, value in values.items() if name != "metric"}


def _finite_or_text(value: float) -> float | str:
    """JSON has neither infinity nor NaN."""
    return value if math.isfinite(value) else str(value)


def _from_json(values: Mapping[str, Any]) -> Rung:
    scores = {name: tuple(map(float, values.get(name, ()))) for name in PER_SEED}  # older studies have no losses
    return Rung(**{**values, **scores})
