import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from nasproxy.errors import ArchError, SettingsError
from nasproxy.nets.classifier import Classifier
from nasproxy.nets.convnet import BUILDER, default_arch, parse_arch
from nasproxy.nets.convnet import build as build_convnet
from nasproxy.space import Arch, build
from nasproxy.spacefile import load_space

COLOUR = (3, 32, 32)
GREY_DIGITS = (1, 28, 28)


def _make(arch_id: str, image_shape: tuple[int, int, int] = (3, 8, 8), num_classes: int = 3) -> Classifier:
    """A net with random norm weights, so that they matter."""
    torch.manual_seed(0)
    net = build_convnet(parse_arch(arch_id), image_shape, num_classes)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return net


def _plain_forward(net: Classifier, arch: Arch, images: Tensor, *, training: bool = True) -> Tensor:
    """The net's logits by torch's functions alone, from its parameters in their order (science, section 1)."""
    parameters = list(net.parameters())
    x, width = images, int(arch.factors["width"])
    for block in range(int(arch.factors["depth"])):
        grey_digits = block == 0 and images.shape[1:] == GREY_DIGITS
        x = F.conv2d(x, parameters.pop(0), parameters.pop(0), padding=3 if grey_digits else 1)
        norm = arch.factors["norm"]
        if norm != "none":
            weight, bias = parameters.pop(0), parameters.pop(0)
            if norm == "batch":
                mean = x.mean((0, 2, 3), keepdim=True) if training else torch.zeros(1)
                var = x.var((0, 2, 3), correction=0, keepdim=True) if training else torch.ones(1)
                x = (x - mean) / (var + 1e-5).sqrt()
            elif norm == "layer":
                x = F.layer_norm(x, x.shape[1:])
            else:
                x = F.group_norm(x, {"instance": width, "group": 4}[str(norm)])
            x = x * weight + bias if norm == "layer" else x * weight[:, None, None] + bias[:, None, None]
        match arch.factors["activation"]:
            case "sigmoid":
                x = 1 / (1 + (-x).exp())
            case "relu":
                x = x.clamp(min=0)
            case "leakyrelu":
                x = torch.where(x > 0, x, 0.01 * x)
        match arch.factors["pooling"]:
            case "max":
                x = F.max_pool2d(x, 2)
            case "avg":
                x = F.avg_pool2d(x, 2)
    weight, bias = parameters
    return x.flatten(1) @ weight.T + bias


def _count_params(arch: Arch) -> int:
    """Parameters at 3x32x32 and 10 classes, in closed form."""
    width, depth, pooled = int(arch.factors["width"]), int(arch.factors["depth"]), arch.factors["pooling"] != "none"
    convs = 9 * 3 * width + (depth - 1) * 9 * width**2 + depth * width
    sides = [32 >> block if pooled else 32 for block in range(depth)]
    match arch.factors["norm"]:
        case "none":
            norms = 0
        case "layer":
            norms = sum(2 * width * side**2 for side in sides)
        case _:
            norms = 2 * width * depth
    last = 32 >> depth if pooled else 32
    return convs + norms + (width * last**2 + 1) * 10


def test_every_net_of_the_720_builds_with_the_parameters_of_the_closed_formula() -> None:
    with torch.device("meta"):
        for arch in load_space("convnet720").archs():
            net = build(arch, COLOUR, 10)
            assert sum(parameter.numel() for parameter in net.parameters()) == _count_params(arch), arch.id


@pytest.mark.parametrize(
    ("norm", "norm_shapes"),
    [
        ("none", ([], [])),
        ("batch", ([(8,), (8,)], [(8,), (8,)])),
        ("layer", ([(8, 8, 12), (8, 8, 12)], [(8, 4, 6), (8, 4, 6)])),
        ("instance", ([(8,), (8,)], [(8,), (8,)])),
        ("group", ([(8,), (8,)], [(8,), (8,)])),
    ],
)
def test_parameters_come_block_by_block_then_the_head(
    norm: str, norm_shapes: tuple[list[tuple[int, ...]], list[tuple[int, ...]]]
) -> None:
    net = _make(f"w8-d2-{norm}-relu-max", (3, 8, 12), 5)
    expected = [(8, 3, 3, 3), (8,), *norm_shapes[0], (8, 8, 3, 3), (8,), *norm_shapes[1], (5, 8 * 2 * 3), (5,)]
    assert [tuple(parameter.shape) for parameter in net.parameters()] == expected


@pytest.mark.parametrize(
    "arch_id",
    [
        *(f"w8-d2-{norm}-relu-avg" for norm in ("none", "batch", "layer", "instance", "group")),
        *(f"w8-d2-instance-{activation}-max" for activation in ("sigmoid", "relu", "leakyrelu")),
        *(f"w8-d2-none-leakyrelu-{pooling}" for pooling in ("none", "max", "avg")),
        *(f"w8-d{depth}-group-sigmoid-avg" for depth in (1, 3)),
        "w16-d4-layer-sigmoid-none",
    ],
)
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_forward_equals_a_plain_one_with_the_same_weights(arch_id: str, training: bool) -> None:
    net = _make(arch_id).train(training)
    images = torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = _plain_forward(net, parse_arch(arch_id), images, training=training)
        logits = net(images)
    assert logits.shape == (5, 3)
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)


