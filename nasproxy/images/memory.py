"""Images that are in memory already: arrays, and data sets of torch, torchvision, Hugging Face or timm.

Notation: N images, C channels (1 or 3), H height, W width, K classes.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from nasproxy.errors import DataError
from nasproxy.images.decoding import fit_picture, to_8_bits
from nasproxy.images.imageset import format_shape
from nasproxy.images.raw import Progress, RawData, RawSplit

Arrays = tuple[Any, Any]
"""Images and labels: arrays of numpy or torch, or lists."""
CHANNELS = (1, 3)


def raw_of_arrays(
    splits: Mapping[str, Arrays], classes: Sequence[str] | None = None, *, layout: str | None = None
) -> RawData:
    """Splits of arrays as a raw data set.

    Args:
        splits: 'train', and maybe 'val' and 'test'. Images are (N, H, W), (N, H, W, C) or (N, C, H, W), of integers in
            [0, 255] or floats in [0, 1]; labels (N,) are whole numbers or texts.
        classes: names of the classes 0 to K - 1; None: the labels that training images have, in their order.
        layout: 'hwc' or 'chw', where the shape does not tell; None: it does.

    Raises:
        DataError: of other shapes or values, a class without training images, or one that only other splits have.
    """
    read = {name: _read_pair(name, *pair, layout) for name, pair in splits.items()}
    shapes = {name: images.shape[1:] for name, (images, _) in read.items()}
    for name, shape in shapes.items():
        if shape != shapes["train"]:
            raise DataError(f"{name} images are {format_shape(shape)}, training images {format_shape(shapes['train'])}")
    values = np.arange(len(classes)) if classes is not None else np.unique(read["train"][1])
    names = tuple(map(str, values.tolist() if classes is None else classes))
    if len(set(names)) < len(names):
        raise DataError(
            f"two classes are called {next(one for one in names if names.count(one) > 1)!r}; name each once"
        )
    if len(values) < 2:
        raise DataError(f"the training labels have {len(values)} class; there must be at least two")
    for name, (_, labels) in read.items():
        if strangers := sorted(set(labels.tolist()) - set(values.tolist())):
            known = f"0 to {len(values) - 1}" if classes is not None else "those of the training images"
            raise DataError(f"{name} has the label {strangers[0]!r}; labels must be {known}")
        left = set(range(len(names))) - set(np.searchsorted(values, labels).tolist())
        if left and name == "train":
            raise DataError(f"class {names[min(left)]!r} has no training image; add some, or leave the class out")
    raw = {
        name: RawSplit(torch.from_numpy(images), torch.from_numpy(np.searchsorted(values, labels)).long())
        for name, (images, labels) in read.items()
    }
    return RawData(names, raw["train"], raw.get("test"), raw.get("val"))


def arrays_of_dataset(
    name: str,
    dataset: Any,
    *,
    columns: tuple[str, str],
    image_size: int | None,
    channels: int | None,
    layout: str | None,
    progress: Progress,
) -> tuple[np.ndarray, list[int | str]]:
    """Images (N, C, H, W) uint8 and labels of a data set that can be indexed.

    Args:
        name: of the split, for messages.
        dataset: items are pairs of image and label, or mappings with these columns. An image is a Pillow one, or an
            array (H, W), (H, W, C) or (C, H, W) as `raw_of_arrays` takes them.
        columns: of image and label.
        image_size: as for `decode_images`.
        channels: as for `decode_images`.
        layout: of arrays, as for `raw_of_arrays`.
        progress: called for every item.

    Raises:
        DataError: an item that is neither, images of several sizes without `image_size`, or nothing at all.
    """
    images: list[np.ndarray] = []
    labels: list[int | str] = []
    for number, (image, label) in enumerate(_items(name, dataset, columns)):
        pixels = _fit(f"item {number} of {name}", image, image_size, channels, layout)
        if images and pixels.shape[1:] != images[0].shape[1:]:
            first, other = (format_shape(one.shape[1:]) for one in (images[0], pixels))
            raise DataError(
                f"images of {name} have several sizes (item 0: {first}, item {number}: {other}); give image_size"
            )
        images.append(pixels)
        labels.append(_label_of(f"item {number} of {name}", label))
        progress(f"reading {name}", number + 1, len(dataset))
    if not images:
        raise DataError(f"{name} is empty; give a data set with items")
    return np.stack(widen(images)), labels


def widen(images: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Grey images, or sets of them, among coloured ones with three channels, their third axis from the end."""
    most = max(image.shape[-3] for image in images)
    return [np.repeat(image, most, axis=-3) if image.shape[-3] < most else image for image in images]


