"""Images that are in memory: arrays of every layout, and data sets of other libraries, as a folder would be read."""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch.utils.data import Dataset
from torchvision.datasets import FakeData, ImageFolder

import nasproxy as nap
from nasproxy.errors import DataError, SettingsError
from nasproxy.images import ImageData, load_images

DRAW = np.random.default_rng(0)
GREY = DRAW.integers(0, 256, (40, 8, 6), dtype=np.uint8)
COLOUR = DRAW.integers(0, 256, (40, 3, 8, 6), dtype=np.uint8)
LABELS = np.arange(40) % 4


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (GREY, GREY[:, None]),
        (GREY[..., None], GREY[:, None]),
        (GREY.astype(np.int64), GREY[:, None]),
        (GREY / 255, GREY[:, None]),
        (torch.from_numpy(GREY).float() / 255, GREY[:, None]),
        (COLOUR, COLOUR),
        (COLOUR.transpose(0, 2, 3, 1), COLOUR),
        (GREY.tolist(), GREY[:, None]),
    ],
)
def test_arrays_of_every_form_are_the_same_images(images: Any, expected: np.ndarray) -> None:
    data = ImageData.from_arrays(images, LABELS, val=(images, LABELS), test=(images, LABELS))
    assert torch.equal(data.train.images, torch.from_numpy(expected))
    assert data.train.labels.tolist() == LABELS.tolist()
    assert data.classes == ("0", "1", "2", "3")


def test_what_is_not_given_is_held_out_and_splits_have_no_image_twice() -> None:
    data = ImageData.from_arrays(GREY, LABELS, val_fraction=0.25, test_fraction=0.2, flippable=False)
    assert [len(data.train), len(data.val), len(data.test)] == [24, 8, 8]
    images = torch.cat([data.train.images, data.val.images, data.test.images]).flatten(1)
    assert torch.equal(images.unique(dim=0), torch.from_numpy(GREY.reshape(40, -1)).unique(dim=0))
    assert not data.train.flippable
    again = ImageData.from_arrays(GREY, LABELS, val_fraction=0.25, test_fraction=0.2, flippable=False)
    assert (again.data_hash, again.split_hash) == (data.data_hash, data.split_hash)
    other = ImageData.from_arrays(GREY, LABELS, split_seed=1)
    assert (other.data_hash == data.data_hash, other.split_hash == data.split_hash) == (True, False)


def test_labels_are_texts_or_any_numbers_and_classes_have_names() -> None:
    texts = np.array(["owl", "cat", "ant", "bee"])[LABELS]
    assert ImageData.from_arrays(GREY, texts).classes == ("ant", "bee", "cat", "owl")
    assert ImageData.from_arrays(GREY, LABELS * 10 - 5).classes == ("-5", "5", "15", "25")
    assert ImageData.from_arrays(GREY, LABELS, classes=("w", "x", "y", "z")).classes == ("w", "x", "y", "z")


class Unreadable(Dataset[Any]):
    def __len__(self) -> int:
        return 3

    def __getitem__(self, number: int) -> Any:
        raise OSError("no such disk")


