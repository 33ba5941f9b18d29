"""A proxy set: a small image set to train on, with its provenance."""

import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from nasproxy.encoding import EncodedImages, Pixels, make_encoding
from nasproxy.errors import DataError, ProxySetError, SettingsError
from nasproxy.images import ImageData, ImageSet
from nasproxy.images.imageset import describe_images, format_shape, read_image_file, save_image_set
from nasproxy.rundir import RunDir
from nasproxy.trials import ProxyCost

FORMAT = 3
"""Version of the file format, in the header; nasproxy 0.1 wrote up to 2."""


@dataclass(frozen=True)
class ProxySet:
    """Images to train on in place of a whole training set."""

    images: ImageSet
    """Decoded images to train on."""
    method: str
    """Name of the method, followed by the encoding where it is not the method's default, e.g. 'dm+low-rank'."""
    images_per_class: int
    """Memory budget per class, in images of this size."""
    seed: int
    seconds: float
    """Wall time of condensing."""
    dataset: str
    """Name of the source data."""
    data_hash: str
    split_hash: str
    """Hash of the split whose training images were condensed."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Settings of the method."""
    stored: EncodedImages | None = field(default=None, compare=False)
    """The encoded images; None: the images themselves are stored."""
    run: RunDir | None = field(default=None, compare=False, repr=False)
    """Folder that keeps it; None: it is in memory only, or in a file."""

    def __repr__(self) -> str:
        return f"<ProxySet {self.name} of {self.dataset}: {self.images.describe()}>"

    @cached_property
    def _kept(self) -> EncodedImages:
        return self.stored or EncodedImages(Pixels(), {"images": self.images.images}, "pixels")

    @property
    def name(self) -> str:
        """E.g. 'dm-50'."""
        return f"{self.method}-{self.images_per_class}"

    @property
    def num_stored_numbers(self) -> int:
        """Numbers stored for the images."""
        return self._kept.num_numbers

    @property
    def num_stored_images(self) -> int:
        """Memory in images of this size, rounded up."""
        return math.ceil(self.num_stored_numbers / math.prod(self.images.image_shape))

    @cached_property
    def content_hash(self) -> str:
        """32 hex digits that depend on every image, label and class name."""
        return self.images.content_hash()

    @property
    def cost(self) -> ProxyCost:
        """What it costs, before any net is trained on it."""
        return ProxyCost(len(self.images), self.num_stored_images, self.num_stored_numbers, self.seconds)

    def save(self, path: str | Path) -> None:
        """Writes one `.safetensors` file: the encoded images, `labels`, and everything else as metadata.

        As pixels it holds `images` (N, C, H, W), 1.0 being full brightness; with the encoding 'multi-formation'
        `images` are mosaics; with 'low-rank' `left` @ `right` are images of mean 0 and standard deviation 1, or pixels,
        as the `unit` of the header's `encoding` says. `labels` are those of the decoded images, in the order of the
        items and of the tiles in each.
        """
        described = {name: getattr(self, name) for name in _METADATA}
        described["encoding"] = self._kept.describe()
        save_image_set(self.images, Path(path), {"nasproxy_proxy_set": FORMAT} | described, self._kept.tensors)

    def check_fits(self, data: ImageData) -> None:
        """Refuses data that this set was not condensed from.

        Raises:
            ProxySetError: other classes, another image shape, or a split whose validation or test images the set may
            contain.
        """
        if self.images.classes != data.classes:
            raise ProxySetError(
                f"the proxy set has the classes {_shorten(self.images.classes)}, "
                f"{data.name} has {_shorten(data.classes)}; condense {data.name} itself"
            )
        if self.images.image_shape != data.image_shape:
            raise ProxySetError(
                f"the proxy set's images are {format_shape(self.images.image_shape)}, those of {data.name} "
                f"{format_shape(data.image_shape)}; use the same --image-size and channels"
            )
        if self.split_hash != data.split_hash:
            raise ProxySetError(
                f"the proxy set was made from another split of {self.dataset} than this one of {data.name}: "
                "it may have seen these validation or test images; "
                "use the same data, val_fraction, test_fraction and split_seed"
            )


_METADATA = ("method", "images_per_class", "seed", "seconds", "dataset", "data_hash", "split_hash", "settings")


def make_proxy_set(stored: EncodedImages, like: ImageSet, **described: Any) -> ProxySet:
    """The proxy set of encoded images; labels, mean and std come from `like`, all other fields from `described`."""
    with torch.no_grad():
        decoded = stored.decode()
    pixels = decoded if stored.unit == "pixels" else like.pixels_from_normalized(decoded)
    kept = None if isinstance(stored.encoding, Pixels) else stored
    return ProxySet(replace(like, images=pixels), stored=kept, **described)


def load_proxy_set(path: str | Path) -> ProxySet:
    """Reads a proxy set.

    Raises:
        ProxySetError: missing, damaged, of another format, or no proxy set.
    """
    path = Path(path)
    try:
        header, tensors = read_image_file(path)
        _check_format(header.get("nasproxy_proxy_set"), path)
        labels, described = tensors.pop("labels"), header["encoding"]
        stored = EncodedImages(make_encoding(described["format"], **described), tensors, described["unit"])
        like = describe_images(torch.empty(0), labels, header)
        return make_proxy_set(stored, like, **{name: header[name] for name in _METADATA})
    except DataError as error:
        raise ProxySetError(str(error)) from None
    except KeyError as error:
        raise ProxySetError(f"{path} lacks {error} in its metadata; condense again") from None
    except (SettingsError, RuntimeError) as error:
        raise ProxySetError(f"{path} cannot be decoded: {error}; condense again") from None


def _check_format(found: object, path: Path) -> None:
    if found is None:
        raise ProxySetError(f"{path} is no proxy set; make one with 'nasproxy condense'")
    if found != FORMAT:
        writer = "nasproxy 0.1" if found in (1, 2) else "a newer nasproxy"
        raise ProxySetError(
            f"{path} is a proxy set of format {found}, written by {writer}; "
            f"this version reads format {FORMAT}, condense again"
        )


def _shorten(names: tuple[str, ...]) -> str:
    return f"({', '.join(names[:3])}{', …' if len(names) > 3 else ''}; {len(names)} in all)"
