import json
import math
import statistics
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest

from nasproxy.comparing import Ranking, compare_trials
from nasproxy.errors import InputError, SettingsError
from nasproxy.tables import (
    comparison_frame,
    csv_text,
    ranking_row,
    trials_frame,
    write_table,
)
from nasproxy.trials import Trial, Trials
from tests.records import (
    INFO,
    TRUTH_INFO,
    make_failed,
    make_trial,
)


def test_table_has_the_documented_columns_best_first_and_failed_last(proxy: Trials) -> None:
    frame = trials_frame(proxy)
    assert list(frame.columns) == [
        "rank", "arch_id", "width", "norm", "num_params", "flops", "front", "state", "score", "score_std",
        "val_accuracy", "val_accuracy_std", "test_accuracy", "test_accuracy_std", "num_seeds", "train_seconds",
        "reason", "val_accuracy_1", "val_accuracy_2", "test_accuracy_1", "test_accuracy_2",
    ]  # fmt: skip
    assert frame["arch_id"].tolist() == ["a", "b", "c", "d", "e", "f"]
    assert frame["rank"].tolist() == [1, 2, 3, 4, 5, pd.NA]
    assert frame["state"].tolist() == ["complete", "complete", "diverged", "complete", "at-chance", "failed"]


def test_table_has_means_and_spreads_over_seeds(proxy: Trials) -> None:
    frame = trials_frame(proxy).set_index("arch_id")
    assert frame.loc["b", "val_accuracy"] == pytest.approx(0.8)
    assert frame.loc["b", "val_accuracy_std"] == pytest.approx(0.2 / math.sqrt(2))
    assert frame.loc["a", "test_accuracy"] == pytest.approx(0.45)
    assert frame.loc["a", "test_accuracy_std"] == pytest.approx(statistics.stdev((0.4, 0.5)))
    assert frame.loc["a", "num_seeds"] == 2
    assert frame.loc["a", "flops"] == 2**33
    assert frame.loc["f", "reason"] == "ArchError: too deep"
    assert frame.loc["f", "num_seeds"] == 0
    assert frame.loc["f", ["val_accuracy", "val_accuracy_std", "test_accuracy", "num_params"]].isna().all()


def test_table_of_one_seed_has_no_spread() -> None:
    frame = trials_frame(Trials(INFO, (make_trial("a", (0.5,)), make_trial("b", (0.4,)))))
    assert frame[["val_accuracy_std", "test_accuracy_std"]].isna().to_numpy().all()
    assert frame["val_accuracy"].tolist() == [0.5, 0.4]


def test_table_with_truth_adds_its_columns_and_ranks(proxy: Trials, truth: Trials) -> None:
    frame = trials_frame(proxy, truth)
    assert list(frame.columns)[-3:] == ["truth_val_accuracy", "truth_test_accuracy", "truth_rank"]
    assert frame["arch_id"].tolist() == ["a", "b", "c", "d", "e", "f"]
    frame = frame.set_index("arch_id")
    assert frame["truth_rank"].astype(object).where(frame["truth_rank"].notna(), None).to_dict() == {
        "a": None, "b": 2, "c": 1, "d": 2, "e": None, "f": 4,
    }  # fmt: skip
    assert frame.loc[["b", "c", "d", "f"], "truth_test_accuracy"].tolist() == [0.85, 0.93, 0.70, 0.99]
    assert frame.loc[["a", "e"], ["truth_val_accuracy", "truth_test_accuracy"]].isna().to_numpy().all()


@pytest.mark.parametrize("items", [(make_failed("a"), make_failed("b")), (make_trial("z", (0.5,)),), ()])
def test_table_with_a_truth_that_scored_nothing_here_has_empty_columns(items: tuple[Trial, ...], proxy: Trials) -> None:
    frame = trials_frame(proxy, Trials(TRUTH_INFO, items))
    assert len(frame) == 6
    assert frame[["truth_val_accuracy", "truth_test_accuracy", "truth_rank"]].isna().to_numpy().all()


def test_table_without_trials_is_an_input_error() -> None:
    with pytest.raises(InputError, match="run digits-search has no finished trials yet"):
        trials_frame(Trials(INFO, ()))


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".json"])
@pytest.mark.parametrize("with_truth", [False, True], ids=["proxy", "proxy and truth"])
def test_written_table_is_read_back_equal(
    suffix: str, with_truth: bool, proxy: Trials, truth: Trials, tmp_path: Path
) -> None:
    frame = trials_frame(proxy, truth if with_truth else None)
    path = tmp_path / "new" / f"trials{suffix}"
    write_table(frame, path)
    readers: dict[str, Callable[[Path], pd.DataFrame]] = {
        ".csv": pd.read_csv,
        ".parquet": pd.read_parquet,
        ".json": pd.read_json,
    }
    back = readers[suffix](path)
    whole_numbers = dict.fromkeys([name for name in frame if name in ("rank", "truth_rank")], "Int64")
    pd.testing.assert_frame_equal(back.astype(whole_numbers), frame, check_dtype=False, rtol=1e-9)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_table_where_every_trial_failed_is_written_in_every_format(tmp_path: Path) -> None:
    frame = trials_frame(Trials(INFO, (make_failed("a"), make_failed("b"))))
    for suffix in (".csv", ".parquet", ".json"):
        write_table(frame, tmp_path / f"trials{suffix}")
    assert pd.read_parquet(tmp_path / "trials.parquet")["arch_id"].tolist() == ["a", "b"]
    assert len(json.loads((tmp_path / "trials.json").read_text())) == 2


