"""The input of a training-free score."""

from typing import NamedTuple

from torch import Tensor


class Batch(NamedTuple):
    """Labelled training images."""

    images: Tensor
    """(N, C, H, W), normalised, not augmented."""
    labels: Tensor
    """(N,), int64 in [0, K)."""
