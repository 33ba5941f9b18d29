import json
import math
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from nasproxy.errors import InputError, NasproxyError, RunError, SettingsError, StudyNotFoundError
from nasproxy.space import Arch, SearchSpace
from nasproxy.store import TrialStore, create_store, open_store, sqlite_url, to_optuna
from nasproxy.trials import ProxyCost, Rung, SampleInfo, State, Trial, Trials
from tests import records

RECIPE = {"epochs": 200, "steps": None, "lr": 0.01, "augmentation": "auto"}
INFO = replace(records.INFO, recipe=RECIPE, parts=("one", "other"), device="cpu")


def _trial(arch: Arch, val: float = 0.5, state: State = State.COMPLETE) -> Trial:
    rungs = () if state is State.FAILED else (Rung((val, val), (val, val), 400),)
    return Trial(arch.id, arch.factors, state, rungs)


def _create(space: SearchSpace, url: str | None = None) -> TrialStore:
    return create_store(INFO, space.factors, url)


def test_trials_are_read_back_from_sqlite_as_they_were(mini_space: SearchSpace, tmp_path: Path) -> None:
    archs = mini_space.archs()
    rungs = (Rung((0.1,), (0.2,), 100), Rung((0.1, 0.1 + 0.2), (0.3, 1 / 3), 400, (2.5, math.inf), (math.inf, 0.7)))
    trials = (
        Trial(archs[5].id, archs[5].factors, State.COMPLETE, rungs, 123, 2**40, 1.25, None, 3, "host:17"),
        Trial(archs[0].id, archs[0].factors, State.DIVERGED, rungs[:1], 5, 6, 0.5, "loss is nan", 0, None),
        Trial(archs[7].id, archs[7].factors, State.AT_CHANCE, rungs[:1], 5, 6, 0.5),
        Trial(archs[1].id, archs[1].factors, State.FAILED, reason="ArchError: too deep", worker="host:18"),
        Trial(archs[4].id, archs[4].factors, State.LOST, reason="worker process lost"),
        Trial(
            archs[2].id, archs[2].factors, State.COMPLETE, (Rung((-1e300, 0.1 + 0.2), (1.0, 2.0)),), train_seconds=0.5
        ),
        Trial(archs[3].id, archs[3].factors, State.NOT_FINITE, (Rung((1.5, math.inf), (1.5, -math.inf)),), reason="no"),
    )
    url = sqlite_url(tmp_path / "study.db")
    store = _create(mini_space, url)
    for trial in trials:
        store.add(trial)
    opened = open_store("digits-search", url)
    assert opened.info == INFO
    assert opened.trials().items == trials
    assert [type(value) for value in opened.trials().items[0].factors.values()] == [int, int, str, str, str]


def test_a_weight_and_the_sample_are_kept_only_where_there_is_one(mini_space: SearchSpace, tmp_path: Path) -> None:
    url, archs = sqlite_url(tmp_path / "study.db"), mini_space.archs()
    info = replace(INFO, sample=SampleInfo(2, 24, "params"))
    store = create_store(info, mini_space.factors, url)
    trials = (replace(_trial(archs[0]), weight=12 / 7), _trial(archs[1]))
    for trial in trials:
        store.add(trial)
    opened = open_store(INFO.name, url, expected=info)
    assert (opened.info, opened.trials().items) == (info, trials)
    study = optuna.load_study(study_name=INFO.name, storage=url)
    assert ["weight" in trial.user_attrs for trial in study.trials] == [True, False]
    with pytest.raises(RunError, match="has another sample"):
        open_store(INFO.name, url, expected=INFO)


