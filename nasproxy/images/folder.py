"""Image folders: train/CLASS/*, test/CLASS/* (or CLASS/* alone), any format and size that Pillow reads."""

from operator import attrgetter
from pathlib import Path

from PIL import Image

from nasproxy.errors import DataError
from nasproxy.images.decoding import read_files
from nasproxy.images.raw import FileSplit, Progress, RawData

_NO_PICTURES = {".bufr", ".grib", ".h5", ".hdf", ".mpg", ".mpeg"}
"""Suffixes that Pillow registers but cannot decode."""


def read_folder(
    root: Path, cache_dir: Path, *, image_size: int | None, channels: int | None, progress: Progress
) -> RawData:
    """The images of a folder (see `scan_folder`), decoded by `read_files`.

    Raises:
        DataError: see both functions.
    """
    splits = scan_folder(root)
    return read_files(splits, root, cache_dir, image_size=image_size, channels=channels, progress=progress)


def scan_folder(root: Path) -> dict[str, FileSplit]:
    """The splits of an image folder: 'train', and 'test' where there is one.

    Raises:
        DataError: no class folders, an empty class, fewer than two classes, or a test split of other classes.
    """
    if not root.is_dir():
        raise DataError(f"no folder {root}; give a folder with train/CLASS/* or the name of a data set")
    train_root = root / "train" if (root / "train").is_dir() else root
    splits = {"train": _scan_split(train_root)}
    if (root / "test").is_dir() and train_root != root:
        splits["test"] = _scan_split(root / "test")
        if splits["test"].classes != splits["train"].classes:
            differ = sorted(set(splits["test"].classes) ^ set(splits["train"].classes))
            raise DataError(
                f"{root}: train/ and test/ have different classes ({', '.join(differ)}); make them the same"
            )
    return splits


def _scan_split(root: Path) -> FileSplit:
    known = {suffix for suffix, name in Image.registered_extensions().items() if name in Image.OPEN} - _NO_PICTURES
    folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    if len(folders) < 2:
        found = f"only the class {folders[0].name!r}" if folders else "no class folders"
        raise DataError(f"{root} has {found}; it must hold one folder of images for each of at least two classes")
    paths: list[Path] = []
    labels: list[int] = []
    for label, folder in enumerate(folders):
        files = [path for path in folder.rglob("*") if path.suffix.lower() in known and not path.name.startswith(".")]
        files.sort(key=attrgetter("parts"))  # the order of paths, compared faster
        if not files:
            raise DataError(f"class folder {folder} holds no images; add some, or remove the folder")
        paths += files
        labels += [label] * len(files)
    return FileSplit(tuple(folder.name for folder in folders), tuple(paths), tuple(labels))
