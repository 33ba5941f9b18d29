"""Named data sets: reading, splitting, errors. Image folders are in test_image_folder."""

import gzip
import hashlib
import pickle
import struct
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from scipy.io import savemat
from sklearn.datasets import load_digits
from torch import Tensor

from nasproxy.config import ImageSettings
from nasproxy.errors import DataError, SettingsError
from nasproxy.images import DATASETS, ImageData, ImageSet, load_images

FASHION_CLASSES = 10


def _counts(images: ImageSet) -> list[int]:
    return torch.bincount(images.labels, minlength=images.num_classes).tolist()


def _contents(*splits: ImageSet) -> Counter[tuple[bytes, int]]:
    """How often each (pixels, label) occurs."""
    return Counter(
        (image.numpy().tobytes(), int(label))
        for split in splits
        for image, label in zip(split.images, split.labels, strict=True)
    )


def _whole_counts() -> Tensor:
    return torch.bincount(torch.from_numpy(load_digits().target))


def test_digits_have_the_known_sizes(digits: ImageData) -> None:
    assert (len(digits.train), len(digits.val), len(digits.test)) == (1295, 143, 359)
    assert (digits.image_shape, digits.num_classes, digits.name) == ((1, 16, 16), 10, "digits")
    assert digits.classes == tuple("0123456789")


def test_data_are_described_in_a_line(digits: ImageData) -> None:
    """±: half of a 95 % interval around an accuracy of one half on 143 images, 1.96 * sqrt(0.25 / 143)."""
    assert digits.describe() == "1,295 train, 143 validation (±8.2 points), 359 test, 10 classes, 1x16x16"
    assert digits.describe_skipped() is None


def test_data_without_validation_images_are_described_without_a_precision() -> None:
    assert (
        load_images("digits", val_fraction=0).describe() == "1,438 train, 0 validation, 359 test, 10 classes, 1x16x16"
    )


def test_digits_are_bytes_that_must_not_be_mirrored(digits: ImageData) -> None:
    assert digits.train.images.dtype == torch.uint8
    assert digits.train.labels.dtype == torch.int64
    assert digits.train.images.max() == 255
    assert not digits.train.flippable


def test_digits_are_those_of_scikit_learn(digits: ImageData) -> None:
    # The corner of an image up-sampled by 2 is the corner of the small one, sixteenths become 255ths.
    whole = load_digits()
    small = torch.from_numpy(whole.images[:, [0, 0, 7, 7], [0, 7, 0, 7]]).mul(255 / 16).round()
    expected = Counter((tuple(corner), label) for corner, label in zip(small.int().tolist(), whole.target, strict=True))
    splits = (digits.train, digits.val, digits.test)
    images, labels = torch.cat([split.images for split in splits]), torch.cat([split.labels for split in splits])
    corners = images[:, 0, [0, 0, 15, 15], [0, 15, 0, 15]].int().tolist()
    assert Counter((tuple(corner), label) for corner, label in zip(corners, labels.tolist(), strict=True)) == expected


def test_digits_splits_are_disjoint_and_together_the_whole(digits: ImageData) -> None:
    contents = _contents(digits.train, digits.val, digits.test)
    assert contents.total() == 1797
    assert len(contents) == 1797  # no two of scikit-learn's digits are equal, so no image is in two splits


def test_digits_test_split_holds_a_fifth_of_each_class(digits: ImageData) -> None:
    assert _counts(digits.test) == [round(0.2 * count) for count in _whole_counts().tolist()]


def test_digits_validation_split_holds_a_tenth_of_what_is_left_of_each_class(digits: ImageData) -> None:
    left = (_whole_counts() - torch.tensor(_counts(digits.test))).tolist()
    assert _counts(digits.val) == [round(0.1 * count) for count in left]
    assert [val + train for val, train in zip(_counts(digits.val), _counts(digits.train), strict=True)] == left


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_splits_are_the_same_for_the_same_seed(digits: ImageData, split: str) -> None:
    again: ImageSet = getattr(load_images("digits", split_seed=0), split)
    assert again.content_hash() == getattr(digits, split).content_hash()


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_splits_are_others_for_another_seed(digits: ImageData, split: str) -> None:
    other: ImageSet = getattr(load_images("digits", split_seed=1), split)
    assert _counts(other) == _counts(getattr(digits, split))
    assert _contents(other) != _contents(getattr(digits, split))