def keep_used(
    splits: Mapping[str, tuple[np.ndarray, list[int | str]]], names: Sequence[str]
) -> tuple[dict[str, Arrays], list[str]]:
    """Splits whose labels are numbers of these names, with those names alone that training images have.

    Raises:
        DataError: another split has a class that they do not.
    """
    used = sorted({int(label) for label in splits["train"][1]})
    place = {label: number for number, label in enumerate(used)}
    kept: dict[str, Arrays] = {}
    for name, (images, labels) in splits.items():
        if strangers := sorted({int(label) for label in labels} - place.keys()):
            known = names[strangers[0]] if 0 <= strangers[0] < len(names) else strangers[0]
            raise DataError(
                f"{name} has the class {known!r}, of which there is no training image; add some, or leave it out"
            )
        kept[name] = images, [place[int(label)] for label in labels]
    return kept, [names[label] if 0 <= label < len(names) else str(label) for label in used]


def classes_of_dataset(dataset: Any, column: str) -> tuple[str, ...] | None:
    """Names of the classes, where a data set says so as torchvision's or Hugging Face's do."""
    names = getattr(dataset, "classes", None)
    if names is None:
        features = getattr(dataset, "features", None)
        names = (
            getattr(features[column], "names", None) if isinstance(features, Mapping) and column in features else None
        )
    return tuple(map(str, names)) if names else None


def _read_pair(name: str, images: Any, labels: Any, layout: str | None) -> tuple[np.ndarray, np.ndarray]:
    """(N, C, H, W) uint8 and (N,)."""
    pixels, known = _to_bytes(f"{name} images", images), _to_numpy(f"{name} labels", labels)
    if pixels.ndim not in (3, 4) or not len(pixels):
        raise DataError(f"{name} images are of shape {pixels.shape}; give (N, H, W), (N, H, W, C) or (N, C, H, W)")
    if known.shape != (len(pixels),):
        raise DataError(f"{name} has {len(pixels)} images and labels of shape {known.shape}; give one label an image")
    if known.dtype.kind not in "iuU":
        raise DataError(f"{name} labels are of type {known.dtype}; give whole numbers or texts")
    return np.ascontiguousarray(_channels_first(name, pixels, layout)), known


def _channels_first(name: str, images: np.ndarray, layout: str | None) -> np.ndarray:
    if images.ndim == 3:
        return images[:, None]
    fits = {"chw": images.shape[1] in CHANNELS, "hwc": images.shape[3] in CHANNELS}
    if layout is None:
        if sum(fits.values()) != 1:
            problem = "may be (N, C, H, W) or (N, H, W, C): give layout='chw' or 'hwc'"
            raise DataError(
                f"{name} images {images.shape} {problem if any(fits.values()) else 'have no 1 or 3 channels'}"
            )
        layout = "chw" if fits["chw"] else "hwc"
    if not fits.get(layout, False):
        raise DataError(
            f"layout={layout!r}: {name} images are of shape {images.shape}; give 'chw' or 'hwc', or leave it out"
        )
    return images if layout == "chw" else images.transpose(0, 3, 1, 2)


