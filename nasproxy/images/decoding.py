"""Image files as tensors.

Decoding runs once, on all cores: the result is cached under a hash of every file's name and content. Only the result,
one byte per value, and the few images being decoded are held in memory.
"""

import contextlib
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from nasproxy.errors import DataError
from nasproxy.images.imageset import ImageSet, load_image_set, save_image_set
from nasproxy.images.raw import FileSplit, Progress, RawData, RawSplit

T = TypeVar("T")

LOOK_AHEAD = 256
"""Maximum number of files read or decoded ahead of their turn."""


def read_files(
    splits: dict[str, FileSplit],
    root: Path,
    cache_dir: Path,
    *,
    image_size: int | None,
    channels: int | None,
    progress: Progress,
) -> RawData:
    """The images of 'train', and of 'test' where there is one; from the cache if decoded before.

    Args:
        splits: the files of each split.
        root: the folder that contains them; the cache does not depend on its location.
        cache_dir: folder for decoded images.
        image_size: see `decode_images`.
        channels: see `decode_images`.
        progress: called for every file read and every image decoded.

    Raises:
        DataError: see `decode_images`; or a file that cannot be read.
    """
    paths = [path for split in splits.values() for path in split.paths]
    how = f"{image_size}-{channels}"
    key = blake2b(f"{_hash_files(paths, root, progress)} {how}".encode(), digest_size=16).hexdigest()
    cache_path = cache_dir / f"{key}.safetensors"
    images = None
    with contextlib.suppress(DataError):  # missing or damaged cache: decode
        images = load_image_set(cache_path)[0].images
    if images is None:
        images = decode_images(paths, image_size=image_size, channels=channels, progress=progress)
        labels = torch.tensor([label for split in splits.values() for label in split.labels])
        save_image_set(ImageSet(images, labels, splits["train"].classes, (), ()), cache_path, {"folder": root.name})
    parts = images.split([len(split.paths) for split in splits.values()])
    raw = {
        name: RawSplit(part, torch.tensor(split.labels))
        for (name, split), part in zip(splits.items(), parts, strict=True)
    }
    return RawData(splits["train"].classes, raw["train"], raw.get("test"))


def decode_images(paths: Sequence[Path], *, image_size: int | None, channels: int | None, progress: Progress) -> Tensor:
    """All images as one tensor (N, C, H, W) uint8.

    Args:
        paths: N image files, of any mode: 16-bit grey is scaled to 8 bits, transparency dropped, EXIF rotation applied.
        image_size: side S: the shorter side is resized to S and the central S x S cropped. None: unchanged.
        channels: 1 or 3; None: 1 if every image is grey, else 3.
        progress: called for every decoded image.

    Raises:
        DataError: an image that cannot be decoded (named), or images of different sizes without `image_size`.
    """
    decoded = _in_parallel(lambda path: _decode(path, image_size, channels), paths, "decoding", progress)
    images = np.empty((0, 1, 0, 0), dtype=np.uint8)
    for number, (path, image) in enumerate(zip(paths, decoded, strict=True)):
        num_channels, height, width = image.shape
        if number == 0:
            images = np.empty((len(paths), *image.shape), dtype=np.uint8)
        elif images.shape[2:] != (height, width):
            raise DataError(
                f"images have several sizes (e.g. {images.shape[3]}x{images.shape[2]}: {paths[0]}, "
                f"{width}x{height}: {path}); give --image-size to resize them"
            )
        if num_channels > images.shape[1]:  # the first coloured one
            images = np.repeat(images, num_channels, axis=1)
        images[number] = image
    return torch.from_numpy(images)


def _hash_files(paths: Sequence[Path], root: Path, progress: Progress) -> str:
    """32 hex digits that depend on the name and content of every file."""
    digest, above = blake2b(digest_size=16), f"{root}{os.sep}"
    hashes = _in_parallel(_hash_file, paths, "reading", progress, batch_size=LOOK_AHEAD // 4)
    for path, content in zip(paths, hashes, strict=True):
        digest.update(f"{str(path).removeprefix(above)}\0{content}\n".encode())
    return digest.hexdigest()


def _hash_file(path: Path) -> str:
    try:
        return blake2b(path.read_bytes(), digest_size=16).hexdigest()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}; check its permissions") from None


def _decode(path: Path, image_size: int | None, channels: int | None) -> np.ndarray:
    """(C, H, W) uint8 of one file; without `channels`, C is 1 for a grey image and 3 for a coloured one."""
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
    if channels is not None:
        picture = picture.convert("L" if channels == 1 else "RGB")
    pixels = np.asarray(picture)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


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


def _in_parallel(
    work: Callable[[Path], T], paths: Sequence[Path], what: str, progress: Progress, *, batch_size: int = 1
) -> Iterator[T]:
    """Results in the order of the paths; at most `LOOK_AHEAD` of them wait to be consumed.

    `batch_size` paths are given out at a time: work of microseconds is less than giving it out takes.
    """
    batches = iter([paths[first : first + batch_size] for first in range(0, len(paths), batch_size)])
    done = 0
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        waiting = deque(pool.submit(_each, work, batch) for batch in islice(batches, LOOK_AHEAD // batch_size))
        while waiting:
            for result in waiting.popleft().result():
                yield result
                done += 1
                progress(what, done, len(paths))
            waiting.extend(pool.submit(_each, work, batch) for batch in islice(batches, 1))


def _each(work: Callable[[Path], T], paths: Sequence[Path]) -> list[T]:
    return [work(path) for path in paths]
