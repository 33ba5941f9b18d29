"""Training-free scores: each against a naive reference written from its equation, then what holds for all of them."""

import copy
import math
from collections.abc import Iterator, Sequence
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import stats
from torch import Tensor, nn

from nasproxy.device import lay_out
from nasproxy.errors import ArchError
from nasproxy.images import ImageData, ImageSet
from nasproxy.nets.convnet import parse_arch
from nasproxy.scoring import SCORES, TrainingFreeScore, measure_costs, score_nets
from nasproxy.scoring.batch import Batch
from nasproxy.scoring.gradients import fisher
from nasproxy.space import Arch, build
from nasproxy.spacefile import load_space
from nasproxy.training import make_net, seeded_torch
from tests.nets.odd import ODD_KINDS, odd_arch

LAYERS = (nn.Conv2d, nn.Linear)


def make_batch(num_images: int = 6, *, seed: int = 0, dtype: torch.dtype = torch.float32) -> Batch:
    """Random 2x6x6 images of 3 classes."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(num_images, 2, 6, 6, generator=generator).to(dtype)
    return Batch(images, torch.randint(0, 3, (num_images,), generator=generator))


def make_tiny(*layers: nn.Module, seed: int = 0) -> nn.Sequential:
    """A net of these layers, its parameters drawn anew from a seed."""
    net = nn.Sequential(*layers)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(0.4 * torch.randn(parameter.shape, generator=generator))
    return net


@pytest.fixture
def tiny() -> nn.Sequential:
    """Convolutions, norms, activations that work in place, pooling, a head."""
    return make_tiny(
        *(nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(inplace=True), nn.AvgPool2d(2)),
        *(nn.Conv2d(3, 4, 2), nn.GroupNorm(2, 4), nn.LeakyReLU(0.1, inplace=True), nn.Flatten(), nn.Linear(16, 3)),
    )


def gradients_of_layers(net: nn.Module, batch: Batch) -> list[tuple[Tensor, Tensor]]:
    """(weight, gradient) of every convolution and linear layer, by .backward()."""
    net = copy.deepcopy(net).train()
    F.cross_entropy(net(batch.images), batch.labels).backward()
    weights = [module.weight for module in net.modules() if isinstance(module, LAYERS)]
    return [(weight.detach(), weight.grad) for weight in weights if weight.grad is not None]


def test_grad_norm_is_the_sum_of_the_layers_norms(tiny: nn.Module) -> None:
    batch = make_batch()
    expected = sum(
        math.sqrt(sum(float(g) ** 2 for g in grad.flatten())) for _, grad in gradients_of_layers(tiny, batch)
    )
    assert SCORES["grad_norm"](tiny, [batch]) == pytest.approx(expected, rel=1e-5)


def test_snip_is_the_sum_over_single_weights(tiny: nn.Module) -> None:
    batch = make_batch()
    expected = sum(
        abs(float(w) * float(g))
        for weight, gradient in gradients_of_layers(tiny, batch)
        for w, g in zip(weight.flatten(), gradient.flatten(), strict=True)
    )
    assert SCORES["snip"](tiny, [batch]) == pytest.approx(expected, rel=1e-5)


def smooth_net() -> nn.Sequential:
    """A net of doubles that can be differentiated twice."""
    return make_tiny(
        nn.Conv2d(2, 2, 3), nn.Tanh(), nn.Conv2d(2, 3, 3), nn.Sigmoid(), nn.Flatten(), nn.Linear(12, 3)
    ).double()


def moved(net: nn.Module, steps: Sequence[Tensor], size: float) -> nn.Module:
    """The net with its layers' weights moved by size * steps."""
    net = copy.deepcopy(net)
    weights = [module.weight for module in net.modules() if isinstance(module, LAYERS)]
    with torch.no_grad():
        for weight, step in zip(weights, steps, strict=True):
            weight.add_(size * step)
    return net


