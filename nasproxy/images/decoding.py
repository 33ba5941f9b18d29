"""Image files as tensors.

Decoding runs once, on all cores: the result is cached under a hash of every file's name and content. Only the result,
one byte per value, and the few images being decoded are held in memory.
"""

import contextlib
import errno
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
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
from nasproxy.images.raw import BrokenFile, FileSplit, ImageFile, Progress, RawData, RawSplit

T = TypeVar("T")

FORMATS = ("AVIF", "BMP", "GIF", "ICO", "JPEG", "JPEG2000", "PNG", "PPM", "TGA", "TIFF", "WEBP")
"""Formats, by Pillow's names, that files are opened as where this Pillow has them, whatever they are called: pixels and
nothing else. Pillow knows more, and for some starts a program that it feeds with the file (Ghostscript, for
PostScript)."""
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
    """The images of 'train', and of 'test' and 'val' where there are any; from the cache if decoded before.

    Args:
        splits: the files of each split.
        root: the folder that contains them; the cache does not depend on its location.
        cache_dir: folder for decoded images.
        image_size: see `decode_images`.
        channels: see `decode_images`.
        progress: called for every file read and every image decoded.

    Returns:
        The images, without those of files that cannot be read or decoded, which are named in `broken`.

    Raises:
        DataError: see `decode_images`.
    """
    paths = [path for split in splits.values() for path in split.paths]
    content, unread = _hash_files(paths, root, progress)
    key = blake2b(f"{content} {image_size}-{channels}".encode(), digest_size=16).hexdigest()
    cache_path = cache_dir / f"{key}.safetensors"
    wanted = [(name, label) for name, split in splits.items() for label in split.labels]
    images, reasons = None, unread
    with contextlib.suppress(DataError):  # missing or damaged cache: decode
        cached, header = load_image_set(cache_path)
        images, reasons = cached.images, dict(header.get("broken", []))
    if images is None:
        numbers = [number for number in range(len(paths)) if number not in unread]
        images, undecoded = decode_images(
            [paths[number] for number in numbers], image_size=image_size, channels=channels, progress=progress
        )
        reasons = unread | {numbers[at]: reason for at, reason in undecoded.items()}
        labels = torch.tensor([label for number, (_, label) in enumerate(wanted) if number not in reasons])
        described = {"folder": root.name, "broken": list(reasons.items())}
        save_image_set(ImageSet(images, labels, splits["train"].classes, (), ()), cache_path, described)
    there = [pair for number, pair in enumerate(wanted) if number not in reasons]
    labels_of = {name: torch.tensor([label for split, label in there if split == name]).long() for name in splits}
    parts = images.split([len(labels) for labels in labels_of.values()])
    raw = {name: RawSplit(part, labels_of[name]) for name, part in zip(splits, parts, strict=True)}
    broken = tuple(BrokenFile(str(paths[number]), reasons[number]) for number in sorted(reasons))
    return RawData(splits["train"].classes, raw["train"], raw.get("test"), raw.get("val"), broken)


def decode_images(
    paths: Sequence[ImageFile], *, image_size: int | tuple[int, int] | None, channels: int | None, progress: Progress
) -> tuple[Tensor, dict[int, str]]:
    """All images that can be decoded as one tensor (N, C, H, W) uint8, and why others cannot, by position.

    Args:
        paths: image files, or parts of archives, of any mode: 16-bit grey is scaled to 8 bits, transparency dropped,
            EXIF rotation applied.
        image_size: side S: the shorter side is resized to S and the central S x S cropped; height and width do the
            same for a rectangle. None: unchanged.
        channels: 1 or 3; None: 1 if every image is grey, else 3.
        progress: called for every file.

    Raises:
        DataError: images of different sizes without `image_size`, or a file that can no longer be read.
    """
    decoded = _in_parallel(lambda path: _decode(path, image_size, channels), paths, "decoding", progress)
    images, first, count = np.empty((0, 1, 0, 0), dtype=np.uint8), None, 0
    reasons: dict[int, str] = {}
    for number, (path, image) in enumerate(zip(paths, decoded, strict=True)):
        if isinstance(image, str):
            reasons[number] = image
            continue
        num_channels, height, width = image.shape
        if first is None:
            images, first = np.empty((len(paths), *image.shape), dtype=np.uint8), path
        elif images.shape[2:] != (height, width):
            raise DataError(
                f"images have several sizes (e.g. {images.shape[3]}x{images.shape[2]}: {first}, "
                f"{width}x{height}: {path}); give --image-size to resize them"
            )
        if num_channels > images.shape[1]:  # the first coloured one
            images = np.repeat(images, num_channels, axis=1)
        images[count] = image
        count += 1
    return torch.from_numpy(images[:count]), reasons