def test_a_study_from_before_losses_were_kept_is_read(mini_space: SearchSpace, tmp_path: Path) -> None:
    url, trial = sqlite_url(tmp_path / "study.db"), _trial(mini_space.archs()[0])
    _create(mini_space, url)
    frozen = to_optuna(trial, mini_space.factors)
    del frozen.user_attrs["loss_curve"]
    frozen.intermediate_values = {200: 1.5, 400: 0.25}  # those were losses
    for rung in frozen.user_attrs["rungs"]:
        del rung["selection_losses"], rung["evaluation_losses"]
    study = optuna.load_study(study_name=INFO.name, storage=url)
    study.add_trial(frozen)
    new = ("signal", "screen")
    study.set_user_attr("nasproxy", {key: value for key, value in INFO.as_dict().items() if key not in new})
    assert "optimizer" not in INFO.recipe
    now = replace(INFO, recipe={**INFO.recipe, "optimizer": "sgd"})
    (found,) = open_store(INFO.name, url, expected=now).trials()
    with pytest.raises(RunError, match="has another recipe"):
        open_store(INFO.name, url, expected=replace(INFO, recipe={**INFO.recipe, "optimizer": "adamw"}))
    assert (found.rungs, found.loss_curve) == (trial.rungs, frozen.intermediate_values)


def test_a_trial_that_waits_is_one_running_trial_until_it_ends(mini_space: SearchSpace, tmp_path: Path) -> None:
    url, arch = sqlite_url(tmp_path / "study.db"), mini_space.archs()[0]
    store, rungs = (
        _create(mini_space, url),
        (Rung((300.0,), (300.0,), metric="naswot"), Rung((0.5, 0.25), (0.4, 0.2), 10)),
    )
    waiting = Trial(arch.id, arch.factors, State.WAITING, rungs[:1], train_seconds=0.5, round=0)
    pruned = replace(
        waiting,
        state=State.PRUNED,
        rungs=rungs,
        train_seconds=2.0,
        round=1,
        place=3,
        reason="cut",
        loss_curve={10: 2.0},
    )
    for trial, state in ((waiting, TrialState.RUNNING), (pruned, TrialState.PRUNED)):
        store.add(trial)
        store = open_store(INFO.name, url)
        assert store.trials().items == (trial,)
        (frozen,) = optuna.load_study(study_name=INFO.name, storage=url).trials
        assert (frozen.state, frozen.value) == (state, None)
    assert frozen.intermediate_values == {20: 0.375}
    assert store.trials()[0].loss_curve == {10: 2.0}


@pytest.mark.parametrize("fails_in", ["_create_new_trial", "set_trial_state_values"])
def test_what_was_written_though_the_storage_said_no_is_written_once(
    mini_space: SearchSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails_in: str
) -> None:
    """A connection that breaks after the commit."""
    url, arch = sqlite_url(tmp_path / "study.db"), mini_space.archs()[0]
    store = _create(mini_space, url)
    waiting = Trial(arch.id, arch.factors, State.WAITING, (Rung((0.5,), (0.4,), 10),))
    pruned = replace(waiting, state=State.PRUNED, place=3)
    inner = getattr(RDBStorage, fails_in)

    def commit_and_fail(*args: Any, **kwargs: Any) -> None:  # the cache in between calls the first of them so
        inner(*args, **kwargs)
        raise ConnectionError("gone")

    for trial in (waiting, pruned):
        with monkeypatch.context() as patch:
            patch.setattr(RDBStorage, fails_in, commit_and_fail)
            if (trial is pruned) == (fails_in == "set_trial_state_values"):
                with pytest.raises(ConnectionError):
                    store.add(trial)
        store.add(trial)
    (frozen,) = optuna.load_study(study_name=INFO.name, storage=url).trials
    assert frozen.state is TrialState.PRUNED
    assert open_store(INFO.name, url).trials().items == (pruned,)