def test_test_split_does_not_depend_on_the_validation_fraction(digits: ImageData) -> None:
    other = load_images("digits", val_fraction=0.3)
    assert other.test.content_hash() == digits.test.content_hash()
    assert len(other.val) > 2 * len(digits.val)


@pytest.mark.parametrize(
    ("setting", "changes"),
    [
        ({"split_seed": 1}, True),
        ({"val_fraction": 0.2}, True),
        ({"test_fraction": 0.3}, True),
        ({"train_per_class": 5}, False),
        ({"test_per_class": 5}, False),
        ({"data_dir": "/nowhere"}, False),
    ],
)
def test_split_hash_depends_on_what_decides_the_splits(
    digits: ImageData, setting: dict[str, Any], changes: bool
) -> None:
    other = load_images("digits", **setting)
    assert (other.split_hash != digits.split_hash) is changes
    assert other.data_hash == digits.data_hash


def test_validation_fraction_0_leaves_no_validation_images(digits: ImageData) -> None:
    data = load_images("digits", val_fraction=0)
    assert (len(data.train), len(data.val), len(data.test)) == (1438, 0, 359)
    assert data.val.images.shape == (0, 1, 16, 16)
    assert _contents(data.train) == _contents(digits.train, digits.val)


def test_train_per_class_limits_only_the_training_images(digits: ImageData) -> None:
    data = load_images("digits", train_per_class=7)
    assert _counts(data.train) == [7] * 10
    assert not _contents(data.train) - _contents(digits.train)
    assert data.val.content_hash() == digits.val.content_hash()
    assert data.test.content_hash() == digits.test.content_hash()


def test_test_per_class_limits_only_the_test_images(digits: ImageData) -> None:
    few, more = (load_images("digits", test_per_class=count) for count in (5, 7))
    assert (_counts(few.test), _counts(more.test)) == ([5] * 10, [7] * 10)
    assert not _contents(few.test) - _contents(more.test)
    assert not _contents(more.test) - _contents(digits.test)
    assert few.train.content_hash() == digits.train.content_hash()
    assert few.val.content_hash() == digits.val.content_hash()


def test_train_per_class_keeps_mean_and_deviation(digits: ImageData) -> None:
    data = load_images("digits", train_per_class=7)
    assert (data.train.mean, data.train.std) == (digits.train.mean, digits.train.std)


def test_train_per_class_takes_more_of_the_same(digits: ImageData) -> None:
    few, more = (load_images("digits", train_per_class=count).train for count in (5, 20))
    assert not _contents(few) - _contents(more)


def test_train_per_class_above_the_class_size_takes_all(digits: ImageData) -> None:
    assert load_images("digits", train_per_class=100_000).train.content_hash() == digits.train.content_hash()


def test_all_splits_are_normalised_like_the_training_split(digits: ImageData) -> None:
    pixels = digits.train.images.double() / 255
    assert digits.train.mean == pytest.approx([pixels.mean().item()])
    assert digits.train.std == pytest.approx([pixels.std(correction=0).item()])
    assert digits.train.mean == digits.val.mean == digits.test.mean
    assert digits.train.std == digits.val.std == digits.test.std


@pytest.mark.parametrize(("setting", "flippable"), [({}, False), ({"flippable": True}, True)])
def test_whether_images_may_be_mirrored_can_be_said(setting: dict[str, Any], flippable: bool) -> None:
    data = load_images("digits", **setting)
    assert {split.flippable for split in (data.train, data.val, data.test)} == {flippable}


def test_settings_at_once_are_the_same_as_one_by_one() -> None:
    at_once = load_images(settings=ImageSettings(dataset="digits", split_seed=2, train_per_class=3))
    one_by_one = load_images("digits", split_seed=2, train_per_class=3)
    assert at_once.split_hash == one_by_one.split_hash
    assert at_once.train.content_hash() == one_by_one.train.content_hash()


def test_loading_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    load_images("digits")
    assert torch.equal(torch.get_rng_state(), before)


