"""Gradient matching against the reference written from the equations, loss and image gradient, and its loops."""

import itertools
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmarks import naive
from nasproxy.augment import Strategy, augment_batch
from nasproxy.condensing import condense
from nasproxy.condensing.embedding import find_embedding_arch, make_embedding_net
from nasproxy.condensing.gradients import (
    CONVOLUTIONS,
    REAL_TRAINING,
    ROWS,
    Matching,
    absolute_distance,
    class_gradients,
    freeze_batch_norm,
    row_cosine_distance,
    squared_distance,
)
from nasproxy.condensing.methods import gradient_loops
from nasproxy.condensing.state import CondenseState
from nasproxy.images import ImageData, ImageSet, make_generator
from nasproxy.nets.classifier import Classifier
from nasproxy.seeding import derive_seed
from nasproxy.training import train

SMALL: dict[str, Any] = {"images_per_class": 2, "real_batch_size": 8, "embedding_net": "w8-d2-instance-relu-avg"}


def make_net(name: str, images: ImageSet, seed: int = 0) -> Classifier:
    return make_embedding_net(find_embedding_arch(name, images), images, seed)


def layers_of(net: nn.Module, matching: Matching) -> list[nn.Module]:
    return [module for module in net.modules() if isinstance(module, matching.layers)]


def relative_error(value: Tensor, reference: Tensor) -> float:
    return float((value - reference).detach().norm() / reference.detach().norm())


@pytest.fixture
def pair(tiny_set: ImageSet) -> tuple[Tensor, Tensor]:
    """Real (3, 4, 3, 8, 8) and synthetic (3, 2, 3, 8, 8) images."""
    real = tiny_set.normalized().unflatten(0, (4, 3)).transpose(0, 1)
    return real, torch.randn(3, 2, *tiny_set.image_shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("matching", [ROWS, CONVOLUTIONS], ids=["dc", "idc"])
@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
@pytest.mark.parametrize("norm", ["none", "layer", "instance", "group", "batch"])
def test_loss_and_image_gradient_agree_with_the_naive_reference(
    tiny_set: ImageSet, pair: tuple[Tensor, Tensor], norm: str, activation: str, matching: Matching
) -> None:
    real, start = pair
    net, labels = make_net(f"w8-d2-{norm}-{activation}-avg", tiny_set), torch.arange(3)
    layers = layers_of(net, matching)
    freeze_batch_norm(
        net, [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)], real.flatten(0, 1)
    )

    images = start.clone().requires_grad_()
    targets = class_gradients(net, layers, real, labels)
    found = class_gradients(net, layers, images, labels, differentiable=True)
    loss = torch.stack([matching.distance(*pair) for pair in zip(targets, found, strict=True)]).sum()
    (gradient,) = torch.autograd.grad(loss, images)

    reference_images = start.clone().requires_grad_()
    net.requires_grad_(True)
    reference = naive.gradient_loss(net, list(real), list(reference_images), rows=matching is ROWS)
    (reference_gradient,) = torch.autograd.grad(reference, reference_images)

    assert relative_error(loss, reference) < 1e-4
    assert relative_error(gradient, reference_gradient) < 1e-4


@pytest.mark.parametrize("name", ["w8-d2-batch-leakyrelu-max", "w4-d1-none-relu-none"])
def test_class_gradients_are_those_of_each_class_loss(
    tiny_set: ImageSet, pair: tuple[Tensor, Tensor], name: str
) -> None:
    """Also under batch norm, once it is frozen."""
    real, _ = pair
    net, labels = make_net(name, tiny_set).requires_grad_(True), torch.tensor([2, 0, 1])
    layers = layers_of(net, ROWS)
    freeze_batch_norm(net, [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)], real[:, 0])
    found = class_gradients(net.requires_grad_(False), layers, real, labels)
    net.requires_grad_(True)
    assert all(module.inplace for module in net.modules() if isinstance(module, nn.ReLU | nn.LeakyReLU))
    for k in range(3):
        loss = nn.functional.cross_entropy(net(real[k]), labels[k].expand(4))
        references = torch.autograd.grad(loss, [layer.weight for layer in layers])  # type: ignore[arg-type]
        for mine, reference in zip(found, references, strict=True):
            assert relative_error(mine[k], reference) < 1e-4


