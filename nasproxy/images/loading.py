"""Named data sets and image folders as train, validation and test sets.

The splits depend on the data's own hash and on a seed, never on who asks: condensing, searching and full training
see the same ones. Normalisation is that of the training split.
"""

import contextlib
import gzip
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from torch import Tensor

from nasproxy.config import CondenseConfig, ImageSettings, make_config
from nasproxy.errors import DataError, SettingsError, unknown_name
from nasproxy.images.folder import Progress, decode_images, hash_files, scan_folder
from nasproxy.images.imageset import ImageSet, load_image_set, save_image_set
from nasproxy.rundir import write_atomically
from nasproxy.seeding import derive_seed


@dataclass(frozen=True)
class RawSplit:
    """Images (N, C, H, W) uint8 and labels (N,) int64 as they come."""

    images: Tensor
    labels: Tensor


@dataclass(frozen=True)
class RawData:
    """A whole data set as it comes: maybe without a test split."""

    classes: tuple[str, ...]
    train: RawSplit
    test: RawSplit | None


@dataclass(frozen=True)
class Dataset:
    """A named data set: how to read it, and whether its images may be mirrored."""

    read: Callable[[Path], RawData]
    flippable: bool
    summary: str


@dataclass(frozen=True)
class ImageData:
    """The three splits of one data set."""

    name: str
    train: ImageSet
    val: ImageSet
    test: ImageSet
    data_hash: str
    """Of all images, labels and class names, before any split."""
    split_hash: str
    """Of the data and of everything that decides which image is in which split."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self.train.image_shape

    @property
    def num_classes(self) -> int:
        return self.train.num_classes

    @property
    def classes(self) -> tuple[str, ...]:
        return self.train.classes

    def to(self, device: torch.device | str) -> "ImageData":
        """The same data on a device."""
        splits = {name: getattr(self, name).to(device) for name in ("train", "val", "test")}
        return ImageData(self.name, **splits, data_hash=self.data_hash, split_hash=self.split_hash)


def _silent(what: str, done: int, total: int) -> None:
    pass


def load_images(
    dataset: str | Path = "digits",
    *,
    settings: ImageSettings | None = None,
    progress: Progress = _silent,
    **overrides: Any,
) -> ImageData:
    """Train, validation and test images of a named data set or an image folder.

    Args:
        dataset: a key of `DATASETS`, or a folder (see `nasproxy.images.folder`). Ignored where `settings` are given.
        settings: all settings at once, instead of `dataset` and `overrides`.
        progress: told of files read and images decoded.
        overrides: fields of `ImageSettings`.

    Raises:
        SettingsError: an unknown data set (the nearest is named) or setting.
        DataError: missing, unreadable, or no classification task.
    """
    if settings is not None and overrides:
        raise SettingsError(f"{', '.join(overrides)} given beside settings; put them into the settings")
    if settings is None:
        settings = make_config(CondenseConfig, {"images": {"dataset": str(dataset), **overrides}}).images
    folder = Path(settings.dataset).expanduser()
    if settings.dataset in DATASETS:
        known = DATASETS[settings.dataset]
        raw, flippable, name = known.read(settings.data_dir.expanduser()), known.flippable, settings.dataset
    elif folder.is_dir():
        raw, flippable, name = _read_folder(folder, settings, progress), True, folder.resolve().name
    elif "/" in settings.dataset or folder.suffix:
        raise DataError(
            f"no folder {settings.dataset}; give a folder with train/CLASS/* or one of {', '.join(DATASETS)}"
        )
    else:
        raise unknown_name("data set (and no folder of that name)", settings.dataset, DATASETS)
    return _split(raw, settings, name, flippable)


def _split(raw: RawData, settings: ImageSettings, name: str, flippable: bool) -> ImageData:
    data_hash = _hash_raw(raw)
    train, test = raw.train, raw.test
    if test is None:
        test_seed = derive_seed(settings.split_seed, data_hash, "test")
        kept, held = _hold_out(train.labels, raw.classes, settings.test_fraction, test_seed)
        train, test = _take(train, kept), _take(train, held)
    val_seed = derive_seed(settings.split_seed, data_hash, "val")
    kept, held = _hold_out(train.labels, raw.classes, settings.val_fraction, val_seed)
    train, val = _take(train, kept), _take(train, held)
    mean, std = _mean_std(train.images)

    def image_set(split: RawSplit) -> ImageSet:
        return ImageSet(split.images, split.labels, raw.classes, mean, std, flippable)

    if settings.train_per_class is not None:
        order_seed = derive_seed(settings.split_seed, data_hash, "order")
        train = _take(train, _first_per_class(train.labels, settings.train_per_class, order_seed))
    decided_by = [data_hash, settings.split_seed, settings.val_fraction]
    if raw.test is None:
        decided_by.append(settings.test_fraction)
    return ImageData(
        name=name,
        train=image_set(train),
        val=image_set(val),
        test=image_set(test),
        data_hash=data_hash,
        split_hash=blake2b(repr(decided_by).encode(), digest_size=16).hexdigest(),
    )


def _hold_out(labels: Tensor, classes: tuple[str, ...], fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Indices kept and held out: the same fraction of every class, at least one image each way (none at fraction 0)."""
    if fraction == 0:
        return torch.arange(len(labels)), torch.arange(0)
    generator = np.random.default_rng(seed)
    held = []
    for label, name in enumerate(classes):
        index = np.flatnonzero(labels.numpy() == label)
        if len(index) < 2:
            raise DataError(f"class {name!r} has {len(index)} training image(s), too few to hold some out; add images")
        count = min(max(round(len(index) * fraction), 1), len(index) - 1)
        held.append(generator.permutation(index)[:count])
    chosen = np.zeros(len(labels), dtype=bool)
    chosen[np.concatenate(held)] = True
    return torch.from_numpy(np.flatnonzero(~chosen)), torch.from_numpy(np.flatnonzero(chosen))


