"""A proxy set: a small image set to train on, with all that says where it came from."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nasproxy.errors import DataError, ProxySetError
from nasproxy.images import ImageData, ImageSet
from nasproxy.images.imageset import load_image_set, save_image_set

FORMAT = 1


@dataclass(frozen=True)
class ProxySet:
    """Images to train on instead of a whole training set."""

    images: ImageSet
    method: str
    images_per_class: int
    seed: int
    seconds: float
    """Wall time of condensing."""
    dataset: str
    """Name of the data it was made from."""
    data_hash: str
    split_hash: str
    """Of the split whose training images it was made from."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Settings of the method."""

    @property
    def num_stored_images(self) -> int:
        return len(self.images)

    def save(self, path: Path) -> None:
        """Writes one `.safetensors` file: `images` in units of full brightness, `labels`, and the rest as metadata."""
        described = {name: getattr(self, name) for name in _METADATA}
        save_image_set(self.images, path, {"nasproxy_proxy_set": FORMAT} | described)

    def check_fits(self, data: ImageData) -> None:
        """Refuses data that this set is no proxy of.

        Raises:
            ProxySetError: other classes, another image shape, or a split whose validation or test images it has seen.
        """
        if self.images.classes != data.classes:
            raise ProxySetError(
                f"the proxy set has the classes {_shorten(self.images.classes)}, "
                f"{data.name} has {_shorten(data.classes)}; condense {data.name} itself"
            )
        if self.images.image_shape != data.image_shape:
            raise ProxySetError(
                f"the proxy set's images are {_shape(self.images.image_shape)}, those of {data.name} "
                f"{_shape(data.image_shape)}; use the same --image-size and channels"
            )
        if self.split_hash != data.split_hash:
            raise ProxySetError(
                f"the proxy set was made from another split of {self.dataset} than this one of {data.name}: "
                "it may have seen these validation or test images; "
                "use the same data, val_fraction, test_fraction and split_seed"
            )


_METADATA = ("method", "images_per_class", "seed", "seconds", "dataset", "data_hash", "split_hash", "settings")


def load_proxy_set(path: Path) -> ProxySet:
    """Reads a proxy set.

    Raises:
        ProxySetError: missing, damaged, or no proxy set.
    """
    try:
        images, header = load_image_set(path)
        if header.get("nasproxy_proxy_set") != FORMAT:
            raise ProxySetError(f"{path} is no proxy set of format {FORMAT}; make one with 'nasproxy condense'")
        return ProxySet(images=images, **{name: header[name] for name in _METADATA})
    except DataError as error:
        raise ProxySetError(str(error)) from None
    except KeyError as error:
        raise ProxySetError(f"{path} lacks {error} in its metadata; condense again") from None


def _shorten(names: tuple[str, ...]) -> str:
    return f"({', '.join(names[:3])}{', …' if len(names) > 3 else ''}; {len(names)} in all)"


def _shape(image_shape: tuple[int, int, int]) -> str:
    channels, height, width = image_shape
    return f"{channels}x{height}x{width}"