def _hash_files(paths: Sequence[ImageFile], root: Path, progress: Progress) -> tuple[str, dict[int, str]]:
    """32 hex digits that depend on the name and content of every file; and why some cannot be read, by position."""
    digest, above = blake2b(digest_size=16), f"{root}{os.sep}"
    unread: dict[int, str] = {}
    hashes = _in_parallel(_hash_file, paths, "reading", progress, batch_size=LOOK_AHEAD // 4)
    for number, (path, content) in enumerate(zip(paths, hashes, strict=True)):
        if isinstance(content, OSError):
            unread[number] = _reason_of(content)
        named = f"{str(path).removeprefix(above)}\0{unread.get(number, content)}\n"
        digest.update(named.encode(errors="surrogateescape"))
    return digest.hexdigest(), unread


def _hash_file(path: ImageFile) -> str | OSError:
    if problem := _not_regular(path):
        return OSError(errno.EINVAL, problem)
    try:
        return blake2b(path.read_bytes(), digest_size=16).hexdigest()
    except OSError as error:
        return error


def _not_regular(path: ImageFile) -> str | None:
    """Why a file is not read at all: reading a pipe or a device might never end."""
    if not isinstance(path, Path) or path.is_file():
        return None
    return "it is no regular file" if path.exists() else "No such file or directory"


def _decode(path: ImageFile, image_size: int | tuple[int, int] | None, channels: int | None) -> np.ndarray | str:
    """(C, H, W) uint8 of one file, or why it cannot be decoded; without `channels`, C is 1 for a grey image, else 3."""
    if problem := _not_regular(path):
        return problem
    try:
        content = path.read_bytes()
    except OSError as error:  # it could be read a moment ago
        raise DataError(f"cannot read {path}: {error.strerror}; try again") from None
    try:
        with Image.open(BytesIO(content), formats=_known_formats()) as opened:
            opened.load()
            picture = to_8_bits(ImageOps.exif_transpose(opened))
    except (
        UnidentifiedImageError,
        OSError,
        SyntaxError,
        ValueError,
        RuntimeError,
        Image.DecompressionBombError,
    ) as error:
        return _reason_of(error)
    return fit_picture(picture, image_size, channels)


@cache
def _known_formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def fit_picture(picture: Image.Image, image_size: int | tuple[int, int] | None, channels: int | None) -> np.ndarray:
    """(C, H, W) uint8 of a picture, resized, cropped and converted as `decode_images` says."""
    if image_size is not None:
        height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
        if picture.size != (width, height):
            picture = ImageOps.fit(picture, (width, height), Image.Resampling.BILINEAR)
    if channels is not None:
        picture = picture.convert("L" if channels == 1 else "RGB")
    pixels = np.asarray(picture)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def _reason_of(error: Exception) -> str:
    """In a few words, on one line."""
    if isinstance(error, UnidentifiedImageError):
        return "it is no image"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) or type(error).__name__


def to_8_bits(picture: Image.Image) -> Image.Image:
    """A picture of mode L or RGB: 16-bit grey is scaled, transparency dropped.

    Raises:
        ValueError: pixels of unknown range.
    """
    if picture.mode.startswith("I"):
        values = np.asarray(picture).astype(np.float64)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError(f"its values are outside 16 bits ({values.min():g} to {values.max():g}): rescale it")
        return Image.fromarray((values / 257).round().astype(np.uint8))
    if picture.mode == "F":
        raise ValueError("it holds floating-point pixels of unknown range: save it with 8 or 16 bits")
    if picture.mode in ("1", "L", "LA", "La"):
        return picture.convert("L")
    if picture.mode in ("P", "PA"):
        picture = picture.convert("RGBA")
    return picture.convert("RGB")


def _in_parallel(
    work: Callable[[ImageFile], T], paths: Sequence[ImageFile], what: str, progress: Progress, *, batch_size: int = 1
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


def _each(work: Callable[[ImageFile], T], paths: Sequence[ImageFile]) -> list[T]:
    return [work(path) for path in paths]
