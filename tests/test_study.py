import json
import math
import sqlite3
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from nasproxy.study import (
    ACCURACY,
    State,
    Trial,
    Trials,
    create_store,
    open_store,
    propose_tpe,
    sqlite_url,
)

from nasproxy.errors import InputError, NasproxyError, RunError, SettingsError, StudyNotFoundError
from nasproxy.space import Arch, SearchSpace
from tests import records

INFO = replace(records.INFO, recipe={"epochs": 200, "steps": None, "lr": 0.01, "augmentation": "auto"}, device="cpu")


def _trial(arch: Arch, val: float = 0.5, state: State = State.COMPLETE, round: int = 0) -> Trial:
    scores = () if state is State.FAILED else (val, val)
    return Trial(arch.id, arch.factors, state, scores, scores, round=round)


def _trials(*items: tuple[str, float | None]) -> Trials:
    return Trials(
        INFO,
        tuple(
            Trial(arch_id, {}, State.FAILED if val is None else State.COMPLETE, () if val is None else (val,))
            for arch_id, val in items
        ),
    )


def test_trials_are_read_back_from_sqlite_as_they_were(mini_space: SearchSpace, tmp_path: Path) -> None:
    archs = mini_space.archs()
    trials = (
        Trial(
            archs[5].id, archs[5].factors, State.COMPLETE, (0.1, 0.1 + 0.2), (0.3, 1 / 3), 123, 2**40, 1.25, None, 3,
            "host:17",
        ),
        Trial(archs[0].id, archs[0].factors, State.DIVERGED, (0.1,), (0.09,), 5, 6, 0.5, "loss is nan", 0, None),
        Trial(archs[7].id, archs[7].factors, State.AT_CHANCE, (0.1,), (0.11,), 5, 6, 0.5),
        Trial(archs[1].id, archs[1].factors, State.FAILED, reason="ArchError: too deep", worker="host:18"),
        Trial(archs[2].id, archs[2].factors, State.COMPLETE, train_seconds=0.5, scores=(-1e300, 0.1 + 0.2)),
        Trial(archs[3].id, archs[3].factors, State.NOT_FINITE, reason="not finite", scores=(1.5, math.inf, -math.inf)),
    )  # fmt: skip
    url = sqlite_url(tmp_path / "study.db")
    store = create_store(INFO, url)
    for trial in trials:
        store.add(trial, mini_space)
    opened = open_store("digits-search", url)
    assert opened.info == INFO
    assert opened.trials().items == trials
    assert [type(value) for value in opened.trials().items[0].factors.values()] == [int, int, str, str, str]


def test_a_score_that_is_nan_is_kept_as_such_and_as_valid_json(mini_space: SearchSpace, tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "study.db")
    arch = mini_space.archs()[0]
    create_store(INFO, url).add(Trial(arch.id, arch.factors, State.NOT_FINITE, scores=(math.nan, 0.5)), mini_space)
    scores = open_store(INFO.name, url).trials()[0].scores
    assert math.isnan(scores[0])
    assert scores[1] == 0.5
    with sqlite3.connect(tmp_path / "study.db") as database:
        texts = [row[0] for row in database.execute("select value_json from trial_user_attributes")]
    for text in texts:
        json.loads(text, parse_constant=pytest.fail)


def test_a_loss_curve_is_read_back_also_where_it_diverges(mini_space: SearchSpace, tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "study.db")
    curve = {40: 2.25, 80: 0.1 + 0.2, 120: math.inf, 160: math.nan}
    create_store(INFO, url).add(replace(_trial(mini_space.archs()[0]), loss_curve=curve), mini_space)
    read = open_store(INFO.name, url).trials()[0].loss_curve
    assert list(read) == list(curve)
    assert list(read.values())[:3] == [2.25, 0.1 + 0.2, math.inf]
    assert math.isnan(read[160])


def test_the_study_says_what_it_is_ranked_by(tmp_path: Path) -> None:
    for metric in ("naswot", ACCURACY):
        url = sqlite_url(tmp_path / f"{metric}.db")
        create_store(replace(INFO, metric=metric), url)
        assert optuna.load_study(study_name=INFO.name, storage=url).metric_names == [metric]
        assert open_store(INFO.name, url).info.metric == metric


