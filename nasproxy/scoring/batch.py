"""What a training-free score sees of the training set."""

from typing import NamedTuple

from torch import Tensor


class Batch(NamedTuple):
    """Labelled images, as training would feed them."""

    images: Tensor
    """(N, C, H, W), normalised, not augmented."""
    labels: Tensor
    """(N,), int64 in [0, K)."""
