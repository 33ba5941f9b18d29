import json
import math
import statistics
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest
from scipy import stats

from nasproxy.errors import InputError, SettingsError
from nasproxy.study import State, StudyInfo, Trial, Trials
from nasproxy.tables import (
    Ranking,
    check_comparable,
    csv_text,
    rank,
    ranking_row,
    rankings_frame,
    trials_frame,
    write_table,
)

INFO = StudyInfo(
    name="digits-search",
    space="convnet-mini",
    space_hash="cc",
    proxy="digits-dm",
    dataset="digits",
    data_hash="aa",
    split_hash="bb",
    num_images=2000,
    num_stored_images=500,
    num_stored_numbers=128_000,
    condense_seconds=72.5,
)
TRUTH_INFO = replace(INFO, name="digits-whole", proxy="whole", num_stored_images=1294, condense_seconds=0.0)


def _trial(
    arch_id: str, val: tuple[float, ...], test: tuple[float, ...] | None = None, state: State = State.COMPLETE
) -> Trial:
    factors: dict[str, str | int] = {"width": 8 * len(arch_id), "norm": "none"}
    return Trial(arch_id, factors, state, val, val if test is None else test, 1000, 2**33, train_seconds=1.5)


def _failed(arch_id: str) -> Trial:
    return Trial(arch_id, {"width": 8, "norm": "none"}, State.FAILED, reason="ArchError: too deep", train_seconds=0.25)


@pytest.fixture(scope="module")
def proxy() -> Trials:
    """Six architectures: by validation a > b > c > d > e, f failed; by test the order is quite another."""
    items = (
        _failed("f"),
        _trial("c", (0.5, 0.7), (0.9, 0.9), State.DIVERGED),
        _trial("a", (0.9, 0.8), (0.4, 0.5)),
        _trial("e", (0.1, 0.1), (0.2, 0.1), State.AT_CHANCE),
        _trial("b", (0.7, 0.9), (0.6, 0.7)),
        _trial("d", (0.5, 0.4), (0.3, 0.25)),
    )
    return Trials(INFO, items)


@pytest.fixture(scope="module")
def truth() -> Trials:
    """Full training of four of the six, and of one more."""
    items = (
        _trial("b", (0.80,), (0.85,)),
        _trial("c", (0.95,), (0.93,)),
        _trial("d", (0.80,), (0.70,)),
        _failed("a"),
        _trial("f", (0.60,), (0.99,)),
        _trial("z", (0.99,), (0.97,)),
    )
    return Trials(TRUTH_INFO, items)


def _scored(arch_id: str, *scores: float) -> Trial:
    state = State.COMPLETE if all(map(math.isfinite, scores)) else State.NOT_FINITE
    return Trial(arch_id, {"width": 8, "norm": "none"}, state, num_params=1000, train_seconds=0.5, scores=scores)


@pytest.fixture(scope="module")
def training_free() -> Trials:
    """By score b > d > a > c; e and f have none."""
    items = (
        _scored("a", -2.0, -1.0),
        _scored("b", 900.0, 1100.0),
        _scored("c", -5.0, -5.0),
        _scored("d", 0.0, 1.0),
        _scored("e", 7e9, -math.inf),
        _failed("f"),
    )
    return Trials(replace(INFO, name="digits-naswot", proxy="naswot", metric="naswot"), items)


@pytest.fixture(scope="module")
def ranking(proxy: Trials, truth: Trials) -> Ranking:
    return rank(proxy, truth, top=0.4)


