"""Searches with simulated workers."""

import time
from dataclasses import replace
from random import Random

import pytest

from nasproxy.errors import InputError, SettingsError
from nasproxy.replaying.simulation import simulate
from nasproxy.space import Arch, SearchSpace
from nasproxy.spacefile import load_space
from nasproxy.trials import ProxyKind, Rung, SearchInfo, State, Trial, Trials

INFO = SearchInfo(name="scores", proxy="scores", kind=ProxyKind.TABLE)


def make_scores(space: SearchSpace, flops: int | None = None) -> Trials:
    """An accuracy for every architecture, by its id."""
    values = {arch.id: Random(arch.id).random() for arch in space.archs()}
    return Trials(
        INFO,
        tuple(
            Trial(arch_id, {}, State.COMPLETE, (Rung((score,), (score,)),), flops=flops and round(flops * (1 + score)))
            for arch_id, score in values.items()
        ),
    )


def by_id(trials: Trials) -> list[Trial]:
    return sorted(trials, key=lambda trial: trial.arch_id)


@pytest.mark.parametrize("strategy", ["grid", "random", "tpe"])
def test_the_trials_are_those_of_one_worker_however_many_there_are(strategy: str, mini_space: SearchSpace) -> None:
    scores = make_scores(mini_space, flops=10**9)
    alone = simulate(mini_space, scores, strategy, num_workers=1, num_archs=18)
    assert len(alone.trials) == 18
    assert alone.utilisation == pytest.approx(1)
    for num_workers in (3, 512):
        many = simulate(mini_space, scores, strategy, num_workers=num_workers, num_archs=18)
        assert by_id(many.trials) == by_id(alone.trials)
        assert many.busy_seconds == pytest.approx(alone.busy_seconds)
        assert many.makespan < alone.makespan
        assert many.utilisation <= 1


def test_the_clock_is_that_of_workers_side_by_side() -> None:
    """Lengths 4, 3, 2, 1, longest first on two workers: 4 + 1 beside 3 + 2."""
    space = SearchSpace("four", {"a": (1, 2, 3, 4)}, "no.module:build", "{a}")
    scores = make_scores(space)
    scores = replace(scores, items=tuple(replace(trial, flops=int(trial.arch_id)) for trial in scores))
    found = simulate(space, scores, "grid", num_workers=2, seconds_of=lambda arch: float(arch.id))
    assert found.makespan == 5
    assert found.busy_seconds == 10
    assert found.utilisation == 1
    assert [trial.arch_id for trial in found.trials] == ["3", "4", "2", "1"]
    started = {trial.arch_id: trial.started for trial in found.trials}
    assert started["2"] is not None
    assert started["4"] is not None
    assert (started["2"] - started["4"]).total_seconds() == 3
    assert simulate(space, scores, "grid", num_workers=8, seconds_of=lambda arch: float(arch.id)).makespan == 4


def test_a_round_of_tpe_keeps_no_more_workers_busy_than_it_has_architectures(mini_space: SearchSpace) -> None:
    scores = make_scores(mini_space)
    found = simulate(mini_space, scores, "tpe", num_workers=16, num_archs=16, round_size=4, seconds_of=lambda arch: 1.0)
    assert found.makespan == 4
    assert found.utilisation == 0.25


def simulate_all_cells(num_archs: int | None) -> tuple[list[int], float]:
    """Every cell that the factors of NAS-Bench-201 span, equal ones and those without a path too, on 512 workers."""
    space = replace(load_space("nasbench201"), canonical=None, source=None)
    scores = make_scores(space)
    found = simulate(space, scores, "grid", num_workers=512, num_archs=num_archs)
    return [len(space), len(found.trials)], found.utilisation


def test_a_whole_benchmark_is_searched_by_hundreds_of_workers_in_one_process() -> None:
    sizes, utilisation = simulate_all_cells(num_archs=1500)
    assert sizes == [15_625, 1500]
    assert 0.5 < utilisation < 1


@pytest.mark.slow
def test_15625_architectures_by_512_workers_take_less_than_a_minute() -> None:
    started = time.process_time()
    sizes, utilisation = simulate_all_cells(num_archs=None)
    assert time.process_time() - started < 60
    assert sizes == [15_625, 15_625]
    assert 0.9 < utilisation < 1


def test_what_cannot_be_simulated_is_one_line(mini_space: SearchSpace) -> None:
    scores = make_scores(mini_space)

    def takes(arch: Arch) -> float:
        return 1.0

    with pytest.raises(SettingsError, match=r"takes 0\.0 s: give seconds_of"):
        simulate(mini_space, scores, "grid", num_workers=1)
    with pytest.raises(SettingsError, match="num_workers=0"):
        simulate(mini_space, scores, "grid", num_workers=0, seconds_of=takes)
    with pytest.raises(SettingsError, match="unknown strategy 'gird'"):
        simulate(mini_space, scores, "gird", num_workers=1, seconds_of=takes)
    with pytest.raises(InputError, match="table scores has no architecture of space convnet-mini"):
        simulate(mini_space, Trials(INFO, ()), "grid", num_workers=1, seconds_of=takes)
