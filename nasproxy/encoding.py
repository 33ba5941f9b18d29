"""How a proxy set's images are stored: as they are, several in one, or as products of thin matrices.

An encoding turns a memory budget, counted in images, into tensors, and these into images to train on. It is independent
of the method: any method that makes synthetic images works with any encoding.

Notation: n stored items, t images decoded from one item, C channels, H height, W width, f tiles per side, r rank.

Sources: Kim et al., "Dataset Condensation via Efficient Synthetic-Data Parameterization", ICML 2022 (IDC);
Yang et al., "An Efficient Dataset Condensation Plugin and Its Application to Continual Learning", NeurIPS 2023 (Lo-).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from nasproxy.errors import SettingsError, unknown_name

ImageShape = tuple[int, int, int]
"""(C, H, W)."""
Tensors = Mapping[str, Tensor]
"""Name -> (n, ...): the stored tensors of n items."""
Unit = Literal["pixels", "normalized"]
"""Unit of decoded values: 1.0 is full brightness, or mean 0 and standard deviation 1 over the training set."""


class Encoding(Protocol):
    """An encoding with its parameters."""

    name: ClassVar[str]

    @property
    def tiles(self) -> int:
        """t: images decoded from one stored item."""

    def items_for(self, budget: int, image_shape: ImageShape) -> int:
        """Number of items that fit into the memory of `budget` images.

        Raises:
            SettingsError: none fits.
        """

    def decode(self, tensors: Tensors) -> Tensor:
        """n items -> (n * t, C, H, W), differentiable; items are independent."""

    def encode(self, images: Tensor) -> dict[str, Tensor]:
        """(n * t, C, H, W) -> n items whose decoded images approximate them."""

    def draw(self, num_items: int, image_shape: ImageShape, generator: torch.Generator) -> dict[str, Tensor]:
        """Random items, standard normal, on the CPU."""


@dataclass(frozen=True)
class Pixels:
    """Images as they are."""

    name: ClassVar[str] = "pixels"
    tiles: ClassVar[int] = 1

    def items_for(self, budget: int, image_shape: ImageShape) -> int:
        return budget

    def decode(self, tensors: Tensors) -> Tensor:
        return tensors["images"]

    def encode(self, images: Tensor) -> dict[str, Tensor]:
        return {"images": images}

    def draw(self, num_items: int, image_shape: ImageShape, generator: torch.Generator) -> dict[str, Tensor]:
        return {"images": torch.randn(num_items, *image_shape, generator=generator)}


@dataclass(frozen=True)
class MultiFormation:
    """Each stored image is a mosaic of f x f tiles; each tile, up-sampled, is an image (IDC, section 4.1).

    Spectrograms are cut along the width, their time, alone: f tiles of full height (IDC's public code for speech).

    Our differences:
    1. Where f does not divide a side, it is padded to a multiple of f by repeating the border, not grey.
    2. Tiles of real images are made smaller with anti-aliasing, not by taking the nearest pixels.
    """

    factor: int = 2
    tiles_along: Literal["both", "width"] = "both"
    name: ClassVar[str] = "multi-formation"

    @property
    def tiles(self) -> int:
        return math.prod(self._grid)

    @property
    def _grid(self) -> tuple[int, int]:
        """Tiles along the height and along the width."""
        return self.factor if self.tiles_along == "both" else 1, self.factor

    def items_for(self, budget: int, image_shape: ImageShape) -> int:
        side = min(image_shape[1:]) if self.tiles_along == "both" else image_shape[2]
        if self.factor > side:
            raise SettingsError(f"factor {self.factor} is more than the {side} pixels of a side")
        return budget

    def decode(self, tensors: Tensors) -> Tensor:
        mosaics = tensors["images"]
        size = mosaics.shape[-2:]
        down, right = self._grid
        padded = F.pad(mosaics, (0, -size[1] % right, 0, -size[0] % down), mode="replicate")
        rows = padded.unflatten(2, (down, -1)).unflatten(4, (right, -1))  # (n, C, down, h, right, w)
        tiles = rows.permute(0, 2, 4, 1, 3, 5).flatten(0, 2)
        return F.interpolate(tiles, size=size, mode="bilinear", align_corners=False)

    def encode(self, images: Tensor) -> dict[str, Tensor]:
        height, width = images.shape[-2:]
        down, right = self._grid
        size = [math.ceil(height / down), math.ceil(width / right)]
        tiles = F.interpolate(images, size=size, mode="bilinear", align_corners=False, antialias=True)
        rows = tiles.unflatten(0, (-1, down, right)).permute(0, 3, 1, 4, 2, 5)
        return {"images": rows.flatten(4, 5).flatten(2, 3)[..., :height, :width].contiguous()}

    def draw(self, num_items: int, image_shape: ImageShape, generator: torch.Generator) -> dict[str, Tensor]:
        return Pixels().draw(num_items, image_shape, generator)


@dataclass(frozen=True)
class LowRank:
    """Each channel of an image is a product of an H x r and an r x W matrix, so that more images fit (Lo-).

    Real images are encoded by truncated singular value decomposition; each factor takes the roots of the singular
    values.
    """

    rank: int = 2
    name: ClassVar[str] = "low-rank"
    tiles: ClassVar[int] = 1

    def items_for(self, budget: int, image_shape: ImageShape) -> int:
        _, height, width = image_shape
        saved = height * width // (self.rank * (height + width))
        if saved == 0:
            raise SettingsError(
                f"rank {self.rank} takes more memory than the {width}x{height} pixels it stands for; "
                f"use a rank of {max(height * width // (height + width), 1)} or less"
            )
        return budget * saved

    def decode(self, tensors: Tensors) -> Tensor:
        return tensors["left"] @ tensors["right"]

    def encode(self, images: Tensor) -> dict[str, Tensor]:
        left, values, right = torch.linalg.svd(images, full_matrices=False)
        roots = values[..., : self.rank].sqrt()
        return {
            "left": left[..., : self.rank] * roots.unsqueeze(-2),
            "right": roots.unsqueeze(-1) * right[..., : self.rank, :],
        }

    def draw(self, num_items: int, image_shape: ImageShape, generator: torch.Generator) -> dict[str, Tensor]:
        channels, height, width = image_shape
        left = torch.randn(num_items, channels, height, self.rank, generator=generator)
        right = torch.randn(num_items, channels, self.rank, width, generator=generator)
        return {"left": left, "right": right}


ENCODINGS: dict[str, type[Pixels] | type[MultiFormation] | type[LowRank]] = {
    kind.name: kind for kind in (Pixels, MultiFormation, LowRank)
}
"""Encodings by name."""


def make_encoding(name: str, /, **parameters: Any) -> Encoding:
    """The encoding called `name`, with those of `parameters` (`factor`, `tiles_along`, `rank`) that it has.

    Raises:
        SettingsError: an unknown encoding (the nearest is named).
    """
    if name not in ENCODINGS:
        raise unknown_name("encoding", name, ENCODINGS)
    kind = ENCODINGS[name]
    return kind(**{key: value for key, value in parameters.items() if key in kind.__dataclass_fields__})


@dataclass(frozen=True, eq=False)
class EncodedImages:
    """Images in an encoding."""

    encoding: Encoding
    tensors: Tensors
    """Name -> (n, ...)."""
    unit: Unit

    @property
    def num_numbers(self) -> int:
        """Numbers stored."""
        return sum(tensor.numel() for tensor in self.tensors.values())

    def decode(self) -> Tensor:
        """(n * t, C, H, W) in `unit`."""
        return self.encoding.decode(self.tensors)

    def describe(self) -> dict[str, Any]:
        """Name of the encoding, its parameters and the unit, as plain values for a file's header."""
        return {"format": self.encoding.name, "unit": self.unit, **vars(self.encoding)}