def test_grasp_is_minus_weights_times_hessian_times_gradient_by_finite_differences() -> None:
    net, batch, size = smooth_net(), make_batch(dtype=torch.float64), 1e-4
    pairs = gradients_of_layers(net, batch)
    steps = [gradient for _, gradient in pairs]
    ahead, behind = (gradients_of_layers(moved(net, steps, sign * size), batch) for sign in (1, -1))
    expected = 0.0
    for (weight, _), (_, after), (_, before) in zip(pairs, ahead, behind, strict=True):
        expected -= float((weight * (after - before) / (2 * size)).sum())
    assert abs(expected) > 1e-4
    assert SCORES["grasp"](net, [batch]) == pytest.approx(expected, rel=1e-5)


def test_grasp_is_positive_where_smaller_weights_have_larger_gradients() -> None:
    """Its meaning: minus half the slope of the squared gradient norm as all weights grow together."""
    net, batch, size = smooth_net(), make_batch(dtype=torch.float64), 1e-4
    weights = [weight for weight, _ in gradients_of_layers(net, batch)]
    larger, smaller = (
        sum(float((gradient**2).sum()) for _, gradient in gradients_of_layers(moved(net, weights, sign * size), batch))
        for sign in (1, -1)
    )
    assert SCORES["grasp"](net, [batch]) == pytest.approx((smaller - larger) / (4 * size), rel=1e-4)


def test_fisher_is_the_sum_over_channels_of_squared_effects() -> None:
    convolution, head, batch = nn.Conv2d(2, 3, 3), nn.Linear(48, 3), make_batch()
    net = make_tiny(convolution, nn.ReLU(inplace=True), nn.Flatten(), head)
    maps = convolution(batch.images).detach().requires_grad_()
    logits = head(F.relu(maps).flatten(1))
    loss = F.cross_entropy(logits, batch.labels)
    map_gradient, logit_gradient = torch.autograd.grad(loss, [maps, logits])
    expected = 0.0
    for channel, image in product(range(3), range(6)):
        expected += float((maps.detach()[image, channel] * map_gradient[image, channel]).sum()) ** 2 / (2 * 6)
        expected += float(logits.detach()[image, channel] * logit_gradient[image, channel]) ** 2 / (2 * 6)
    assert SCORES["fisher"](net, [batch]) == pytest.approx(expected, rel=1e-4)


def effects_of_channels(net: nn.Module, batch: Batch) -> list[tuple[int, list[float]]]:
    """For every convolution and linear layer its fan-in, and (1 / 2N) sum_n (sum_xy z dL/dz)^2 of its channels."""
    net, kept = copy.deepcopy(net).train(), list[tuple[nn.Module, Tensor]]()
    for module in net.modules():
        if isinstance(module, nn.ReLU | nn.LeakyReLU):
            module.inplace = False
        if isinstance(module, LAYERS):
            module.register_forward_hook(lambda module, _, output: kept.append((module, output)))
    logits = net(batch.images)
    for _, output in kept:
        output.retain_grad()
    F.cross_entropy(logits, batch.labels).backward()
    layers = []
    for module, output in kept:
        assert output.grad is not None
        assert isinstance(module.weight, Tensor)
        channels = []
        for channel in range(output.shape[1]):
            pairs = [
                (output.detach()[n, channel].flatten(), output.grad[n, channel].flatten()) for n in range(len(output))
            ]
            of_images = [sum(float(z) * float(g) for z, g in zip(*pair, strict=True)) for pair in pairs]
            channels.append(sum(effect**2 for effect in of_images) / (2 * len(output)))
        layers.append((module.weight[0].numel(), channels))
    return layers


def test_fisher_is_that_of_single_channels(tiny: nn.Module) -> None:
    batch = make_batch()
    expected = sum(value for _, channels in effects_of_channels(tiny, batch) for value in channels)
    assert SCORES["fisher"](tiny, [batch]) == pytest.approx(expected, rel=1e-4)