def test_table_has_the_documented_columns_best_first_and_failed_last(proxy: Trials) -> None:
    frame = trials_frame(proxy)
    assert list(frame.columns) == [
        "rank", "arch_id", "width", "norm", "num_params", "flops", "state", "score", "score_std", "val_accuracy",
        "val_accuracy_std", "test_accuracy", "test_accuracy_std", "num_seeds", "train_seconds", "reason",
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
    frame = trials_frame(Trials(INFO, (_trial("a", (0.5,)), _trial("b", (0.4,)))))
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


@pytest.mark.parametrize("items", [(_failed("a"), _failed("b")), (_trial("z", (0.5,)),), ()])
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
    frame = trials_frame(Trials(INFO, (_failed("a"), _failed("b"))))
    for suffix in (".csv", ".parquet", ".json"):
        write_table(frame, tmp_path / f"trials{suffix}")
    assert pd.read_parquet(tmp_path / "trials.parquet")["arch_id"].tolist() == ["a", "b"]
    assert len(json.loads((tmp_path / "trials.json").read_text())) == 2


def test_table_of_a_factor_with_numbers_and_text_is_written_in_every_format(tmp_path: Path) -> None:
    trials = tuple(replace(_trial(name, (0.5,)), factors={"kernel": value}) for name, value in (("a", 3), ("b", "3x1")))
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


def test_training_free_scores_are_correlated_with_the_truths_test_accuracies(
    training_free: Trials, truth: Trials
) -> None:
    ranking = rank(training_free, truth, top=1.0)
    assert (ranking.by, ranking.num_archs) == ("naswot", 3)
    expected = stats.spearmanr([1000.0, -5.0, 0.5], [0.85, 0.93, 0.70]).statistic
    assert ranking.spearman.value == pytest.approx(expected)
    assert ranking.top_spearman == ranking.spearman
    assert ranking.selected == "b"
    assert ranking.selected_truth_accuracy == 0.85
    assert (ranking.num_failed, ranking.num_not_finite, ranking.num_flagged) == (1, 1, 0)
    assert ranking.search_seconds == 5 * 0.5 + 0.25


def test_an_arch_without_a_finite_score_is_in_no_correlation(training_free: Trials) -> None:
    truth = Trials(TRUTH_INFO, tuple(_trial(name, (0.5,)) for name in "abcdef"))
    assert rank(training_free, truth).num_archs == 4
    assert training_free.top(9) == ["b", "d", "a", "c"]


def test_a_truth_without_accuracies_is_refused(proxy: Trials, training_free: Trials) -> None:
    problem = "digits-naswot has naswot scores, no accuracies; the truth is a search by 'whole'"
    with pytest.raises(SettingsError, match=problem):
        trials_frame(proxy, training_free)
    with pytest.raises(SettingsError, match="is a search by naswot, not by 'whole'"):
        rank(proxy, training_free)


@pytest.mark.parametrize("what", ["space", "space_hash", "data_hash", "split_hash"])
def test_runs_on_other_data_or_spaces_cannot_be_compared(what: str, proxy: Trials, truth: Trials) -> None:
    other = replace(truth, info=StudyInfo(**{**vars(truth.info), what: "another"}))
    problem = f"digits-search and digits-whole cannot be compared: their {what} differs .*and another"
    with pytest.raises(InputError, match=problem):
        check_comparable(proxy, other)
    with pytest.raises(InputError, match=problem):
        trials_frame(proxy, other)
    with pytest.raises(InputError, match=problem):
        rank(proxy, other)


def test_runs_with_other_proxies_and_recipes_can_be_compared(proxy: Trials, truth: Trials) -> None:
    other = replace(truth, info=replace(truth.info, recipe={"epochs": 1}, device="cuda", dataset="/copy"))
    check_comparable(proxy, other)
    pd.testing.assert_frame_equal(trials_frame(proxy, other), trials_frame(proxy, truth))


def test_ranking_selects_by_validation_and_correlates_test_accuracies(ranking: Ranking) -> None:
    """By test, c is best; by validation, of those with a truth, b."""
    assert ranking.selected == "b"
    assert ranking.selected_truth_accuracy == 0.85
    assert ranking.num_archs == 3
    assert ranking.spearman.value == pytest.approx(stats.spearmanr([0.65, 0.9, 0.275], [0.85, 0.93, 0.70]).statistic)
    assert ranking.spearman.value == pytest.approx(1.0)
    assert ranking.kendall.value == pytest.approx(1.0)


def test_a_truth_that_is_no_full_training_is_refused(proxy: Trials) -> None:
    with pytest.raises(SettingsError, match="is a search by digits-dm, not by 'whole'"):
        rank(proxy, proxy)


def test_ranking_says_how_long_the_truth_was_trained(proxy: Trials, truth: Trials) -> None:
    epochs = replace(truth, info=replace(truth.info, recipe={"epochs": 100, "steps": None}, num_seeds=5))
    updates = replace(truth, info=replace(truth.info, recipe={"epochs": 100, "steps": 400}))
    assert (rank(proxy, epochs).truth_epochs, rank(proxy, epochs).truth_num_seeds) == (100, 5)
    assert rank(proxy, updates).truth_epochs is None


def test_best_truth_is_over_all_archs_with_a_truth(ranking: Ranking) -> None:
    assert ranking.best_truth_accuracy == 0.99


@pytest.mark.parametrize(("top", "num_archs"), [(0.2, 0), (0.4, 1), (0.41, 2), (0.8, 3)])
def test_top_fraction_is_of_all_scored_archs_not_of_those_with_a_truth(
    top: float, num_archs: int, proxy: Trials, truth: Trials
) -> None:
    ranking = rank(proxy, truth, top=top)
    assert ranking.top_fraction == top
    assert ranking.top_spearman.num_archs == ranking.top_kendall.num_archs == num_archs
    assert (ranking.top_spearman.value is None) == (num_archs < 3)


def test_top_by_proxy_can_disagree_with_the_whole() -> None:
    """The proxy ranks well over all, backwards among its best."""
    proxy = Trials(INFO, tuple(_trial(f"a{n}", (n / 20,)) for n in range(20)))
    truth = Trials(TRUTH_INFO, tuple(_trial(f"a{n}", ((n if n < 15 else 34 - n) / 20,)) for n in range(20)))
    ranking = rank(proxy, truth, top=0.25)
    assert ranking.top_spearman.num_archs == 5
    assert ranking.top_spearman.value == pytest.approx(-1.0)
    assert ranking.spearman.value is not None
    assert ranking.spearman.value > 0.9
    assert ranking.selected == "a19"
    assert ranking.selected_truth_accuracy == 15 / 20


def test_ranking_counts_costs_failures_and_flags(ranking: Ranking) -> None:
    assert (ranking.name, ranking.proxy, ranking.by) == ("digits-search", "digits-dm", "test accuracy")
    assert (ranking.num_failed, ranking.num_not_finite, ranking.num_flagged) == (1, 0, 2)
    assert ranking.search_seconds == 5 * 1.5 + 0.25
    assert (ranking.condense_seconds, ranking.num_stored_images) == (72.5, 500)
    assert (ranking.num_images, ranking.num_stored_numbers) == (2000, 128_000)


def test_truth_ranked_by_itself_is_perfect_and_makes_a_second_row(ranking: Ranking, truth: Trials) -> None:
    itself = rank(truth, truth, top=1.0)
    assert itself.spearman.value == pytest.approx(1.0)
    assert itself.top_spearman == itself.spearman
    assert itself.selected == "z"
    assert itself.selected_truth_accuracy == 0.97
    frame = rankings_frame([ranking, itself])
    assert frame["name"].tolist() == ["digits-search", "digits-whole"]
    assert frame["num_stored_images"].tolist() == [500, 1294]
    assert frame["spearman_num_archs"].tolist() == [3, 5]


@pytest.mark.parametrize("items", [(), (_failed("a"), _failed("b")), (_trial("f", (0.5,)), _trial("z", (0.5,)))])
def test_ranking_without_a_common_scored_arch_is_an_input_error(items: tuple[Trial, ...], proxy: Trials) -> None:
    with pytest.raises(InputError, match="no scored architecture in common"):
        rank(proxy, Trials(TRUTH_INFO, items))


@pytest.mark.parametrize("top", [0.0, -0.1, 1.01, math.nan])
def test_top_that_is_no_fraction_is_refused(top: float, proxy: Trials, truth: Trials) -> None:
    with pytest.raises(SettingsError, match="is no fraction of the architectures"):
        rank(proxy, truth, top=top)


def test_ranking_row_is_flat_and_plain_json(ranking: Ranking) -> None:
    row = ranking_row(ranking)
    assert all(value is None or type(value) in (str, int, float) for value in row.values())
    assert json.loads(json.dumps(row, allow_nan=False)) == row
    assert row["spearman_value"] == ranking.spearman.value
    assert (row["top_kendall_value"], row["top_kendall_num_archs"]) == (None, 1)
    assert row["top_kendall_note"] == "1 architecture(s): too few, at least 3"
