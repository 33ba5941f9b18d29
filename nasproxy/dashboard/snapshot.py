"""Searches as studies in memory, made when a dashboard is opened: results are kept once, in their own records."""

import shutil
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.artifacts import FileSystemArtifactStore, upload_artifact
from optuna.samplers import RandomSampler
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState, create_trial
from optuna_dashboard import save_note
from optuna_dashboard.artifact import get_artifact_path

from nasproxy.comparing import Comparison
from nasproxy.dashboard.columns import (
    Column,
    archs_in_order,
    check_side_by_side,
    factors_of,
    score_column,
    truth_column,
)
from nasproxy.dashboard.notes import arch_note, search_facts, search_note, searches_note, spearman_facts, trial_note
from nasproxy.errors import InputError
from nasproxy.ranking import Estimate
from nasproxy.study import Factors, Trials, make_distributions, set_times, to_optuna

MAX_OBJECTIVES = 5
"""Of a study of several searches. Of many objectives nearly every architecture is on the Pareto front, and the
dashboard compares each with each at every look."""


class Snapshot:
    """Studies in memory with a note on each study and trial; pictures in a folder."""

    def __init__(self, folder: Path) -> None:
        """Keeps pictures in `folder`, which has to live as long."""
        self._folder = folder
        self.storage = InMemoryStorage()
        self.artifacts = FileSystemArtifactStore(folder)

    def add_searches(self, searches: Sequence[Trials]) -> None:
        """A study with all searches side by side, if there are several, then one of each.

        Raises:
            InputError: the searches are in different spaces.
            SettingsError: two searches have one name.
        """
        check_side_by_side(searches)
        factors = factors_of(trial for trials in searches for trial in trials)
        if len(searches) > 1:
            name = f"{len(searches)} searches side by side"
            self._add_side_by_side(name, [score_column(trials) for trials in searches], factors, {})
        for trials in searches:
            self._add_search(trials, factors)

    def add_comparison(self, name: str, comparison: Comparison, pictures: Mapping[str, Path]) -> None:
        """A study 'NAME: proxies beside the truth', then one of the truth and one of each proxy.

        Args:
            name: of the comparison.
            comparison: truth and proxies.
            pictures: image files of proxy sets, by the name of the search that trained on them.

        Raises:
            InputError: a picture cannot be read, or searches are in different spaces.
            SettingsError: two searches have one name.
        """
        searches = [comparison.truth, *comparison.proxies]
        check_side_by_side(searches)
        factors = factors_of(trial for trials in searches for trial in trials)
        columns = [truth_column(comparison.truth), *map(score_column, comparison.proxies)]
        spearman = {ranking.name: ranking.spearman for ranking in comparison.rankings}
        study = self._add_side_by_side(f"{name}: proxies beside the truth", columns, factors, spearman)
        for picture_name, path in pictures.items():
            self._attach(study, picture_name, path)
        for trials in searches:
            self._add_search(trials, factors, pictures.get(trials.info.name))

    def _add_search(self, trials: Trials, factors: Factors, picture: Path | None = None) -> None:
        """A copy of a search's own study; its picture as an artifact and in its note."""
        study = self._create(trials.info.name, [trials.info.metric], search_facts(trials))
        study.add_trials([to_optuna(trial, factors) for trial in trials])
        urls = [self._attach(study, trials.info.name, picture)] if picture else []
        save_note(study, search_note(trials, urls))
        column = score_column(trials)
        _save_notes(study, (trial_note(trial, column) for trial in trials))

    def _add_side_by_side(
        self, name: str, columns: Sequence[Column], factors: Factors, spearman: Mapping[str, Estimate]
    ) -> optuna.Study:
        """One trial an architecture, the best of the first search first; one objective each of the first searches."""
        objectives = columns[:MAX_OBJECTIVES]
        study = self._create(name, [column.label for column in objectives], spearman_facts(spearman))
        arch_ids = archs_in_order(columns)
        study.add_trials([_side_by_side(arch_id, columns, objectives, factors) for arch_id in arch_ids])
        save_note(study, searches_note(name, columns, len(objectives), spearman))
        _save_notes(study, (arch_note(arch_id, columns) for arch_id in arch_ids))
        return study

    def _create(self, name: str, metrics: Sequence[str], facts: Mapping[str, str]) -> optuna.Study:
        study = optuna.create_study(
            storage=self.storage,
            sampler=RandomSampler(seed=0),  # never asked; others look at all trials when one is opened
            study_name=name,
            directions=["maximize"] * len(metrics),
        )
        with warnings.catch_warnings(action="ignore", category=optuna.exceptions.ExperimentalWarning):
            study.set_metric_names(list(metrics))
        for fact, text in facts.items():
            study.set_user_attr(fact, text)
        return study

    def _attach(self, study: optuna.Study, name: str, picture: Path) -> str:
        """Shows a picture at a study, under a name; the path of its URL."""
        named = self._folder / f"{name}{picture.suffix}"  # the dashboard shows the name of the file
        try:
            shutil.copyfile(picture, named)
        except OSError as error:
            raise InputError(
                f"cannot read picture {picture}: {error.strerror}; make it again or leave it out"
            ) from None
        artifact_id = upload_artifact(artifact_store=self.artifacts, file_path=str(named), study_or_trial=study)
        named.unlink()
        return str(get_artifact_path(study, artifact_id))


def _save_notes(study: optuna.Study, notes: Iterable[str]) -> None:
    """A note on each trial of a study, in their order."""
    for frozen, note in zip(study.get_trials(deepcopy=False), notes, strict=True):
        save_note(optuna.Trial(study, frozen._trial_id), note)


def _side_by_side(
    arch_id: str, columns: Sequence[Column], objectives: Sequence[Column], factors: Factors
) -> FrozenTrial:
    """What searches say of an architecture: complete where it has all objectives.

    Else it is pruned, if some search lacks it, or failed, if a search has it without a finite value.
    """
    found = [column.by_id[arch_id] for column in columns if arch_id in column.by_id]
    attributes: dict[str, Any] = {"arch_id": arch_id}
    if found[0].num_params is not None:  # the dashboard sorts by an attribute only if all of its values are numbers
        attributes |= {"num_params": found[0].num_params, "flops": found[0].flops}
    for column in columns:
        if arch_id in column.values:
            attributes[f"{column.label}: rank"] = column.ranks[arch_id]
            attributes[f"{column.label}: value"] = column.values[arch_id]
    values = [column.values[arch_id] for column in objectives if arch_id in column.values]
    is_complete = len(values) == len(objectives)
    frozen = create_trial(
        params=dict(found[0].factors),
        distributions=make_distributions(factors),
        values=values if is_complete else None,
        state=TrialState.COMPLETE if is_complete else _state_without_values(arch_id, objectives),
        user_attrs=attributes,
    )
    set_times(frozen, found[0])
    return frozen


def _state_without_values(arch_id: str, objectives: Sequence[Column]) -> TrialState:
    has_failed = any(arch_id in column.by_id and arch_id not in column.values for column in objectives)
    return TrialState.FAIL if has_failed else TrialState.PRUNED