def test_a_study_from_before_there_were_training_free_scores_is_read(mini_space: SearchSpace, tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "study.db")
    create_store(INFO, url).add(_trial(mini_space.archs()[0]), mini_space)
    study = optuna.load_study(study_name=INFO.name, storage=url)
    study.set_user_attr("nasproxy", {name: value for name, value in vars(INFO).items() if name != "metric"})
    assert "scores" not in study.trials[0].user_attrs
    assert open_store(INFO.name, url, expected=INFO).trials().items == (_trial(mini_space.archs()[0]),)


def test_store_without_url_lives_in_memory(mini_space: SearchSpace) -> None:
    store = create_store(INFO, None)
    assert store.trials() == Trials(INFO, ())
    store.add(_trial(mini_space.archs()[0]), mini_space)
    assert len(store.trials()) == 1
    create_store(INFO, None)


@pytest.mark.parametrize("folder", ["with space", "100%", "50%25", "what?", "é#@:"])
def test_sqlite_url_reaches_the_file_in_any_folder(folder: str, tmp_path: Path) -> None:
    path = tmp_path / folder / "study.db"
    path.parent.mkdir()
    create_store(INFO, sqlite_url(path))
    assert path.is_file()
    assert open_store(INFO.name, sqlite_url(path)).info == INFO


def test_latest_trial_of_a_retried_arch_wins(mini_space: SearchSpace) -> None:
    first, second = mini_space.archs()[:2]
    store = create_store(INFO, None)
    retried = _trial(first, 0.9)
    for trial in (_trial(first, state=State.FAILED), _trial(second, 0.2), retried):
        store.add(trial, mini_space)
    assert store.trials().items == (_trial(second, 0.2), retried)


def test_study_name_that_exists_is_a_run_error(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "study.db")
    create_store(INFO, url)
    with pytest.raises(RunError, match="has a study 'digits-search' already; choose another --name"):
        create_store(INFO, url)


def test_unknown_study_is_an_error(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "study.db")
    create_store(INFO, url)
    with pytest.raises(StudyNotFoundError, match="holds no study 'other'; was the search started"):
        open_store("other", url)


@pytest.mark.parametrize(
    ("url", "kind", "problem"),
    [
        ("sqlite:////no/such/folder/study.db", InputError, "unable to open database file"),
        ("no url", InputError, "Could not parse"),
        ("nosuchdb://anna:s3cret@h/db", InputError, "nosuchdb"),
        ("postgresql+nodriver://anna:s3cret@h/db", NasproxyError, "postgresql"),
    ],
)
def test_storage_that_cannot_be_opened_is_one_line_without_password(
    url: str, kind: type[NasproxyError], problem: str
) -> None:
    with pytest.raises(kind, match=problem) as caught:
        open_store("any", url)
    assert "\n" not in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_storage_without_its_driver_says_what_to_install() -> None:
    problem = r"^storage postgresql\+pg8000://anna@h/db needs a driver: .*; pip install nasproxy\[postgresql\]$"
    with pytest.raises(SettingsError, match=problem) as caught:
        open_store("any", "postgresql+pg8000://anna:s3cret@h/db")
    assert "\n" not in str(caught.value)


def test_accuracies_are_means_over_seeds_and_nan_for_failed() -> None:
    trial = Trial("a", {}, State.DIVERGED, (0.25, 0.75), (0.5, 0.25))
    assert (trial.val_accuracy, trial.test_accuracy, trial.is_ranked) == (0.5, 0.375, True)
    assert trial.score == 0.5
    failed = Trial("a", {}, State.FAILED)
    assert math.isnan(failed.val_accuracy)
    assert math.isnan(failed.test_accuracy)
    assert not failed.is_ranked


def test_ranked_is_best_first_ties_by_id_and_failures_last() -> None:
    trials = _trials(("f", None), ("b", 0.5), ("c", 0.9), ("a", 0.5), ("e", None), ("d", 0.0))
    assert [trial.arch_id for trial in trials.ranked()] == ["c", "a", "b", "d", "e", "f"]
    assert [trial.arch_id for trial in trials] == ["f", "b", "c", "a", "e", "d"]


def test_training_free_trials_are_ranked_by_score_and_without_one_last() -> None:
    def scored(arch_id: str, *scores: float) -> Trial:
        state = State.COMPLETE if all(map(math.isfinite, scores)) else State.NOT_FINITE
        return Trial(arch_id, {}, state, scores=scores)

    items = (
        scored("a", math.inf, 1.0),
        scored("b", -3.0, -5.0),
        scored("c", 2.0, 1e9),
        scored("d", math.inf, -math.inf),
    )
    trials = Trials(INFO, items)
    assert [trial.arch_id for trial in trials.ranked()] == ["c", "b", "a", "d"]
    assert trials.top(1.0) == ["c", "b"]
    assert [trial.score for trial in items[1:3]] == [-4.0, (2.0 + 1e9) / 2]
    assert all(math.isnan(trial.score) and not trial.is_ranked for trial in (items[0], items[3]))
    assert all(math.isnan(trial.val_accuracy) and math.isnan(trial.test_accuracy) for trial in items)


