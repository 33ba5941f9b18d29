"""Raw data sets: before any split, normalisation or move to a device.

Notation: N images, C channels, H height, W width, K classes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

Progress = Callable[[str, int, int], None]
"""Called with the current activity, the number done, and the total."""

VALIDATION_NAMES = ("val", "valid", "validation")
"""What folders and files of validation images are called."""


class ImageFile(Protocol):
    """An image file: a path, or a part of an archive. As text, it says which."""

    def read_bytes(self) -> bytes:
        """All of it.

        Raises:
            OSError: it cannot be read.
        """


@dataclass(frozen=True)
class FileSplit:
    """The image files of one split: K classes, and the class of each file."""

    classes: tuple[str, ...]
    paths: tuple[ImageFile, ...]
    labels: tuple[int, ...]


@dataclass(frozen=True)
class BrokenFile:
    """An image file that cannot be read or decoded."""

    path: str
    reason: str


@dataclass(frozen=True)
class RawSplit:
    """Raw images (N, C, H, W) uint8 and labels (N,) int64."""

    images: Tensor
    labels: Tensor


@dataclass(frozen=True)
class RawData:
    """A raw data set, possibly without a test split, mostly without a validation split."""

    classes: tuple[str, ...]
    train: RawSplit
    test: RawSplit | None
    val: RawSplit | None = None
    broken: tuple[BrokenFile, ...] = ()
    """Files that give no image."""
