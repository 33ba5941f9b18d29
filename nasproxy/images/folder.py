"""Image folders: train/CLASS/*, test/CLASS/* (or CLASS/* alone), any format and size that Pillow reads.

Decoding runs on all cores, once: the result is cached under a hash of every file's name and content.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import blake2b
from io import BytesIO
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from nasproxy.errors import DataError

T = TypeVar("T")
Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many are done, and how many there are."""


_NO_PICTURES = {".bufr", ".grib", ".h5", ".hdf", ".mpg", ".mpeg"}
"""Suffixes that Pillow knows the names of, but has no decoder for."""


@dataclass(frozen=True)
class FolderSplit:
    """The image files of one split: K classes and for each file its class."""

    classes: tuple[str, ...]
    paths: tuple[Path, ...]
    labels: tuple[int, ...]


def scan_folder(root: Path) -> dict[str, FolderSplit]:
    """The splits of an image folder: 'train', and 'test' where there is one.

    Raises:
        DataError: no class folders, an empty class, fewer than two classes, or a test split of other classes.
    """
    if not root.is_dir():
        raise DataError(f"no folder {root}; give a folder with train/CLASS/* or the name of a data set")
    train_root = root / "train" if (root / "train").is_dir() else root
    splits = {"train": _scan_split(train_root)}
    if (root / "test").is_dir() and train_root != root:
        splits["test"] = _scan_split(root / "test")
        if splits["test"].classes != splits["train"].classes:
            differ = sorted(set(splits["test"].classes) ^ set(splits["train"].classes))
            raise DataError(
                f"{root}: train/ and test/ have different classes ({', '.join(differ)}); make them the same"
            )
    return splits


def hash_files(splits: dict[str, FolderSplit], root: Path, progress: Progress) -> str:
    """32 hex digits that depend on the name and the content of every file."""
    digest = blake2b(digest_size=16)
    paths = [path for split in splits.values() for path in split.paths]
    for path, content in zip(paths, _in_parallel(_hash_file, paths, "reading", progress), strict=True):
        digest.update(f"{path.relative_to(root)}\0{content}\n".encode())
    return digest.hexdigest()


def decode_images(paths: Iterable[Path], *, image_size: int | None, channels: int | None, progress: Progress) -> Tensor:
    """All images as one tensor (N, C, H, W) uint8.

    Args:
        paths: image files, of any mode: 16-bit grey is scaled to 8 bits, transparency dropped, EXIF rotation applied.
        image_size: side S: the shorter side is resized to S, the middle S x S kept. None: as they are.
        channels: 1 or 3; None: 1 if every image is grey, else 3.
        progress: told of every decoded image.

    Raises:
        DataError: an image that cannot be decoded (named), or images of several sizes without `image_size`.
    """
    files = list(paths)
    arrays = list(_in_parallel(lambda path: _decode(path, image_size), files, "decoding", progress))
    sizes = {array.shape[:2]: path for array, path in zip(arrays, files, strict=True)}
    if len(sizes) > 1:
        (first, here), (second, there) = list(sizes.items())[:2]
        raise DataError(
            f"images have {len(sizes)} sizes (e.g. {first[1]}x{first[0]}: {here}, {second[1]}x{second[0]}: {there}); "
            "give --image-size to resize them"
        )
    wanted = channels or (1 if all(array.ndim == 2 for array in arrays) else 3)
    return torch.from_numpy(np.stack([_with_channels(array, wanted) for array in arrays]))


def _scan_split(root: Path) -> FolderSplit:
    known = {suffix for suffix, name in Image.registered_extensions().items() if name in Image.OPEN} - _NO_PICTURES
    folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    if len(folders) < 2:
        found = f"only the class {folders[0].name!r}" if folders else "no class folders"
        raise DataError(f"{root} has {found}; it must hold one folder of images for each of at least two classes")
    paths: list[Path] = []
    labels: list[int] = []
    for label, folder in enumerate(folders):
        files = sorted(
            path for path in folder.rglob("*") if path.suffix.lower() in known and not path.name.startswith(".")
        )
        if not files:
            raise DataError(f"class folder {folder} holds no images; add some, or remove the folder")
        paths += files
        labels += [label] * len(files)
    return FolderSplit(tuple(folder.name for folder in folders), tuple(paths), tuple(labels))


def _hash_file(path: Path) -> str:
    try:
        return blake2b(path.read_bytes(), digest_size=16).hexdigest()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}; check its permissions") from None


def _decode(path: Path, image_size: int | None) -> np.ndarray:
    """(H, W) of a grey image or (H, W, 3) of a coloured one, uint8."""
    try:
        with Image.open(BytesIO(path.read_bytes())) as opened:
            opened.load()
            picture = _to_8_bits(ImageOps.exif_transpose(opened), path)
    except (
        UnidentifiedImageError,
        OSError,
        SyntaxError,
        ValueError,
        RuntimeError,
        Image.DecompressionBombError,
    ) as error:
        raise DataError(f"cannot decode image {path}: {error}; replace or remove the file") from None
    if image_size is not None and picture.size != (image_size, image_size):
        picture = ImageOps.fit(picture, (image_size, image_size), Image.Resampling.BILINEAR)
    return np.asarray(picture)


def _to_8_bits(picture: Image.Image, path: Path) -> Image.Image:
    if picture.mode.startswith("I"):
        values = np.asarray(picture).astype(np.float64)
        if values.min() < 0 or values.max() > 65535:
            raise DataError(
                f"image {path} has values outside 16 bits ({values.min():g} to {values.max():g}); rescale it"
            )
        return Image.fromarray((values / 257).round().astype(np.uint8))
    if picture.mode == "F":
        raise DataError(f"image {path} holds floating-point pixels of unknown range; save it with 8 or 16 bits")
    if picture.mode in ("1", "L", "LA", "La"):
        return picture.convert("L")
    if picture.mode in ("P", "PA"):
        picture = picture.convert("RGBA")
    return picture.convert("RGB")


def _with_channels(array: np.ndarray, channels: int) -> np.ndarray:
    """(C, H, W) of an (H, W) or (H, W, 3) array."""
    if channels == 1:
        return np.asarray(Image.fromarray(array).convert("L"))[None]
    return np.broadcast_to(array, (3, *array.shape)) if array.ndim == 2 else array.transpose(2, 0, 1)


def _in_parallel(work: Callable[[Path], T], paths: list[Path], what: str, progress: Progress) -> Iterator[T]:
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for done, result in enumerate(pool.map(work, paths), start=1):
            yield result
            progress(what, done, len(paths))