def _first_per_class(labels: Tensor, count: int, seed: int) -> Tensor:
    order = np.random.default_rng(seed).permutation(len(labels))
    shuffled = labels.numpy()[order]
    chosen = [order[shuffled == label][:count] for label in np.unique(shuffled)]
    return torch.from_numpy(np.sort(np.concatenate(chosen)))


def _take(split: RawSplit, index: Tensor) -> RawSplit:
    return RawSplit(split.images[index], split.labels[index])


def _mean_std(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Per channel over all pixels, in units of full brightness; from exact integer counts."""
    means, stds = [], []
    levels = torch.arange(256, dtype=torch.float64) / 255
    for channel in range(images.shape[1]):
        counts = torch.bincount(images[:, channel].flatten().long(), minlength=256).double()
        mean = (counts * levels).sum() / counts.sum()
        variance = (counts * (levels - mean) ** 2).sum() / counts.sum()
        means.append(float(mean))
        stds.append(float(variance.sqrt()) or 1.0)
    return tuple(means), tuple(stds)


def _hash_raw(raw: RawData) -> str:
    parts = [ImageSet(split.images, split.labels, raw.classes, (), ()) for split in (raw.train, raw.test) if split]
    return blake2b("".join(part.content_hash() for part in parts).encode(), digest_size=16).hexdigest()


def _read_folder(folder: Path, settings: ImageSettings, progress: Progress) -> RawData:
    splits = scan_folder(folder)
    how = f"{settings.image_size}-{settings.channels}"
    key = blake2b(f"{hash_files(splits, folder, progress)} {how}".encode(), digest_size=16).hexdigest()
    cache_path = settings.data_dir.expanduser() / "decoded" / f"{key}.safetensors"
    classes = splits["train"].classes
    num_train = len(splits["train"].paths)
    images = None
    with contextlib.suppress(DataError):  # no cache, or a damaged one: decode
        images = load_image_set(cache_path)[0].images
    if images is None:
        paths = [path for split in splits.values() for path in split.paths]
        images = decode_images(paths, image_size=settings.image_size, channels=settings.channels, progress=progress)
        labels = torch.tensor([label for split in splits.values() for label in split.labels])
        save_image_set(ImageSet(images, labels, classes, (), ()), cache_path, {"folder": folder.name})

    def raw_split(name: str, part: Tensor) -> RawSplit:
        return RawSplit(part, torch.tensor(splits[name].labels))

    test = raw_split("test", images[num_train:]) if "test" in splits else None
    return RawData(classes, raw_split("train", images[:num_train]), test)


def _read_digits(data_dir: Path) -> RawData:
    """scikit-learn's 1,797 handwritten digits, 8x8 up-sampled (bilinear) to 16x16; no test split of their own."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    small = torch.from_numpy(digits.images).float().unsqueeze(1) * (255 / 16)
    images = torch.nn.functional.interpolate(small, size=(16, 16), mode="bilinear", align_corners=False)
    train = RawSplit(images.round().to(torch.uint8), torch.from_numpy(digits.target).long())
    return RawData(tuple(str(digit) for digit in range(10)), train, None)


def _read_torchvision(class_name: str, data_dir: Path) -> RawData:
    _unpack_idx_files(data_dir / class_name / "raw")
    kind = getattr(torchvision.datasets, class_name)
    by_split = class_name == "SVHN"
    parts = []
    for split in ("train", "test"):
        which = {"split": split} if by_split else {"train": split == "train"}
        parts.append(_open_or_download(partial(kind, data_dir, **which), class_name, data_dir))
    classes = tuple(getattr(parts[0], "classes", map(str, range(10))))
    train, test = (RawSplit(_as_nchw(part.data), _labels_of(part)) for part in parts)
    return RawData(classes, train, test)


def _unpack_idx_files(folder: Path) -> None:
    """Unpacks idx files that came compressed some other way than torchvision's downloads (e.g. in a Debian package)."""
    for packed in folder.glob("*-ubyte.gz"):
        if not packed.with_suffix("").exists():
            _unpack(packed)


def _unpack(packed: Path) -> None:
    try:
        content = gzip.decompress(packed.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"cannot unpack {packed}: {error}; remove it and try again") from None
    write_atomically(packed.with_suffix(""), lambda scratch: scratch.write_bytes(content))


def _open_or_download(make: Callable[..., Any], name: str, data_dir: Path) -> Any:
    try:
        return make(download=False)
    except RuntimeError:  # torchvision's word for "not there, or not whole"
        pass
    except (ValueError, TypeError, KeyError, AssertionError, EOFError) as error:
        raise DataError(f"the files of {name} in {data_dir} are damaged ({error}); remove them and try again") from None
    data_dir.mkdir(parents=True, exist_ok=True)
    try:
        return make(download=True)
    except (OSError, RuntimeError, HTTPException) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"{name} is not, or not whole, in {data_dir} and cannot be downloaded ({reason}); connect to the network, "
            "or put the files there as torchvision would (--data-dir)"
        ) from None


