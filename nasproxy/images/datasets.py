"""Named data sets: reading their files, and downloading them where they are missing."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nasproxy.errors import DataError
from nasproxy.files import write_atomically
from nasproxy.images.download import downloading
from nasproxy.images.idx import unpack
from nasproxy.images.raw import Progress, RawData, RawSplit
from nasproxy.images.tinyimagenet import read_tinyimagenet


@dataclass(frozen=True)
class Dataset:
    """A named data set: how to read it, and whether its images may be mirrored."""

    read: Callable[[Path, Progress], RawData]
    """Data folder and progress callback -> the data."""
    flippable: bool
    summary: str


def _read_digits(data_dir: Path, progress: Progress) -> RawData:
    """scikit-learn's 1,797 handwritten digits, 8x8 up-sampled (bilinear) to 16x16; they have no test split."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    small = torch.from_numpy(digits.images).float().unsqueeze(1) * (255 / 16)
    images = torch.nn.functional.interpolate(small, size=(16, 16), mode="bilinear", align_corners=False)
    train = RawSplit(images.round().to(torch.uint8), torch.from_numpy(digits.target).long())
    return RawData(tuple(str(digit) for digit in range(10)), train, None)


def _read_torchvision(class_name: str, data_dir: Path) -> RawData:
    from torchvision import datasets  # it takes more than a second, which other data need not wait for

    _unpack_idx_files(data_dir / class_name / "raw")
    kind = getattr(datasets, class_name)
    by_split = class_name == "SVHN"
    parts = []
    for split in ("train", "test"):
        which = {"split": split} if by_split else {"train": split == "train"}
        parts.append(_open_or_download(partial(kind, data_dir, **which), class_name, data_dir))
    classes = tuple(getattr(parts[0], "classes", map(str, range(10))))
    train, test = (RawSplit(_as_nchw(part.data), _labels_of(part)) for part in parts)
    return RawData(classes, train, test)


def _unpack_idx_files(folder: Path) -> None:
    """Unpacks idx files that were compressed by others than torchvision's downloads (e.g. in a Debian package)."""
    for packed in folder.glob("*-ubyte.gz"):
        if not packed.with_suffix("").exists():
            write_atomically(packed.with_suffix(""), partial(_write_unpacked, packed))


def _write_unpacked(packed: Path, scratch: Path) -> None:
    scratch.write_bytes(unpack(packed))


def _open_or_download(make: Callable[..., Any], name: str, data_dir: Path) -> Any:
    try:
        return make(download=False)
    except RuntimeError:  # torchvision raises it for missing or incomplete files
        pass
    except (ValueError, TypeError, KeyError, AssertionError, EOFError) as error:
        raise DataError(f"the files of {name} in {data_dir} are damaged ({error}); remove them and try again") from None
    with downloading(name, data_dir, "the files there as torchvision would"):
        return make(download=True)


def _as_nchw(data: Any) -> Tensor:
    images = torch.as_tensor(data)
    if images.ndim == 3:
        return images.unsqueeze(1)
    return (images.permute(0, 3, 1, 2) if images.shape[-1] == 3 else images).contiguous()


def _labels_of(part: Any) -> Tensor:
    return torch.as_tensor(part.labels if hasattr(part, "labels") else part.targets).long()


def _torchvision(class_name: str) -> Callable[[Path, Progress], RawData]:
    return lambda data_dir, progress: _read_torchvision(class_name, data_dir)


DATASETS: dict[str, Dataset] = {
    "digits": Dataset(_read_digits, False, "scikit-learn's digits, 1x16x16, 10 classes, no download"),
    "mnist": Dataset(_torchvision("MNIST"), False, "MNIST, 1x28x28, 10 classes"),
    "fashion-mnist": Dataset(_torchvision("FashionMNIST"), True, "Fashion-MNIST, 1x28x28, 10 classes"),
    "svhn": Dataset(_torchvision("SVHN"), False, "Street View House Numbers, 3x32x32, 10 classes"),
    "cifar10": Dataset(_torchvision("CIFAR10"), True, "CIFAR-10, 3x32x32, 10 classes"),
    "cifar100": Dataset(_torchvision("CIFAR100"), True, "CIFAR-100, 3x32x32, 100 classes"),
    "tinyimagenet": Dataset(read_tinyimagenet, True, "TinyImageNet, 3x64x64, 200 classes"),
}
"""Named data sets. To add one: a reader `(data_dir, progress) -> RawData` and a line here."""
