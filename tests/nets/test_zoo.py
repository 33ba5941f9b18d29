"""Nets by name: sizes counted by hand, plain forward passes, names, and that they can be re-drawn in place."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nasproxy.condensing import condense
from nasproxy.errors import ArchError, SettingsError
from nasproxy.images import ImageData
from nasproxy.nets.classifier import Classifier
from nasproxy.nets.convnet import default_arch, parse_arch
from nasproxy.nets.resnet import Block
from nasproxy.nets.zoo import ZOO, parse_net, parse_nets
from nasproxy.space import build

COLOUR, GREY_DIGITS = (3, 32, 32), (1, 28, 28)
IDS = [f"{name}-{norm}" if norm else name for name, family in ZOO.items() for norm in family.norms or ("",)]
"""Every net of the zoo."""

CONVS = {
    "mlp": [],
    "lenet": [(3, 6, 5), (6, 16, 5)],
    "alexnet": [(3, 128, 5), (128, 192, 5), (192, 256, 3), (256, 192, 3), (192, 192, 3)],
    "vgg11": [
        *((3, 64, 3), (64, 128, 3), (128, 256, 3), (256, 256, 3)),
        *((256, 512, 3), (512, 512, 3), (512, 512, 3), (512, 512, 3)),
    ],
    "resnet18": [
        *((3, 64, 3), (64, 64, 3), (64, 64, 3), (64, 64, 3), (64, 64, 3)),
        *((64, 128, 3), (128, 128, 3), (64, 128, 1), (128, 128, 3), (128, 128, 3)),
        *((128, 256, 3), (256, 256, 3), (128, 256, 1), (256, 256, 3), (256, 256, 3)),
        *((256, 512, 3), (512, 512, 3), (256, 512, 1), (512, 512, 3), (512, 512, 3)),
    ],
    "resnetap10": [
        *((3, 64, 3), (64, 64, 3), (64, 64, 3)),
        *((64, 128, 3), (128, 128, 3), (64, 128, 1)),
        *((128, 256, 3), (256, 256, 3), (128, 256, 1)),
        *((256, 512, 3), (512, 512, 3), (256, 512, 1)),
    ],
}
"""(channels in, channels out, kernel size) of every convolution at 3x32x32, in order."""
CONVS["resnet18ap"] = CONVS["resnet18"]
LINEARS = {
    "mlp": [(3 * 32 * 32, 128), (128, 128), (128, 10)],
    "lenet": [(16 * 5 * 5, 120), (120, 84), (84, 10)],
    "alexnet": [(192 * 4 * 4, 10)],
    "vgg11": [(512, 10)],
    "resnet18": [(512, 10)],
    "resnet18ap": [(512 * 4 * 4, 10)],
    "resnetap10": [(512, 10)],
}
"""(features in, features out) of every linear layer at 3x32x32 and 10 classes, in order."""


def make(name: str, image_shape: tuple[int, int, int] = COLOUR, num_classes: int = 10, seed: int = 0) -> Classifier:
    torch.manual_seed(seed)
    net = build(parse_net(name, image_shape), image_shape, num_classes)
    assert isinstance(net, Classifier)
    return net


def perturb(net: nn.Module) -> None:
    """Random norm weights, so that they matter."""
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))


@pytest.mark.parametrize("name", IDS)
def test_number_of_parameters_is_that_counted_by_hand(name: str) -> None:
    family, _, norm = name.partition("-")
    has_bias = 0 if family.startswith("resnet") else 1
    expected = sum(c_in * c_out * k * k + has_bias * c_out for c_in, c_out, k in CONVS[family])
    expected += sum(2 * c_out for _, c_out, _ in CONVS[family]) if norm in ("instance", "batch") else 0
    expected += sum((f_in + 1) * f_out for f_in, f_out in LINEARS[family])
    assert sum(parameter.numel() for parameter in make(name).parameters()) == expected


def test_known_numbers_of_parameters() -> None:
    known = {"mlp": 411_146, "lenet": 62_006, "vgg11-batch": 9_231_114, "resnet18-batch": 11_173_962}
    for name, number in known.items():
        assert sum(parameter.numel() for parameter in make(name).parameters()) == number


@pytest.mark.parametrize("name", IDS)
def test_layers_are_those_of_the_papers_in_their_order(name: str) -> None:
    family = name.partition("-")[0]
    modules = list(make(name).modules())
    convs = [module for module in modules if isinstance(module, nn.Conv2d)]
    linears = [module for module in modules if isinstance(module, nn.Linear)]
    assert [(conv.in_channels, conv.out_channels, conv.kernel_size[0]) for conv in convs] == CONVS[family]
    assert [(linear.in_features, linear.out_features) for linear in linears] == LINEARS[family]


@pytest.mark.parametrize("name", IDS)
def test_weights_drawn_again_in_place_are_those_of_a_new_net(name: str) -> None:
    fresh, used = make(name, num_classes=3, seed=5), make(name, num_classes=3, seed=6)
    torch.manual_seed(5)
    for module in used.modules():
        if next(module.parameters(recurse=False), None) is not None:
            assert isinstance(module, nn.Conv2d | nn.Linear | nn.GroupNorm | nn.LayerNorm | nn.BatchNorm2d)
            module.reset_parameters()
    for key, value in fresh.state_dict().items():
        assert torch.equal(value, used.state_dict()[key]), key


FEATURES = {
    "mlp": dict.fromkeys((16, 28, 32, 64), 128),
    "lenet": dict.fromkeys((16, 28, 32, 64), 84),
    "alexnet": {16: 192 * 2 * 2, 28: 192 * 3 * 3, 32: 192 * 4 * 4, 64: 192 * 8 * 8},
    "vgg11": {32: 512, 64: 512 * 2 * 2},
    "resnet18": dict.fromkeys((16, 28, 32, 64, 224), 512),
    "resnet18ap": {16: 512 * 2 * 2, 28: 512 * 3 * 3, 32: 512 * 4 * 4, 64: 512 * 8 * 8},
    "resnetap10": dict.fromkeys((16, 28, 32, 64, 128, 224), 512),
}
"""Family -> side of a colour image -> F."""


@pytest.mark.parametrize("name", IDS)
def test_embedding_has_its_shape_at_every_size(name: str) -> None:
    for side, num_features in FEATURES[name.partition("-")[0]].items():
        with torch.device("meta"):
            net = make(name, (3, side, side), num_classes=7)
            images = torch.empty(2, 3, side, side)
            assert net.embed(images).shape == (2, num_features) == (2, net.head.in_features)
            assert net(images).shape == (2, 7)


@pytest.mark.parametrize("name", IDS)
def test_embedding_is_what_the_head_reads(name: str) -> None:
    net = make(name).eval()
    images = torch.randn(2, *COLOUR)
    with torch.no_grad():
        logits = net(images)
        torch.testing.assert_close(net.head(net.embed(images)), logits)
    assert logits.isfinite().all()
    assert not torch.allclose(logits[0], logits[1])


@pytest.mark.parametrize("name", [name for name in IDS if name != "mlp"])
def test_grey_images_of_28_pixels_are_padded_to_32(name: str) -> None:
    images = torch.randn(3, *GREY_DIGITS)
    net, padded = make(name, GREY_DIGITS), make(name, (1, 32, 32))
    with torch.no_grad():
        torch.testing.assert_close(net(images), padded(F.pad(images, (2, 2, 2, 2))), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "image_shape", "problem"),
    [
        ("lenet", (3, 15, 16), "lenet: layer 4 of 4 leaves no pixel of a 16x15 image"),
        ("lenet", (3, 3, 3), "lenet: layer 1 of 4 leaves no pixel"),
        ("alexnet-none", (3, 7, 7), "alexnet-none: layer 8 of 8 leaves no pixel of a 7x7 image"),
        ("vgg11-batch", (1, 16, 16), "vgg11-batch: layer 13 of 13 leaves no pixel of a 16x16 image"),
        ("resnet18", (3, 8, 32), "resnet18-instance: the last map of a 32x8 image is 4x1, less than 2x2"),
        ("resnet18ap-batch", (3, 15, 15), "resnet18ap-batch: the last map of a 15x15 image is 1x1"),
        ("resnetap10", (3, 12, 70), "resnetap10-instance: the last map of a 70x12 image is 8x1"),
    ],
)
def test_too_small_images_are_an_arch_error_that_names_the_net(
    name: str, image_shape: tuple[int, int, int], problem: str
) -> None:
    with pytest.raises(ArchError, match=problem):
        make(name, image_shape)


@pytest.mark.parametrize(
    ("name", "image_shape"),
    [
        ("lenet", (3, 16, 16)),
        ("alexnet", (3, 8, 8)),
        ("vgg11", (1, 32, 32)),
        ("resnet18", (3, 9, 9)),
        ("resnet18ap", (3, 16, 16)),
        ("resnetap10", (3, 16, 70)),
    ],
)
def test_the_smallest_images_that_fit_are_told_apart(name: str, image_shape: tuple[int, int, int]) -> None:
    net = make(name, image_shape)
    with torch.no_grad():
        logits = net(torch.randn(2, *image_shape))
    assert not torch.allclose(logits[0], logits[1])


def plain_norm(x: Tensor, weight: Tensor, bias: Tensor, norm: str) -> Tensor:
    """Batch norm as in training, or instance norm, from their definitions."""
    over = (0, 2, 3) if norm == "batch" else (2, 3)
    x = (x - x.mean(over, keepdim=True)) / (x.var(over, correction=0, keepdim=True) + 1e-5).sqrt()
    return x * weight[:, None, None] + bias[:, None, None]


def test_lenet_equals_a_plain_one() -> None:
    net = make("lenet")
    w1, b1, w2, b2, w3, b3, w4, b4, w5, b5 = net.parameters()
    images = torch.randn(4, *COLOUR)
    x = F.max_pool2d(F.conv2d(images, w1, b1).relu(), 2)
    x = F.max_pool2d(F.conv2d(x, w2, b2).relu(), 2).flatten(1)
    features = ((x @ w3.T + b3).relu() @ w4.T + b4).relu()
    torch.testing.assert_close(net.embed(images), features)
    torch.testing.assert_close(net(images), features @ w5.T + b5)


def test_mlp_equals_a_plain_one() -> None:
    net = make("mlp", GREY_DIGITS)
    w1, b1, w2, b2, w3, b3 = net.parameters()
    images = torch.randn(4, *GREY_DIGITS)
    hidden = (images.flatten(1) @ w1.T + b1).relu()
    torch.testing.assert_close(net(images), (hidden @ w2.T + b2).relu() @ w3.T + b3)


@pytest.mark.parametrize("norm", ["none", "instance", "batch"])
def test_alexnet_equals_a_plain_one(norm: str) -> None:
    net = make(f"alexnet-{norm}")
    perturb(net)
    weights = list(net.parameters())
    x = images = torch.randn(4, *COLOUR)
    with torch.no_grad():
        for padding, pooled in ((2, True), (2, True), (1, False), (1, False), (1, True)):
            x = F.conv2d(x, weights.pop(0), weights.pop(0), padding=padding)
            if norm != "none":
                x = plain_norm(x, weights.pop(0), weights.pop(0), norm)
            x = x.clamp(min=0)
            x = F.max_pool2d(x, 2) if pooled else x
        torch.testing.assert_close(net(images), F.linear(x.flatten(1), *weights), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("average_pooled", [False, True], ids=["strided", "average-pooled"])
@pytest.mark.parametrize("width", [4, 8], ids=["same", "halving"])
def test_a_resnet_block_equals_a_plain_one(width: int, average_pooled: bool, norm: str) -> None:
    torch.manual_seed(0)
    block = Block(4, width, norm, average_pooled=average_pooled)
    perturb(block)
    w1, s1, t1, w2, s2, t2, *shortcut = block.parameters()
    maps = torch.randn(3, 4, 6, 6)
    halves = width != 4
    stride = 2 if halves and not average_pooled else 1
    with torch.no_grad():
        x = plain_norm(F.conv2d(maps, w1, stride=stride, padding=1), s1, t1, norm).relu()
        x = F.avg_pool2d(x, 2) if halves and average_pooled else x
        x = plain_norm(F.conv2d(x, w2, padding=1), s2, t2, norm)
        beside = maps
        if halves:
            w3, s3, t3 = shortcut
            beside = F.conv2d(maps, w3, stride=stride)
            beside = plain_norm(F.avg_pool2d(beside, 2) if average_pooled else beside, s3, t3, norm)
        before = maps.clone()
        torch.testing.assert_close(block(maps), (x + beside).relu(), rtol=1e-4, atol=1e-5)
    assert torch.equal(maps, before)


def test_resnet18_is_a_stem_eight_blocks_and_the_mean_of_their_map() -> None:
    net = make("resnet18-batch", (3, 16, 16))
    images = torch.randn(4, 3, 16, 16)
    stem, scale, shift = list(net.parameters())[:3]
    blocks = [module for module in net.modules() if isinstance(module, Block)]
    with torch.no_grad():
        x = plain_norm(F.conv2d(images, stem, padding=1), scale, shift, "batch").relu()
        sides = []
        for block in blocks:
            x = block(x)
            sides.append(x.shape[-1])
        torch.testing.assert_close(net.embed(images), x.mean((2, 3)), rtol=1e-3, atol=1e-4)
    assert sides == [16, 16, 8, 8, 4, 4, 2, 2]


def test_average_pooled_resnets_have_no_strides_and_the_same_body_weights() -> None:
    strided, pooled = make("resnet18"), make("resnet18ap")
    strides = [[conv.stride[0] for conv in net.modules() if isinstance(conv, nn.Conv2d)] for net in (strided, pooled)]
    assert strides[0].count(2) == 6
    assert set(strides[1]) == {1}
    for one, other in zip(strided.body.parameters(), pooled.body.parameters(), strict=True):
        assert torch.equal(one, other)
    images = torch.randn(2, *COLOUR)
    with torch.no_grad():
        assert not torch.allclose(strided.embed(images), pooled.embed(images).unflatten(1, (512, 16)).mean(2))


@pytest.mark.parametrize(("side", "kernel_size", "first_side"), [(64, 3, 64), (96, 3, 48), (224, 7, 56)])
def test_stem_of_resnetap10_goes_by_the_size_of_the_images(side: int, kernel_size: int, first_side: int) -> None:
    with torch.device("meta"):
        net = make("resnetap10", (3, side, side))
        sizes: list[torch.Size] = []
        first_block = next(module for module in net.modules() if isinstance(module, Block))
        first_block.register_forward_pre_hook(lambda module, maps: sizes.append(maps[0].shape))
        net(torch.empty(1, 3, side, side))
    stem = next(module for module in net.modules() if isinstance(module, nn.Conv2d))
    assert stem.kernel_size == (kernel_size, kernel_size)
    assert sizes == [(1, 64, first_side, first_side)]


@pytest.mark.parametrize("family", [name for name, family in ZOO.items() if "batch" in family.norms])
def test_batch_norm_mixes_images_and_instance_norm_does_not(family: str) -> None:
    images = torch.randn(4, *COLOUR)
    with torch.no_grad():
        for norm, kind in (("instance", nn.GroupNorm), ("batch", nn.BatchNorm2d)):
            net = make(f"{family}-{norm}")
            norms = [module for module in net.modules() if isinstance(module, kind)]
            assert len(norms) == len(CONVS[family])
            assert all(module.num_groups == module.num_channels for module in norms if isinstance(module, nn.GroupNorm))
            alone, together = net.embed(images[:2]), net.embed(images)[:2]
            assert torch.allclose(alone, together, rtol=1e-3, atol=1e-4) == (norm == "instance")


def test_names_mean_nets() -> None:
    assert parse_net("auto", COLOUR) == default_arch(COLOUR)
    assert parse_net("w8-d1-none-relu-max", COLOUR) == parse_arch("w8-d1-none-relu-max")
    assert parse_net("mlp", COLOUR).id == "mlp"
    assert parse_net("resnet18", COLOUR) == parse_net("resnet18-instance", COLOUR)
    assert dict(parse_net("vgg11-batch", COLOUR).factors) == {"family": "vgg11", "norm": "batch"}
    assert parse_net("lenet", COLOUR).factors["norm"] == "none"  # condensing splits what has no batch norm


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("resnt18", "'resnt18': did you mean 'resnet18'?"),
        ("vgg11-bach", "did you mean 'vgg11-batch'?"),
        ("lenet-batch", r"unknown net \(a name, or a ConvNet like 'w128-d3-instance-relu-avg'\) 'lenet-batch'"),
        ("resnet18-layer", "choose from alexnet, "),
        ("", "unknown net"),
        ("all", "unknown net"),
        ("w128-d3", "'w128-d3' is no ConvNet"),
        ("w8-d1-none-gelu-avg", "unknown activation 'gelu'"),
    ],
)
def test_unknown_names_are_settings_errors_with_the_nearest(name: str, problem: str) -> None:
    with pytest.raises(SettingsError, match=problem):
        parse_net(name, COLOUR)


def test_all_is_table_3_and_the_rest_of_the_zoo() -> None:
    ids = [arch.id for arch in parse_nets(["all"], COLOUR)]
    assert ids == [
        *("w128-d3-instance-relu-avg", "w128-d3-batch-relu-avg", "mlp", "lenet", "alexnet-batch", "vgg11-batch"),
        *("resnet18-batch", "resnet18ap-batch", "resnetap10-batch"),
    ]


def test_a_net_named_twice_is_one() -> None:
    ids = [arch.id for arch in parse_nets(["vgg11", "mlp", "auto", "w128-d2-instance-relu-avg", "mlp"], (1, 16, 16))]
    assert ids == ["vgg11-instance", "mlp", "w128-d2-instance-relu-avg"]


@pytest.mark.parametrize("embedding_net", ["lenet", "alexnet-batch"])
def test_nets_of_the_zoo_condense(digits: ImageData, embedding_net: str) -> None:
    proxy = condense(digits, "dm", images_per_class=1, steps=1, real_batch_size=2, embedding_net=embedding_net)
    assert proxy.images.images.isfinite().all()