def test_table_of_a_factor_with_numbers_and_text_is_written_in_every_format(tmp_path: Path) -> None:
    trials = tuple(
        replace(make_trial(name, (0.5,)), factors={"kernel": value}) for name, value in (("a", 3), ("b", "3x1"))
    )
    frame = trials_frame(Trials(INFO, trials))
    for suffix in (".csv", ".parquet", ".json"):
        write_table(frame, tmp_path / f"trials{suffix}")
    assert pd.read_parquet(tmp_path / "trials.parquet")["kernel"].astype(str).tolist() == ["3", "3x1"]


@pytest.mark.parametrize("name", ["trials.xlsx", "trials", "trials.csv.gz"])
def test_table_with_an_unknown_suffix_is_refused(name: str, proxy: Trials, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"its suffix must be one of \.csv, \.parquet, \.json"):
        write_table(trials_frame(proxy), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_table_that_cannot_be_written_is_an_input_error(proxy: Trials, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(InputError, match=r"cannot write .*; choose another place"):
        write_table(trials_frame(proxy), tmp_path / "file" / "trials.csv")
    (tmp_path / "trials.csv").mkdir()
    with pytest.raises(InputError, match="cannot write"):
        write_table(trials_frame(proxy), tmp_path / "trials.csv")


def test_csv_text_is_the_table(proxy: Trials) -> None:
    frame = trials_frame(proxy)
    text = csv_text(frame)
    assert text.splitlines()[0].startswith("rank,arch_id,width,norm,")
    back = pd.read_csv(StringIO(text), dtype={"rank": "Int64"})
    pd.testing.assert_frame_equal(back, frame, check_dtype=False)


def test_table_of_a_training_free_proxy_has_scores_and_no_accuracies(training_free: Trials, truth: Trials) -> None:
    frame = trials_frame(training_free, truth).set_index("arch_id")
    assert frame.index.tolist() == ["b", "d", "a", "c", "e", "f"]
    assert frame["rank"].tolist() == [1, 2, 3, 4, pd.NA, pd.NA]
    assert frame["score"].tolist()[:4] == [1000.0, 0.5, -1.5, -5.0]
    assert frame.loc["b", "score_std"] == pytest.approx(200 / math.sqrt(2))
    assert frame.loc[["e", "f"], ["score", "score_std"]].isna().to_numpy().all()
    assert frame[["val_accuracy", "val_accuracy_std", "test_accuracy", "test_accuracy_std"]].isna().to_numpy().all()
    assert frame["state"].tolist()[-2:] == ["not-finite", "failed"]
    assert frame["num_seeds"].tolist() == [2, 2, 2, 2, 2, 0]
    assert frame.loc["b", "truth_test_accuracy"] == 0.85


def test_score_of_a_trained_proxy_is_its_validation_accuracy(proxy: Trials) -> None:
    frame = trials_frame(proxy)
    pd.testing.assert_series_equal(frame["score"], frame["val_accuracy"], check_names=False)
    pd.testing.assert_series_equal(frame["score_std"], frame["val_accuracy_std"], check_names=False)


def test_ranking_row_is_flat_and_plain_json(ranking: Ranking) -> None:
    row = ranking_row(ranking)
    assert all(value is None or type(value) in (str, int, float) for value in row.values())
    assert json.loads(json.dumps(row, allow_nan=False)) == row
    assert row["spearman_value"] == ranking.spearman.value
    assert (row["top_kendall_value"], row["top_num_archs"]) == (None, 1)
    assert (row["num_stored_images"], row["search_seconds"]) == (500, 5 * 1.5 + 0.25)
    assert row["top_kendall_note"] == "1 architecture(s): too few, at least 3"


def test_a_table_of_a_comparison_has_a_row_an_architecture_and_columns_a_proxy(
    proxy: Trials, training_free: Trials, truth: Trials
) -> None:
    frame = comparison_frame(compare_trials([proxy, training_free], truth, top=0.5)).set_index("arch_id")
    assert list(frame.index[:2]) == ["f", "c"]
    assert set(frame.index) == set("abcdef")
    assert frame.loc["c", "truth_rank"] == 3  # z, which no proxy knows, is better
    assert frame.loc["a", "digits-dm rank"] == 1
    assert frame["digits-dm rank among those with a truth"].isna()["a"]
    assert frame.loc["b", "digits-dm rank among those with a truth"] == 1
    assert frame.loc["b", "digits-dm regret"] == pytest.approx(0.93 - 0.85)
    assert frame.loc["c", "digits-dm regret"] == pytest.approx(0.0)
    assert frame.loc["b", "naswot score"] == 1000.0
    assert "naswot test_accuracy" not in frame
    assert not any(str(name).startswith(("digits-search", "digits-naswot")) for name in frame)