@pytest.mark.parametrize(
    ("amount", "ids"),
    [(1, ["c"]), (3, ["c", "a", "b"]), (9, ["c", "a", "b", "d"]), (0.5, ["c", "a"]), (0.51, ["c", "a", "b"]),
     (0.01, ["c"]), (1.0, ["c", "a", "b", "d"])],
)  # fmt: skip
def test_top_takes_a_number_or_a_fraction_of_the_scored(amount: float, ids: list[str]) -> None:
    assert _trials(("f", None), ("b", 0.5), ("c", 0.9), ("a", 0.5), ("d", 0.0)).top(amount) == ids


@pytest.mark.parametrize(("percent", "total"), [(5, 720), (7, 100), (14, 100), (5, 140), (55, 100)])
def test_top_of_a_whole_number_of_archs_is_not_rounded_up(percent: int, total: int) -> None:
    trials = _trials(*((f"{number:03}", number / 1000) for number in range(total)))
    assert len(trials.top(percent / 100)) == percent * total // 100


def test_tpe_is_deterministic_and_independent_of_the_order_of_history(mini_space: SearchSpace) -> None:
    archs = mini_space.archs()
    history = [_trial(arch, number / 24) for number, arch in enumerate(archs[:14])]
    history[3] = _trial(archs[3], state=State.FAILED)
    first = propose_tpe(mini_space, archs, history, 4, seed=1)
    assert first == propose_tpe(mini_space, archs, history, 4, seed=1)
    assert first == propose_tpe(mini_space, archs, history[::-1], 4, seed=1)
    assert len(first) == 4


def test_tpe_depends_on_its_seed(mini_space: SearchSpace) -> None:
    archs = mini_space.archs()
    assert propose_tpe(mini_space, archs, [], 6, seed=1) != propose_tpe(mini_space, archs, [], 6, seed=2)


def test_tpe_learns_from_history(mini_space: SearchSpace) -> None:
    """Where relu is always better than sigmoid, relu nets are proposed first, whatever the seed."""
    archs = mini_space.archs()
    history = [_trial(arch, 0.9 if arch.factors["activation"] == "relu" else 0.1) for arch in archs[:12]]
    proposed = [arch for seed in range(5) for arch in propose_tpe(mini_space, archs, history, 2, seed=seed)]
    assert sum(arch.factors["activation"] == "relu" for arch in proposed) >= 8


def test_tpe_learns_from_training_free_scores_and_skips_what_has_none(mini_space: SearchSpace) -> None:
    archs = mini_space.archs()
    history = [
        Trial(
            arch.id, arch.factors, State.COMPLETE, scores=(100.0 if arch.factors["activation"] == "relu" else -100.0,)
        )
        for arch in archs[:12]
    ]
    history[0] = Trial(archs[0].id, archs[0].factors, State.NOT_FINITE, scores=(math.nan,))
    proposed = [arch for seed in range(5) for arch in propose_tpe(mini_space, archs, history, 2, seed=seed)]
    assert sum(arch.factors["activation"] == "relu" for arch in proposed) >= 8
    assert archs[0] not in proposed


def test_tpe_proposes_only_untried_candidates_until_none_is_left(mini_space: SearchSpace) -> None:
    candidates = mini_space.shuffled(3)[:11]
    history: list[Trial] = []
    while proposed := propose_tpe(mini_space, candidates, history, 3, seed=len(history)):
        ids = [arch.id for arch in proposed]
        assert len(ids) == len(set(ids)) == min(3, 11 - len(history))
        assert not set(ids) & {trial.arch_id for trial in history}
        history += [_trial(arch, len(arch.id) / 100) for arch in proposed]
    assert sorted(trial.arch_id for trial in history) == sorted(arch.id for arch in candidates)


def test_a_study_about_something_else_is_not_continued(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "study.db")
    create_store(INFO, url)
    assert open_store(INFO.name, url, replace(INFO, device="another", condense_seconds=9.0)).info == INFO
    with pytest.raises(RunError, match="has another proxy, num_seeds; choose another --name"):
        open_store(INFO.name, url, replace(INFO, proxy="whole", num_seeds=7))
