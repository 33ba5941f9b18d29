"""Augmentation against plain per-image references written from section 4 of the science notes."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from benchmarks.naive import augment_classes
from nasproxy.augment import GROUPS, Strategy, augment_batch, cutmix, draw_for_classes, parse_strategy
from nasproxy.errors import SettingsError

ALL_GROUPS = ("color", "crop", "cutout", "flip", "scale", "rotate")
DRAWS = 5000
STAGED = ("crop+cutout", "cutout+crop", "flip+color+crop_scale_rotate+cutout")
"""Strategies of several stages."""


def one_of(*groups: str) -> Strategy:
    return Strategy((groups,))


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _random_images(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=_generator(7), dtype=dtype)


def _draw(group: str, shape: tuple[int, int] = (32, 16)) -> dict[str, Tensor]:
    return dict(GROUPS[group].draw(DRAWS, shape, _generator()))


def _apply(group: str, images: Tensor, **values: float | int | bool) -> Tensor:
    """Applies a group with the same parameters to every image."""
    parameters = {name: torch.tensor([value] * len(images)) for name, value in values.items()}
    return GROUPS[group].apply(images, parameters)


def _sample_bilinear(image: Tensor, row: float, column: float) -> Tensor:
    """The (C,) value of a (C, H, W) image between its pixels, zero outside."""
    top, left = math.floor(row), math.floor(column)
    value = torch.zeros(image.shape[0])
    for y, x in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
        if 0 <= y < image.shape[1] and 0 <= x < image.shape[2]:
            value += image[:, y, x] * (1 - abs(row - y)) * (1 - abs(column - x))
    return value


def _warp_reference(image: Tensor, source: Callable[[float, float], tuple[float, float]]) -> Tensor:
    """The image looked up at `source(x, y)` for the pixel at (x, y), all in pixels right and down from the middle."""
    _, height, width = image.shape
    middle_row, middle_column = (height - 1) / 2, (width - 1) / 2
    warped = torch.empty_like(image)
    for row in range(height):
        for column in range(width):
            x, y = source(column - middle_column, row - middle_row)
            warped[:, row, column] = _sample_bilinear(image, y + middle_row, x + middle_column)
    return warped


@pytest.mark.parametrize(
    ("group", "name", "low", "high"),
    [
        ("color", "brightness", -0.5, 0.5),
        ("color", "saturation", 0.0, 2.0),
        ("color", "contrast", 0.5, 1.5),
        ("scale", "x", 1 / 1.2, 1.2),
        ("scale", "y", 1 / 1.2, 1.2),
        ("rotate", "radians", -math.pi / 12, math.pi / 12),
    ],
)
def test_continuous_parameters_fill_their_range(group: str, name: str, low: float, high: float) -> None:
    values = _draw(group)[name]
    near = 0.01 * (high - low)
    assert values.shape == (DRAWS,)
    assert low - 1e-6 <= values.min() < low + near
    assert high - near < values.max() <= high + 1e-6
    assert values.mean().item() == pytest.approx((low + high) / 2, abs=0.03 * (high - low))


@pytest.mark.parametrize(("shape", "down", "right"), [((32, 32), 4, 4), ((32, 16), 4, 2), ((8, 16), 1, 2)])
def test_crop_draws_every_shift_up_to_an_eighth_of_the_side(shape: tuple[int, int], down: int, right: int) -> None:
    drawn = _draw("crop", shape)
    assert set(drawn["down"].tolist()) == set(range(-down, down + 1))
    assert set(drawn["right"].tolist()) == set(range(-right, right + 1))


def test_cutout_centre_reaches_every_row_and_column() -> None:
    drawn = _draw("cutout", (32, 16))
    assert set(range(32)) <= set(drawn["row"].tolist()) <= set(range(33))
    assert set(range(16)) <= set(drawn["column"].tolist()) <= set(range(17))


def test_cutout_centre_of_an_odd_square_lies_inside_the_image() -> None:
    drawn = _draw("cutout", (6, 10))
    assert set(drawn["row"].tolist()) == set(range(6))
    assert set(drawn["column"].tolist()) == set(range(10))


def test_flip_is_drawn_half_of_the_time() -> None:
    assert _draw("flip")["flipped"].float().mean().item() == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize(
    ("group", "first", "second"),
    [
        ("color", "brightness", "saturation"),
        ("color", "saturation", "contrast"),
        ("crop", "down", "right"),
        ("cutout", "row", "column"),
        ("scale", "x", "y"),
    ],
)
def test_parameters_of_a_group_are_drawn_independently(group: str, first: str, second: str) -> None:
    drawn = _draw(group)
    pair = torch.stack([drawn[first], drawn[second]]).double()
    assert abs(torch.corrcoef(pair)[0, 1].item()) < 0.06


def test_color_is_brightness_then_saturation_then_contrast() -> None:
    images = _random_images(3, 3, 4, 5)
    parameters = {
        "brightness": torch.tensor([-0.4, 0.1, 0.5]),
        "saturation": torch.tensor([0.0, 1.7, 0.6]),
        "contrast": torch.tensor([1.4, 0.5, 0.9]),
    }
    expected = []
    for number in range(3):
        bright = images[number] + parameters["brightness"][number]
        grey = (bright[0] + bright[1] + bright[2]) / 3
        saturated = (bright - grey) * parameters["saturation"][number] + grey
        mean = saturated.sum() / saturated.numel()
        expected.append((saturated - mean) * parameters["contrast"][number] + mean)
    torch.testing.assert_close(GROUPS["color"].apply(images, parameters), torch.stack(expected))


def test_saturation_zero_makes_the_channels_equal() -> None:
    grey = _apply("color", _random_images(2, 3, 4, 4), brightness=0.0, saturation=0.0, contrast=1.0)
    torch.testing.assert_close(grey, grey[:, :1].expand_as(grey))


def test_contrast_keeps_the_mean_of_each_image() -> None:
    images = _random_images(4, 3, 6, 6)
    changed = _apply("color", images, brightness=0.0, saturation=1.0, contrast=0.5)
    torch.testing.assert_close(changed.mean(dim=(1, 2, 3)), images.mean(dim=(1, 2, 3)))
    torch.testing.assert_close(changed.std(dim=(1, 2, 3)), images.std(dim=(1, 2, 3)) / 2)


def test_crop_moves_each_image_by_its_shift_and_pads_with_zeros() -> None:
    images = _random_images(4, 2, 8, 8)
    moved = GROUPS["crop"].apply(images, {"down": torch.tensor([1, -1, 0, 2]), "right": torch.tensor([2, -3, 0, -1])})
    expected = torch.zeros_like(images)
    expected[0, :, 1:, 2:] = images[0, :, :-1, :-2]
    expected[1, :, :-1, :-3] = images[1, :, 1:, 3:]
    expected[2] = images[2]
    expected[3, :, 2:, :-1] = images[3, :, :-2, 1:]
    assert torch.equal(moved, expected)


@pytest.mark.parametrize(
    ("row", "column", "rows", "columns"),
    [
        pytest.param(4, 8, slice(2, 6), slice(4, 12), id="inside"),
        pytest.param(0, 0, slice(0, 2), slice(0, 4), id="top-left-corner"),
        pytest.param(8, 16, slice(6, 8), slice(12, 16), id="bottom-right-corner"),
        pytest.param(1, 15, slice(0, 3), slice(11, 16), id="clipped-at-top-and-right"),
    ],
)
def test_cutout_zeroes_a_half_side_square_clipped_at_the_border(
    row: int, column: int, rows: slice, columns: slice
) -> None:
    images = _random_images(2, 3, 8, 16)
    expected = images.clone()
    expected[:, :, rows, columns] = 0
    assert torch.equal(_apply("cutout", images, row=row, column=column), expected)


def test_cutout_of_an_odd_square_is_centred_on_its_pixel() -> None:
    images = _random_images(1, 1, 6, 6)
    expected = images.clone()
    expected[:, :, 1:4, 2:5] = 0
    assert torch.equal(_apply("cutout", images, row=2, column=3), expected)


def test_flip_mirrors_left_and_right_where_drawn() -> None:
    images = _random_images(3, 2, 4, 5)
    flipped = GROUPS["flip"].apply(images, {"flipped": torch.tensor([True, False, True])})
    backwards = [4, 3, 2, 1, 0]
    expected = torch.stack([images[0][:, :, backwards], images[1], images[2][:, :, backwards]])
    assert torch.equal(flipped, expected)


@pytest.mark.parametrize(
    ("group", "values"),
    [
        ("color", {"brightness": 0.0, "saturation": 1.0, "contrast": 1.0}),
        ("crop", {"down": 0, "right": 0}),
        ("flip", {"flipped": False}),
        ("scale", {"x": 1.0, "y": 1.0}),
        ("rotate", {"radians": 0.0}),
    ],
)
def test_neutral_parameters_leave_images_as_they_are(group: str, values: dict[str, float]) -> None:
    images = _random_images(2, 3, 8, 6)
    torch.testing.assert_close(_apply(group, images, **values), images, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("shape", [(6, 6), (8, 4)])
@pytest.mark.parametrize(("x", "y"), [(1 / 1.2, 1 / 1.2), (1.2, 0.9), (1.0, 1.2)])
def test_scale_samples_bilinearly_at_scaled_offsets(shape: tuple[int, int], x: float, y: float) -> None:
    images = _random_images(2, 2, *shape)
    expected = torch.stack([_warp_reference(image, lambda dx, dy: (x * dx, y * dy)) for image in images])
    torch.testing.assert_close(_apply("scale", images, x=x, y=y), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("degrees", [-15.0, 5.0, 15.0])
@pytest.mark.parametrize("shape", [(6, 6), (8, 4)], ids=["square", "not-square"])
def test_rotate_samples_bilinearly_at_rotated_offsets(shape: tuple[int, int], degrees: float) -> None:
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    images = _random_images(2, 2, *shape)
    expected = torch.stack(
        [_warp_reference(image, lambda x, y: (cos * x - sin * y, sin * x + cos * y)) for image in images]
    )
    rotated = _apply("rotate", images, radians=math.radians(degrees))
    torch.testing.assert_close(rotated, expected, atol=1e-5, rtol=1e-5)


def test_rotate_by_a_right_angle_is_rot90() -> None:
    images = _random_images(2, 3, 7, 7)
    rotated = _apply("rotate", images, radians=math.pi / 2)
    torch.testing.assert_close(rotated, torch.rot90(images, 1, (2, 3)), atol=1e-5, rtol=1e-5)


def test_scale_fills_what_lies_outside_with_zeros() -> None:
    shrunk = _apply("scale", torch.ones(1, 1, 8, 8), x=2.0, y=2.0)
    expected = torch.zeros(1, 1, 8, 8)
    expected[:, :, 2:6, 2:6] = 1
    torch.testing.assert_close(shrunk, expected)


def test_rotate_fills_what_lies_outside_with_zeros() -> None:
    corners = _apply("rotate", torch.ones(1, 1, 16, 16), radians=math.pi / 4)[0, 0, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert torch.equal(corners, torch.zeros(4))


@pytest.mark.parametrize("group", ALL_GROUPS)
def test_classes_get_one_set_of_parameters_shared_by_both_batches(group: str) -> None:
    image = _random_images(3, 16, 16)
    real, synthetic = augment_classes(
        (image.expand(20, 5, 3, 16, 16), image.expand(20, 2, 3, 16, 16)), one_of(group), _generator()
    )
    assert (real.shape, synthetic.shape) == ((20, 5, 3, 16, 16), (20, 2, 3, 16, 16))
    torch.testing.assert_close(real, real[:, :1].expand_as(real))
    torch.testing.assert_close(synthetic, real[:, :1].expand_as(synthetic))


@pytest.mark.parametrize(("group", "at_least"), [(name, 2 if name == "flip" else 8) for name in ALL_GROUPS])
def test_classes_get_different_parameters(group: str, at_least: int) -> None:
    image = _random_images(3, 16, 16)
    (augmented,) = augment_classes((image.expand(20, 1, 3, 16, 16),), one_of(group), _generator())
    assert len(torch.unique(augmented.flatten(1), dim=0)) >= at_least


def test_classes_of_the_full_strategy_share_group_and_parameters() -> None:
    image = _random_images(3, 16, 16)
    real, synthetic = augment_classes(
        (image.expand(60, 3, 3, 16, 16), image.expand(60, 2, 3, 16, 16)), one_of(*ALL_GROUPS), _generator()
    )
    torch.testing.assert_close(real, real[:, :1].expand_as(real))
    torch.testing.assert_close(synthetic, real[:, :1].expand_as(synthetic))


def test_classes_get_one_group_each() -> None:
    image = torch.rand(1, 8, 8, generator=_generator(7)) + 1
    (augmented,) = augment_classes((image.expand(60, 1, 1, 8, 8),), one_of("flip", "cutout"), _generator())
    augmented = augmented.squeeze(1)
    cut = (augmented == 0).flatten(1).any(dim=1)
    as_it_was = (augmented == image).flatten(1).all(dim=1)
    mirrored = (augmented == image.flip(2)).flatten(1).all(dim=1)
    only_cut = ((augmented == image) | (augmented == 0)).flatten(1).all(dim=1) & cut
    assert (only_cut | as_it_was | mirrored).all()
    assert 15 <= cut.sum() <= 45
    assert as_it_was.any()
    assert mirrored.any()


def test_classes_keep_their_order_and_their_images() -> None:
    value = torch.arange(1.0, 31.0).view(10, 3)
    batch = value.view(10, 3, 1, 1, 1).expand(10, 3, 2, 8, 8)
    (augmented,) = augment_classes((batch,), one_of("crop", "cutout", "flip"), _generator())
    assert torch.equal(augmented.amax(dim=(2, 3, 4)), value)


@pytest.mark.parametrize("group", ALL_GROUPS)
def test_gradient_of_siamese_augmentation_is_right_for_both_batches(group: str) -> None:
    real = _random_images(2, 2, 2, 4, 4, dtype=torch.float64).requires_grad_()
    synthetic = _random_images(2, 1, 2, 4, 4, dtype=torch.float64).requires_grad_()

    def augment(*batches: Tensor) -> tuple[Tensor, ...]:
        return augment_classes(batches, one_of(group), _generator(3))

    assert torch.autograd.gradcheck(augment, (real, synthetic))


@pytest.mark.parametrize("group", ALL_GROUPS)
def test_gradient_reaches_every_image_of_a_training_batch(group: str) -> None:
    images = _random_images(6, 3, 8, 8).requires_grad_()
    augment_batch(images, one_of(group), _generator()).pow(2).sum().backward()
    assert images.grad is not None
    assert images.grad.isfinite().all()
    assert (images.grad.abs().amax(dim=(1, 2, 3)) > 0).all()


@pytest.mark.parametrize("group", ALL_GROUPS)
def test_batch_draws_parameters_for_each_image(group: str) -> None:
    augmented = augment_batch(_random_images(3, 16, 16).expand(20, 3, 16, 16), one_of(group), _generator())
    assert augmented.shape == (20, 3, 16, 16)
    assert len(torch.unique(augmented.flatten(1), dim=0)) >= (2 if group == "flip" else 8)


@pytest.mark.parametrize("group", ALL_GROUPS)
def test_batch_augments_each_image_from_its_own_pixels(group: str) -> None:
    images = _random_images(5, 3, 8, 8)
    whole = augment_batch(images, one_of(group), _generator())
    only_third = torch.zeros_like(images)
    only_third[2] = images[2]
    torch.testing.assert_close(augment_batch(only_third, one_of(group), _generator())[2], whole[2])


def test_batch_gets_one_group_for_all_its_images() -> None:
    image = torch.rand(1, 8, 8, generator=_generator(7)) + 1
    generator = _generator()
    batches = torch.stack(
        [augment_batch(image.expand(8, 1, 8, 8), one_of("flip", "cutout"), generator) for _ in range(40)]
    )
    cut = (batches == 0).flatten(2).any(dim=2).sum(dim=1)
    assert set(cut.tolist()) == {0, 8}
    assert 8 <= (cut == 8).sum() <= 32


def test_augmentation_of_a_batch_comes_from_the_seed() -> None:
    images = _random_images(6, 3, 8, 8)
    first, again, other = (augment_batch(images, one_of("color"), _generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_augmentation_of_classes_comes_from_the_seed() -> None:
    batches = (_random_images(6, 2, 3, 8, 8),)
    first, again, other = (augment_classes(batches, one_of(*ALL_GROUPS), _generator(seed))[0] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_successive_draws_of_one_generator_differ() -> None:
    images, generator = _random_images(6, 3, 8, 8), _generator()
    first = augment_batch(images, one_of("color"), generator)
    assert not torch.equal(first, augment_batch(images, one_of("color"), generator))


def test_augmentation_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    augment_batch(_random_images(6, 3, 8, 8), one_of(*ALL_GROUPS), _generator())
    augment_classes((_random_images(6, 2, 3, 8, 8),), one_of(*ALL_GROUPS), _generator())
    assert torch.equal(torch.get_rng_state(), before)


def test_no_groups_leave_images_and_generator_as_they_are() -> None:
    generator = _generator()
    before = generator.get_state()
    images = _random_images(4, 2, 3, 8, 8)
    assert torch.equal(augment_batch(images[:, 0], Strategy(), generator), images[:, 0])
    assert torch.equal(augment_classes((images,), Strategy(), generator)[0], images)
    assert torch.equal(generator.get_state(), before)


def _augment_one_group(images: Tensor, groups: tuple[str, ...], generator: torch.Generator) -> Tensor:
    """A batch (N, C, H, W) by one group drawn for all: what strategies were before they had stages."""
    group = GROUPS[groups[int(torch.randint(len(groups), (), generator=generator))]]
    height, width = images.shape[2:]
    return group.apply(images, group.draw(len(images), (height, width), generator))


def _augment_classes_by_one_group(images: Tensor, groups: tuple[str, ...], generator: torch.Generator) -> Tensor:
    """(K, M, C, H, W) class by class, the group and the parameters of each drawn beforehand."""
    num_classes, size, _, height, width = images.shape
    chosen = torch.randint(len(groups), (num_classes,), generator=generator).tolist()
    drawn = [GROUPS[name].draw(num_classes, (height, width), generator) for name in groups]
    augmented = []
    for k, number in enumerate(chosen):
        parameters = {name: value[k].expand(size) for name, value in drawn[number].items()}
        augmented.append(GROUPS[groups[number]].apply(images[k], parameters))
    return torch.stack(augmented)


@pytest.mark.parametrize("text", ["auto", "color", "crop_cutout", "flip_cutout_rotate", "color_crop_flip_scale"])
def test_strategies_of_one_stage_draw_what_they_drew_before_there_were_stages(text: str) -> None:
    strategy = parse_strategy(text, flippable=True)
    (groups,) = strategy.stages
    images, generator, reference = _random_images(6, 4, 3, 8, 8), _generator(3), _generator(3)
    for _ in range(4):
        expected = _augment_one_group(images[:, 0], groups, reference)
        assert torch.equal(augment_batch(images[:, 0], strategy, generator), expected)
        expected = _augment_classes_by_one_group(images, groups, reference)
        assert torch.equal(augment_classes((images,), strategy, generator)[0], expected)
    assert torch.equal(generator.get_state(), reference.get_state())


@pytest.mark.parametrize("text", STAGED)
def test_stages_follow_one_another_in_the_order_written(text: str) -> None:
    """As many augmentations of one stage each, with the draws of one generator."""
    images, strategy = _random_images(6, 4, 3, 8, 8), parse_strategy(text, flippable=True)
    generator, reference = _generator(4), _generator(4)
    for _ in range(3):
        batch, classes = images[:, 0], images
        for stage in strategy.stages:
            batch = _augment_one_group(batch, stage, reference)
        for stage in strategy.stages:
            classes = _augment_classes_by_one_group(classes, stage, reference)
        assert torch.equal(augment_batch(images[:, 0], strategy, generator), batch)
        assert torch.equal(augment_classes((images,), strategy, generator)[0], classes)


def test_what_is_cut_out_after_color_stays_empty() -> None:
    """Order by what can be seen: zeros of a cutout that color follows are no zeros any more."""
    images = _random_images(5, 3, 8, 8) + 5
    for text, empty in (("color+cutout", True), ("cutout+color", False)):
        augmented = augment_batch(images, parse_strategy(text, flippable=True), _generator(1))
        assert bool((augmented == 0).flatten(1).any(dim=1).all()) == empty
        assert not torch.equal(augmented[augmented != 0], images[augmented != 0])


def test_the_groups_of_a_stage_are_drawn_alike_often_and_independently_of_other_stages() -> None:
    strategy = parse_strategy("flip_color+crop_scale_rotate", flippable=True)
    first, second = (stage.chosen for stage in draw_for_classes(6000, (8, 8), strategy, _generator()).stages)
    for one in range(2):
        for other in range(3):
            assert float(((first == one) & (second == other)).double().mean()) == pytest.approx(1 / 6, abs=0.02)


def test_a_batch_gets_one_group_of_each_stage_and_all_stages() -> None:
    """Flip is always there; of cutout and color one is, for the whole batch."""
    image = torch.rand(1, 8, 8, generator=_generator(7)) + 1
    generator, strategy = _generator(), parse_strategy("flip+cutout_color", flippable=True)
    cut, mirrored = [], []
    for _ in range(60):
        batch = augment_batch(image.expand(8, 1, 8, 8), strategy, generator)
        with_zeros = (batch == 0).flatten(1).any(dim=1)
        assert bool(with_zeros.all()) == bool(with_zeros.any())
        cut.append(bool(with_zeros.all()))
        if cut[-1]:
            as_it_was = ((batch == image) | (batch == 0)).flatten(1).all(dim=1)
            mirrored += [not bool(whole) for whole in as_it_was]
    assert 20 <= sum(cut) <= 40
    assert 0.35 < sum(mirrored) / len(mirrored) < 0.65


@pytest.mark.parametrize("text", STAGED)
def test_real_and_synthetic_images_of_a_class_share_all_stages(text: str) -> None:
    image, strategy = _random_images(3, 16, 16), parse_strategy(text, flippable=True)
    real, synthetic = augment_classes(
        (image.expand(20, 5, 3, 16, 16), image.expand(20, 2, 3, 16, 16)), strategy, _generator()
    )
    torch.testing.assert_close(real, real[:, :1].expand_as(real))
    torch.testing.assert_close(synthetic, real[:, :1].expand_as(synthetic))
    assert len(torch.unique(real[:, 0].flatten(1), dim=0)) > 15, "classes have draws of their own"
    draws = draw_for_classes(20, (16, 16), strategy, _generator())
    assert torch.equal(draws.apply(image.expand(7, 5, 3, 16, 16), slice(6, 13)), real[6:13])


@pytest.mark.parametrize("text", STAGED)
def test_a_batch_of_several_stages_has_parameters_for_each_image_and_a_gradient(text: str) -> None:
    images, strategy = _random_images(3, 16, 16).expand(20, 3, 16, 16).clone(), parse_strategy(text, flippable=True)
    augmented = augment_batch(images.requires_grad_(), strategy, _generator())
    assert len(torch.unique(augmented.flatten(1), dim=0)) > 15
    augmented.pow(2).sum().backward()
    assert images.grad is not None
    assert bool((images.grad.abs().amax(dim=(1, 2, 3)) > 0).all())


def test_several_stages_come_from_the_generator_alone() -> None:
    images, strategy = _random_images(6, 2, 3, 8, 8), parse_strategy(STAGED[-1], flippable=True)
    before = torch.get_rng_state()
    one, again, other = (augment_batch(images[:, 0], strategy, _generator(seed)) for seed in (1, 1, 2))
    first, once_more, second = (augment_classes((images,), strategy, _generator(seed))[0] for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert torch.equal(first, once_more)
    assert not torch.equal(one, other)
    assert not torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("text", "flippable", "stages"),
    [
        ("flip+color", True, (("flip",), ("color",))),
        ("flip+color", False, (("flip",), ("color",))),
        ("color+crop_scale+cutout", True, (("color",), ("crop", "scale"), ("cutout",))),
        ("idc", True, (("flip",), ("color",), ("crop", "scale", "rotate"))),
        ("idc", False, (("color",), ("crop", "scale", "rotate"))),
    ],
)
def test_stages_are_joined_by_plus(text: str, flippable: bool, stages: tuple[tuple[str, ...], ...]) -> None:
    assert parse_strategy(text, flippable=flippable) == Strategy(stages)


@pytest.mark.parametrize("text", ["none", "auto", "idc", "color", "color_crop", *STAGED])
@pytest.mark.parametrize("flippable", [True, False])
def test_a_strategy_is_written_as_it_is_read(text: str, flippable: bool) -> None:
    strategy = parse_strategy(text, flippable=flippable)
    assert parse_strategy(str(strategy), flippable=flippable) == strategy


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("color+crop+cutout", "color+crop"),
        ("color+crop_cutout", "color+crop"),
        ("cutout", "none"),
        ("none", "none"),
        ("color_crop", "color_crop"),
    ],
)
def test_a_group_can_be_taken_out(text: str, left: str) -> None:
    assert str(parse_strategy(text, flippable=True).without("cutout")) == left


@pytest.mark.parametrize(
    ("strategy", "flippable", "groups"),
    [
        ("auto", True, ("color", "crop", "cutout", "flip", "scale", "rotate")),
        ("auto", False, ("color", "crop", "cutout", "scale", "rotate")),
        ("none", True, ()),
        ("none", False, ()),
        ("rotate_color", True, ("rotate", "color")),
        ("flip", False, ("flip",)),
    ],
)
def test_strategy_names_its_groups(strategy: str, flippable: bool, groups: tuple[str, ...]) -> None:
    assert parse_strategy(strategy, flippable=flippable) == (one_of(*groups) if groups else Strategy())


def test_groups_are_the_six_of_the_strategy() -> None:
    assert tuple(GROUPS) == ALL_GROUPS


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        ("colour_crop", r"unknown augmentation 'colour': did you mean 'color'\? choose from .*crop"),
        ("crop_rotation", r"unknown augmentation 'rotation': did you mean 'rotate'\?"),
        ("", r"unknown augmentation ''"),
        ("color-crop", r"unknown augmentation 'color-crop'"),
        ("color+crob", r"unknown augmentation 'crob': did you mean 'crop'\?"),
        ("color+", r"unknown augmentation ''"),
        ("color+crop__scale", r"unknown augmentation ''"),
        ("color+[crop,scale]", r"unknown augmentation '\[crop,scale\]'"),
    ],
)
def test_unknown_group_is_refused_and_the_nearest_named(strategy: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        parse_strategy(strategy, flippable=True)


@pytest.mark.parametrize("strategy", ["crop_color_crop", "crop+color+crop", "crop_color+flip_crop"])
def test_repeated_group_is_refused(strategy: str) -> None:
    with pytest.raises(SettingsError, match="names a group twice") as caught:
        parse_strategy(strategy, flippable=True)
    assert repr(strategy) in str(caught.value)


@pytest.mark.parametrize("strategy", ["auto_flip", "color_none", "color+none", "idc+cutout"])
def test_whole_strategy_inside_another_is_refused_without_naming_itself(strategy: str) -> None:
    with pytest.raises(SettingsError, match=r"^(?!.*did you mean).*'auto', 'idc' and 'none' stand alone"):
        parse_strategy(strategy, flippable=True)


def test_cutmix_pastes_one_box_of_another_image_and_mixes_targets_by_its_area() -> None:
    """Images of one value each show where every pixel comes from."""
    images = torch.arange(6.0).view(6, 1, 1, 1).expand(6, 2, 10, 8)
    targets = torch.eye(6)
    shares = []
    for seed in range(40):
        mixed, mixed_targets = cutmix(images, targets, 1.0, _generator(seed))
        pasted = mixed[:, 0] != images[:, 0]
        moved = [k for k in range(6) if bool(pasted[k].any())]
        assert bool((mixed[:, 0] == mixed[:, 1]).all()), "all channels alike"
        for k in moved:
            rows, columns = (torch.nonzero(pasted[k].any(dim=1 - axis)).flatten().tolist() for axis in (0, 1))
            assert rows == list(range(rows[0], rows[-1] + 1))
            assert columns == list(range(columns[0], columns[-1] + 1))
            assert int(pasted[k].sum()) == len(rows) * len(columns), "a box"
            assert torch.equal(pasted[k], pasted[moved[0]]), "the same for all"
            other = int(mixed[k, 0][pasted[k]][0])
            share = float(pasted[k].float().mean())
            assert mixed_targets[k].tolist() == pytest.approx(
                [1 - share if j == k else share if j == other else 0.0 for j in range(6)]
            )
            shares.append(share)
        assert torch.allclose(mixed_targets.sum(dim=1), torch.ones(6))
    assert min(shares) < 0.2 < 0.5 < max(shares)
    assert torch.equal(images[:, 0, 0, 0], torch.arange(6.0)), "the input is untouched"


def test_cutmix_mixes_as_often_as_it_is_told() -> None:
    images, targets = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 1, 8, 8), torch.eye(4)
    mixed = [not torch.equal(cutmix(images, targets, 0.3, _generator(seed))[0], images) for seed in range(300)]
    assert 0.2 < sum(mixed) / 300 < 0.35  # now and then a box is empty, or an image is mixed with itself
    assert not any(not torch.equal(cutmix(images, targets, 0.0, _generator(seed))[1], targets) for seed in range(20))
