"""Which engine a condensation gets."""

import pytest
import torch

from nasproxy.condensing.engine import Engine, TimeStep, choose_engine, default_engine
from nasproxy.errors import SettingsError

CPU = torch.device("cpu")
DEFAULT = default_engine(CPU, splittable=True)


def seconds_like(times: dict[str, float], other: float = 9.0) -> tuple[TimeStep, list[str]]:
    """A machine on which the engines take these seconds per step, and the list of those that were asked for."""
    asked: list[str] = []

    def time_step(engine: Engine) -> float:
        asked.append(engine.name)
        return times.get(engine.name, other)

    return time_step, asked


@pytest.mark.parametrize("name", ["eager-float32-64", "compiled-bfloat16-1", "eager-float32-all"])
def test_an_engine_is_known_by_its_name(name: str) -> None:
    assert Engine.parse(name).name == name


@pytest.mark.parametrize(
    "name", ["", "eager", "eager-float16-64", "lazy-float32-64", "eager-float32-0", "eager-float32-x"]
)
def test_a_name_of_no_engine_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match=rf"engine '{name}' is none; write 'auto' or"):
        Engine.parse(name)


def test_a_short_condensation_takes_the_default_without_a_trial() -> None:
    time_step, asked = seconds_like({}, other=1.0)
    assert choose_engine(DEFAULT, time_step, 19, CPU) == (DEFAULT, {DEFAULT.name: 1.0})
    assert asked == ["eager-float32-64"]
    assert choose_engine(DEFAULT, time_step, 0, CPU) == (DEFAULT, {})


def test_what_does_not_pay_is_not_compiled() -> None:
    time_step, asked = seconds_like({"eager-bfloat16-64": 0.5}, other=1.0)
    assert choose_engine(DEFAULT, time_step, 200, CPU)[0].name == "eager-bfloat16-64"
    assert asked == ["eager-float32-64", "eager-bfloat16-64"]


def test_a_long_condensation_takes_the_fastest_of_all() -> None:
    time_step, _ = seconds_like({"eager-float32-64": 2.0, "compiled-bfloat16-64": 0.8, "compiled-bfloat16-16": 0.7})
    best, seconds = choose_engine(DEFAULT, time_step, 20_000, CPU)
    assert best.name == "compiled-bfloat16-16"
    assert len(seconds) == 6
    assert min(seconds, key=lambda name: seconds[name]) == best.name


def test_a_gain_within_the_noise_changes_nothing() -> None:
    time_step, _ = seconds_like({}, other=1.0)
    assert choose_engine(DEFAULT, lambda engine: time_step(engine) - 0.01 * engine.compiled, 20_000, CPU)[0] == DEFAULT


def test_an_engine_that_does_not_run_is_left_out() -> None:
    def time_step(engine: Engine) -> float:
        if engine.compiled:
            raise RuntimeError("no working\nC++ compiler")
        return 1.0 if engine.precision == "float32" else 0.5

    best, seconds = choose_engine(DEFAULT, time_step, 20_000, CPU)
    assert best.name == "eager-bfloat16-64"
    assert seconds["compiled-float32-64"] == float("inf")


def test_batch_norm_has_no_chunks_to_try() -> None:
    time_step, asked = seconds_like({}, other=1.0)
    choose_engine(default_engine(CPU, splittable=False), time_step, 20_000, CPU)
    assert {name.rpartition("-")[2] for name in asked} == {"all"}
