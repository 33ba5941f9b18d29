"""Truths and scores from CSV files."""

import csv
import math
from dataclasses import replace
from pathlib import Path

import pytest

from nasproxy.comparing import rank
from nasproxy.errors import InputError
from nasproxy.runs.loading import Task, read_arch_ids
from nasproxy.tables import read_scores, read_truth, trials_frame, write_table
from nasproxy.trials import ProxyKind, Rung, State, Trials


def write_csv(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def test_an_exported_truth_is_read_back_seed_by_seed(truth: Trials, tmp_path: Path) -> None:
    seeds = (Rung((0.6, 0.7), (0.5, 0.25)),)
    two = tuple(replace(trial, rungs=seeds) if trial.arch_id == "b" else trial for trial in truth)
    seeded = replace(truth, items=two)
    write_table(trials_frame(seeded), tmp_path / "truth.csv")
    again = read_truth(tmp_path / "truth.csv")
    assert (again.info.name, again.info.kind, again.info.num_seeds) == ("truth", ProxyKind.TABLE, 2)
    assert [(trial.arch_id, trial.evaluation_scores) for trial in again] == [("b", (0.5, 0.25))]
    write_table(trials_frame(truth), tmp_path / "one.csv")
    read = {trial.arch_id: trial.evaluation_scores for trial in read_truth(tmp_path / "one.csv")}
    assert read == {trial.arch_id: trial.evaluation_scores for trial in truth if trial.is_ranked}


@pytest.mark.parametrize("arch_id", ["=1+1", "+a", "-3", "@SUM(A1)", "\tx", "'quoted", "'=q", "''-"])
def test_what_a_spreadsheet_would_take_for_a_formula_is_a_text_there_and_itself_when_read_back(
    truth: Trials, tmp_path: Path, arch_id: str
) -> None:
    named = replace(truth, items=(replace(truth[0], arch_id=arch_id), *truth.items[1:]))
    write_table(trials_frame(named), tmp_path / "truth.csv")
    with (tmp_path / "truth.csv").open(newline="") as file:
        cells = [row["arch_id"] for row in csv.DictReader(file)]
    assert not any(cell.startswith(("=", "+", "-", "@", "\t")) for cell in cells)
    if arch_id.strip() == arch_id:
        assert arch_id in (read_arch_ids(str(tmp_path / "truth.csv"), tmp_path, Task()) or [])
    assert read_truth(tmp_path / "truth.csv").by_id.keys() == {trial.arch_id for trial in named if trial.is_ranked}


def test_a_truth_from_a_file_judges_like_the_run_it_came_from(proxy: Trials, truth: Trials, tmp_path: Path) -> None:
    write_table(trials_frame(truth), tmp_path / "truth.csv")
    from_file, from_run = rank(proxy, read_truth(tmp_path / "truth.csv")), rank(proxy, truth)
    assert from_file.spearman == from_run.spearman
    assert (from_file.selected, from_file.best_truth_accuracy) == (from_run.selected, from_run.best_truth_accuracy)


def test_a_table_from_elsewhere_needs_ids_and_accuracies_only(proxy: Trials, tmp_path: Path) -> None:
    table = read_truth(write_csv(tmp_path / "bench.csv", "note,test_accuracy,arch_id", "x,0.9,a", ",,b", "y,0.7,c"))
    assert {trial.arch_id: trial.evaluation_score for trial in table} == {"a": 0.9, "c": 0.7}
    assert [trial.arch_id for trial in table.ranked()] == ["a", "c"]
    frame = trials_frame(proxy, table).set_index("arch_id")
    assert frame.loc["a", "truth_rank"] == 1
    assert frame.loc["c", "truth_rank"] == 2
    assert frame["truth_val_accuracy"].isna().all()


def test_validation_accuracies_of_some_are_no_column_to_rank_by(proxy: Trials, tmp_path: Path) -> None:
    lines = ("arch_id,val_accuracy,test_accuracy", "a,0.5,0.6", "b,,0.7", "c,0.2,0.3")
    table = read_truth(write_csv(tmp_path / "some.csv", *lines))
    assert not table.info.has_validation
    frame = trials_frame(proxy, table).set_index("arch_id")
    assert frame["truth_val_accuracy"].isna().all()
    assert frame.loc["b", "truth_rank"] == 1


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (["arch,test_accuracy", "a,0.5"], "has no column 'arch_id', only arch, test_accuracy; name it so"),
        (["arch_id,accuracy", "a,0.5"], "has no column 'test_accuracy' or 'test_accuracy_1'"),
        (["arch_id,test_accuracy", "a,0.5", "a,0.6"], "has architecture 'a' twice; keep one row per architecture"),
        (["arch_id,test_accuracy", "a,85.3"], r"test_accuracy of a is 85.3, no fraction .* write 0.853 for 85.3 %"),
        (["arch_id,test_accuracy_1,test_accuracy_2", "a,0.5,-1"], "test_accuracy_2 of a is -1, no fraction"),
        (["arch_id,test_accuracy", "a,high"], "test_accuracy of a is high, no fraction"),
        (["arch_id,test_accuracy", "a,"], "has no architecture with a test accuracy"),
        ([], "cannot read the table .*give a CSV file"),
    ],
)
def test_a_truth_file_with_a_fault_is_refused(lines: list[str], problem: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=problem):
        read_truth(write_csv(tmp_path / "t.csv", *lines))