def _to_numpy(what: str, values: Any) -> np.ndarray:
    """As an array of numbers or texts.

    Raises:
        DataError: rows of several shapes, or values that are neither.
    """
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        plain = values.float() if values.is_floating_point() else values  # numpy has no bfloat16
        numbers: np.ndarray = plain.numpy()
        return numbers
    try:
        array = np.asarray(values)
    except ValueError:
        raise DataError(f"{what} have several shapes; give one array, or from_datasets with image_size") from None
    if array.dtype.kind == "O":
        strange = next((value for value in array.flat if not isinstance(value, str)), "")
        if strange != "":
            raise DataError(f"{what} hold {strange!r}; give numbers of one kind, or texts")
        return array.astype(str)
    return array.astype(str) if array.dtype.kind == "S" else array


def _to_bytes(what: str, images: Any) -> np.ndarray:
    """The same as uint8.

    Raises:
        DataError: integers outside [0, 255], floats outside [0, 1], or no numbers.
    """
    pixels = _to_numpy(what, images)
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype.kind not in "iuf" or not pixels.size:
        raise DataError(f"{what} are of type {pixels.dtype}, shape {pixels.shape}; give arrays of numbers")
    top = 255 if pixels.dtype.kind in "iu" else 1
    low, high = float(pixels.min()), float(pixels.max())
    if not (low >= 0 and high <= top):
        kind = "integers in [0, 255]" if top == 255 else "floats in [0, 1], not normalised"
        raise DataError(f"{what} have values from {low:.4g} to {high:.4g}; give {kind}")
    return (pixels * (255 / top)).round().astype(np.uint8)


def _items(name: str, dataset: Any, columns: tuple[str, str]) -> Iterator[tuple[Any, Any]]:
    if isinstance(dataset, Mapping):
        raise DataError(f"{name} is a mapping of {', '.join(map(str, dataset))}; give one of these splits")
    if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
        raise DataError(
            f"{name} is a {type(dataset).__name__} without a length; give a data set that can be indexed, or a list"
        )
    for number in range(len(dataset)):
        try:
            item = dataset[number]
        except Exception as error:  # it runs its owner's code
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise DataError(f"item {number} of {name} cannot be read: {reason}") from error
        if isinstance(item, Mapping):
            if lacking := [column for column in columns if column not in item]:
                found = ", ".join(map(str, item))
                raise DataError(f"item {number} of {name} has no column {lacking[0]!r} but {found}; give columns=(...)")
            yield item[columns[0]], item[columns[1]]
        elif isinstance(item, Sequence) and not isinstance(item, str) and len(item) >= 2:
            yield item[0], item[1]
        else:
            raise DataError(f"item {number} of {name} is a {type(item).__name__}, no pair of image and label")


def _fit(what: str, image: Any, image_size: int | None, channels: int | None, layout: str | None) -> np.ndarray:
    """(C, H, W) uint8."""
    if not isinstance(image, Image.Image):
        pixels = _to_bytes(what, image) if isinstance(image, Tensor | np.ndarray) else None
        if pixels is None or pixels.ndim not in (2, 3):
            shape = "" if pixels is None else f" of shape {pixels.shape}"
            raise DataError(f"{what} is a {type(image).__name__}{shape}, no image; give Pillow images or arrays")
        plain = _channels_first(what, pixels[None], layout)[0]
        image = Image.fromarray(plain[0] if len(plain) == 1 else plain.transpose(1, 2, 0))
    try:
        return fit_picture(to_8_bits(image), image_size, channels)
    except ValueError as error:
        raise DataError(f"{what}: {error}") from None


def _label_of(what: str, label: Any) -> int | str:
    if isinstance(label, Tensor | np.ndarray | np.generic) and np.ndim(label) == 0:
        label = label.item()
    if isinstance(label, bool) or not isinstance(label, int | str):
        raise DataError(f"{what} has the label {label!r}; give a whole number or a text")
    return label
