"""Data sets as they come: before any split, normalisation or device.

Notation: N images, C channels, H height, W width, K classes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many are done, and how many there are."""


@dataclass(frozen=True)
class FileSplit:
    """The image files of one split: K classes and for each file its class."""

    classes: tuple[str, ...]
    paths: tuple[Path, ...]
    labels: tuple[int, ...]


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
