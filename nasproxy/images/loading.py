"""Named data sets and image folders as train, validation and test sets.

The splits depend only on a hash of the data, the settings and a seed: condensing, searching and full training see the
same ones. Normalisation is that of the training split.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from nasproxy.config import CondenseConfig, ImageSettings, make_config
from nasproxy.errors import DataError, SettingsError, unknown_name
from nasproxy.images.datasets import DATASETS
from nasproxy.images.folder import name_broken, read_all, scan_folder
from nasproxy.images.idx import holds_idx_files, read_idx_folder
from nasproxy.images.imageset import ImageSet, format_shape
from nasproxy.images.listing import read_list
from nasproxy.images.memory import Arrays, arrays_of_dataset, classes_of_dataset, keep_used, raw_of_arrays, widen
from nasproxy.images.raw import BrokenFile, Progress, RawData, RawSplit
from nasproxy.images.shards import find_shards, read_shards
from nasproxy.seeding import derive_seed
from nasproxy.talk import Listener, listening

COUNTED_AT_ONCE = 1000
"""Images per pass in `_mean_std`."""


@dataclass(frozen=True)
class ImageData:
    """The three splits of one data set."""

    name: str
    train: ImageSet
    val: ImageSet
    test: ImageSet
    data_hash: str
    """Hash of all images, labels and class names, before any split."""
    split_hash: str
    """Hash of the data and of everything that determines which image is in which split."""
    settings: ImageSettings | None = None
    """What `load_images` makes it from; None: it was made in memory."""
    skipped: tuple[BrokenFile, ...] = ()
    """Files that were left out, because they give no image."""

    @classmethod
    def from_arrays(
        cls,
        images: Any,
        labels: Any,
        *,
        val: Arrays | None = None,
        test: Arrays | None = None,
        classes: Sequence[str] | None = None,
        layout: str | None = None,
        name: str = "arrays",
        **overrides: Any,
    ) -> "ImageData":
        """Images in memory, split, hashed and normalised as those of a folder are.

        A run on them is resumed with the same arrays given again: they are not kept.

        Args:
            images: training images (N, H, W), (N, H, W, C) or (N, C, H, W), of numpy or torch, of integers in [0, 255]
                or floats in [0, 1], not normalised.
            labels: (N,) whole numbers or texts.
            val: images and labels to select by; None: held out of the training images.
            test: images and labels to judge by; None: held out of the training images.
            classes: names of the classes 0 to K - 1; None: the labels.
            layout: 'hwc' or 'chw', where the shape does not tell.
            name: of the data set, for people.
            overrides: `val_fraction`, `test_fraction`, `split_seed`, `flippable` (false for digits and text: else
                mirrored images count as of their class), `train_per_class`, `test_per_class`.

        Raises:
            DataError: other shapes or values; a class without training images.
            SettingsError: an unknown or invalid setting.
        """
        splits = {"train": (images, labels)} | _given(val=val, test=test)
        return _split_in_memory(raw_of_arrays(splits, classes, layout=layout), name, overrides)

    @classmethod
    def from_datasets(
        cls,
        train: Any,
        val: Any = None,
        test: Any = None,
        *,
        image_size: int | None = None,
        channels: Literal[1, 3] | None = None,
        columns: tuple[str, str] = ("image", "label"),
        classes: Sequence[str] | None = None,
        layout: str | None = None,
        name: str = "dataset",
        progress: bool | Listener = False,
        **overrides: Any,
    ) -> "ImageData":
        """Images of data sets with items of image and label: torch's, torchvision's, Hugging Face's, timm's.

        Every item is read once, as it comes: give data sets without augmentation and normalisation.

        Args:
            train: training images. Items are pairs, or mappings with two columns; images Pillow's, or arrays.
            val: images to select by; None: held out of the training images.
            test: images to judge by; None: held out of the training images.
            image_size: side in pixels that images are resized and cropped to; None: as they are.
            channels: 1 or 3; None: 1 if all are grey, else 3.
            columns: of image and label, where items are mappings.
            classes: names of the classes 0 to K - 1; None: as the data set says, of those that training images have,
                else the labels.
            layout: 'hwc' or 'chw', where items are arrays whose shape does not tell.
            name: of the data set, for people.
            progress: as for `load_images`.
            overrides: as for `from_arrays`.

        Raises:
            DataError: an item that is no image with a label; images of several sizes; as `from_arrays`.
            SettingsError: an unknown or invalid setting.
        """
        with listening(progress) as listener:
            splits = {
                split: arrays_of_dataset(
                    split, dataset, columns=columns, image_size=image_size, channels=channels, layout=layout,
                    progress=listener.progress,
                )
                for split, dataset in ({"train": train} | _given(val=val, test=test)).items()
            }  # fmt: skip
        images = widen([images for images, _ in splits.values()])
        arrays = {split: (wide, splits[split][1]) for split, wide in zip(splits, images, strict=True)}
        names = None if classes else classes_of_dataset(train, columns[1])
        if names is None or not all(isinstance(label, int) for label in arrays["train"][1]):
            return _split_in_memory(raw_of_arrays(arrays, classes, layout="chw"), name, overrides)
        used, known = keep_used(arrays, names)
        return _split_in_memory(raw_of_arrays(used, known, layout="chw"), name, overrides)

    def __repr__(self) -> str:
        return f"<ImageData {self.name}: {self.describe()}>"

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

    def describe(self) -> str:
        """What it is, in one line: '240 train, 24 validation (±20 points), 120 test, 4 classes, 3x32x32'.

        The figure in brackets is half the width of a 95 % interval around an accuracy of one half on the validation
        images, in points: 98 / sqrt(N). No accuracy has a wider one.
        """
        precision = f" (±{98 / math.sqrt(len(self.val)):.2g} points)" if len(self.val) else ""
        sizes = f"{len(self.train):,} train, {len(self.val):,} validation{precision}, {len(self.test):,} test"
        skipped = f"; {len(self.skipped):,} file(s) skipped" if self.skipped else ""
        return f"{sizes}, {self.num_classes:,} classes, {format_shape(self.image_shape)}{skipped}"

    def describe_skipped(self) -> str | None:
        """How many files were left out, and which; None: all gave an image."""
        if not self.skipped:
            return None
        return f"left out {len(self.skipped):,} file(s) that cannot be decoded: {name_broken(self.skipped)}"

    def to(self, device: torch.device | str) -> "ImageData":
        """The same data on a device."""
        splits = {name: getattr(self, name).to(device) for name in ("train", "val", "test")}
        return replace(self, **splits)


def load_images(
    dataset: str | Path = "digits",
    *,
    settings: ImageSettings | None = None,
    progress: bool | Listener = False,
    **overrides: Any,
) -> ImageData:
    """Train, validation and test images of a named data set or an image folder.

    Args:
        dataset: a key of `DATASETS`, or a folder (see `nasproxy.images.folder` and `nasproxy.images.idx`). Ignored
            where `settings` are given.
        settings: all settings at once, instead of `dataset` and `overrides`.
        progress: whether to show how many files are read and decoded, on stderr; or who is told.
        overrides: fields of `ImageSettings`.

    Raises:
        SettingsError: an unknown data set (the nearest is named) or setting.
        DataError: missing, unreadable, or no classification task.
    """
    if settings is not None and overrides:
        raise SettingsError(f"{', '.join(overrides)} given beside settings; put them into the settings")
    if settings is None:
        settings = make_config(CondenseConfig, {"images": {"dataset": str(dataset), **overrides}}).images
    with listening(progress) as listener:
        raw, name, flippable = _read(settings, listener.progress)
    return _split(raw, settings, name, flippable if settings.flippable is None else settings.flippable)


def _read(settings: ImageSettings, progress: Progress) -> tuple[RawData, str, bool]:
    """The images as they lie there, the name of the data set, and whether a mirrored image keeps its class."""
    folder, data_dir = Path(settings.dataset).expanduser(), settings.data_dir.expanduser()
    if settings.dataset in DATASETS:
        known = DATASETS[settings.dataset]
        return known.read(data_dir, progress), settings.dataset, known.flippable
    if folder.is_dir() and holds_idx_files(folder):
        size, channels = settings.image_size, settings.channels
        raw = read_idx_folder(folder, image_size=size, channels=channels, progress=progress)
        return raw, folder.resolve().name, False
    shards = find_shards(folder)
    if folder.is_dir() or shards or (folder.is_file() and folder.suffix == ".csv"):
        if shards:
            splits = read_shards(folder, shards)
        else:
            splits = scan_folder(folder) if folder.is_dir() else read_list(folder)
        raw = read_all(
            splits,
            folder if folder.is_dir() else folder.parent,
            data_dir / "decoded",
            image_size=settings.image_size,
            channels=settings.channels,
            skip_broken=settings.skip_broken,
            progress=progress,
        )
        return raw, folder.absolute().stem if folder.is_file() else folder.resolve().name, True
    if folder.is_file():
        raise DataError(
            f"{settings.dataset} is a file of no form that is read: give a .csv of paths and labels, a plain .tar, or "
            "a .parquet file"
        )
    if "/" in settings.dataset or folder.suffix:
        raise DataError(
            f"no folder {settings.dataset}; give a folder with train/CLASS/*, a .csv of paths and labels, .tar or "
            f".parquet shards, or one of {', '.join(DATASETS)}"
        )
    raise unknown_name("data set (and no folder of that name)", settings.dataset, DATASETS)


def _given(**splits: Any) -> dict[str, Any]:
    return {name: split for name, split in splits.items() if split is not None}


def _split_in_memory(raw: RawData, name: str, overrides: Mapping[str, Any]) -> ImageData:
    taken = {"val_fraction", "test_fraction", "split_seed", "flippable", "train_per_class", "test_per_class"}
    if strange := overrides.keys() - taken:
        raise unknown_name("setting of images in memory", min(strange), taken)
    for split, given in (("val", raw.val), ("test", raw.test)):
        if given is not None and f"{split}_fraction" in overrides:
            raise SettingsError(
                f"{split}_fraction={overrides[f'{split}_fraction']}: {split} images are given; leave it out"
            )
    settings = make_config(CondenseConfig, {"images": dict(overrides)}).images
    is_flippable = True if settings.flippable is None else settings.flippable
    return replace(_split(raw, settings, name, is_flippable), settings=None)


def _split(raw: RawData, settings: ImageSettings, name: str, flippable: bool) -> ImageData:
    if raw.val is not None and settings.val_fraction != ImageSettings().val_fraction:
        raise SettingsError(
            f"val_fraction={settings.val_fraction:g}: {settings.dataset} has validation images of its own, so none are "
            "held out; leave val_fraction out, or take their folder away"
        )
    data_hash = _hash_raw(raw)
    train, test = raw.train, raw.test
    if test is None:
        test_seed = derive_seed(settings.split_seed, data_hash, "test")
        kept, held = _hold_out(train.labels, raw.classes, settings.test_fraction, test_seed)
        train, test = _take(train, kept), _take(train, held)
    val = raw.val
    if val is None:
        val_seed = derive_seed(settings.split_seed, data_hash, "val")
        kept, held = _hold_out(train.labels, raw.classes, settings.val_fraction, val_seed)
        train, val = _take(train, kept), _take(train, held)
    mean, std = _mean_std(train.images)

    def image_set(split: RawSplit) -> ImageSet:
        return ImageSet(split.images, split.labels, raw.classes, mean, std, flippable)

    train = _at_most(train, settings.train_per_class, derive_seed(settings.split_seed, data_hash, "order"))
    test = _at_most(test, settings.test_per_class, derive_seed(settings.split_seed, data_hash, "test order"))
    decided_by = [data_hash, settings.split_seed]
    if raw.val is None:
        decided_by.append(settings.val_fraction)
    if raw.test is None:
        decided_by.append(settings.test_fraction)
    return ImageData(
        name=name,
        train=image_set(train),
        val=image_set(val),
        test=image_set(test),
        data_hash=data_hash,
        split_hash=blake2b(repr(decided_by).encode(), digest_size=16).hexdigest(),
        settings=settings,
        skipped=raw.broken,
    )


def _hold_out(labels: Tensor, classes: tuple[str, ...], fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Indices kept and held out: the same fraction per class, at least one image each (fraction 0: none held out)."""
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


def _at_most(split: RawSplit, per_class: int | None, seed: int) -> RawSplit:
    """The first so many images of each class in a seeded order; None: all."""
    return split if per_class is None else _take(split, _first_per_class(split.labels, per_class, seed))


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
        parts = images[:, channel].split(COUNTED_AT_ONCE)
        counts = torch.stack([torch.bincount(part.flatten(), minlength=256) for part in parts]).sum(dim=0).double()
        mean = (counts * levels).sum() / counts.sum()
        variance = (counts * (levels - mean) ** 2).sum() / counts.sum()
        means.append(float(mean))
        stds.append(float(variance.sqrt()) or 1.0)
    return tuple(means), tuple(stds)


def _hash_raw(raw: RawData) -> str:
    def content_of(split: RawSplit | None) -> str:
        return ImageSet(split.images, split.labels, raw.classes, (), ()).content_hash() if split else ""

    content = content_of(raw.train) + content_of(raw.test) + (f"val{content_of(raw.val)}" if raw.val else "")
    return blake2b(content.encode(), digest_size=16).hexdigest()
