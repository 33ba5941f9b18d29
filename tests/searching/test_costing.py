"""Limits of what architectures may cost: counted, or timed on this machine."""

import math
import statistics
from pathlib import Path
from typing import Any

import pytest
import torch

import nasproxy as nap
from nasproxy.config import SearchSettings, make_config
from nasproxy.config.settings import SearchConfig
from nasproxy.errors import SettingsError
from nasproxy.images import ImageData
from nasproxy.scoring import measure_latency
from nasproxy.searching.costing import Limits, SpaceCosts, find_too_large
from nasproxy.space import SearchSpace
from nasproxy.spacefile import load_space

CPU = torch.device("cpu")


def test_a_larger_net_takes_longer_and_so_does_a_larger_batch() -> None:
    space = load_space("convnet720")
    small, large = (space.find(f"w{width}-d3-instance-relu-avg") for width in (32, 256))
    seconds = measure_latency(small, (3, 32, 32), 10, device=CPU)
    assert 1e-5 < seconds < 0.1
    assert measure_latency(large, (3, 32, 32), 10, device=CPU) > 3 * seconds
    assert measure_latency(small, (3, 32, 32), 10, device=CPU, batch_size=32) > 3 * seconds


def test_what_is_within_the_other_limits_is_timed_once(mini_space: SearchSpace, digits: ImageData) -> None:
    archs, costs = mini_space.archs(), SpaceCosts()
    for arch in archs:
        costs.count(arch, digits)
    half = int(statistics.median(found.flops for found in costs.of.values() if found))
    limits = Limits(flops=half, latency=1e-9, is_timed=True)
    too_large = find_too_large(archs, costs, digits, limits)
    assert too_large.keys() == {arch.id for arch in archs}
    assert {arch_id for arch_id, found in costs.of.items() if found and found.flops <= half} == costs.latencies.keys()
    assert 0 < len(costs.latencies) < 24
    by_latency = [reason for arch_id, reason in too_large.items() if arch_id in costs.latencies]
    assert all(reason.startswith("a forward pass of ") and "at most 1e-06 ms" in reason for reason in by_latency)
    before = dict(costs.latencies)
    find_too_large(archs, costs, digits, limits)
    assert costs.latencies == before


def test_what_an_earlier_part_has_timed_is_not_timed_again(mini_space: SearchSpace, digits: ImageData) -> None:
    archs = mini_space.archs()
    known = {arch.id: float(number) for number, arch in enumerate(archs)}
    limits = Limits.of(SearchSettings(proxy="params", max_latency=10.0), known=known)
    costs = SpaceCosts()
    assert [arch for arch in archs if limits.admits(arch, costs, digits)] == archs[:11]
    assert costs.latencies == known


@pytest.mark.parametrize(
    ("text", "seconds"), [("5ms", 0.005), ("0.2s", 0.2), ("0.2", 0.2), ("300us", 3e-4), ("1e-3s", 1e-3), (0.5, 0.5)]
)
def test_times_are_read(text: str | float, seconds: float) -> None:
    config = make_config(SearchConfig, {"search": {"proxy": "params", "max_latency": text}})
    assert config.search.max_latency == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["ms", "-5ms", "5min", "0ms", "1e999s", ""])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=r"is no time; write one above 0 like 5ms or 0.2s"):
        make_config(SearchConfig, {"search": {"proxy": "params", "max_latency": text}})


def test_latencies_are_in_the_table_the_record_and_the_front_and_stay_after_a_resume(
    tmp_path: Path, digits: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = nap.Runs(tmp_path)
    trials = runs.search("convnet-mini", "naswot", digits, latency=True, workers=2, name="timed")
    assert all(trial.latency and 0 < trial.latency < 0.1 for trial in trials)
    frame = nap.trials_frame(trials)
    for name, cost in (("params", "num_params"), ("flops", "flops"), ("latency", "latency")):
        on = frame[frame["front"].fillna("").str.split().map(lambda names, name=name: name in names)]
        for _, row in frame.iterrows():
            no_worse = (frame[cost] <= row[cost]) & (frame["score"] >= row["score"])
            beaten = frame[no_worse & ((frame[cost] < row[cost]) | (frame["score"] > row["score"]))]
            assert (row["arch_id"] in set(on["arch_id"])) == beaten.empty
    limit = statistics.median(trial.latency or 0 for trial in trials)
    fast = runs.search("convnet-mini", "params", digits, max_latency=limit, name="fast")
    assert 0 < len(fast) < 24
    assert all((trial.latency or math.inf) <= limit for trial in fast)
    monkeypatch.setattr("nasproxy.searching.costing.measure_latency", lambda *args, **given: 1.0)
    run = runs.find("fast")
    run.update_meta(status="interrupted")
    assert runs.search(resume="fast").by_id == fast.by_id
    with pytest.raises(SettingsError, match=r"the smallest is .* with a forward pass of 1e\+03 ms, and at most"):
        runs.search("convnet-mini", "params", digits, max_latency="1ms")


def test_a_strategy_that_does_not_learn_has_no_cost_to_be_small(digits: ImageData, mini_space: SearchSpace) -> None:
    given: dict[str, Any] = {"against": "flops"}
    with pytest.raises(SettingsError, match=r"against=flops: grid does not look at scores; use --strategy"):
        nap.search(mini_space, "params", digits, **given)
