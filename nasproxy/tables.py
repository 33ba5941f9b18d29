"""Trials as tables: one row an architecture; CSV, Parquet and JSON; and the rows of Table 5.

Accuracies are fractions in [0, 1]; times are seconds. The score of a trial is what it is ranked by: its mean validation
accuracy, or a training-free score.
"""

import io
import math
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from nasproxy.errors import InputError, SettingsError
from nasproxy.ranking import Correlation, correlate, select_top
from nasproxy.rundir import write_atomically
from nasproxy.study import ACCURACY, State, Trial, Trials

FORMATS = (".csv", ".parquet", ".json")
TEST_ACCURACY = "test accuracy"


@dataclass(frozen=True)
class Ranking:
    """A proxy judged by the truth: one column of Table 5 of the main paper, with intervals."""

    name: str
    """Name of the proxy's run."""
    proxy: str
    num_archs: int
    """Architectures scored by both proxy and truth."""
    by: str
    """What is correlated with the truth's test accuracy: the proxy's (`TEST_ACCURACY`), or the name of its score."""
    selected: str | None
    """Id of the best architecture by proxy score, among those with a truth."""
    selected_truth_accuracy: float | None
    """Test accuracy of the selected architecture after full training."""
    best_truth_accuracy: float | None
    """Best test accuracy after full training among the architectures with a truth."""
    top_fraction: float
    top_spearman: Correlation
    """Over the top fraction by proxy score."""
    top_kendall: Correlation
    spearman: Correlation
    """Over all architectures with a truth."""
    kendall: Correlation
    search_seconds: float
    """Time of training or scoring, summed over all trials and seeds, also those without a truth."""
    condense_seconds: float
    num_images: int
    """Images that nets are trained on, or that a score looks at: decoded ones of a compact proxy set."""
    num_stored_images: int
    num_stored_numbers: int
    truth_epochs: int | None
    """Passes over the whole set that the truth was trained for; None where it was told a number of updates."""
    truth_num_seeds: int
    num_failed: int
    num_not_finite: int
    """Trials without a finite score: they are in no ranking and no correlation."""
    num_flagged: int
    """Trials that diverged or stayed at chance: they are ranked as measured."""


