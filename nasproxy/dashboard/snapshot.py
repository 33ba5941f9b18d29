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

from nasproxy.alignment import align
from nasproxy.comparing import Comparison
from nasproxy.dashboard.notes import arch_note, search_facts, search_note, searches_note, spearman_facts, trial_note
from nasproxy.dashboard.sides import Side, check_names, in_order, selection_side, truth_side
from nasproxy.errors import InputError
from nasproxy.ranking import Estimate
from nasproxy.screened import by_place
from nasproxy.store import make_distributions, set_times, to_optuna
from nasproxy.trials import Factors, Trials, factors_of

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
            InputError: the searches are in different spaces, or of different data.
            SettingsError: two searches have one name.
        """
        check_names(searches)
        factors = factors_of(trial for trials in searches for trial in trials)
        if len(searches) > 1:
            alignment = align([trials.weighted({}, None) for trials in searches])  # weights change no value and no rank
            sides = [selection_side(alignment, index, by_place(trials)) for index, trials in enumerate(searches)]
            self._add_side_by_side(f"{len(searches)} searches side by side", sides, searches, factors, {})
        for trials in searches:
            self._add_search(trials, factors)

    def add_comparison(self, name: str, comparison: Comparison, pictures: Mapping[str, Path]) -> None:
        """A study 'NAME: proxies beside the truth', then one of the truth and one of each proxy.

        Architectures that only the truth has are in its own study.

        Args:
            name: of the comparison.
            comparison: truth and proxies.
            pictures: image files of proxy sets, by the name of the search that trained on them.

        Raises:
            InputError: a picture cannot be read.
            SettingsError: two searches have one name.
        """
        searches, alignment = [comparison.truth, *comparison.proxies], comparison.alignment
        check_names(searches)
        factors = factors_of(trial for trials in searches for trial in trials)
        sides = [selection_side(alignment, index, trials) for index, trials in enumerate(comparison.proxies)]
        sides.insert(0, truth_side(alignment, comparison.truth))
        spearman = {ranking.name: ranking.spearman for ranking in comparison.rankings}
        title = f"{name}: proxies beside the truth"
        study = self._add_side_by_side(title, sides, comparison.proxies, factors, spearman)
        for picture_name, path in pictures.items():
            self._attach(study, picture_name, path)
        for trials in searches:
            self._add_search(trials, factors, pictures.get(trials.name))

    def _add_search(self, trials: Trials, factors: Factors, picture: Path | None = None) -> None:
        """A copy of a search's own study; its picture as an artifact and in its note."""
        study = self._create(trials.name, [trials.info.selection_metric], search_facts(trials))
        study.add_trials([to_optuna(trial, factors) for trial in trials])
        urls = [self._attach(study, trials.name, picture)] if picture else []
        save_note(study, search_note(trials, urls))
        placed = by_place(trials)
        side = selection_side(align([placed]), 0, placed)
        _save_notes(study, (trial_note(trial, side, trials.info) for trial in trials))

    def _add_side_by_side(
        self,
        name: str,
        sides: Sequence[Side],
        searches: Sequence[Trials],
        factors: Factors,
        spearman: Mapping[str, Estimate],
    ) -> optuna.Study:
        """One trial per architecture of `searches`, best of the first side first; the first sides are objectives."""
        objectives = sides[:MAX_OBJECTIVES]
        study = self._create(name, [side.label for side in objectives], spearman_facts(spearman))
        arch_ids = in_order({trial.arch_id for trials in searches for trial in trials}, sides)
        study.add_trials([_side_by_side(arch_id, sides, objectives, factors) for arch_id in arch_ids])
        save_note(study, searches_note(name, sides, len(objectives), spearman))
        _save_notes(study, (arch_note(arch_id, sides) for arch_id in arch_ids))
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


def _side_by_side(arch_id: str, sides: Sequence[Side], objectives: Sequence[Side], factors: Factors) -> FrozenTrial:
    """What searches say of an architecture: complete where it has all objectives.

    Else it is pruned, if some search lacks it, or failed, if a search has it without a finite value.
    """
    found = [side.trials.by_id[arch_id] for side in sides if arch_id in side.trials.by_id]
    attributes: dict[str, Any] = {"arch_id": arch_id}
    if found[0].num_params is not None:  # the dashboard sorts by an attribute only if all of its values are numbers
        attributes |= {"num_params": found[0].num_params, "flops": found[0].flops}
    for side in sides:
        if arch_id in side.values:
            attributes[f"{side.label}: rank"] = side.ranks[arch_id]
            attributes[f"{side.label}: value"] = side.values[arch_id]
    values = [side.values[arch_id] for side in objectives if arch_id in side.values]
    is_complete = len(values) == len(objectives)
    frozen = create_trial(
        params=dict(found[0].factors),
        distributions=make_distributions(factors, found[0].factors),
        values=values if is_complete else None,
        state=TrialState.COMPLETE if is_complete else _state_without_values(arch_id, objectives),
        user_attrs=attributes,
    )
    set_times(frozen, found[0])
    return frozen


def _state_without_values(arch_id: str, objectives: Sequence[Side]) -> TrialState:
    has_failed = any(arch_id in side.trials.by_id and arch_id not in side.values for side in objectives)
    return TrialState.FAIL if has_failed else TrialState.PRUNED
