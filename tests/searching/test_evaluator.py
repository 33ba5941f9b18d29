"""Our parts in other tools: an Optuna objective, a Ray Trainable, ask and tell, Tune's loggers."""

import json
import pickle
from pathlib import Path
from typing import Any

import optuna
import pytest
from ray import tune

import nasproxy as nap
from nasproxy.errors import SettingsError
from nasproxy.images import ImageData
from nasproxy.searching.schedule import LEARNING, STRATEGIES
from nasproxy.space import SearchSpace
from nasproxy.trials import State

FEW: dict[str, Any] = {"seeds": 1, "epochs": 2}


@pytest.fixture
def proxy(digits: ImageData) -> nap.ProxySet:
    return nap.condense(digits, "random", images_per_class=5)


def test_an_evaluator_scores_as_a_search_does(mini_space: SearchSpace, digits: ImageData, proxy: nap.ProxySet) -> None:
    ids = ["w32-d1-none-relu-avg", "w32-d2-instance-relu-max"]
    searched = nap.search(mini_space, proxy, digits, archs=ids, workers=1, threads_per_worker=1, **FEW)
    evaluator = nap.Evaluator(mini_space, proxy, digits, threads_per_worker=1, **FEW)
    for arch_id in ids:
        found = evaluator.score(arch_id)
        assert found.selection_scores == searched.by_id[arch_id].selection_scores
        assert found.evaluation_scores == searched.by_id[arch_id].evaluation_scores
        assert evaluator.score(found.factors) is found
    assert list(evaluator.trials) == ids
    with pytest.raises(SettingsError, match=r"unknown architecture of space convnet-mini 'w32'"):
        evaluator.score("w32")
    given: dict[str, Any] = {"screen": "top", "sample": "5", "keep_nets": True, "loggers": "csv"}
    for setting, value in given.items():
        with pytest.raises(SettingsError, match=rf"{setting}: an evaluator scores one architecture at a time"):
            nap.Evaluator(mini_space, "early-stop", digits, **{setting: value})


def test_an_evaluator_looks_up_a_table_and_keeps_limits(mini_space: SearchSpace, digits: ImageData) -> None:
    params = nap.search(mini_space, "params", digits)
    few = params.of([trial.arch_id for trial in params][:3])
    evaluator = nap.Evaluator(mini_space, few, digits)
    assert evaluator.score(few[1].arch_id).selection_score == few[1].selection_score
    missing = evaluator.score(params[5].arch_id)
    assert (missing.state, missing.reason) == (State.FAILED, "params has no row for it")
    half = sorted(trial.num_params or 0 for trial in params)[12]
    limited = nap.Evaluator(mini_space, "naswot", digits, max_params=half, latency=True)
    for trial in params:
        found = limited.score(trial.arch_id)
        assert (found.state is State.FAILED) == ((trial.num_params or 0) > half)
        assert (found.latency is None) == ((trial.num_params or 0) > half)
    again = pickle.loads(pickle.dumps(limited))
    assert again.score(few[0].arch_id) == limited.score(few[0].arch_id)


def test_an_evaluator_is_an_optuna_objective(mini_space: SearchSpace, digits: ImageData) -> None:
    evaluator = nap.Evaluator(mini_space, "params", digits)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(evaluator, n_trials=30)
    best = max(evaluator.trials.values(), key=lambda trial: trial.selection_score)
    assert study.best_trial.user_attrs["arch_id"] == best.arch_id
    assert study.best_value == best.selection_score
    assert study.best_params == best.factors
    assert study.best_trial.user_attrs["num_params"] == best.num_params
    assert len(evaluator.trials) < 30  # some were proposed twice


def test_what_is_no_architecture_or_fails_is_pruned_with_its_reason(tmp_path: Path, digits: ImageData) -> None:
    (tmp_path / "nets.py").write_text(
        "from torch import nn\nfrom nasproxy.errors import ArchError\n"
        "def build(arch, shape, num_classes):\n"
        "    if arch.factors['a'] == 1:\n        raise ArchError('one is too few')\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(shape[0] * shape[1] * shape[2], num_classes))\n"
    )
    text = 'builder = "nets.py:build"\n[factors]\na = [1, 2, 3]\n[[exclude]]\na = 3\n'
    (tmp_path / "space.toml").write_text(text)
    evaluator = nap.Evaluator(nap.load_space(tmp_path / "space.toml"), "params", digits)
    study = optuna.create_study(direction="maximize")
    for value in (1, 2, 3):
        study.enqueue_trial({"a": value})
    study.optimize(evaluator, n_trials=3)
    states = [trial.state.name for trial in study.trials]
    assert states == ["PRUNED", "COMPLETE", "PRUNED"]
    assert evaluator.trials["a=1"].reason == "one is too few"


