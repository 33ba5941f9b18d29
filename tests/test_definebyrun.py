"""Spaces that are a function of an Optuna trial."""

from pathlib import Path
from typing import Any

import optuna
import pytest

import nasproxy as nap
from nasproxy.definebyrun import FunctionSpace
from nasproxy.errors import SettingsError, SpaceError
from nasproxy.factors import FloatRange, IntRange
from nasproxy.images import ImageData
from nasproxy.space import SearchSpace, build
from nasproxy.spacefile import load_space
from nasproxy.trials import State

NETS = '''
import math
from torch import nn
from nasproxy.errors import ArchError

def space(trial, image_shape, num_classes):
    """Net of one to three layers; a layer after a narrow one has dropout."""
    layers, width = [nn.Flatten()], math.prod(image_shape)
    act = trial.suggest_categorical("act", ["relu", "leaky-relu", "tanh"])
    if act == "tanh" and trial.suggest_categorical("bias", [True, False]):
        raise ArchError("tanh has no bias here")
    for number in range(trial.suggest_int("layers", 1, 3)):
        units = trial.suggest_int(f"units{number}", 8, 64, log=True)
        layers += [nn.Linear(width, units), {"relu": nn.ReLU, "leaky-relu": nn.LeakyReLU, "tanh": nn.Tanh}[act]()]
        if units < 16:
            layers.append(nn.Dropout(trial.suggest_float(f"drop{number}", 0.0, 0.5, step=0.25)))
        width = units
    layers.append(nn.Dropout(trial.suggest_float("last", 0.01, 0.5, log=True)))
    return nn.Sequential(*layers, nn.Linear(width, num_classes))

def nothing(trial, image_shape, num_classes):
    return nn.Flatten()

def changes(trial, image_shape, num_classes):
    trial.suggest_int("units", 1, 4 if trial.suggest_int("kind", 0, 1) else 8)
    return nn.Flatten()

def breaks(trial, image_shape, num_classes):
    return nn.Linear(trial.suggest_int("units", 1, 4), "ten")

def of_an_arch(arch, image_shape, num_classes):
    return nn.Flatten()
'''


@pytest.fixture
def nets(tmp_path: Path) -> SearchSpace:
    (tmp_path / "nets.py").write_text(NETS, encoding="utf-8")
    return load_space(f"{tmp_path / 'nets.py'}:space")


def test_what_a_function_suggests_is_learnt_by_running_it(nets: SearchSpace) -> None:
    assert isinstance(nets, FunctionSpace)
    of_layers = {f"{what}{number}" for what in ("units", "drop") for number in range(3)}
    assert set(nets.factors) == {"act", "bias", "layers", "last"} | of_layers
    assert nets.factors["units1"] == IntRange(8, 64, log=True)
    assert nets.factors["drop0"] == FloatRange(0.0, 0.5, 0.25)
    assert nets.factors["last"] == FloatRange(0.01, 0.5, log=True)
    assert (nets.is_listed, nets.size, nets.name) == (False, None, "nets")
    with pytest.raises(SettingsError, match=r"space nets has an unknown number of architectures, too many to try all"):
        nets.archs()


def test_a_draw_is_nested_and_its_ids_are_read_back(nets: SearchSpace) -> None:
    drawn, _ = nets.draw(60, 0)
    assert nets.draw(7, 0)[0] == drawn[:7]
    assert len({arch.id for arch in drawn}) == 60
    for arch in drawn:
        found = nets.find(arch.id)
        assert (found, found.factors) == (arch, arch.factors)
        assert arch.factors.get("bias") is not True
        for number in range(3):
            assert (f"units{number}" in arch.factors) == (number < int(arch.factors["layers"]))
            assert (f"drop{number}" in arch.factors) == (int(arch.factors.get(f"units{number}", 64)) < 16)
        assert len(list(build(arch, (1, 8, 8), 5).parameters())) == 2 * (int(arch.factors["layers"]) + 1)
    for wrong in ("", "act=relu", drawn[0].id + "x", drawn[0].id.replace("act=", "act=no")):
        assert nets.standing_for(wrong) is None
    with pytest.raises(SettingsError, match=r"unknown architecture of space nets 'act=relu'; an id is like 'act="):
        nets.find("act=relu")


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        ("nothing", "suggests nothing, so it is one net and no space; use trial.suggest_int"),
        ("changes", "suggests 'units' from 1 to [48] here and from 1 to [48] there; give them two names"),
        ("breaks", "fails for units=[1-4]: TypeError: .*; correct the function"),
        (
            "of_an_arch",
            r"is no function of a trial: write def of_an_arch\(trial, image_shape, num_classes\)",
        ),
        ("missing", "cannot be imported: module .* has no attribute 'missing'"),
    ],
)
def test_a_function_that_spans_no_space_is_refused(nets: SearchSpace, function: str, problem: str) -> None:
    with pytest.raises(SpaceError, match=problem):
        load_space(nets.builder.replace(":space", f":{function}"))


@pytest.mark.parametrize(
    "overrides",
    [
        {"sample": "6"},
        {"strategy": "tpe", "num_archs": 12, "round_size": 6},
        {"strategy": "nsga2", "num_archs": 6},
    ],
)
def test_a_search_of_it_is_recorded_and_resumed_from_elsewhere(
    nets: SearchSpace, digits: ImageData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overrides: dict[str, Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    runs = nap.Runs(tmp_path / "runs")
    trials = runs.search("nets.py:space", "params", digits, name="by-run", **overrides)
    assert trials.count(State.COMPLETE) == len(trials) == overrides.get("num_archs", 6)
    assert len({trial.arch_id for trial in trials}) == len(trials)
    monkeypatch.chdir("/")
    run = runs.find("by-run")
    assert run.read_config()["search"]["space"] == nets.builder
    run.update_meta(status="interrupted")
    assert runs.search(resume="by-run").by_id == trials.by_id
    frame = nap.trials_frame(trials)
    assert {"act", "layers", "last"} <= set(frame.columns)


def test_it_is_trained_on_ray_and_is_an_objective(nets: SearchSpace, digits: ImageData) -> None:
    trials = nap.search(nets, "whole", digits, sample="2", epochs=2, seeds=1, workers=1)
    assert {trial.state for trial in trials} <= {State.COMPLETE, State.AT_CHANCE}
    evaluator = nap.Evaluator(nets, "params", digits)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(evaluator, n_trials=10)
    assert 0 < len(evaluator.trials) <= 10
    assert study.best_value == max(trial.selection_score for trial in evaluator.trials.values())