def _as_nchw(data: Any) -> Tensor:
    images = torch.as_tensor(data)
    if images.ndim == 3:
        return images.unsqueeze(1)
    return images.permute(0, 3, 1, 2).contiguous() if images.shape[-1] == 3 else images


def _labels_of(part: Any) -> Tensor:
    return torch.as_tensor(part.labels if hasattr(part, "labels") else part.targets).long()


def _torchvision(class_name: str) -> Callable[[Path], RawData]:
    return lambda data_dir: _read_torchvision(class_name, data_dir)


DATASETS: dict[str, Dataset] = {
    "digits": Dataset(_read_digits, False, "scikit-learn's digits, 1x16x16, 10 classes, no download"),
    "mnist": Dataset(_torchvision("MNIST"), False, "MNIST, 1x28x28, 10 classes"),
    "fashion-mnist": Dataset(_torchvision("FashionMNIST"), True, "Fashion-MNIST, 1x28x28, 10 classes"),
    "svhn": Dataset(_torchvision("SVHN"), False, "Street View House Numbers, 3x32x32, 10 classes"),
    "cifar10": Dataset(_torchvision("CIFAR10"), True, "CIFAR-10, 3x32x32, 10 classes"),
    "cifar100": Dataset(_torchvision("CIFAR100"), True, "CIFAR-100, 3x32x32, 100 classes"),
}
"""Named data sets. To add one: a reader `data_dir -> RawData` and a line here."""