def test_data_moves_to_a_device_as_a_whole(digits: ImageData) -> None:
    moved = digits.to("meta")
    assert {split.device.type for split in (moved.train, moved.val, moved.test)} == {"meta"}
    assert (moved.name, moved.data_hash, moved.split_hash) == (digits.name, digits.data_hash, digits.split_hash)


@pytest.mark.parametrize(
    ("dataset", "nearest"), [("digit", "digits"), ("cifar-10", "cifar10"), ("fashionmnist", "fashion-mnist")]
)
def test_unknown_data_set_names_the_nearest(dataset: str, nearest: str) -> None:
    with pytest.raises(SettingsError, match=rf"unknown data set .*'{dataset}': did you mean '{nearest}'\?"):
        load_images(dataset)


def test_unknown_data_set_lists_the_first_five() -> None:
    listed = rf"choose from {', '.join(sorted(DATASETS)[:5])}, \.\.\. \({len(DATASETS)} in all\)$"
    with pytest.raises(SettingsError, match=listed):
        load_images("zzz")


def test_unknown_setting_names_the_nearest() -> None:
    with pytest.raises(SettingsError, match=r"'val_fractoin': did you mean 'val_fraction'\?"):
        load_images("digits", val_fractoin=0.2)


@pytest.mark.parametrize(
    "setting",
    [
        {"val_fraction": 1.0},
        {"val_fraction": -0.1},
        {"test_fraction": 0},
        {"train_per_class": 0},
        {"test_per_class": 0},
    ],
)
def test_setting_out_of_range_is_named(setting: dict[str, Any]) -> None:
    (name,) = setting
    with pytest.raises(SettingsError, match=rf"invalid setting images\.{name}="):
        load_images("digits", **setting)


@pytest.mark.parametrize("missing", ["{tmp}/pets", "{tmp}/pets.v2"])
def test_missing_folder_is_refused_by_name(tmp_path: Path, missing: str) -> None:
    folder = missing.format(tmp=tmp_path)
    with pytest.raises(
        DataError, match=rf"no folder {folder}; give a folder with train/CLASS/\*, a .csv of paths and .*digits"
    ):
        load_images(folder)


