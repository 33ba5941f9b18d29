import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from nasproxy.errors import ArchError
from nasproxy.nets.convnet import parse_arch
from nasproxy.scoring import Costs, measure_costs
from nasproxy.space import Arch, build
from nasproxy.spacefile import load_space
from tests.nets.odd import ODD_KINDS, odd_arch

COLOUR = (3, 32, 32)


@pytest.fixture(scope="module")
def costs_of_720() -> list[tuple[Arch, Costs]]:
    return [(arch, measure_costs(arch, COLOUR, 10)) for arch in load_space("convnet720").archs()]


def test_work_of_the_720_is_that_of_the_science(costs_of_720: list[tuple[Arch, Costs]]) -> None:
    flops = [costs.flops for _, costs in costs_of_720]
    unpooled = [costs.flops for arch, costs in costs_of_720 if arch.factors["pooling"] == "none"]
    assert sum(flops) / len(flops) == pytest.approx(2 * 134e6, rel=0.005)
    assert max(flops) == pytest.approx(2 * 1.82e9, rel=0.005)
    assert sum(unpooled) / sum(flops) == pytest.approx(0.76, abs=0.005)


def test_most_work_is_the_widest_deepest_net_without_pooling(costs_of_720: list[tuple[Arch, Costs]]) -> None:
    most = max(costs_of_720, key=lambda pair: pair[1].flops)[0]
    assert (most.factors["width"], most.factors["depth"], most.factors["pooling"]) == (256, 4, "none")


def test_flops_count_a_multiply_add_as_two() -> None:
    costs = measure_costs(parse_arch("w8-d2-none-relu-avg"), (3, 16, 16), 5)
    assert costs.flops == 2 * (16 * 16 * 8 * 3 * 9 + 8 * 8 * 8 * 8 * 9 + 8 * 4 * 4 * 5)


@pytest.mark.parametrize("arch_id", ["w8-d1-none-relu-none", "w8-d2-batch-sigmoid-max", "w8-d3-layer-leakyrelu-avg"])
def test_number_of_parameters_is_that_of_the_built_net(arch_id: str) -> None:
    arch = parse_arch(arch_id)
    net = build(arch, COLOUR, 7)
    assert measure_costs(arch, COLOUR, 7).num_params == sum(parameter.numel() for parameter in net.parameters())


def test_net_that_no_memory_could_hold_is_measured() -> None:
    costs = measure_costs(parse_arch("w65536-d1-none-relu-none"), (3, 512, 512), 1000)
    assert costs.num_params == 65536 * (27 + 1) + (65536 * 512 * 512 + 1) * 1000


def test_measuring_draws_no_random_number() -> None:
    before = torch.get_rng_state()
    measure_costs(parse_arch("w8-d2-batch-relu-avg"), COLOUR, 10)
    assert torch.equal(torch.get_rng_state(), before)


def test_net_that_does_not_fit_is_an_arch_error() -> None:
    with pytest.raises(ArchError, match="w8-d4-none-relu-avg"):
        measure_costs(parse_arch("w8-d4-none-relu-avg"), (3, 8, 8), 2)


@pytest.mark.parametrize("kind", ODD_KINDS)
def test_net_that_returns_anything_but_scores_of_classes_is_an_arch_error(tmp_path: Path, kind: str) -> None:
    with pytest.raises(ArchError, match=rf"^{kind}: .* returns {re.escape(ODD_KINDS[kind].format(n=1))}; let it"):
        measure_costs(odd_arch(tmp_path, kind), COLOUR, 10)
    assert measure_costs(odd_arch(tmp_path, "fine"), COLOUR, 10).num_params == 30730


def test_a_space_may_count_without_a_net(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "def count(arch, image_shape, num_classes):\n    return arch.factors['a'] * num_classes, image_shape[0]\n"
    )
    arch = Arch("x", {"a": 7}, "no.such:builder", f"{tmp_path / 'own.py'}:count")
    assert measure_costs(arch, COLOUR, 10) == Costs(num_params=70, flops=3)


def test_the_whole_of_a_large_space_is_counted_without_a_net() -> None:
    """Planning asks for every architecture: 6,461 nets would take minutes, the formula takes less than a second."""
    archs = [replace(arch, builder="no.such:builder") for arch in load_space("nasbench201").archs()]
    assert len({measure_costs(arch, COLOUR, 10) for arch in archs}) == 28
