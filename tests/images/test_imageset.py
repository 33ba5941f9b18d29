"""One set of labelled images: what nets see of it, how it is sampled, hashed and kept."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from nasproxy.errors import DataError
from nasproxy.images import ImageData, ImageSet, make_generator
from nasproxy.images.imageset import load_image_set, read_classes, save_image_set


def _unbalanced_set() -> ImageSet:
    """13 grey images, 1x2x2: 10 of class 'many', 3 of class 'few', mixed."""
    images = torch.arange(13 * 4, dtype=torch.uint8).view(13, 1, 2, 2)
    labels = torch.tensor([0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0])
    return ImageSet(images, labels, ("many", "few"), (0.5,), (0.5,))


def _as_floats(images: ImageSet) -> ImageSet:
    return replace(images, images=images.images.float() / 255)


def test_normalized_training_images_have_mean_0_and_deviation_1(digits: ImageData) -> None:
    pixels = digits.train.normalized()
    assert pixels.dtype == torch.float32
    assert pixels.mean().item() == pytest.approx(0, abs=1e-4)
    assert pixels.std(correction=0).item() == pytest.approx(1, abs=1e-4)


def test_normalized_is_pixel_minus_mean_over_deviation(tiny_set: ImageSet) -> None:
    expected = torch.empty(12, 3, 8, 8)
    expected[:, 0] = (tiny_set.images[:, 0] / 255 - 0.5) / 0.25
    expected[:, 1] = (tiny_set.images[:, 1] / 255 - 0.4) / 0.2
    expected[:, 2] = (tiny_set.images[:, 2] / 255 - 0.3) / 0.3
    torch.testing.assert_close(tiny_set.normalized(), expected)


def test_normalized_of_float_images_is_that_of_bytes(tiny_set: ImageSet) -> None:
    torch.testing.assert_close(_as_floats(tiny_set).normalized(), tiny_set.normalized())


def test_normalized_of_an_index_follows_its_order(tiny_set: ImageSet) -> None:
    index = torch.tensor([7, 0, 7])
    assert torch.equal(tiny_set.normalized(index), tiny_set.normalized()[index])


def test_normalized_of_a_slice(tiny_set: ImageSet) -> None:
    assert torch.equal(tiny_set.normalized(slice(3, 5)), tiny_set.normalized()[3:5])


def test_pixels_from_normalized_is_the_inverse(tiny_set: ImageSet) -> None:
    back = tiny_set.pixels_from_normalized(tiny_set.normalized())
    torch.testing.assert_close(back, tiny_set.images.float() / 255, atol=1e-6, rtol=0)


def test_pixels_from_normalized_are_not_clamped(tiny_set: ImageSet) -> None:
    assert tiny_set.pixels_from_normalized(torch.full((1, 3, 8, 8), 10.0)).min() > 1


def test_describes_itself(tiny_set: ImageSet) -> None:
    assert (len(tiny_set), tiny_set.num_classes, tiny_set.image_shape) == (12, 3, (3, 8, 8))


def test_image_shape_is_channels_height_width() -> None:
    images = ImageSet(torch.zeros(2, 1, 4, 6), torch.tensor([0, 1]), ("a", "b"), (0.0,), (1.0,))
    assert images.image_shape == (1, 4, 6)


def test_class_indices_are_ascending_and_of_their_class() -> None:
    many, few = _unbalanced_set().class_indices
    assert many.tolist() == [0, 1, 3, 4, 5, 7, 8, 9, 11, 12]
    assert few.tolist() == [2, 6, 10]


def test_sample_classes_takes_from_each_class_without_repetition(digits: ImageData) -> None:
    index = digits.train.sample_classes(50, make_generator(0))
    assert index.shape == (10, 50)
    assert torch.equal(digits.train.labels[index], torch.arange(10).view(10, 1).expand(10, 50))
    assert index.unique().numel() == 500


def test_sample_classes_goes_through_a_small_class_again() -> None:
    images = _unbalanced_set()
    many, few = images.sample_classes(8, make_generator(0))
    assert many.unique().numel() == 8
    assert set(few[:3].tolist()) == set(few[3:6].tolist()) == {2, 6, 10}
    assert few[6:].unique().numel() == 2
    assert set(few.tolist()) == {2, 6, 10}


def test_sample_classes_goes_through_a_small_class_in_a_new_order() -> None:
    few = _unbalanced_set().sample_classes(30, make_generator(0))[1]
    assert len({tuple(order) for order in few.view(10, 3).tolist()}) > 1


def test_sample_classes_of_a_whole_class_is_a_permutation_of_it() -> None:
    many = _unbalanced_set().sample_classes(10, make_generator(0))[0]
    assert sorted(many.tolist()) == [0, 1, 3, 4, 5, 7, 8, 9, 11, 12]


def test_sample_classes_draws_every_image_about_as_often() -> None:
    images, generator = _unbalanced_set(), make_generator(0)
    drawn = torch.cat([images.sample_classes(2, generator)[0] for _ in range(500)])
    counts = torch.bincount(drawn, minlength=13)[images.class_indices[0]]
    assert counts.min() > 60
    assert counts.max() < 140


def test_sample_classes_comes_from_the_generator(digits: ImageData) -> None:
    first, again, other = (digits.train.sample_classes(20, make_generator("draw", seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_sample_classes_leaves_the_global_generator_alone(tiny_set: ImageSet) -> None:
    before = torch.get_rng_state()
    tiny_set.sample_classes(3, make_generator(0))
    assert torch.equal(torch.get_rng_state(), before)


def test_generator_depends_on_every_part() -> None:
    seeds = {make_generator(*parts).initial_seed() for parts in ((0, "a"), (1, "a"), (0, "b"), (0,), ("0", "a"))}
    assert len(seeds) == 5


def _other_pixel(images: ImageSet) -> ImageSet:
    pixels = images.images.clone()
    pixels[5, 1, 2, 3] += 1
    return replace(images, images=pixels)


def _other_label(images: ImageSet) -> ImageSet:
    labels = images.labels.clone()
    labels[5] = (labels[5] + 1) % 3
    return replace(images, labels=labels)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(_other_pixel, id="pixel"),
        pytest.param(_other_label, id="label"),
        pytest.param(lambda images: replace(images, classes=("a", "b", "d")), id="class-name"),
        pytest.param(lambda images: replace(images, classes=("a", "c", "b")), id="order-of-classes"),
        pytest.param(lambda images: images.subset(torch.arange(11)), id="fewer-images"),
        pytest.param(lambda images: images.subset(torch.arange(11, -1, -1)), id="order-of-images"),
        pytest.param(lambda images: replace(images, images=images.images.view(12, 3, 4, 16)), id="shape"),
        pytest.param(_as_floats, id="dtype"),
    ],
)
def test_content_hash_changes_with(tiny_set: ImageSet, change: Callable[[ImageSet], ImageSet]) -> None:
    assert change(tiny_set).content_hash() != tiny_set.content_hash()


def test_content_hash_is_32_hex_digits_of_the_content_alone(tiny_set: ImageSet) -> None:
    # Same numbers, other memory layout.
    copy = replace(tiny_set, images=tiny_set.images.clone(memory_format=torch.channels_last))
    assert copy.content_hash() == tiny_set.content_hash()
    assert len(bytes.fromhex(tiny_set.content_hash())) == 16


def test_subset_follows_the_index(tiny_set: ImageSet) -> None:
    chosen = tiny_set.subset(torch.tensor([4, 0]))
    assert torch.equal(chosen.images, tiny_set.images[[4, 0]])
    assert chosen.labels.tolist() == [1, 0]
    assert (chosen.classes, chosen.mean, chosen.std) == (tiny_set.classes, tiny_set.mean, tiny_set.std)


def test_subset_of_a_used_set_has_its_own_class_indices(tiny_set: ImageSet) -> None:
    assert len(tiny_set.class_indices[0]) == 4
    assert [len(index) for index in tiny_set.subset(torch.tensor([0, 1, 3])).class_indices] == [2, 1, 0]


def test_to_moves_images_and_labels(tiny_set: ImageSet) -> None:
    moved = tiny_set.to("meta")
    assert moved.device == moved.images.device == moved.labels.device == torch.device("meta")
    assert (moved.image_shape, moved.classes) == (tiny_set.image_shape, tiny_set.classes)
    assert tiny_set.device == torch.device("cpu")


@pytest.mark.parametrize("flippable", [True, False])
@pytest.mark.parametrize("as_floats", [False, True], ids=["uint8", "float32"])
def test_saved_set_is_read_back_bit_for_bit(
    tiny_set: ImageSet, tmp_path: Path, flippable: bool, as_floats: bool
) -> None:
    images = replace(_as_floats(tiny_set) if as_floats else tiny_set, mean=(0.1, 1 / 3, 0.7), flippable=flippable)
    path = tmp_path / "new" / "set.safetensors"
    save_image_set(images, path, {"note": "é", "nested": {"numbers": [1, 2.5, None]}})
    loaded, metadata = load_image_set(path)
    assert loaded.images.dtype == images.images.dtype
    assert torch.equal(loaded.images, images.images)
    assert loaded.labels.dtype == torch.int64
    assert torch.equal(loaded.labels, images.labels)
    assert (loaded.classes, loaded.mean, loaded.std) == (images.classes, images.mean, images.std)
    assert loaded.flippable is flippable
    assert (metadata["note"], metadata["nested"]) == ("é", {"numbers": [1, 2.5, None]})
    assert loaded.content_hash() == images.content_hash()


def test_saved_set_of_another_memory_layout_is_read_back(tiny_set: ImageSet, tmp_path: Path) -> None:
    images = replace(tiny_set, images=tiny_set.images.clone(memory_format=torch.channels_last))
    save_image_set(images, tmp_path / "set.safetensors", {})
    assert torch.equal(load_image_set(tmp_path / "set.safetensors")[0].images, tiny_set.images)


def test_classes_are_read_alone(tiny_set: ImageSet, tmp_path: Path) -> None:
    path = tmp_path / "set.safetensors"
    save_image_set(tiny_set, path, {})
    assert read_classes(path) == tiny_set.classes
    save_file({"images": torch.zeros(1)}, path)
    for _ in range(2):  # of another program, then missing
        with pytest.raises(DataError, match=r"set\.safetensors is no image set of nasproxy"):
            read_classes(path)
        path.unlink(missing_ok=True)


def test_saving_leaves_one_file_and_replaces_the_old_one(tiny_set: ImageSet, tmp_path: Path) -> None:
    path = tmp_path / "set.safetensors"
    save_image_set(tiny_set, path, {})
    save_image_set(tiny_set.subset(torch.arange(3)), path, {})
    assert len(load_image_set(path)[0]) == 3
    assert [file.name for file in tmp_path.iterdir()] == ["set.safetensors"]


@pytest.mark.parametrize("kept", [0, 4, 100, 2000])
def test_cut_off_file_is_refused_by_name(tiny_set: ImageSet, tmp_path: Path, kept: int) -> None:
    path = tmp_path / "set.safetensors"
    save_image_set(tiny_set, path, {})
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match=r"set\.safetensors is no image set of nasproxy"):
        load_image_set(path)


def test_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "set.safetensors"
    path.write_text("not tensors at all, but long enough to look like a header " * 10)
    with pytest.raises(DataError, match="is no image set of nasproxy"):
        load_image_set(path)


@pytest.mark.parametrize(
    "described",
    [
        pytest.param(None, id="no-metadata"),
        pytest.param({"classes": json.dumps(["a"])}, id="some-metadata"),
        pytest.param({"format": "pt"}, id="metadata-of-others"),
    ],
)
def test_tensors_without_our_metadata_are_refused(tmp_path: Path, described: dict[str, str] | None) -> None:
    path = tmp_path / "set.safetensors"
    save_file({"images": torch.zeros(1, 1, 2, 2), "labels": torch.zeros(1)}, path, metadata=described)
    with pytest.raises(DataError, match="is no image set of nasproxy"):
        load_image_set(path)


def test_file_without_labels_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "set.safetensors"
    save_file({"images": torch.zeros(1, 1, 2, 2)}, path, metadata={"classes": '["a"]'})
    with pytest.raises(DataError, match="is no image set of nasproxy"):
        load_image_set(path)


def test_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no file .*gone\.safetensors; check the path"):
        load_image_set(tmp_path / "gone.safetensors")


def test_folder_in_place_of_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=str(tmp_path)):
        load_image_set(tmp_path)