def fisher_per_weight(net: nn.Module, batch: Batch) -> float:
    """As the public measurements have it: every weight has the value of its channel."""
    return sum(fan_in * value for fan_in, channels in effects_of_channels(net, batch) for value in channels)


def test_fisher_ranks_nets_of_one_fan_in_like_the_measure_per_weight() -> None:
    """Chains of linear layers and convolutions that all have 36 inputs: 36 of the former, 4x3x3 of the latter."""
    batch = Batch(torch.randn(6, 4, 6, 6, generator=torch.Generator().manual_seed(0)), torch.arange(6) % 3)
    nets = [
        make_tiny(
            *(layer for _ in range(depth) for layer in (nn.Conv2d(4, 4, 3, padding=1), activation())),
            nn.AvgPool2d(2), nn.Flatten(), *(nn.Linear(36, 36) for _ in range(hidden)), nn.Linear(36, 3), seed=seed,
        )
        for seed, (depth, hidden, activation) in enumerate(
            product((1, 2, 3), (0, 1), (nn.ReLU, nn.Sigmoid, nn.Tanh))
        )
    ]  # fmt: skip
    ours, per_weight = ([score(net, batch) for net in nets] for score in (fisher, fisher_per_weight))
    assert len(set(ours)) == len(nets)
    assert float(stats.spearmanr(ours, per_weight).statistic) == pytest.approx(1)
    assert per_weight == pytest.approx([36 * value for value in ours], rel=1e-4)


def test_fisher_sums_a_linear_layer_over_its_positions() -> None:
    """Tokens (N, T, F): channels are the last dimension."""
    batch = Batch(torch.randn(5, 4, 2, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 0, 1]))
    net = make_tiny(nn.Linear(2, 3), nn.Flatten(), nn.Linear(12, 3))
    tokens = net[0](batch.images).detach().requires_grad_()
    logits = net[2](tokens.flatten(1))
    token_gradient, logit_gradient = torch.autograd.grad(F.cross_entropy(logits, batch.labels), [tokens, logits])
    effects = [(tokens * token_gradient).sum(dim=1), logits * logit_gradient]
    expected = sum(float((effect.detach() ** 2).sum()) for effect in effects) / (2 * 5)
    assert SCORES["fisher"](net, [batch]) == pytest.approx(expected, rel=1e-4)


def test_synflow_is_the_log_of_the_flow_by_finite_differences() -> None:
    net = make_tiny(
        nn.Conv2d(2, 2, 3), nn.BatchNorm2d(2), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 3)
    )  # fmt: skip
    parameters = {name: p.detach().double().abs() for name, p in net.named_parameters() if not name.startswith("1.")}

    def flow(values: dict[str, Tensor]) -> float:
        maps = F.relu(F.conv2d(torch.ones(1, 2, 6, 6, dtype=torch.float64), values["0.weight"], values["0.bias"]))
        return float(F.linear(F.max_pool2d(maps, 2).flatten(1), values["5.weight"], values["5.bias"]).sum())

    expected = 0.0
    for name, values in parameters.items():
        for position in range(values.numel()):
            step = torch.zeros_like(values)
            step.view(-1)[position] = 1e-4
            slope = (flow({**parameters, name: values + step}) - flow({**parameters, name: values - step})) / 2e-4
            expected += abs(float(values.flatten()[position]) * slope)
    assert SCORES["synflow"](net, [make_batch()]) == pytest.approx(math.log(expected), rel=1e-6)


def test_synflow_of_a_chain_without_bias_is_depth_times_its_flow() -> None:
    """Every layer carries the whole flow (Tanaka et al., conservation), also far beyond float32's range."""
    layers = [nn.Linear(8, 8, bias=False) for _ in range(60)]
    for layer in layers:
        nn.init.constant_(layer.weight, -10.0)
    first = nn.Linear(72, 8, bias=False)
    nn.init.ones_(first.weight)
    net = nn.Sequential(nn.Flatten(), first, *layers)
    expected = math.log(61) + math.log(72) + 60 * math.log(80) + math.log(8)
    assert SCORES["synflow"](net, [make_batch()]) == pytest.approx(expected, rel=1e-12)
    assert expected > math.log(torch.finfo(torch.float32).max)