@pytest.mark.parametrize("name", ["mlp", "lenet", "alexnet-none", "vgg11-instance", "resnet18ap-instance"])
def test_gradients_of_any_net_agree_with_the_naive_reference(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(8, 3, 32, 32, generator=generator)
    images = ImageSet(pixels, torch.arange(8) % 2, ("a", "b"), (0.5,) * 3, (0.25,) * 3)
    real, synthetic = images.normalized().view(2, 2, 2, 3, 32, 32).unbind(dim=0)
    net = make_net(name, images)
    found, wanted = (class_gradients(net, layers_of(net, ROWS), pair, torch.arange(2)) for pair in (synthetic, real))
    loss = torch.stack([row_cosine_distance(*pair) for pair in zip(wanted, found, strict=True)]).sum()
    net.requires_grad_(True)
    assert relative_error(loss, naive.gradient_loss(net, list(real), list(synthetic))) < 1e-4


def test_distances_by_hand() -> None:
    real = torch.tensor([[[3.0, 4.0], [1.0, 0.0]]])
    synthetic = torch.tensor([[[4.0, 3.0], [0.0, 2.0]]])
    assert float(row_cosine_distance(real, synthetic)) == pytest.approx((1 - 24 / 25) + 1)
    assert float(squared_distance(real, synthetic)) == pytest.approx(1 + 1 + 1 + 4)
    assert float(absolute_distance(real, synthetic)) == pytest.approx(1 + 1 + 1 + 2)


@pytest.mark.parametrize(
    ("images_per_class", "loops"),
    [(1, (1, 1)), (10, (10, 50)), (50, (50, 10)), (20, (20, 25)), (5, (5, 23)), (100, (50, 10))],
)
def test_loops_are_those_of_the_paper_and_between_them_a_rule(images_per_class: int, loops: tuple[int, int]) -> None:
    assert gradient_loops(images_per_class) == loops


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_steps_agree_with_algorithm_1_written_naively(digits: ImageData, norm: str) -> None:
    """Two nets of two steps each, the first of each followed by training on all 20 images in one batch.

    Batch norm as in the public code: one pass in training mode over 16 real images of every class, then it is frozen.
    """
    name = f"w8-d2-{norm}-relu-avg"
    settings: dict[str, Any] = {**SMALL, "seed": 5, "outer_loop": 2, "inner_loop": 3, "image_lr": 0.3, "init": "real"}
    settings["embedding_net"] = name
    result = condense(digits, "dc", **settings, steps=4)

    start = condense(digits, "dc", **settings, steps=0)
    images = start.images.normalized().unflatten(0, (10, 2)).clone()
    nets, steps, frozen = itertools.count(step=2), itertools.count(), itertools.count()

    def make_net_of_step() -> Classifier:
        seed = derive_seed(5, "embedder", next(nets))
        return make_net(name, digits.train, seed).requires_grad_(True)

    def freeze(net: nn.Module) -> None:
        index = digits.train.sample_classes(16, make_generator(5, "norm", next(frozen)))
        net.train()
        net(torch.cat([digits.train.normalized(of_class) for of_class in index]))
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()

    def draw_pairs(synthetic: Tensor) -> naive.Pairs:
        index = digits.train.sample_classes(8, make_generator(5, "pairs", next(steps)))
        real = digits.train.normalized(index.flatten()).unflatten(0, index.shape)
        return zip(real, synthetic, strict=True)

    updates = naive.condense_by_gradients(
        images, digits.train, make_net_of_step, draw_pairs, lambda batch: batch, lr=0.3, outer_loop=2, inner_loop=3,
        freeze=freeze,
    )  # fmt: skip
    for _ in itertools.islice(updates, 4):
        pass
    moved = relative_error(result.images.normalized(), start.images.normalized())
    assert moved > 1e-2
    assert relative_error(result.images.normalized(), images.detach().flatten(0, 1)) < 1e-4 * max(moved, 1)


@pytest.mark.parametrize(
    ("method", "distance", "lr"), [("dsa", None, 0.1), ("idc", "squared", 0.05), ("idc", "absolute", 0.005)]
)
def test_matching_lowers_the_distance(digits: ImageData, method: str, distance: str | None, lr: float) -> None:
    losses: list[float] = []
    condense(
        digits, method, **SMALL, steps=60, outer_loop=1, init="noise", augmentation="none", image_lr=lr,
        distance=distance,
        on_step=lambda step, loss: losses.append(loss) if step % 10 == 0 else None,
    )  # fmt: skip
    assert len(losses) == 6
    assert losses[-1] < 0.9 * losses[0]


def test_the_distance_of_idc_is_a_setting(digits: ImageData) -> None:
    """Each is that of the gradients of the first step."""
    settings: dict[str, Any] = {**SMALL, "seed": 3, "augmentation": "none", "steps": 1, "outer_loop": 1}
    start = condense(digits, "idc-i", **settings | {"steps": 0}).images.normalized().unflatten(0, (10, 2))
    index = digits.train.sample_classes(8, make_generator(3, "pairs", 0))
    real = digits.train.normalized(index.flatten()).unflatten(0, index.shape)
    net, labels = make_net(SMALL["embedding_net"], digits.train, derive_seed(3, "embedder", 0)), torch.arange(10)
    layers = layers_of(net, CONVOLUTIONS)
    pairs = zip(*(class_gradients(net, layers, images, labels) for images in (real, start)), strict=True)
    squared, absolute = (sum(parts) for parts in zip(*map(both_distances, pairs), strict=True))
    told: list[float] = []
    for name in ("squared", "absolute"):
        condense(digits, "idc-i", **settings, distance=name, on_step=lambda step, loss: told.append(loss))
    assert told == pytest.approx([squared / 10, absolute / 10], rel=1e-4)


def both_distances(pair: tuple[Tensor, Tensor]) -> tuple[float, float]:
    return float((pair[0] - pair[1]).pow(2).sum()), float((pair[0] - pair[1]).abs().sum())


def test_idc_clamps_pixels_once_an_outer_loop_and_at_the_end(digits: ImageData) -> None:
    kept: list[CondenseState] = []
    condense(
        digits, "idc-i", **SMALL, steps=5, outer_loop=2, inner_images=64, image_lr=10.0, checkpoint_every=1,
        on_checkpoint=kept.append,
    )  # fmt: skip
    inside = [bool((state.variables["images"].clamp(0, 1) == state.variables["images"]).all()) for state in kept]
    assert inside == [False, True, False, True, True]


def test_idc_keeps_pixels_between_black_and_white(digits: ImageData) -> None:
    proxy = condense(digits, "idc", **SMALL, steps=5, outer_loop=2, inner_images=64, image_lr=10.0)
    assert proxy.stored is not None
    assert 0 <= float(proxy.stored.tensors["images"].min()) < float(proxy.stored.tensors["images"].max()) <= 1


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # torch hides it itself
@pytest.mark.parametrize(
    ("engine", "norm"),
    [
        ("eager-float32-3", "instance"),
        ("eager-float32-20", "instance"),
        ("eager-float32-all", "instance"),
        ("eager-bfloat16-16", "instance"),
        ("compiled-float32-8", "instance"),
        ("eager-float32-3", "batch"),
        ("eager-float32-all", "batch"),
        pytest.param("compiled-float32-8", "batch", marks=pytest.mark.slow),
    ],
)
def test_engines_change_rounding_only(digits: ImageData, engine: str, norm: str) -> None:
    settings: dict[str, Any] = {**SMALL, "outer_loop": 4, "inner_loop": 1, "init": "real", "augmentation": "color_crop"}
    settings["embedding_net"] = f"w8-d2-{norm}-relu-avg"
    start, reference, other = (
        condense(digits, "dsa", **settings, steps=steps, engine=name).images.images
        for steps, name in ((0, "eager-float32-64"), (3, "eager-float32-64"), (3, engine))
    )
    moved = float((reference - start).norm())
    assert moved > 0
    assert float((other - reference).norm()) < (0.2 if "bfloat16" in engine else 1e-3) * moved


def test_batch_norm_goes_on_bit_for_bit(digits: ImageData) -> None:
    """Its running statistics are part of the state of a net that lives for several steps."""
    settings: dict[str, Any] = {**SMALL, "embedding_net": "w8-d2-batch-relu-avg", "outer_loop": 3, "inner_loop": 1}
    kept: list[CondenseState] = []
    whole = condense(digits, "dc", **settings, steps=4, checkpoint_every=2, on_checkpoint=kept.append)
    assert float(kept[0].net["body.1.running_mean"].abs().max()) > 0
    rest = condense(digits, "dc", **settings, steps=4, resume_from=kept[0])
    assert torch.equal(rest.images.images, whole.images.images)


def test_training_augments_like_matching(digits: ImageData) -> None:
    """DSA's net sees augmented images, DC's does not: seen from the nets that they leave behind."""
    kept: dict[str, Tensor] = {}

    def keep(name: str, state: CondenseState) -> None:
        kept[name] = state.net["body.0.weight"]

    for augmentation in ("none", "color"):
        condense(
            digits, "dc", **SMALL, init="real", outer_loop=9, inner_loop=2, steps=1, checkpoint_every=1,
            augmentation=augmentation, image_lr=1e-9,
            on_checkpoint=partial(keep, augmentation),
        )  # fmt: skip
    assert not torch.equal(kept["none"], kept["color"])
    images = digits.train.normalized()[:4]
    assert torch.equal(augment_batch(images, Strategy(), make_generator(0)), images)


def net_after(digits: ImageData, method: str, **settings: Any) -> dict[str, Tensor]:
    """The net after one step that leaves the images nearly as they are, and the training that follows."""
    kept: list[CondenseState] = []
    given: dict[str, Any] = {
        "outer_loop": 9,
        "inner_loop": 2,
        "inner_images": 64,
        "init": "real",
        "image_lr": 1e-9,
    } | settings
    condense(digits, method, **SMALL, **given, steps=1, checkpoint_every=1, on_checkpoint=kept.append)
    return dict(kept[0].net)


@pytest.mark.parametrize(
    ("method", "augmentation", "same_as", "same"),
    [
        ("idc", "color+crop+cutout", "color+crop", True),
        ("idc", "crop_cutout", "crop", True),
        ("idc", "cutout", "none", True),
        ("idc", "color+crop", "none", False),
        ("dsa", "cutout", "none", False),
    ],
)
def test_the_net_of_idc_is_trained_without_cutout(
    digits: ImageData, method: str, augmentation: str, same_as: str, same: bool
) -> None:
    one, other = (net_after(digits, method, augmentation=text) for text in (augmentation, same_as))
    assert all(torch.equal(one[name], other[name]) for name in one) == same


def test_a_fresh_net_of_idc_is_trained_first_where_asked_for(digits: ImageData) -> None:
    """By the recipe of the steps, on all real images."""
    seed = 4
    found = net_after(digits, "idc-i", seed=seed, first_epochs=1, outer_loop=1)
    net = make_net(SMALL["embedding_net"], digits.train, derive_seed(seed, "embedder", 0)).requires_grad_(True)
    fresh = {name: value.clone() for name, value in net.state_dict().items()}
    recipe = REAL_TRAINING.model_copy(update={"augmentation": "color+crop"})
    train([net], digits.train, recipe, [make_generator(seed, "net", 0, "first")], cuda_graphs=False)
    for name, value in net.state_dict().items():
        assert torch.allclose(found[name], value, atol=1e-5)
        assert not torch.equal(found[name], fresh[name])


def test_nets_that_are_trained_first_go_on_bit_for_bit(digits: ImageData) -> None:
    kept: list[CondenseState] = []
    settings: dict[str, Any] = {**SMALL, "first_epochs": 1, "outer_loop": 2, "inner_images": 64, "steps": 3}
    whole = condense(digits, "idc", **settings, checkpoint_every=1, on_checkpoint=kept.append)
    for state in kept:
        rest = condense(digits, "idc", **settings, resume_from=state)
        assert torch.equal(rest.images.images, whole.images.images), state.step
