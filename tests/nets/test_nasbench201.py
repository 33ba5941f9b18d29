"""The nets of NAS-Bench-201: the published sizes of every cell, and a forward pass written from the paper."""

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nasproxy.errors import ArchError
from nasproxy.nets.cells import FACTORS, format_id, parse_id
from nasproxy.nets.nasbench201 import Cell, HalvingBlock, build
from nasproxy.scoring.costs import count_params, measure_costs
from nasproxy.space import Arch
from nasproxy.spacefile import load_space
from nasproxy.truths.published import read_rows
from tests.nets.sizes import count_on_meta

COLOUR = (3, 32, 32)
ARCHS = {arch.id: arch for arch in load_space("nasbench201").archs()}
SAMPLE = random.Random(0).sample(sorted(ARCHS), 3)
CELL = "3-s1-p13"


def test_every_cell_has_the_published_size() -> None:
    """The published multiply-adds count the bias of the linear layer (10), which FLOPs do not."""
    rows = read_rows("nasbench201")
    assert len(rows) == len(ARCHS)
    for row in rows:
        factors = parse_id(row["arch"])  # of 33 rows an equal cell, perhaps with operations that lead nowhere
        assert factors is not None
        costs = measure_costs(replace(ARCHS[row["arch_id"]], factors=factors), COLOUR, 10)
        assert (costs.num_params, costs.flops) == (int(row["params"]), 2 * (int(row["flops"]) - 10))
    assert sum(format_id(ARCHS[row["arch_id"]].factors) != row["arch"] for row in rows) == 33


@pytest.mark.parametrize("arch_id", SAMPLE)
def test_the_formula_counts_what_the_net_has(arch_id: str) -> None:
    arch = ARCHS[arch_id]
    for shape, num_classes in ((COLOUR, 10), ((1, 17, 30), 7)):  # sides that halve to odd ones as well
        costs = measure_costs(arch, shape, num_classes)
        assert (costs.num_params, costs.flops) == count_on_meta(arch, shape, num_classes)


@pytest.mark.slow
def test_the_formula_counts_what_every_net_has() -> None:
    """Parameters of all nets; FLOPs, which torch counts slowly, of every tenth."""
    for number, arch in enumerate(ARCHS.values()):
        costs = measure_costs(arch, COLOUR, 10)
        if number % 10 == 0:
            assert (costs.num_params, costs.flops) == count_on_meta(arch, COLOUR, 10)
        else:
            with torch.device("meta"):
                assert costs.num_params == count_params(build(arch, COLOUR, 10))


def make(arch_id: str, shape: tuple[int, int, int] = COLOUR, num_classes: int = 10) -> nn.Module:
    torch.manual_seed(0)
    net = build(ARCHS[arch_id], shape, num_classes)
    for module in net.modules():  # statistics and weights that a wrong order of layers would show
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
            module.running_mean = torch.rand_like(module.weight) - 0.5
            module.running_var = torch.rand_like(module.weight) + 0.5
    return net.eval()


def by_hand(modules: Sequence[nn.Module], images: Tensor) -> Tensor:
    """The whole net from its convolutions, norms and linear layer in the order of creation, for the cell 3-s1-p13."""
    layers = iter(modules)

    def conv(maps: Tensor, stride: int = 1) -> Tensor:
        layer = next(layers)
        assert isinstance(layer, nn.Conv2d)
        assert layer.bias is None
        return F.conv2d(maps, layer.weight, stride=stride, padding=layer.weight.shape[-1] // 2)

    def norm(maps: Tensor) -> Tensor:
        layer = next(layers)
        assert isinstance(layer, nn.BatchNorm2d)
        return F.batch_norm(maps, layer.running_mean, layer.running_var, layer.weight, layer.bias)

    def cell(node_0: Tensor) -> Tensor:
        node_1 = norm(conv(node_0.relu()))
        node_2 = node_0 + norm(conv(node_1.relu()))
        pooled = F.avg_pool2d(node_0, 3, 1, 1, count_include_pad=False)
        return pooled + norm(conv(node_1.relu())) + norm(conv(node_2.relu()))

    maps = norm(conv(images))
    for stage in range(3):
        if stage:
            branch = norm(conv(norm(conv(maps.relu(), stride=2)).relu()))
            maps = branch + conv(F.avg_pool2d(maps, 2))
        for _ in range(5):
            maps = cell(maps)
    features = norm(maps).relu().mean(dim=(2, 3))
    head = next(layers)
    assert isinstance(head, nn.Linear)
    return F.linear(features, head.weight, head.bias)


@pytest.mark.parametrize("shape", [COLOUR, (1, 16, 12)])
def test_a_net_computes_what_the_paper_says(shape: tuple[int, int, int]) -> None:
    net = make(CELL, shape).double()
    images = torch.randn(2, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    leaves = [module for module in net.modules() if isinstance(module, nn.Conv2d | nn.BatchNorm2d | nn.Linear)]
    with torch.no_grad():
        torch.testing.assert_close(net(images), by_hand(leaves, images))


def test_operations_do_what_their_names_say() -> None:
    maps = torch.randn(2, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    pooled = F.avg_pool2d(maps, 3, 1, 1, count_include_pad=False)
    # node 2 takes the pooled input, and node 3 that and the input itself
    cell = Cell(["none", "pool", "none", "skip", "3x3 conv", "skip"], 4).eval()
    nothing = cell.edges[4](torch.zeros_like(maps))
    torch.testing.assert_close(cell(maps), maps + nothing + pooled)
    assert pooled[0, 0, 0, 0] == pytest.approx(float(maps[0, 0, :2, :2].mean()))


@pytest.mark.parametrize("shape", [(3, 28, 28), (3, 15, 33), (1, 5, 4)])
def test_images_of_any_size_fit(shape: tuple[int, int, int]) -> None:
    net = make(SAMPLE[0], shape, 3)
    assert net(torch.zeros(2, *shape)).shape == (2, 3)


def test_a_halving_block_rounds_odd_sides_up() -> None:
    assert HalvingBlock(4, 8)(torch.zeros(2, 4, 7, 10)).shape == (2, 8, 4, 5)


def test_every_parameter_gets_a_gradient() -> None:
    """Also those on the way to an edge of zeros: optimisers see them all."""
    dead_end = dict(zip(FACTORS, ["3x3 conv", "none", "none", "skip", "none", "none"], strict=True))
    net = build(Arch("", dead_end, ""), COLOUR, 2)
    net(torch.randn(2, *COLOUR)).sum().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())


def test_an_unknown_operation_is_an_arch_error() -> None:
    with pytest.raises(ArchError, match="unknown operation 'max'; choose from none, skip"):
        build(Arch("", dict.fromkeys(FACTORS, "max"), ""), COLOUR, 2)
