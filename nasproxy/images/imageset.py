"""A set of labelled images on one device.

Notation: N images, C channels, H height, W width, K classes, R images per class.

Pixels are stored as uint8 in [0, 255] or as float32 where 1.0 is full brightness, never normalised; `normalized` gives
what nets see. So a saved set can be viewed, and its mean and standard deviation travel with it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from nasproxy.errors import DataError, TensorFileError
from nasproxy.seeding import derive_seed
from nasproxy.tensorfile import read_header, read_tensor_file, write_tensor_file


def make_generator(*parts: int | str) -> torch.Generator:
    """A CPU generator seeded from names (see `derive_seed`): draws do not depend on the device."""
    return torch.Generator().manual_seed(derive_seed(*parts))


def format_shape(shape: Sequence[int]) -> str:
    """For people: '3x32x32'."""
    return "x".join(map(str, shape))


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Labelled images, with class names and normalisation."""

    images: Tensor
    """(N, C, H, W), uint8 in [0, 255], or float32 where 1.0 is full brightness."""
    labels: Tensor
    """(N,), int64 in [0, K)."""
    classes: tuple[str, ...]
    """K names."""
    mean: tuple[float, ...]
    """Per channel, of pixels in units of full brightness."""
    std: tuple[float, ...]
    """Per channel, of pixels in units of full brightness."""
    flippable: bool = True
    """Whether a mirrored image keeps its class (false for digits)."""

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return f"<ImageSet: {self.describe()}>"

    def describe(self) -> str:
        """What it is, in one line: '240 images, 4 classes, 3x32x32'."""
        return f"{len(self):,} images, {self.num_classes:,} classes, {format_shape(self.image_shape)}"

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @property
    def num_bytes(self) -> int:
        """Memory of the images."""
        return self.images.nbytes

    @property
    def device(self) -> torch.device:
        return self.images.device

    @property
    def largest_share(self) -> float:
        """Share of the images in the class that has most: the accuracy of always naming it."""
        return max(map(len, self.class_indices)) / len(self)

    @cached_property
    def class_indices(self) -> list[Tensor]:
        """K index tensors into the set, each ascending, on the CPU."""
        labels = self.labels.cpu()
        return [torch.nonzero(labels == k).flatten() for k in range(self.num_classes)]

    @cached_property
    def _scale(self) -> tuple[Tensor, Tensor]:
        """(1, C, 1, 1) factor and offset: normalised = images * factor + offset."""
        unit = 255.0 if self.images.dtype == torch.uint8 else 1.0
        mean = torch.tensor(self.mean, device=self.device).view(1, -1, 1, 1)
        std = torch.tensor(self.std, device=self.device).view(1, -1, 1, 1)
        return 1 / (unit * std), -mean / std

    def normalized(self, index: Tensor | slice = slice(None)) -> Tensor:
        """Images at an index, (n, C, H, W) float32 with mean 0 and standard deviation 1 over the training set."""
        factor, offset = self._scale
        return self.images[index].float() * factor + offset

    def pixels_from_normalized(self, normalized: Tensor) -> Tensor:
        """The inverse of `normalized` as float32 pixels, 1.0 being full brightness; not clamped."""
        mean, std = self._mean_std(normalized)
        return normalized * std + mean

    def normalized_from_pixels(self, pixels: Tensor) -> Tensor:
        """What `normalized` gives for float32 pixels (n, C, H, W), 1.0 being full brightness."""
        mean, std = self._mean_std(pixels)
        return (pixels - mean) / std

    def _mean_std(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """(1, C, 1, 1) each, on the device of `like`."""
        shape = (1, -1, 1, 1)
        return like.new_tensor(self.mean).view(shape), like.new_tensor(self.std).view(shape)

    def sample_classes(self, size: int, generator: torch.Generator) -> Tensor:
        """Indices (K, size): `size` images of every class, without replacement.

        A class of fewer than `size` images is drawn from again, in a new order, until `size` are drawn.
        """
        rows = []
        for index in self.class_indices:
            rounds = -(-size // len(index))
            orders = [torch.randperm(len(index), generator=generator) for _ in range(rounds)]
            rows.append(index[torch.cat(orders)[:size]])
        return torch.stack(rows).to(self.device, non_blocking=True)

    def subset(self, index: Tensor) -> Self:
        """The images at an index, in its order."""
        return replace(self, images=self.images[index], labels=self.labels[index])

    def to(self, device: torch.device | str) -> Self:
        """The same set on a device."""
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))

    def content_order(self) -> Tensor:
        """Indices (N,), on the CPU, that sort the images by a hash of pixels and label: whatever order they are in."""
        rows = zip(self.labels.tolist(), self.images.cpu().flatten(1).contiguous().numpy(), strict=True)
        digests = [blake2b(row.data, digest_size=16, salt=b"%d" % label).digest() for label, row in rows]
        return torch.tensor(sorted(range(len(self)), key=digests.__getitem__))

    def content_hash(self) -> str:
        """32 hex digits that depend on every pixel, label and class name."""
        digest = blake2b(
            json.dumps([list(self.classes), list(self.images.shape), str(self.images.dtype)]).encode(), digest_size=16
        )
        for tensor in (self.labels, self.images):
            digest.update(tensor.cpu().contiguous().numpy().data)
        return digest.hexdigest()


