"""The benchmark measures what it says: the sample stands for the space, the reference learns, all ways agree."""

import csv
from pathlib import Path

import pytest
import torch

from benchmarks import naive, stacking
from benchmarks.__main__ import Figure, as_table, write_csv
from benchmarks.machine import describe
from benchmarks.workload import FULL, QUICK, SAMPLE, make_data
from nasproxy.images import ImageData
from nasproxy.nets.convnet import parse_arch
from nasproxy.scoring import measure_costs
from nasproxy.space import load_space
from nasproxy.training import make_net

CPU = torch.device("cpu")


def test_the_sample_stands_for_the_space() -> None:
    space = {arch.id: arch for arch in load_space("convnet720").archs()}
    work = {arch_id: measure_costs(space[arch_id], (3, 32, 32), 10).flops for arch_id in SAMPLE}
    assert sum(work.values()) / len(work) == pytest.approx(2 * 140e6, rel=0.01)
    unpooled = sum(flops for arch_id, flops in work.items() if arch_id.endswith("none"))
    assert unpooled / sum(work.values()) == pytest.approx(0.77, abs=0.01)
    for factor in ("norm", "activation", "pooling"):
        values = {arch.factors[factor] for arch in space.values()}
        assert {space[arch_id].factors[factor] for arch_id in SAMPLE} == values
    assert max(work.values()) < sum(work.values()) / 2, "two workers could not share it evenly"


def test_the_naive_reference_learns_the_digits(digits: ImageData) -> None:
    net = make_net(parse_arch("w16-d1-instance-relu-max"), digits.train, 0)
    batches = naive.loader(digits.train, 250, shuffle=True)
    steps = list(naive.train(net, [batches] * 8, lambda batch: batch, drop_at=24))
    assert len(steps) == 48
    assert steps[0][1] < 0.4 < 0.85 < steps[-1][1]
    assert naive.accuracy(net, naive.loader(digits.test, 250, shuffle=False)) > 0.85


def test_all_ways_to_train_several_seeds_agree_and_are_timed() -> None:
    seconds = stacking.time_all(("w8-d2-instance-relu-avg",), 2, CPU)
    assert set(seconds["w8-d2-instance-relu-avg"]) == {"one by one", "vmap", "grouped", "unfolded"}
    assert min(seconds["w8-d2-instance-relu-avg"].values()) > 0


def test_a_measurement_has_the_data_that_its_share_of_the_updates_asks_for() -> None:
    data = make_data(500, share=0.01)
    assert [len(images) for images in (data.train, data.val, data.test)] == [500, 50, 100]
    assert FULL.search_steps > QUICK.search_steps


def test_figures_are_written_with_device_and_versions(tmp_path: Path) -> None:
    figures = [Figure("a step", "s", 3.0, 1.5), Figure("share", "%", 50.0, 80.0, "note")]
    write_csv(tmp_path / "new" / "figures.csv", figures, describe(CPU))
    with (tmp_path / "new" / "figures.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["ratio"] for row in rows] == ["2.0", ""]
    assert rows[0]["torch"] == torch.__version__
    assert "cores" in rows[1]["device"]
    assert as_table(figures).row_count == 2