def _write_idx(path: Path, values: Tensor) -> None:
    """An idx-ubyte file: magic 0x0000080N for N axes, their sizes, then the bytes; all big-endian."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = struct.pack(f">{1 + values.ndim}I", 0x00000800 + values.ndim, *values.shape)
    path.write_bytes(header + values.to(torch.uint8).numpy().tobytes())


def _fashion_images(per_class: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(FASHION_CLASSES).repeat(per_class)
    return torch.randint(0, 256, (len(labels), 28, 28), generator=generator), labels


@pytest.fixture
def fashion_dir(tmp_path: Path) -> Path:
    """Fashion-MNIST as torchvision keeps it, in small: 20 training images per class, 3 test images per class."""
    raw = tmp_path / "FashionMNIST" / "raw"
    for prefix, per_class, seed in (("train", 20, 0), ("t10k", 3, 1)):
        images, labels = _fashion_images(per_class, seed)
        _write_idx(raw / f"{prefix}-images-idx3-ubyte", images)
        _write_idx(raw / f"{prefix}-labels-idx1-ubyte", labels)
    return tmp_path


def test_fashion_mnist_is_read_from_its_files(fashion_dir: Path) -> None:
    data = load_images("fashion-mnist", data_dir=fashion_dir, val_fraction=0)
    for split, per_class, seed in ((data.train, 20, 0), (data.test, 3, 1)):
        images, labels = _fashion_images(per_class, seed)
        assert torch.equal(split.images, images.to(torch.uint8).unsqueeze(1))
        assert torch.equal(split.labels, labels)
    assert (data.image_shape, data.name, data.train.flippable) == ((1, 28, 28), "fashion-mnist", True)
    assert data.classes[0] == "T-shirt/top"
    assert len(data.classes) == FASHION_CLASSES


def test_fashion_mnist_is_read_from_packed_files(fashion_dir: Path) -> None:
    unpacked = load_images("fashion-mnist", data_dir=fashion_dir)
    for path in list((fashion_dir / "FashionMNIST" / "raw").iterdir()):
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    assert load_images("fashion-mnist", data_dir=fashion_dir).data_hash == unpacked.data_hash


def test_damaged_packed_file_is_named(fashion_dir: Path) -> None:
    raw = fashion_dir / "FashionMNIST" / "raw"
    (raw / "train-labels-idx1-ubyte").unlink()
    (raw / "train-labels-idx1-ubyte.gz").write_bytes(b"no gzip at all")
    with pytest.raises(DataError, match=r"cannot unpack .*train-labels-idx1-ubyte\.gz"):
        load_images("fashion-mnist", data_dir=fashion_dir)


def test_fashion_mnist_validation_comes_from_the_training_images(fashion_dir: Path) -> None:
    whole = load_images("fashion-mnist", data_dir=fashion_dir, val_fraction=0)
    data = load_images("fashion-mnist", data_dir=fashion_dir)
    assert _counts(data.train) == [18] * FASHION_CLASSES
    assert _counts(data.val) == [2] * FASHION_CLASSES
    assert _contents(data.train, data.val) == _contents(whole.train)
    assert data.test.content_hash() == whole.test.content_hash()


def test_test_fraction_is_without_effect_where_there_is_a_test_split(fashion_dir: Path) -> None:
    data, other = (
        load_images("fashion-mnist", data_dir=fashion_dir, test_fraction=fraction) for fraction in (0.2, 0.5)
    )
    assert data.split_hash == other.split_hash
    assert data.train.content_hash() == other.train.content_hash()


def test_data_hash_depends_on_the_test_images(fashion_dir: Path) -> None:
    before = load_images("fashion-mnist", data_dir=fashion_dir)
    images, _ = _fashion_images(3, seed=2)
    _write_idx(fashion_dir / "FashionMNIST" / "raw" / "t10k-images-idx3-ubyte", images)
    after = load_images("fashion-mnist", data_dir=fashion_dir)
    assert after.data_hash != before.data_hash
    assert after.split_hash != before.split_hash


def test_class_too_small_to_hold_out_from_is_refused(fashion_dir: Path) -> None:
    _, labels = _fashion_images(20, seed=0)
    labels[labels == 4] = torch.tensor([4, *[5] * 19])
    _write_idx(fashion_dir / "FashionMNIST" / "raw" / "train-labels-idx1-ubyte", labels)
    with pytest.raises(DataError, match=r"class 'Coat' has 1 training image\(s\), too few to hold some out"):
        load_images("fashion-mnist", data_dir=fashion_dir)


@pytest.fixture
def idx_dir(fashion_dir: Path) -> Path:
    """A folder of somebody's own idx files, packed: 20 training images per class, 3 test images per class."""
    folder = fashion_dir / "mine"
    folder.mkdir()
    for path in (fashion_dir / "FashionMNIST" / "raw").iterdir():
        (folder / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    return folder


def _unpack_all(folder: Path, mark: str = "-") -> None:
    for path in list(folder.glob("*.gz")):
        name = path.stem.replace("-idx", f"{mark}idx")
        (folder / name).write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()


def _rename_split(folder: Path, old: str, new: str) -> None:
    for path in list(folder.glob(f"{old}-*")):
        path.rename(folder / path.name.replace(old, new))


def test_a_folder_of_idx_files_is_a_data_set(idx_dir: Path) -> None:
    data = load_images(idx_dir, val_fraction=0)
    for split, per_class, seed in ((data.train, 20, 0), (data.test, 3, 1)):
        images, labels = _fashion_images(per_class, seed)
        assert torch.equal(split.images, images.to(torch.uint8).unsqueeze(1))
        assert torch.equal(split.labels, labels)
    assert (data.image_shape, data.name, data.classes) == ((1, 28, 28), "mine", tuple("0123456789"))
    assert not data.train.flippable
    assert sorted(path.suffix for path in idx_dir.iterdir()) == [".gz"] * 4


@pytest.mark.parametrize("mark", ["-", "."])
def test_idx_files_may_be_unpacked(idx_dir: Path, mark: str) -> None:
    packed = load_images(idx_dir)
    _unpack_all(idx_dir, mark)
    assert load_images(idx_dir).data_hash == packed.data_hash


def test_idx_files_of_validation_images_are_the_validation_split(idx_dir: Path) -> None:
    _rename_split(idx_dir, "t10k", "val")
    data = load_images(idx_dir)
    assert (_counts(data.train), _counts(data.val), _counts(data.test)) == ([16] * 10, [3] * 10, [4] * 10)
    assert torch.equal(data.val.images[:, 0], _fashion_images(3, 1)[0].to(torch.uint8))


def test_without_idx_files_for_testing_a_split_is_held_out(idx_dir: Path) -> None:
    for path in idx_dir.glob("t10k-*"):
        path.unlink()
    data = load_images(idx_dir)
    assert (_counts(data.train), _counts(data.val), _counts(data.test)) == ([14] * 10, [2] * 10, [4] * 10)


def test_labels_of_idx_files_need_not_count_from_0(idx_dir: Path) -> None:
    _unpack_all(idx_dir)
    for prefix, per_class, seed in (("train", 20, 0), ("t10k", 3, 1)):
        _write_idx(idx_dir / f"{prefix}-labels-idx1-ubyte", 3 * _fashion_images(per_class, seed)[1] + 1)
    data = load_images(idx_dir, val_fraction=0)
    assert data.classes == ("1", "4", "7", "10", "13", "16", "19", "22", "25", "28")
    assert torch.equal(data.train.labels, _fashion_images(20, 0)[1])


def test_images_of_idx_files_are_resized_and_coloured_as_those_of_a_folder(idx_dir: Path) -> None:
    whole, data = load_images(idx_dir), load_images(idx_dir, image_size=14, channels=3)
    assert data.image_shape == (3, 14, 14)
    assert torch.equal(data.test.images[:, 0], data.test.images[:, 2])
    assert data.train.mean[0] == pytest.approx(whole.train.mean[0], abs=0.02)
    assert load_images(idx_dir, image_size=28, channels=1).data_hash == whole.data_hash


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        pytest.param(
            lambda folder: (folder / "train-labels-idx1-ubyte").unlink(), "no train-labels-idx", id="no-labels"
        ),
        pytest.param(lambda folder: (folder / "t10k-images-idx3-ubyte").unlink(), "no t10k-images-idx", id="no-images"),
        pytest.param(
            lambda folder: (folder / "train-images-idx3-ubyte").write_bytes(b"no idx file at all"),
            "train-images-idx3-ubyte is no idx file of unsigned bytes with 3 axes",
            id="other-file",
        ),
        pytest.param(
            lambda folder: (folder / "train-images-idx3-ubyte").write_bytes(
                (folder / "train-images-idx3-ubyte").read_bytes()[:-1]
            ),
            "train-images-idx3-ubyte has 156,799 values, not 200x28x28",
            id="cut",
        ),
        pytest.param(
            lambda folder: _write_idx(folder / "train-labels-idx1-ubyte", torch.arange(9)),
            "has 200 images, but there are 9 labels",
            id="fewer-labels",
        ),
        pytest.param(
            lambda folder: _write_idx(folder / "t10k-labels-idx1-ubyte", _fashion_images(3, 1)[1] % 9),
            r"train and test have different labels \(9\); make them the same",
            id="other-classes",
        ),
        pytest.param(
            lambda folder: _write_idx(folder / "train-labels-idx1-ubyte", torch.zeros(200)),
            "all training images have one label",
            id="one-class",
        ),
        pytest.param(
            lambda folder: _write_idx(folder / "t10k-images-idx3-ubyte", torch.zeros(30, 28, 14)),
            r"images have several sizes \(14x28 and 28x28\); give --image-size",
            id="other-size",
        ),
        pytest.param(
            lambda folder: _write_idx(folder / "test-labels-idx1-ubyte", torch.zeros(30)),
            "has files of t10k and test, which mean the same split",
            id="twice",
        ),
    ],
)
def test_damaged_idx_files_are_refused_by_name(idx_dir: Path, spoil: Callable[[Path], object], message: str) -> None:
    _unpack_all(idx_dir)
    spoil(idx_dir)
    with pytest.raises(DataError, match=message):
        load_images(idx_dir)


