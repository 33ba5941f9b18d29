"""The benchmark measures what it says: the sample stands for the space, the reference learns, all ways agree."""

import csv
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from benchmarks import methods, naive, published_scores, recipes, stacking
from benchmarks.machine import describe
from benchmarks.table import Figure, as_table, write_csv
from benchmarks.workload import SAMPLE, make_data
from nasproxy.config import ImageSettings, RecipeSettings
from nasproxy.images import ImageData
from nasproxy.nets.convnet import parse_arch
from nasproxy.scoring import measure_costs
from nasproxy.spacefile import load_space
from nasproxy.training import make_net

CPU = torch.device("cpu")


def test_the_sample_stands_for_the_space() -> None:
    space = {arch.id: arch for arch in load_space("convnet720").archs()}
    work = {arch_id: measure_costs(arch, (3, 32, 32), 10).flops for arch_id, arch in space.items()}

    def mean_and_unpooled(arch_ids: Sequence[str]) -> tuple[float, float]:
        total = sum(work[arch_id] for arch_id in arch_ids)
        return total / len(arch_ids), sum(work[arch_id] for arch_id in arch_ids if arch_id.endswith("none")) / total

    (mean, unpooled), (space_mean, space_unpooled) = mean_and_unpooled(SAMPLE), mean_and_unpooled(list(space))
    assert mean == pytest.approx(space_mean, rel=0.06)
    assert unpooled == pytest.approx(space_unpooled, abs=0.02)
    for factor in ("norm", "activation", "pooling"):
        assert {space[arch_id].factors[factor] for arch_id in SAMPLE} == {a.factors[factor] for a in space.values()}
    assert max(work[arch_id] for arch_id in SAMPLE) < mean * len(SAMPLE) / 2, "two workers could not share it evenly"


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


def test_figures_are_written_with_device_and_versions(tmp_path: Path) -> None:
    figures = [
        Figure.of_pairs("a step", [(3.0, 1.5), (6.0, 2.0), (2.0, 2.0)]),
        Figure("share", "%", 50.0, 80.0, "note"),
    ]
    write_csv(tmp_path / "new" / "figures.csv", figures, describe(CPU))
    with (tmp_path / "new" / "figures.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["ratio"] for row in rows] == ["2.0", ""]
    assert (rows[0]["naive"], rows[0]["ours"], rows[0]["ratios"]) == ("3.0", "2.0", "2 3 1")
    assert rows[0]["torch"] == torch.__version__
    assert "cores" in rows[1]["device"]
    assert as_table(figures).row_count == 2


def test_a_method_is_timed_beside_the_reference_and_evaluated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(methods, "TIMED_SECONDS", 0.1)
    monkeypatch.setattr(methods, "NAIVE_STEPS", 1)
    images = ImageSettings(data_dir=tmp_path)
    job = methods.Job(
        images, ipc=2, seconds=0.3, embedding_net="w8-d2-instance-relu-avg", real_batch_size=8, num_nets=2, epochs=3,
        device="cpu",
    )  # fmt: skip
    updated = methods.run("dsa engine=eager-float32-64 outer_loop=2 inner_loop=1", job)
    selected = methods.run("random", job)
    assert updated.steps > 0
    assert min(updated.step_seconds, updated.naive_step_seconds, updated.seconds) > 0
    assert (selected.steps, selected.num_images, updated.num_images) == (0, 20, 20)
    assert [len(row.accuracies) for row in (updated, selected)] == [2, 2]
    assert "naive" in methods.describe_row(updated)
    methods.write_rows([updated, selected], tmp_path / "rows.csv")
    with (tmp_path / "rows.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["method"].split()[0] for row in rows] == ["dsa", "random"]
    assert [float(value) for value in rows[0]["accuracies"].split()] == pytest.approx(updated.accuracies, abs=1e-4)


def test_every_cell_is_a_network_or_has_no_path() -> None:
    cells = published_scores.draw_cells(15_625)
    assert (sum(cells.values()), len(cells), cells[""]) == (15_625, 6_461 + 1, 341)
    some = published_scores.draw_cells(50)
    assert sum(some.values()) == 50
    assert some == published_scores.draw_cells(50)
    assert some <= cells


def test_a_net_is_measured_after_each_number_of_epochs(digits: ImageData, tmp_path: Path) -> None:
    arch, recipe = parse_arch("w8-d1-instance-relu-avg"), RecipeSettings(epochs=20, batch_size=50, lr=0.05, lr_drops=())
    images = digits.train.subset(torch.arange(100))
    rows = recipes.follow(arch, images, digits, recipe, (5, 20), "mine", 0.9)
    assert [row.steps for row in rows] == [10, 40]
    assert rows[0].loss > rows[1].loss
    assert 0 < rows[0].seconds < rows[1].seconds
    recipes._append(tmp_path / "rows.csv", rows)
    assert recipes._read(tmp_path / "rows.csv") == rows
    (first, _) = recipes.summarize(rows)
    assert first.startswith("mine, 10 updates: rho by accuracy ")