def test_a_score_that_is_nan_is_kept_as_such_and_as_valid_json(mini_space: SearchSpace, tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "study.db")
    arch = mini_space.archs()[0]
    scores = (math.nan, 0.5)
    _create(mini_space, url).add(Trial(arch.id, arch.factors, State.NOT_FINITE, (Rung(scores, scores),)))
    scores = open_store(INFO.name, url).trials()[0].selection_scores
    assert math.isnan(scores[0])
    assert scores[1] == 0.5
    with sqlite3.connect(tmp_path / "study.db") as database:
        texts = [row[0] for row in database.execute("select value_json from trial_user_attributes")]
    for text in texts:
        json.loads(text, parse_constant=pytest.fail)


def test_a_loss_curve_is_read_back_also_where_it_diverges(mini_space: SearchSpace, tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "study.db")
    curve = {40: 2.25, 80: 0.1 + 0.2, 120: math.inf, 160: math.nan}
    _create(mini_space, url).add(replace(_trial(mini_space.archs()[0]), loss_curve=curve))
    read = open_store(INFO.name, url).trials()[0].loss_curve
    assert list(read) == list(curve)
    assert list(read.values())[:3] == [2.25, 0.1 + 0.2, math.inf]
    assert math.isnan(read[160])


@pytest.mark.parametrize(("score_name", "metric"), [("naswot", "naswot"), (None, "mean validation accuracy")])
def test_the_study_says_what_it_is_ranked_by(
    score_name: str | None, metric: str, mini_space: SearchSpace, tmp_path: Path
) -> None:
    url = sqlite_url(tmp_path / "study.db")
    create_store(replace(INFO, score_name=score_name), mini_space.factors, url)
    assert optuna.load_study(study_name=INFO.name, storage=url).metric_names == [metric]
    assert open_store(INFO.name, url).info.selection_metric == metric


def test_a_study_of_an_earlier_version_is_refused_by_one_line(mini_space: SearchSpace, tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "study.db")
    optuna.create_study(study_name="old", storage=url).set_user_attr("nasproxy", {"name": "old", "metric": "naswot"})
    with pytest.raises(RunError, match=r"study 'old' in .* was not written by this version; search again"):
        open_store("old", url)


def test_store_without_url_lives_in_memory(mini_space: SearchSpace) -> None:
    store = _create(mini_space)
    assert store.trials() == Trials(INFO, ())
    store.add(_trial(mini_space.archs()[0]))
    assert len(store.trials()) == 1
    _create(mini_space)


@pytest.mark.parametrize("folder", ["with space", "100%", "50%25", "what?", "é#@:"])
def test_sqlite_url_reaches_the_file_in_any_folder(folder: str, mini_space: SearchSpace, tmp_path: Path) -> None:
    path = tmp_path / folder / "study.db"
    path.parent.mkdir()
    _create(mini_space, sqlite_url(path))
    assert path.is_file()
    assert open_store(INFO.name, sqlite_url(path)).info == INFO


def test_latest_trial_of_a_retried_arch_wins(mini_space: SearchSpace) -> None:
    first, second = mini_space.archs()[:2]
    store = _create(mini_space)
    retried = _trial(first, 0.9)
    for trial in (_trial(first, state=State.FAILED), _trial(second, 0.2), retried):
        store.add(trial)
    assert store.trials().items == (_trial(second, 0.2), retried)


def test_study_name_that_exists_is_a_run_error(mini_space: SearchSpace, tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "study.db")
    _create(mini_space, url)
    with pytest.raises(RunError, match="has a study 'digits-search' already; choose another --name"):
        _create(mini_space, url)


def test_unknown_study_is_an_error(mini_space: SearchSpace, tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "study.db")
    _create(mini_space, url)
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


def test_a_study_about_something_else_is_not_continued(mini_space: SearchSpace, tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "study.db")
    _create(mini_space, url)
    elsewhere = replace(INFO, device="another", cost=replace(INFO.cost, condense_seconds=9.0))
    assert open_store(INFO.name, url, elsewhere).info == INFO
    with pytest.raises(RunError, match="has another proxy, cost, num_seeds; choose another --name"):
        open_store(INFO.name, url, replace(INFO, proxy="whole", num_seeds=7, cost=ProxyCost(1)))
