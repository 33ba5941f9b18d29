"""The nets of NAS-Bench-Macro: the published sizes of every chain, and a forward pass written from the paper."""

import random
from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nasproxy.nets.nasbench_macro import build
from nasproxy.scoring.costs import count_params, measure_costs
from nasproxy.spacefile import load_space
from nasproxy.truths.published import read_rows
from tests.nets.sizes import count_on_meta

COLOUR = (3, 32, 32)
ARCHS = {arch.id: arch for arch in load_space("nasbench-macro").archs()}
SAMPLE = random.Random(0).sample(sorted(ARCHS), 3)


def test_every_chain_has_the_published_size() -> None:
    rows = read_rows("nasbench-macro")
    assert len(rows) == len(ARCHS)
    for row in rows:
        costs = measure_costs(ARCHS[row["arch_id"]], COLOUR, 10)
        assert (costs.num_params, costs.flops) == (int(row["params"]), 2 * int(row["flops"]))


@pytest.mark.parametrize("arch_id", SAMPLE)
def test_the_formula_counts_what_the_net_has(arch_id: str) -> None:
    for shape, num_classes in ((COLOUR, 10), ((1, 17, 30), 7)):  # sides that halve to odd ones as well
        costs = measure_costs(ARCHS[arch_id], shape, num_classes)
        assert (costs.num_params, costs.flops) == count_on_meta(ARCHS[arch_id], shape, num_classes)


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


def by_hand(modules: Sequence[nn.Module], chain: str, images: Tensor) -> Tensor:
    """The whole net from its convolutions, norms and linear layer in the order of creation."""
    layers = iter(modules)

    def conv(maps: Tensor, stride: int = 1) -> Tensor:
        conv, norm = next(layers), next(layers)
        assert isinstance(conv, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        size, groups = conv.weight.shape[-1], maps.shape[1] // conv.weight.shape[1]
        maps = F.conv2d(maps, conv.weight, stride=stride, padding=size // 2, groups=groups)
        return F.batch_norm(maps, norm.running_mean, norm.running_var, norm.weight, norm.bias)

    maps = conv(images).relu()
    for stage in chain.split("-"):
        for number, block in enumerate(stage):
            stride = 1 if number else 2
            if block in "35":
                changed = conv(conv(conv(maps).relu(), stride).relu())
                maps = changed + maps if number else changed
            elif not number:
                maps = conv(maps, stride)
    features = conv(maps).relu().mean(dim=(2, 3))
    head = next(layers)
    assert isinstance(head, nn.Linear)
    return F.linear(features, head.weight, head.bias)


@pytest.mark.parametrize("arch_id", ["35-i3i-5ii", "ii-35i-33i"])
def test_a_net_computes_what_the_paper_says(arch_id: str) -> None:
    torch.manual_seed(0)
    net = build(ARCHS[arch_id], (3, 18, 12), 5).double().eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = torch.rand_like(module.weight) - 0.5
            module.running_var = torch.rand_like(module.weight) + 0.5
    leaves = [module for module in net.modules() if isinstance(module, nn.Conv2d | nn.BatchNorm2d | nn.Linear)]
    images = torch.randn(2, 3, 18, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(net(images), by_hand(leaves, arch_id, images))


def test_expansion_is_three_and_six() -> None:
    net = build(ARCHS["35-iii-iii"], COLOUR, 10)
    depthwise = [module for module in net.modules() if isinstance(module, nn.Conv2d) and module.groups > 1]
    assert [(conv.groups, conv.kernel_size, conv.stride) for conv in depthwise] == [
        (3 * 32, (3, 3), (2, 2)),
        (6 * 64, (5, 5), (1, 1)),
    ]
