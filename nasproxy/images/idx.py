"""Folders of idx files, the format of MNIST, packed by gzip or not.

    mine/
      train-images-idx3-ubyte(.gz)      train-labels-idx1-ubyte(.gz)
      val-images-idx3-ubyte(.gz)        val-labels-idx1-ubyte(.gz)         optional; or valid, validation
      t10k-images-idx3-ubyte(.gz)       t10k-labels-idx1-ubyte(.gz)        optional; or test

'train-images.idx3-ubyte', with a point, is understood as well. An idx file is two zero bytes, 8 for unsigned bytes, the
number of axes, the length of each axis (four bytes, the highest first), and the values. Classes are the labels that
training images have.
"""

import gzip
import zlib
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from nasproxy.errors import DataError
from nasproxy.images.decoding import fit_picture
from nasproxy.images.imageset import format_shape
from nasproxy.images.raw import VALIDATION_NAMES, Progress, RawData, RawSplit

_PREFIXES = {"train": ("train",), "val": VALIDATION_NAMES, "test": ("t10k", "test")}
"""What the names of the files of a split begin with."""


def holds_idx_files(root: Path) -> bool:
    """Whether a folder holds training images or labels as idx files."""
    return any(_find(root, "train", what) for what in ("images", "labels"))


def read_idx_folder(root: Path, *, image_size: int | None, channels: int | None, progress: Progress) -> RawData:
    """The images of a folder of idx files.

    Args:
        root: the folder.
        image_size: as for `decode_images`.
        channels: as for `decode_images`.
        progress: called for every image that is resized or coloured.

    Raises:
        DataError: a file that is missing or damaged, images and labels of different numbers, or no classification task.
    """
    read = {}
    for name, prefixes in _PREFIXES.items():
        found = [prefix for prefix in prefixes if _find(root, prefix, "images") or _find(root, prefix, "labels")]
        if len(found) > 1:
            raise DataError(f"{root} has files of {' and '.join(found)}, which mean the same split; remove one of them")
        for prefix in found:
            read[name] = _read_pair(root, prefix)
    values = np.unique(read["train"][1])
    if len(values) < 2:
        raise DataError(f"{root}: all training images have one label; there must be at least two classes")
    for name, (_, labels) in read.items():
        if differ := sorted(set(np.unique(labels).tolist()) ^ set(values.tolist())):
            raise DataError(
                f"{root}: train and {name} have different labels ({', '.join(map(str, differ))}); make them the same"
            )
    if len(sizes := {images.shape[1:] for images, _ in read.values()}) > 1 and image_size is None:
        shown = " and ".join(sorted(f"{width}x{height}" for height, width in sizes))
        raise DataError(f"{root}: images have several sizes ({shown}); give --image-size to resize them")
    raw = {
        name: RawSplit(
            _fit(images, name, image_size, channels, progress), torch.from_numpy(np.searchsorted(values, labels))
        )
        for name, (images, labels) in read.items()
    }
    return RawData(tuple(map(str, values.tolist())), raw["train"], raw.get("test"), raw.get("val"))


def unpack(packed: Path) -> bytes:
    """The content of a gzip file.

    Raises:
        DataError: it cannot be read, or is damaged.
    """
    try:
        return gzip.decompress(packed.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"cannot unpack {packed}: {error}; get it anew") from None


def _find(root: Path, prefix: str, what: str) -> Path | None:
    """The file of the images or labels of a split, unpacked where there is one; None: there is none."""
    axes = {"images": 3, "labels": 1}[what]
    names = [f"{prefix}-{what}{mark}idx{axes}-ubyte{end}" for end in ("", ".gz") for mark in "-."]
    return next((root / name for name in names if (root / name).is_file()), None)


def _read_pair(root: Path, prefix: str) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, H, W) and labels (N,), uint8."""
    paths = {what: _find(root, prefix, what) for what in ("images", "labels")}
    for what, path in paths.items():
        if path is None:
            raise DataError(f"{root} has no {prefix}-{what}-idx*-ubyte, nor a .gz of it, beside the other file; add it")
    assert paths["images"] is not None
    assert paths["labels"] is not None
    images, labels = _read_idx(paths["images"], 3), _read_idx(paths["labels"], 1)
    if len(images) != len(labels):
        raise DataError(
            f"{paths['images']} has {len(images)} images, but there are {len(labels)} labels; get both anew"
        )
    return images, labels


def _read_idx(path: Path, num_axes: int) -> np.ndarray:
    """Unsigned bytes of a file of so many axes."""
    try:
        content = unpack(path) if path.suffix == ".gz" else path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}; check its permissions") from None
    start = 4 + 4 * num_axes
    if len(content) < start or content[:4] != bytes([0, 0, 8, num_axes]):
        raise DataError(f"{path} is no idx file of unsigned bytes with {num_axes} axes; get it anew")
    shape = np.frombuffer(content, ">u4", num_axes, 4).tolist()
    if len(content) - start != np.prod(shape):
        raise DataError(f"{path} has {len(content) - start:,} values, not {format_shape(shape)}; get it anew")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape).copy()


def _fit(
    images: np.ndarray, name: str, image_size: int | None, channels: int | None, progress: Progress
) -> torch.Tensor:
    """(N, C, H, W) of grey images (N, H, W)."""
    is_sized = image_size is None or images.shape[1:] == (image_size, image_size)
    if is_sized and channels != 3:
        return torch.from_numpy(images).unsqueeze(1)
    fitted = []
    for number, pixels in enumerate(images, start=1):
        fitted.append(fit_picture(Image.fromarray(pixels), image_size, channels))
        progress(f"fitting {name} images", number, len(images))
    return torch.from_numpy(np.stack(fitted))