def trials_frame(trials: Trials, truth: Trials | None = None) -> pd.DataFrame:
    """One row an architecture, best score first.

    Columns: rank, arch_id, the factors, num_params, flops, state, score, score_std, val_accuracy, val_accuracy_std,
    test_accuracy, test_accuracy_std, num_seeds, train_seconds, reason; with a truth also truth_val_accuracy,
    truth_test_accuracy and truth_rank (by true validation accuracy among these rows). Standard deviations are over
    seeds (n - 1), empty for one seed; trials without a score have no rank, training-free ones no accuracies.

    Raises:
        InputError: proxy and truth are about different data or spaces.
        SettingsError: the truth has no accuracies.
    """
    if truth is not None:
        check_comparable(trials, truth)
    ranked = trials.ranked()
    frame = pd.DataFrame([_row(trial) for trial in ranked])
    if frame.empty:
        raise InputError(f"run {trials.info.name} has no finished trials yet; continue the search with --resume")
    ranks = [number + 1 if trial.has_scores else None for number, trial in enumerate(ranked)]
    frame.insert(0, "rank", pd.Series(ranks, dtype="Int64"))
    if truth is not None:
        true = pd.DataFrame(
            {
                "arch_id": [trial.arch_id for trial in truth],
                "truth_val_accuracy": [_or_none(trial.val_accuracy) for trial in truth],
                "truth_test_accuracy": [_or_none(trial.test_accuracy) for trial in truth],
            }
        )
        frame = frame.merge(true, on="arch_id", how="left")
        true_ranks = frame["truth_val_accuracy"].rank(ascending=False, method="min")
        frame["truth_rank"] = true_ranks.astype("Int64")
    return frame


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Writes .csv, .parquet or .json (a list of rows), whole or not at all.

    Raises:
        SettingsError: another suffix.
    """
    writers = {
        ".csv": lambda scratch: frame.to_csv(scratch, index=False),
        ".parquet": lambda scratch: _of_one_type(frame).to_parquet(scratch, index=False),
        ".json": lambda scratch: frame.to_json(scratch, orient="records", indent=1),
    }
    if path.suffix not in writers:
        raise SettingsError(f"cannot write {path}: its suffix must be one of {', '.join(FORMATS)}, or '-' for CSV")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, writers[path.suffix])
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}; choose another place") from None


def _of_one_type(frame: pd.DataFrame) -> pd.DataFrame:
    """The table with factors that mix numbers and text as text: a Parquet column has one type."""
    mixed = [name for name in frame if len({type(value) for value in frame[name].dropna()}) > 1]
    return frame.astype(dict.fromkeys(mixed, str))


def csv_text(frame: pd.DataFrame) -> str:
    """The table as CSV."""
    text = io.StringIO()
    frame.to_csv(text, index=False)
    return text.getvalue()


def rank(trials: Trials, truth: Trials, *, top: float = 0.05, seed: int = 0) -> Ranking:
    """Judges a proxy by the truth (main paper, section 3.6 and Table 5).

    Architectures are selected by proxy *validation* accuracy; correlations are between *test* accuracies. A proxy
    without accuracies is judged by its score instead, in both. The top fraction is taken of all architectures that the
    proxy scored; of those, the ones with a truth count.

    Args:
        trials: of the proxy.
        truth: of full training; may cover only some of the architectures.
        top: fraction of the proxy's architectures, in (0, 1].
        seed: of the bootstrap.

    Raises:
        InputError: proxy and truth are about different data or spaces, or have no architecture in common.
        SettingsError: `top` is no fraction, or `truth` is no search by 'whole'.
    """
    if truth.info.proxy != "whole":
        raise SettingsError(
            f"{truth.info.name} is a search by {truth.info.proxy}, not by 'whole'; the truth is full training"
        )
    if not 0 < top <= 1:
        raise SettingsError(f"top={top} is no fraction of the architectures; give one above 0 and up to 1 (or 100%)")
    check_comparable(trials, truth)
    scored = [trial for trial in trials.ranked() if trial.has_scores]
    true = {trial.arch_id: trial for trial in truth if trial.has_scores}
    common = [trial for trial in scored if trial.arch_id in true]
    if not common:
        raise InputError(
            f"runs {trials.info.name} and {truth.info.name} have no scored architecture in common; "
            f"search the same ones, e.g. with --archs top:{trials.info.name}:5%"
        )
    chosen = select_top([trial.score for trial in scored], top)
    best = [scored[index] for index in chosen if scored[index].arch_id in true]
    is_trained = trials.info.metric == ACCURACY

    def correlation(rows: list[Trial], kind: str) -> Correlation:
        values = [trial.test_accuracy if is_trained else trial.score for trial in rows]
        truths = [true[trial.arch_id].test_accuracy for trial in rows]
        return correlate(values, truths, kind=kind, seed=seed)

    return Ranking(
        name=trials.info.name,
        proxy=trials.info.proxy,
        num_archs=len(common),
        by=TEST_ACCURACY if is_trained else trials.info.metric,
        selected=common[0].arch_id,
        selected_truth_accuracy=true[common[0].arch_id].test_accuracy,
        best_truth_accuracy=max(trial.test_accuracy for trial in true.values()),
        top_fraction=top,
        top_spearman=correlation(best, "spearman"),
        top_kendall=correlation(best, "kendall"),
        spearman=correlation(common, "spearman"),
        kendall=correlation(common, "kendall"),
        search_seconds=math.fsum(trial.train_seconds for trial in trials),
        condense_seconds=trials.info.condense_seconds,
        num_images=trials.info.num_images,
        num_stored_images=trials.info.num_stored_images,
        num_stored_numbers=trials.info.num_stored_numbers,
        truth_epochs=None if truth.info.recipe.get("steps") else truth.info.recipe.get("epochs"),
        truth_num_seeds=truth.info.num_seeds,
        num_failed=sum(trial.state is State.FAILED for trial in trials),
        num_not_finite=sum(trial.state is State.NOT_FINITE for trial in trials),
        num_flagged=sum(trial.state in (State.DIVERGED, State.AT_CHANCE) for trial in trials),
    )


def check_comparable(trials: Trials, truth: Trials) -> None:
    """Refuses to compare what was measured on different images or spaces, or with a truth that trained nothing.

    Raises:
        InputError: the data, the split or the space differ.
        SettingsError: the truth has no accuracies.
    """
    if truth.info.metric != ACCURACY:
        raise SettingsError(
            f"{truth.info.name} has {truth.info.metric} scores, no accuracies; the truth is a search by 'whole'"
        )
    for what in ("space", "space_hash", "data_hash", "split_hash"):
        mine, other = getattr(trials.info, what), getattr(truth.info, what)
        if mine != other:
            raise InputError(
                f"runs {trials.info.name} and {truth.info.name} cannot be compared: their {what} differs "
                f"({mine} and {other}); search both on the same images, split and space"
            )


def ranking_row(ranking: Ranking) -> dict[str, Any]:
    """A ranking as one flat row, for CSV and JSON."""
    row: dict[str, Any] = {}
    for name, value in asdict(ranking).items():
        if isinstance(value, dict):
            row |= {f"{name}_{part}": value[part] for part in ("value", "low", "high", "num_archs", "note")}
        else:
            row[name] = value
    return row


def rankings_frame(rankings: list[Ranking]) -> pd.DataFrame:
    """One row a proxy."""
    return pd.DataFrame([ranking_row(ranking) for ranking in rankings])


def _row(trial: Trial) -> dict[str, Any]:
    return {
        "arch_id": trial.arch_id,
        **trial.factors,
        "num_params": trial.num_params,
        "flops": trial.flops,
        "state": trial.state.value,
        "score": _or_none(trial.score),
        "score_std": _std(trial.scores or trial.val_accuracies),
        "val_accuracy": _or_none(trial.val_accuracy),
        "val_accuracy_std": _std(trial.val_accuracies),
        "test_accuracy": _or_none(trial.test_accuracy),
        "test_accuracy_std": _std(trial.test_accuracies),
        "num_seeds": len(trial.scores or trial.val_accuracies),
        "train_seconds": trial.train_seconds,
        "reason": trial.reason,
    }


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value


def _std(values: tuple[float, ...]) -> float | None:
    return statistics.stdev(values) if len(values) > 1 and all(map(math.isfinite, values)) else None
