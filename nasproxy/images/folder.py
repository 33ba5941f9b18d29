"""Image folders, of any size, and of the formats that `nasproxy.images.decoding.FORMATS` names.

    pets/
      train/CLASS/*     or CLASS/* directly in the folder, and nothing else
      val/CLASS/*       or valid, validation; optional: what architectures are selected by
      test/CLASS/*      optional: what they are judged by

What is missing is held out of the training images. So where there are train/ and val/ alone, as of ImageNet, val/
selects and a part of train/ judges; to be judged by val/, as papers on ImageNet are, call it test/.
"""

from collections.abc import Sequence
from functools import cache
from operator import attrgetter
from pathlib import Path, PurePath

from PIL import Image

from nasproxy.errors import DataError, InputError
from nasproxy.images.decoding import FORMATS, read_files
from nasproxy.images.raw import VALIDATION_NAMES, BrokenFile, FileSplit, ImageFile, Progress, RawData

MAX_NAMED = 5
"""Files that cannot be decoded and are named, at most."""
_FOLDERS = {"val": VALIDATION_NAMES, "test": ("test",)}
"""Names of the folders of the splits beside train/."""


def read_all(
    splits: dict[str, FileSplit],
    root: Path,
    cache_dir: Path,
    *,
    image_size: int | None,
    channels: int | None,
    skip_broken: bool,
    progress: Progress,
) -> RawData:
    """The images of splits of files.

    Args:
        splits: files, and the class of each.
        root: what they lie in: the cache does not depend on where that is.
        cache_dir: as for `read_files`.
        image_size: as for `read_files`.
        channels: as for `read_files`.
        skip_broken: whether files that cannot be decoded are left out; else they are an error.
        progress: as for `read_files`.

    Raises:
        DataError: see `read_files`; files that cannot be decoded, or a class of which nothing else is left.
    """
    raw = read_files(splits, root, cache_dir, image_size=image_size, channels=channels, progress=progress)
    if raw.broken and not skip_broken:
        raise DataError(_describe_broken(raw.broken))
    read = {"train": ("training", raw.train), "val": ("validation", raw.val), "test": ("test", raw.test)}
    for name, files in splits.items():
        what, split = read[name]
        left = set(split.labels.tolist()) if split else set()
        if lost := [raw.classes[label] for label in sorted(set(files.labels) - left)]:
            raise DataError(f"{root}: no {what} image of class {lost[0]!r} can be decoded; add some, or remove it")
    return raw


def name_broken(broken: Sequence[BrokenFile]) -> str:
    """Path and reason of each file, or of the first few."""
    named = [f"{file.path}: {file.reason}" for file in broken[:MAX_NAMED]]
    return "; ".join(named + ([f"and {len(broken) - MAX_NAMED} more"] if len(broken) > MAX_NAMED else []))


def _describe_broken(broken: Sequence[BrokenFile]) -> str:
    what, them = ("image", "it") if len(broken) == 1 else (f"{len(broken)} images:", "them")
    remedy = "replace or remove the file" if len(broken) == 1 else "replace or remove the files"
    return f"cannot decode {what} {name_broken(broken)}; {remedy}, or leave {them} out with --skip-broken"


def scan_folder(root: Path) -> dict[str, FileSplit]:
    """The splits of an image folder: 'train', and 'val' and 'test' where there are any.

    Raises:
        DataError: no class folders, an empty class, fewer than two classes, a split of other classes than the training
            images, or several folders of validation images.
    """
    if not root.is_dir():
        raise DataError(f"no folder {root}; give a folder with train/CLASS/* or the name of a data set")
    if not (root / "train").is_dir():
        return {"train": _scan_split(root)}
    splits = {"train": _scan_split(root / "train")}
    for name, folders in _FOLDERS.items():
        found = [folder for folder in folders if (root / folder).is_dir()]
        if len(found) > 1:
            raise DataError(f"{root} has {'/ and '.join(found)}/, of which one is the validation split; remove others")
        for folder in found:
            splits[name] = _scan_split(root / folder)
            _check_classes(root, folder, splits[name].classes, splits["train"].classes)
    return splits


def _check_classes(root: Path, folder: str, classes: Sequence[str], expected: Sequence[str]) -> None:
    if classes != expected:
        differ = ", ".join(sorted(set(classes) ^ set(expected)))
        raise DataError(f"{root}: train/ and {folder}/ have different classes ({differ}); make them the same")


def list_images(path: Path) -> list[Path]:
    """A file itself, whatever it is; of a folder the files in it, however deep, that are called like images.

    Raises:
        InputError: there is no such file or folder, or none of its files is called so.
    """
    if path.is_dir():
        if files := _images_under(path):
            return files
        raise InputError(f"folder {path} holds no images; name another one, or files")
    if not path.exists():
        raise InputError(f"there is no {path}; name image files, or folders of them")
    if not path.is_file():
        raise InputError(f"{path} is no regular file; name image files, or folders of them")
    return [path]


def is_called_like_an_image(path: PurePath) -> bool:
    """Whether its suffix is one of `FORMATS`."""
    return path.suffix.lower() in _suffixes()


@cache
def _suffixes() -> frozenset[str]:
    return frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in FORMATS)


def _images_under(folder: Path) -> list[Path]:
    files = [path for path in folder.rglob("*") if is_called_like_an_image(path) and not path.name.startswith(".")]
    files.sort(key=attrgetter("parts"))  # the order of paths, compared faster
    return files


def _scan_split(root: Path) -> FileSplit:
    folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    if len(folders) < 2:
        found = f"only the class {folders[0].name!r}" if folders else "no class folders"
        raise DataError(f"{root} has {found}; it must hold one folder of images for each of at least two classes")
    paths: list[ImageFile] = []
    labels: list[int] = []
    for label, folder in enumerate(folders):
        files = _images_under(folder)
        if not files:
            raise DataError(f"class folder {folder} holds no images; add some, or remove the folder")
        paths += files
        labels += [label] * len(files)
    return FileSplit(tuple(folder.name for folder in folders), tuple(paths), tuple(labels))