def test_embedding_is_the_flattened_last_map_that_the_head_reads() -> None:
    net = _make("w8-d2-instance-relu-avg")
    images = torch.randn(5, 3, 8, 8)
    with torch.no_grad():
        features = net.embed(images)
        assert features.shape == (5, 8 * 2 * 2)
        torch.testing.assert_close(net.head(features), net(images))


def test_grey_images_of_28_pixels_are_padded_to_32() -> None:
    net = _make("w8-d2-instance-relu-avg", GREY_DIGITS)
    images = torch.randn(4, *GREY_DIGITS)
    padded = _make("w8-d2-instance-relu-avg", (1, 32, 32))
    assert net.head.in_features == 8 * 8 * 8
    with torch.no_grad():
        torch.testing.assert_close(net(images), _plain_forward(net, parse_arch("w8-d2-instance-relu-avg"), images))
        torch.testing.assert_close(net(images), padded(F.pad(images, (2, 2, 2, 2))))


def test_colour_images_of_28_pixels_are_not_padded() -> None:
    assert _make("w8-d1-none-relu-max", (3, 28, 28)).head.in_features == 8 * 14 * 14


@pytest.mark.parametrize(("shape", "depth"), [((3, 8, 8), 4), ((3, 3, 64), 2), ((1, 1, 1), 1)])
def test_net_too_deep_for_the_image_is_an_arch_error_that_names_it(shape: tuple[int, int, int], depth: int) -> None:
    arch_id = f"w8-d{depth}-none-relu-max"
    with pytest.raises(ArchError, match=rf"^{arch_id}: pooling number {depth} of {depth} leaves no pixel of a "):
        build(parse_arch(arch_id), shape, 2)


def test_deepest_net_that_fits_leaves_one_pixel() -> None:
    assert _make("w8-d3-none-relu-max", (3, 8, 15)).head.in_features == 8


@pytest.mark.parametrize(
    ("shape", "depth"),
    [((3, 32, 32), 3), ((1, 28, 28), 3), ((3, 64, 64), 4), ((1, 16, 16), 2), ((3, 8, 8), 1), ((3, 32, 64), 3)],
)
def test_default_net_leaves_a_4x4_map(shape: tuple[int, int, int], depth: int) -> None:
    arch = default_arch(shape)
    assert arch.id == f"w128-d{depth}-instance-relu-avg"
    with torch.device("meta"):
        net = build_convnet(arch, shape, 10)
    assert net.head.in_features == 128 * 4 * (4 * max(shape[2] // 32, 1) if shape == (3, 32, 64) else 4)


@pytest.mark.parametrize("shape", [(3, 4, 4), (3, 1, 1), (1, 5, 3)])
def test_default_net_of_tiny_images_has_one_block(shape: tuple[int, int, int]) -> None:
    assert default_arch(shape).factors["depth"] == 1


def test_parse_arch_gives_the_arch_of_the_space() -> None:
    arch = parse_arch("w64-d3-batch-leakyrelu-none")
    assert arch == load_space("convnet720").pick([arch.id])[0]
    assert arch.builder == BUILDER
    assert arch.factors == {"width": 64, "depth": 3, "norm": "batch", "activation": "leakyrelu", "pooling": "none"}


def test_parse_arch_takes_widths_and_depths_outside_the_space() -> None:
    assert _make("w12-d5-group-relu-avg", (3, 32, 32)).head.in_features == 12


def test_parse_arch_takes_any_depth_without_pooling() -> None:
    assert parse_arch("w8-d40-none-relu-none").factors["depth"] == 40


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("resnet18", "'resnet18' is no ConvNet; write it like"),
        ("w128-d3-instance-relu", "is no ConvNet"),
        ("w128-d3-instance-relu-avg-x", "is no ConvNet"),
        ("w-1-d3-instance-relu-avg", "is no ConvNet"),
        ("", "is no ConvNet"),
        ("w8-d1-batchnorm-relu-avg", "unknown norm 'batchnorm'; choose from"),
        ("w8-d1-none-gelu-avg", "unknown activation 'gelu'; choose from"),
        ("w8-d1-none-relu-mean", "unknown pooling 'mean'; choose from"),
        ("w6-d1-group-relu-avg", "width 6 cannot be cut into 4 groups"),
        ("w0-d1-none-relu-avg", "w0"),
        ("w8-d0-none-relu-avg", "d0"),
    ],
)
def test_bad_architecture_ids_are_settings_errors(text: str, problem: str) -> None:
    with pytest.raises(SettingsError, match=problem):
        parse_arch(text)