def test_a_studys_pruner_ends_trainings_at_rungs(mini_space: SearchSpace, digits: ImageData) -> None:
    evaluator = nap.Evaluator(mini_space, "early-stop", digits, rungs=(16, 4), seeds=1, steps=32)
    whole = nap.Evaluator(mini_space, "early-stop", digits, seeds=1, steps=32)
    good, bad = "w32-d2-instance-relu-avg", "w32-d1-none-sigmoid-max"
    assert whole.score(good).selection_score > whole.score(bad).selection_score
    study = optuna.create_study(
        direction="maximize", pruner=optuna.pruners.MedianPruner(n_startup_trials=1, n_warmup_steps=5)
    )
    for arch_id in (good, bad):
        study.enqueue_trial(dict(mini_space.find(arch_id).factors))
    study.optimize(evaluator, n_trials=2)
    first, second = study.trials
    assert (first.state.name, list(first.intermediate_values)) == ("COMPLETE", [4, 16])
    assert first.value == whole.score(good).selection_score
    assert (second.state.name, list(second.intermediate_values)) == ("PRUNED", [4, 16])
    found = evaluator.trials[bad]
    assert found.reason == "stopped by the study's pruner after update 16 of its training (rung 2)"
    assert second.user_attrs["state"] == "pruned"
    assert evaluator.score(bad).selection_scores == whole.score(bad).selection_scores  # asked for, it is trained
    refused: dict[str, tuple[str, dict[str, Any]]] = {
        "proxy 'naswot' has no training of ours to halt": ("naswot", {}),
        "give seeds=1": ("early-stop", {"seeds": 2}),
        "0 is no number of updates": ("early-stop", {"seeds": 1, "rungs": [0]}),
    }
    for problem, (name, settings) in refused.items():
        with pytest.raises(SettingsError, match=problem):
            nap.Evaluator(mini_space, name, digits, **{"rungs": [4], **settings})


def test_an_evaluator_is_a_ray_trainable(mini_space: SearchSpace, digits: ImageData, proxy: nap.ProxySet) -> None:
    evaluator = nap.Evaluator(mini_space, proxy, digits, threads_per_worker=1, **FEW)
    factors = {name: tune.grid_search(list(values)[:1]) for name, values in mini_space.factors.items()}
    factors["depth"] = tune.grid_search([1, 2])
    results = tune.Tuner(evaluator.as_trainable(), param_space=factors).fit()
    metrics = [results[number].metrics or {} for number in range(len(results))]
    scores = {each["arch_id"]: each["score"] for each in metrics}
    assert len(scores) == 2
    for arch_id, score in scores.items():
        assert evaluator.score(arch_id).selection_score == pytest.approx(score)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_strategy_asks_and_is_told(strategy: str, mini_space: SearchSpace) -> None:
    def search() -> list[str]:
        asker, asked = nap.Asker(mini_space, strategy, num_archs=12, round_size=4, seed=3), []
        while (arch := asker.ask()) is not None:
            asked.append(arch.id)
            asker.tell(arch, None if len(asked) == 2 else float(arch.factors["depth"]))
        assert asker.is_over
        return asked

    asked = search()
    assert len(set(asked)) == 12
    assert search() == asked
    if strategy in LEARNING:
        asker = nap.Asker(mini_space, strategy, num_archs=12, round_size=4)
        first = [asker.ask() for _ in range(5)]
        assert (first[4], asker.is_over) == (None, False)


def test_an_asker_is_told_what_it_asked_for(mini_space: SearchSpace) -> None:
    asker = nap.Asker(mini_space, "grid")
    arch = asker.ask()
    assert arch is not None
    with pytest.raises(SettingsError, match=r"score nan of .* is not finite; tell None where it failed"):
        asker.tell(arch, float("nan"))
    asker.tell(arch.id, 0.5, num_params=3)
    with pytest.raises(SettingsError, match=r"was not asked for; tell what `ask` gave"):
        asker.tell(arch, 0.5)
    with pytest.raises(SettingsError, match=r"against='size' with tpe: write one of params, flops, latency, with tpe"):
        nap.Asker(mini_space, "tpe", against="size")
    costly = nap.Asker(mini_space, "nsga2", against="params", num_archs=4, round_size=2)
    arch = costly.ask()
    assert arch is not None
    with pytest.raises(SettingsError, match=r"unknown cost 'params': did you mean 'num_params'"):
        costly.tell(arch, 0.5, params=3)
    with pytest.raises(SettingsError, match=r"without its num_params, which is to be small; tell num_params=..."):
        costly.tell(arch, 0.5)
    costly.tell(arch, 0.5, num_params=3)


def test_tunes_own_loggers_are_told_of_every_trial(tmp_path: Path, digits: ImageData) -> None:

    runs = nap.Runs(tmp_path)
    given: dict[str, Any] = {"loggers": ["tensorboard", "csv", "json"], "workers": 2}
    trials = runs.search("convnet-mini", "naswot", digits, name="logged", **given)
    logs = tmp_path / "logged" / "logs"
    results = [json.loads(path.read_text()) for path in logs.glob("*/result.json")]
    assert {result["arch_id"]: result["score"] for result in results} == pytest.approx(
        {trial.arch_id: trial.selection_score for trial in trials}
    )
    params = json.loads(next(logs.glob("*/params.json")).read_text())
    assert params["arch_id"] in trials.by_id
    assert len(list(logs.glob("*/progress.csv"))) == 24
    events = [path.read_bytes() for path in logs.glob("*/events.out.tfevents.*")]
    assert len(events) == 24
    assert all(b"ray/tune/score" in content for content in events)
    assert trials.count(State.COMPLETE) == 24


def test_a_logger_that_is_unknown_or_not_installed_is_named(digits: ImageData, mini_space: SearchSpace) -> None:
    with pytest.raises(SettingsError, match=r"unknown logger 'tensorbord': did you mean 'tensorboard'"):
        nap.search(mini_space, "naswot", digits, loggers=["tensorbord"])
    with pytest.raises(SettingsError, match=r"loggers=mlflow: .*; pip install mlflow, or leave it out"):
        nap.search(mini_space, "naswot", digits, loggers=["mlflow"])