def test_a_truth_file_that_is_not_there_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read the table .*none.csv: .*No such file"):
        read_truth(tmp_path / "none.csv")


def test_scores_from_elsewhere_are_a_proxy(proxy: Trials, truth: Trials, tmp_path: Path) -> None:
    """The accuracies of a proxy, written down and read again as scores, judge as the proxy does by its scores."""
    lines = [f"{trial.arch_id},{trial.selection_score}" for trial in proxy if trial.is_ranked]
    scores = read_scores(write_csv(tmp_path / "ours.csv", "arch_id,val", *lines), "val")
    assert (scores.info.kind, scores.info.score_name, scores.info.proxy) == (ProxyKind.TABLE, "val", "ours.csv:val")
    assert not scores.info.is_truth
    assert scores.cost.search_seconds is None
    assert [trial.arch_id for trial in scores.ranked()] == [trial.arch_id for trial in proxy.ranked()][: len(scores)]
    assert rank(scores, truth).regret == rank(proxy, truth).regret


def test_scores_may_be_seed_by_seed_and_timed(tmp_path: Path) -> None:
    lines = ("arch_id,s_1,s_2,train_seconds", "a,1,3,0.5", "b,-1,inf,1.5", "c,,2,9")
    scores = read_scores(write_csv(tmp_path / "t.csv", *lines), "s")
    assert scores.info.num_seeds == 2
    assert {trial.arch_id: trial.selection_scores for trial in scores} == {"a": (1, 3), "b": (-1, math.inf)}
    assert [trial.state for trial in scores] == [State.COMPLETE, State.NOT_FINITE]
    assert scores.by_id["b"].reason == "1 of 2 scores not finite"
    assert scores.cost.search_seconds == 2.0


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (["arch_id,loss", "a,1"], r"t.csv: unknown column 'los': did you mean 'loss'"),
        (["arch_id,los", "a,low"], r"los of a is 'low', no number; leave it empty where there is none"),
        (["arch_id,los", "a,", "b,nan"], "has no architecture with a los; fill the column"),
        (["arch_id,los", "a,1", "a,1"], "has architecture 'a' twice"),
        (["id,los", "a,1"], "has no column 'arch_id', only id, los; name it so"),
    ],
)
def test_a_score_file_with_a_fault_is_refused(lines: list[str], problem: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=problem):
        read_scores(write_csv(tmp_path / "t.csv", *lines), "los")


def test_the_hash_of_trials_depends_on_scores_alone(tmp_path: Path) -> None:
    first = read_scores(write_csv(tmp_path / "a.csv", "arch_id,s,x", "a,1,0", "b,2,0"), "s")
    second = read_scores(write_csv(tmp_path / "b.csv", "arch_id,s,x", "b,2,7", "a,1,7"), "s")
    other = read_scores(write_csv(tmp_path / "c.csv", "arch_id,s,x", "b,2,7", "a,1.5,7"), "s")
    assert first.content_hash == second.content_hash != other.content_hash