def test_jacob_cov_is_that_of_the_explicit_jacobian() -> None:
    net, batch = make_tiny(nn.Conv2d(2, 4, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(64, 3)), make_batch()
    full = torch.autograd.functional.jacobian(net, batch.images)  # (N, K, N, C, H, W)
    rows = np.stack([full[n, :, n].sum(0).flatten().numpy() for n in range(6)]).astype(float)
    eigenvalues = np.linalg.eigvalsh(np.corrcoef(rows))
    expected = -sum(math.log(s + 1e-5) + 1 / (s + 1e-5) for s in eigenvalues)
    assert SCORES["jacob_cov"](net, [batch]) == pytest.approx(expected, rel=1e-4)


def test_naswot_is_that_of_explicit_codes() -> None:
    """The sigmoid's code is the sign of its input."""
    net, batch = (
        make_tiny(nn.Conv2d(2, 8, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(128, 9), nn.Sigmoid()),
        make_batch(),
    )
    maps = net[0](batch.images)
    inputs = torch.cat([maps.flatten(1), net[3](F.relu(maps).flatten(1))], dim=1)
    codes = [[value > 0 for value in row] for row in inputs.tolist()]
    units = len(codes[0])
    assert units == 8 * 16 + 9
    kernel = [[units - sum(a != b for a, b in zip(one, two, strict=True)) for two in codes] for one in codes]
    assert SCORES["naswot"](net, [batch]) == pytest.approx(
        np.linalg.slogdet(np.array(kernel, dtype=float))[1], rel=1e-9
    )


@pytest.mark.parametrize("name", SCORES)
def test_a_score_does_not_depend_on_the_layout_of_the_weights(name: str) -> None:
    cell = load_space("nasbench201").find("3-1p-33s")
    score, generator = SCORES[name], torch.Generator().manual_seed(1)
    batches = [Batch(torch.randn(8, 3, 9, 9, generator=generator).double(), torch.arange(8)) for _ in range(2)]
    with seeded_torch(0, torch.device("cpu")):
        net = build(cell, (3, 9, 9), 10).double()
    expected = score(net, batches)
    lay_out(net, torch.device("cpu"))
    assert next(net.parameters()).is_contiguous(memory_format=torch.channels_last)
    assert score(net, batches) == pytest.approx(expected, rel=1e-6)


def az_maps(net: nn.Sequential, ends: Sequence[int], shape: tuple[int, ...]) -> list[Tensor]:
    """The maps after these layers of a chain, by Kaiming's scale, of the noise that the scores look at."""
    net = copy.deepcopy(net).train()
    with torch.no_grad():
        for module in net:
            if isinstance(module, LAYERS):
                module.weight *= (2 / module.weight[0].numel()) ** 0.5 / module.weight.std(correction=0)
                if module.bias is not None:
                    module.bias.zero_()
            if isinstance(module, nn.ReLU | nn.LeakyReLU):
                module.inplace = False
    maps, found = torch.randn(shape, generator=torch.Generator().manual_seed(0)), []
    for number, layer in enumerate(net):
        maps = layer(maps)
        if number in ends:
            found.append(maps)
    return found


def test_az_scores_are_those_of_the_maps_between_blocks(tiny: nn.Sequential) -> None:
    """Blocks are a convolution up to the next one: layers 0 to 3 and 4 to 6."""
    maps = az_maps(tiny, (3, 6), (64, 2, 6, 6))
    entropies = []
    for block in maps:
        points = np.array([block[n, :, y, x].tolist() for n, y, x in np.ndindex(64, *block.shape[2:])])
        shares = np.linalg.eigvalsh(np.cov(points.T, bias=True))
        entropies.append(-sum(share * math.log(share) for share in shares / shares.sum()))
    assert SCORES["az_expressivity"](tiny, [make_batch(1)]) == pytest.approx(sum(entropies), rel=1e-4)
    assert SCORES["az_progressivity"](tiny, [make_batch(1)]) == pytest.approx(entropies[1] - entropies[0], rel=1e-4)


def test_az_trainability_is_that_of_explicit_products() -> None:
    net = make_tiny(
        nn.Conv2d(2, 3, 3, padding=1), nn.Tanh(), nn.Conv2d(3, 3, 3, padding=1), nn.Tanh(),
        nn.Conv2d(3, 4, 2, stride=2), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(36, 3),
    )  # fmt: skip
    maps = az_maps(net, (1, 3, 5), (64, 2, 6, 6))
    scores = []
    for before, after in pairwise(maps):
        signs = 2.0 * torch.randint(0, 2, after.shape, generator=torch.Generator().manual_seed(0)) - 1
        (given,) = torch.autograd.grad(after, before, signs, retain_graph=True)
        product = np.zeros((3 * (before.shape[2] // after.shape[2]) ** 2, after.shape[1]))
        for n, y, x in np.ndindex(64, *after.shape[2:]):
            size = before.shape[2] // after.shape[2]
            patch = given[n, :, size * y : size * (y + 1), size * x : size * (x + 1)].flatten()
            product += np.outer(patch, signs[n, :, y, x]) / (64 * after.shape[2] * after.shape[3])
        norm = np.linalg.svd(product, compute_uv=False).max()
        scores.append(2 - norm - 1 / norm)
    assert SCORES["az_trainability"](net, [make_batch(1)]) == pytest.approx(np.mean(scores), rel=1e-4)


def test_az_scores_find_the_cells_of_a_net_and_a_lone_block_follows_the_images() -> None:
    skips, convolutions = (load_space("nasbench201").find(arch_id) for arch_id in ("n-nn-snn", "3-n3-nn3"))
    values, blank = {}, Batch(torch.zeros(1, 3, 8, 8), torch.zeros(1, dtype=torch.int64))
    for arch in (skips, convolutions):
        with seeded_torch(0, torch.device("cpu")):
            net = build(arch, (3, 8, 8), 10)
        values[arch.id] = {name: SCORES[name](net, [blank]) for name in SCORES if name.startswith("az_")}
    assert values["n-nn-snn"]["az_progressivity"] == pytest.approx(0, abs=1e-6)
    assert values["n-nn-snn"]["az_trainability"] < -1e5
    assert -100 < values["3-n3-nn3"]["az_trainability"] < 0
    alone = make_tiny(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    assert SCORES["az_expressivity"](alone, [make_batch(1)]) > 0
    assert math.isfinite(SCORES["az_trainability"](alone, [make_batch(1)]))
    assert math.isnan(SCORES["az_progressivity"](make_tiny(nn.Flatten(), nn.Linear(72, 3)), [make_batch(1)]))


def test_zico_is_that_of_single_weights(tiny: nn.Module) -> None:
    batches = [make_batch(seed=seed) for seed in range(3)]
    per_batch = [[grad.flatten().tolist() for _, grad in gradients_of_layers(tiny, batch)] for batch in batches]
    expected = 0.0
    for layer in zip(*per_batch, strict=True):
        sizes = [[abs(g) for g in weight] for weight in zip(*layer, strict=True)]
        ratios = [np.mean(size) / np.std(size) for size in sizes if np.std(size) > 0]
        expected += math.log(sum(ratios))
    assert SCORES["zico"](tiny, batches) == pytest.approx(expected, rel=1e-5)


def test_params_and_flops_are_those_of_the_costs(digits: ImageData) -> None:
    arch = parse_arch("w8-d2-batch-sigmoid-max")
    costs = measure_costs(arch, digits.image_shape, digits.num_classes)
    for name, expected in (("params", costs.num_params), ("flops", costs.flops)):
        drawn = SCORES[name].draw_images(digits.train, 2, 0)
        assert score_nets(SCORES[name], arch, drawn, num_seeds=2, seed=0)[0] == (expected, expected)


# What higher means


@pytest.mark.parametrize("name", ["params", "flops", "synflow"])
def test_larger_nets_score_higher(name: str) -> None:
    nets = [
        make_tiny(nn.Conv2d(2, width, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16 * width, 3)) for width in (4, 8, 16)
    ]
    scores = [SCORES[name](net, [make_batch()]) for net in nets]
    assert all(one < two for one, two in pairwise(scores))


@pytest.mark.parametrize("name", ["grad_norm", "snip", "fisher"])
def test_nets_that_a_loss_moves_more_score_higher(name: str) -> None:
    """The same net where all its answers are wrong, and where they are right."""
    net = make_tiny(nn.Flatten(), nn.Linear(72, 3))
    images = make_batch().images
    logits = net(images).detach()
    wrong, right = (Batch(images, labels) for labels in (logits.argmin(dim=1), logits.argmax(dim=1)))
    assert SCORES[name](net, [wrong]) > SCORES[name](net, [right])


@pytest.mark.parametrize("name", ["jacob_cov", "naswot"])
def test_nets_that_tell_images_apart_score_higher(name: str) -> None:
    """The same net on images of their own, and on images that are nearly one."""
    net = make_tiny(nn.Conv2d(2, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 3))
    batch = make_batch()
    alike = Batch(batch.images[:1] + 0.1 * batch.images, batch.labels)
    assert SCORES[name](net, [batch]) > SCORES[name](net, [alike])


def test_zico_is_higher_where_batches_agree(tiny: nn.Module) -> None:
    one, other = make_batch(seed=0), make_batch(seed=1)
    near = Batch(one.images + 0.01 * other.images, one.labels)
    assert SCORES["zico"](tiny, [one, near]) > SCORES["zico"](tiny, [one, other])


# What has no score


@pytest.mark.parametrize(
    ("name", "layers", "expected"),
    [
        ("naswot", (nn.Flatten(), nn.Linear(72, 3)), -math.inf),  # no activation
        ("naswot", (nn.Flatten(), nn.Linear(72, 2), nn.ReLU(), nn.Linear(2, 3)), -math.inf),  # 6 images, 4 codes
        ("jacob_cov", (nn.Flatten(), nn.Linear(72, 3), nn.Threshold(1e9, 0.0)), math.nan),  # flat everywhere
        ("zico", (nn.Flatten(), nn.Linear(72, 4), nn.Threshold(1e9, 0.0), nn.Linear(4, 3)), -math.inf),  # dead layer
    ],
)
def test_degenerate_nets_are_infinite_or_nan(name: str, layers: tuple[nn.Module, ...], expected: float) -> None:
    batches = [make_batch(seed=seed) for seed in range(2)][: max(SCORES[name].num_batches, 1)]
    assert SCORES[name](make_tiny(*layers), batches) == pytest.approx(expected, nan_ok=True)


def test_naswot_of_the_same_image_twice_is_minus_infinity(tiny: nn.Module) -> None:
    batch = make_batch()
    batch.images[3] = batch.images[1]
    assert SCORES["naswot"](tiny, [batch]) == -math.inf


@pytest.mark.parametrize("name", [name for name, score in SCORES.items() if score.num_batches])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_images_that_are_not_finite_have_no_score_and_raise_nothing(name: str, value: float, tiny: nn.Module) -> None:
    batches = [make_batch(seed=seed) for seed in range(SCORES[name].num_batches)]
    batches[0].images[0, 0, 0, 0] = value
    assert not math.isfinite(SCORES[name](tiny, batches))


def test_zico_of_one_batch_is_refused(tiny: nn.Module) -> None:
    with pytest.raises(ValueError, match="takes at least 2"):
        SCORES["zico"](tiny, [make_batch()])


# What holds for all


def test_scores_of_one_batch_are_averaged_over_several(tiny: nn.Module) -> None:
    batches = [make_batch(seed=seed) for seed in range(3)]
    for name in ("grad_norm", "snip", "grasp", "fisher", "jacob_cov", "naswot"):
        single = [SCORES[name](tiny, [batch]) for batch in batches]
        assert SCORES[name](tiny, batches) == pytest.approx(sum(single) / 3)


def test_synflow_does_not_look_at_images(tiny: nn.Module) -> None:
    assert SCORES["synflow"](tiny, [make_batch(seed=1)]) == SCORES["synflow"](tiny, [make_batch(3, seed=2)])


class Odd(nn.Module):
    """What users write: works in place, shares a module, has a weight of its own, one unused and one frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Parameter(torch.eye(4) + 0.1)
        self.convolution, self.again = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.activation = nn.ReLU(inplace=True)
        self.unused, self.head = nn.Linear(5, 5), nn.Linear(4, 3)
        self.again.weight.requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        images.mul_(2)
        maps = self.activation(self.convolution(images))
        more = self.again(maps)
        more += maps
        logits: Tensor = self.head(self.activation(more).mean((2, 3)) @ self.mix)
        return logits


@pytest.mark.parametrize("name", SCORES)
def test_any_module_has_a_finite_score_and_is_left_as_it_was(name: str) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(Odd(), nn.Dropout(0.0)).eval()
    batches = [make_batch(8, seed=seed) for seed in range(max(SCORES[name].num_batches, 1))]
    state, images = copy.deepcopy(net.state_dict()), [batch.images.clone() for batch in batches]
    with torch.no_grad():  # as a caller may be
        first = SCORES[name](net, batches)
    assert math.isfinite(first)
    assert SCORES[name](net, batches) == first
    assert all(torch.equal(value, state[key]) for key, value in net.state_dict().items())
    assert not net.training
    assert all(parameter.grad is None for parameter in net.parameters())
    assert all(torch.equal(batch.images, before) for batch, before in zip(batches, images, strict=True))


def test_snip_counts_weights_of_the_users_own_and_leaves_frozen_ones_out() -> None:
    torch.manual_seed(0)
    net, batch = Odd(), make_batch()
    copied = copy.deepcopy(net)
    F.cross_entropy(copied(batch.images.clone()), batch.labels).backward()
    counted = [copied.mix, copied.convolution.weight, copied.head.weight]
    expected = sum(float((p.detach() * p.grad).abs().sum()) for p in counted if p.grad is not None)
    assert SCORES["snip"](net, [batch]) == pytest.approx(expected, rel=1e-5)


@pytest.fixture(scope="module")
def narrow_720() -> list[Arch]:
    """All architectures of the space, each with an eighth of its width: 4, 8, 16, 32."""
    archs = load_space("convnet720").archs()
    return [Arch(arch.id, {**arch.factors, "width": int(arch.factors["width"]) // 8}, arch.builder) for arch in archs]


def batches_of_digits(digits: ImageData, score: TrainingFreeScore) -> Iterator[Batch]:
    """Batches of 4 instead of 64 or 128 images."""
    for number in range(max(score.num_batches, 1)):
        part = slice(4 * number, 4 * number + 4)
        yield Batch(digits.train.normalized(part), digits.train.labels[part])


def test_a_sample_of_the_720_has_scores_that_depend_on_the_seed_only(narrow_720: list[Arch], digits: ImageData) -> None:
    """Every 15th: 48 nets with all norms, activations and poolings."""
    check_scores(narrow_720[::15], digits)


@pytest.mark.slow
def test_all_720_have_a_score_that_depends_on_the_seed_only(narrow_720: list[Arch], digits: ImageData) -> None:
    values = check_scores(narrow_720, digits)
    assert len(narrow_720) == 720
    assert {name for name in SCORES if len(values[name]) < 500} == {"params", "flops", "synflow"}


def check_scores(archs: list[Arch], digits: ImageData) -> dict[str, set[float]]:
    """Reduced: widths by 8, batches to 4. Every score of every net; one score of each net twice, in turns."""
    batches = {name: list(batches_of_digits(digits, score)) for name, score in SCORES.items()}
    not_finite: list[tuple[str, str]] = []
    values: dict[str, set[float]] = {name: set() for name in SCORES}
    names = list(SCORES)
    for number, arch in enumerate(archs):
        net = make_net(arch, digits.train, seed=0)
        before = [value.clone() for value in net.state_dict().values()]
        for name, score in SCORES.items():
            value = score(net, batches[name])
            values[name].add(value)
            if not math.isfinite(value):
                not_finite.append((name, arch.id))
        assert all(map(torch.equal, before, net.state_dict().values()))
        again = names[number % len(names)]
        assert SCORES[again](make_net(arch, digits.train, seed=0), batches[again]) in values[again]
    assert not_finite == []
    return values


# Which images, which nets


@pytest.mark.parametrize("name", SCORES)
def test_seeds_look_at_images_of_their_own(name: str, digits: ImageData) -> None:
    score = SCORES[name]
    drawn = score.draw_images(digits.train, 3, seed=7)
    assert len(drawn) == 3 * score.num_batches * score.batch_size
    sizes = [[len(batch.images) for batch in score.batches(drawn, repeat)] for repeat in range(3)]
    assert sizes == [[score.batch_size] * score.num_batches or [1]] * 3
    if score.num_batches:
        seen = torch.cat([batch.images for repeat in range(3) for batch in score.batches(drawn, repeat)])
        assert torch.equal(seen, drawn.normalized())


def test_images_depend_on_the_seed_and_not_on_how_many_seeds_there_are(digits: ImageData) -> None:
    score = SCORES["snip"]
    few, many, others = (
        score.draw_images(digits.train, count, seed).images for count, seed in ((1, 0), (3, 0), (1, 1))
    )
    assert torch.equal(many[: len(few)], few)
    assert not torch.equal(few, others)


def test_a_small_training_set_makes_small_batches_without_repeats(tiny_set: ImageSet) -> None:
    for name, size in (("snip", 12), ("zico", 6)):
        drawn = SCORES[name].draw_images(tiny_set, 5, 0)
        assert len(drawn) == 12
        for repeat in range(5):
            images = torch.cat([batch.images for batch in SCORES[name].batches(drawn, repeat)])
            assert len(images) == 12
            assert len(SCORES[name].batches(drawn, repeat)[0].images) == size
            assert len(torch.unique(images, dim=0)) == 12


def test_seeds_are_fresh_nets_and_the_first_does_not_depend_on_the_others(digits: ImageData) -> None:
    arch = parse_arch("w8-d1-batch-relu-max")
    for name, score in SCORES.items():
        drawn = score.draw_images(digits.train, 3, 0)
        scores, seconds = score_nets(score, arch, drawn, num_seeds=3, seed=0)
        assert len(set(scores)) == (1 if name in ("params", "flops") else 3)
        assert scores[:1] == score_nets(score, arch, drawn, num_seeds=1, seed=0)[0]
        assert seconds > 0


def test_an_arch_that_does_not_fit_is_an_arch_error(tiny_set: ImageSet) -> None:
    for score in SCORES.values():
        with pytest.raises(ArchError, match="w8-d4-none-relu-avg"):
            score_nets(score, parse_arch("w8-d4-none-relu-avg"), tiny_set, num_seeds=1, seed=0)


@pytest.mark.parametrize("kind", ODD_KINDS)
@pytest.mark.parametrize("name", [name for name, score in SCORES.items() if not score.is_counted])
def test_a_net_that_returns_anything_but_scores_of_classes_has_no_score(
    name: str, kind: str, digits: ImageData, tmp_path: Path
) -> None:
    drawn = SCORES[name].draw_images(digits.train, 1, 0)
    with pytest.raises(ArchError, match=rf"^{kind}: for \d+ images .* the net returns a (tuple|dict|tensor)"):
        score_nets(SCORES[name], odd_arch(tmp_path, kind, costs=True), drawn, num_seeds=1, seed=0)