def save_image_set(
    images: ImageSet, path: Path, metadata: Mapping[str, Any], tensors: Mapping[str, Tensor] | None = None
) -> None:
    """Writes images, labels and metadata as one `.safetensors` file, whole or not at all.

    The file holds `labels` and either the images as `images` or, where they are encoded, `tensors`; its header holds
    the JSON texts `classes`, `mean`, `std`, `flippable` and those of `metadata`.
    """
    described = {"classes": list(images.classes), "mean": images.mean, "std": images.std, "flippable": images.flippable}
    kept = {"images": images.images} if tensors is None else dict(tensors)
    write_tensor_file(path, kept | {"labels": images.labels}, described | dict(metadata))


def load_image_set(path: Path) -> tuple[ImageSet, dict[str, Any]]:
    """The image set of a `.safetensors` file, and all its metadata.

    Raises:
        DataError: missing, damaged, or without images and labels.
    """
    header, tensors = read_image_file(path)
    if "images" not in tensors:
        raise DataError(f"{path} is no image set of nasproxy: it holds no images; make it again")
    return describe_images(tensors["images"], tensors["labels"], header), header


def read_image_file(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Metadata and tensors of a file that `save_image_set` wrote; `labels` are among the tensors.

    Raises:
        DataError: missing, damaged, or no image set.
    """
    if not path.exists():
        raise DataError(f"no file {path}; check the path")
    try:
        tensors, header = read_tensor_file(path)
        describe_images(torch.empty(0), tensors["labels"], header)
    except (TensorFileError, KeyError, TypeError) as error:
        raise DataError(f"{path} is no image set of nasproxy: {error}; make it again") from None
    return header, tensors


def read_classes(path: Path) -> tuple[str, ...]:
    """Names of the classes of a file that `save_image_set` wrote; its tensors are not read.

    Raises:
        DataError: missing, damaged, or no image set.
    """
    try:
        return tuple(read_header(path)["classes"])
    except (TensorFileError, KeyError, TypeError) as error:
        raise DataError(f"{path} is no image set of nasproxy: {error}; make it again") from None


def describe_images(images: Tensor, labels: Tensor, header: Mapping[str, Any]) -> ImageSet:
    """An image set from images, labels and a file's metadata.

    Raises:
        KeyError: an entry is missing from the metadata.
    """
    return ImageSet(
        images=images,
        labels=labels,
        classes=tuple(header["classes"]),
        mean=tuple(header["mean"]),
        std=tuple(header["std"]),
        flippable=header["flippable"],
    )