SQUARE = np.zeros((8, 3, 8, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("give", "problem"),
    [
        (lambda: ImageData.from_arrays(GREY[0], LABELS), r"train images are of shape \(8, 6\); give \(N, H, W\)"),
        (lambda: ImageData.from_arrays(GREY, LABELS[:9]), r"40 images and labels of shape \(9,\); give one label"),
        (lambda: ImageData.from_arrays(GREY, LABELS / 2), "train labels are of type float64; give whole numbers"),
        (lambda: ImageData.from_arrays(GREY / 127.0, LABELS), r"values from 0 to 2.008; give floats in \[0, 1\], not"),
        (lambda: ImageData.from_arrays(GREY.astype(int) - 1, LABELS), r"from -1 to 254; give integers in \[0, 255\]"),
        (lambda: ImageData.from_arrays(GREY * np.nan, LABELS), "values from nan to nan"),
        (lambda: ImageData.from_arrays(GREY, LABELS * 0), "the training labels have 1 class"),
        (lambda: ImageData.from_arrays(GREY, LABELS, classes="abcde"), "class 'e' has no training image; add some"),
        (lambda: ImageData.from_arrays(GREY, LABELS, classes="abc"), "train has the label 3; labels must be 0 to 2"),
        (lambda: ImageData.from_arrays(GREY, LABELS, test=(GREY, LABELS + 1)), "test has the label 4; labels must be"),
        (lambda: ImageData.from_arrays(GREY, LABELS, val=(COLOUR, LABELS)), "val images are 3x8x6, training images 1x"),
        (lambda: ImageData.from_arrays(SQUARE, LABELS[:8]), "give layout='chw' or 'hwc'"),
        (lambda: ImageData.from_arrays(COLOUR[:, :2], LABELS), "have no 1 or 3 channels"),
        (lambda: ImageData.from_arrays(COLOUR, LABELS, layout="hwc"), "layout='hwc': train images are of shape"),
        (lambda: ImageData.from_datasets(Unreadable()), "item 0 of train cannot be read: OSError: no such disk"),
        (lambda: ImageData.from_datasets(["x"]), "item 0 of train is a str, no pair of image and label"),
        (lambda: ImageData.from_datasets([("x", 1)]), "item 0 of train is a str, no image; give Pillow images"),
        (lambda: ImageData.from_datasets([(GREY[0], 0.5)]), "item 0 of train has the label 0.5; give a whole number"),
        (lambda: ImageData.from_datasets([(GREY[0], 0), (GREY[0, 1:], 1)]), "several sizes .item 0: 8x6, item 1: 7x6"),
        (lambda: ImageData.from_datasets([{"img": 1}]), "item 0 of train has no column 'image' but img; give columns="),
        (lambda: ImageData.from_datasets([]), "train is empty"),
        (lambda: ImageData.from_datasets(iter([])), "train is a list_iterator without a length; give a data set that"),
        (lambda: ImageData.from_datasets({"train": [], "test": []}), "train is a mapping of train, test; give one of"),
        (lambda: ImageData.from_arrays([GREY[0], GREY[1, 1:]] * 20, LABELS), "train images have several shapes"),
        (lambda: ImageData.from_arrays(GREY, [None, "a"] * 20), "train labels hold None; give numbers of one kind"),
        (lambda: ImageData.from_arrays(GREY, LABELS, classes=("a", "b", "a", "c")), "two classes are called 'a'"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_that_says_what_to_give(give: Any, problem: str) -> None:
    with pytest.raises(DataError, match=problem) as error:
        give()
    assert "\n" not in str(error.value)


def test_settings_of_what_is_given_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"val_fraction=0.2: val images are given; leave it out"):
        ImageData.from_arrays(GREY, LABELS, val=(GREY, LABELS), val_fraction=0.2)


def test_bytes_and_half_precision_are_read() -> None:
    data = ImageData.from_arrays((torch.from_numpy(GREY) / 255).bfloat16(), np.array([b"a", b"b"] * 20))
    assert data.classes == ("a", "b")


def test_classes_that_no_training_image_has_are_left_out_and_splits_have_one_number_of_channels() -> None:
    items = [(Image.fromarray(GREY[number]), (0, 2)[number % 2]) for number in range(40)]
    colour = [(Image.fromarray(COLOUR[number].transpose(1, 2, 0)), 2) for number in range(8)]

    class Named(list[Any]):
        classes = ("ant", "bee", "cat")

    data = ImageData.from_datasets(Named(items), val=colour)
    assert data.classes == ("ant", "cat")
    assert data.val.labels.tolist() == [1] * 8
    assert data.train.image_shape == data.val.image_shape == (3, 8, 6)
    with pytest.raises(DataError, match="val has the class 'bee', of which there is no training image"):
        ImageData.from_datasets(Named(items), val=[(colour[0][0], 1)])


def test_settings_of_files_are_refused() -> None:
    with pytest.raises(SettingsError, match="unknown setting of images in memory 'image_size'"):
        ImageData.from_arrays(GREY, LABELS, image_size=32)


def test_the_layout_is_given_where_the_shape_does_not_tell() -> None:
    images = DRAW.integers(0, 256, (40, 3, 5, 3), dtype=np.uint8)
    for layout, shape in (("chw", (3, 5, 3)), ("hwc", (3, 3, 5))):
        assert ImageData.from_arrays(images, LABELS, layout=layout).image_shape == shape


def test_a_torchvision_folder_is_read_as_our_own(image_folder: Path) -> None:
    """The same images, splits and names; the order within a class is the same."""
    ours = load_images(image_folder)
    theirs = ImageData.from_datasets(ImageFolder(image_folder / "train"), test=ImageFolder(image_folder / "test"))
    assert (theirs.data_hash, theirs.split_hash, theirs.classes) == (ours.data_hash, ours.split_hash, ours.classes)
    assert torch.equal(theirs.train.images, ours.train.images)


def test_items_are_resized_and_grey_ones_among_coloured_ones_get_three_channels() -> None:
    items = [(Image.new("RGB", (20, 10), "red"), 0), (Image.new("L", (9, 9), 200), 1)] * 10
    data = ImageData.from_datasets(items, image_size=8)
    assert data.image_shape == (3, 8, 8)
    assert set(map(tuple, data.train.images[:, :, 4, 4].tolist())) == {(255, 0, 0), (200, 200, 200)}
    assert ImageData.from_datasets(items, image_size=8, channels=1).image_shape == (1, 8, 8)
    fake = FakeData(size=40, image_size=(3, 6, 6), num_classes=2)
    assert ImageData.from_datasets(fake, name="fake").image_shape == (3, 6, 6)


class _Columns(Dataset[Any]):
    """As Hugging Face's data sets: items are mappings, features name the classes."""

    class _Label:
        names = ("zero", "one", "two", "three")

    features: ClassVar = {"img": None, "digit": _Label()}

    def __len__(self) -> int:
        return 40

    def __getitem__(self, number: int) -> dict[str, Any]:
        return {"img": Image.fromarray(GREY[number]), "digit": torch.tensor(number % 4), "note": "x"}


def test_columns_of_mappings_are_named_and_name_classes() -> None:
    data = ImageData.from_datasets(_Columns(), columns=("img", "digit"))
    assert data.classes == ("zero", "one", "two", "three")


@pytest.mark.usefixtures("local_ray")
def test_everything_works_on_arrays(tmp_path: Path) -> None:
    digits = load_digits()
    data = nap.ImageData.from_arrays(digits.images / 16, digits.target, flippable=False, name="mine")
    runs = nap.Runs(tmp_path)
    proxy = runs.condense(data, "random", images_per_class=5)
    trials = runs.search("convnet-mini", proxy, data, epochs=2, seeds=1, sample=3, workers=1)
    assert (len(trials), trials.info.dataset) == (3, "mine")
    model = runs.train(trials, top=1, data=data, epochs=3, seeds=1, workers=1)
    assert model.predict(data.test.images).shape == (len(data.test), 10)