def test_a_damaged_packed_idx_file_is_refused_by_name(idx_dir: Path) -> None:
    path = idx_dir / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match=f"cannot unpack {path}: .*; get it anew"):
        load_images(idx_dir)


def _noise(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def _md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


@pytest.fixture
def cifar100_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """CIFAR-100 as torchvision stores it, but small: 2 training and 1 test image per class, with checksums."""
    kind, folder = torchvision.datasets.CIFAR100, tmp_path / "cifar-100-python"
    folder.mkdir()
    for name, per_class in (("train", 2), ("test", 1)):
        labels = list(range(100)) * per_class
        rows = _noise(len(labels), 3 * 32 * 32, seed=per_class).numpy()
        batch = {"data": rows, "fine_labels": labels, "coarse_labels": [label // 5 for label in labels]}
        (folder / name).write_bytes(pickle.dumps(batch))
        monkeypatch.setattr(kind, f"{name}_list", [[name, _md5(folder / name)]])
    names = {"fine_label_names": [f"class {number}" for number in range(100)]}
    (folder / "meta").write_bytes(pickle.dumps(names))
    monkeypatch.setattr(kind, "meta", {**kind.meta, "md5": _md5(folder / "meta")})
    return tmp_path


def test_cifar100_is_read_from_its_files(cifar100_dir: Path) -> None:
    data = load_images("cifar100", data_dir=cifar100_dir, val_fraction=0)
    for split, per_class in ((data.train, 2), (data.test, 1)):
        assert torch.equal(split.images, _noise(100 * per_class, 3, 32, 32, seed=per_class))
        assert split.labels.tolist() == list(range(100)) * per_class
    assert (data.image_shape, data.train.flippable) == ((3, 32, 32), True)
    assert data.classes[:2] == ("class 0", "class 1")


@pytest.fixture
def svhn_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """SVHN as torchvision keeps it, in small: digits 1, 2, … 9, 0 thrice for training, once for testing."""
    files = {}
    for split, rounds in (("train", 3), ("test", 1)):
        path = tmp_path / f"{split}_32x32.mat"
        digits = [[number] for number in range(1, 11)] * rounds  # 10 stands for 0
        savemat(path, {"X": _noise(32, 32, 3, 10 * rounds, seed=rounds).numpy(), "y": digits})
        files[split] = ["", path.name, _md5(path)]
    monkeypatch.setattr(torchvision.datasets.SVHN, "split_list", files)
    return tmp_path


def test_svhn_is_read_from_its_files(svhn_dir: Path) -> None:
    data = load_images("svhn", data_dir=svhn_dir, val_fraction=0)
    for split, rounds in ((data.train, 3), (data.test, 1)):
        assert torch.equal(split.images, _noise(32, 32, 3, 10 * rounds, seed=rounds).permute(3, 2, 0, 1))
        assert split.images.is_contiguous()
        assert split.labels.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0] * rounds
    assert (data.image_shape, data.train.flippable) == ((3, 32, 32), False)
    assert data.classes == tuple("0123456789")


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Downloads of this process go to a local port that nobody listens on, with or without a network."""
    monkeypatch.setattr("urllib.request._opener", None)  # it would keep this proxy for all tests to come
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("NO_PROXY", "")


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize(
    "kept", [pytest.param(0, id="empty"), pytest.param(10, id="in-the-header"), pytest.param(5000, id="in-the-pixels")]
)
def test_cut_off_data_set_file_is_refused_with_its_folder(fashion_dir: Path, kept: int) -> None:
    path = fashion_dir / "FashionMNIST" / "raw" / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match=f"FashionMNIST.*{fashion_dir}"):
        load_images("fashion-mnist", data_dir=fashion_dir)


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("dataset", ["cifar10", "fashion-mnist", "tinyimagenet"])
def test_failed_download_names_the_folder_and_a_remedy(tmp_path: Path, dataset: str) -> None:
    with pytest.raises(
        DataError, match=rf"is not, or not whole, in {tmp_path}/data and cannot be downloaded .*connect .*--data-dir"
    ):
        load_images(dataset, data_dir=tmp_path / "data")
