"""Images that are listed rather than sorted into folders: what to make of names of splits, files and labels.

A list is a CSV file of paths and labels:

    path,label,split             or file, filename, image; class, target; the split is optional
    photos/1.jpg,cat,train       relative to the CSV file
    photos/2.jpg,dog,test        train, val (valid, validation) or test
"""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from nasproxy.errors import DataError
from nasproxy.images.raw import VALIDATION_NAMES, FileSplit, ImageFile

Label = int | str
Entries = Mapping[str, Sequence[tuple[ImageFile, Label]]]
"""Split -> each image, and its label."""

_PATH_COLUMNS = ("path", "file", "filename", "image")
_LABEL_COLUMNS = ("label", "class", "target")
_SPLITS = {"train": "train", "test": "test"} | dict.fromkeys(VALIDATION_NAMES, "val")


def split_named(name: str) -> str | None:
    """'train', 'val' or 'test', as people write it; None: it is none of these."""
    return _SPLITS.get(name.strip().lower())


def read_list(path: Path) -> dict[str, FileSplit]:
    """The splits of a CSV file of paths and labels.

    Raises:
        DataError: it cannot be read, lacks a column, names a split or file that is none, or see `sort_entries`.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restkey="")
            rows, columns = list(reader), reader.fieldnames or []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot read {path}: {error}; give a CSV file with columns path and label") from None
    path_column, label_column = (_find_column(path, columns, names) for names in (_PATH_COLUMNS, _LABEL_COLUMNS))
    entries: dict[str, list[tuple[ImageFile, Label]]] = {}
    for number, row in enumerate(rows, start=2):
        named, label, written = row[path_column], row[label_column], row.get("split") or "train"
        if not named or not label:
            missing = label_column if named else path_column
            raise DataError(f"{path}, line {number}: no {missing}; complete the line")
        split = split_named(written)
        if split is None:
            raise DataError(f"{path}, line {number}: split {written!r} is none; write train, val or test")
        if not (image := path.parent / named).is_file():
            raise DataError(f"{path}, line {number}: there is no file {image}; paths are relative to the CSV file")
        entries.setdefault(split, []).append((image, label))
    return sort_entries(entries, path)


def _find_column(path: Path, columns: Sequence[str], names: Sequence[str]) -> str:
    for name in names:
        if name in columns:
            return name
    raise DataError(f"{path} has the columns {', '.join(columns)}, none of {', '.join(names)}; name one so")


def sort_entries(entries: Entries, source: Path, names: Sequence[str] | None = None) -> dict[str, FileSplit]:
    """Images with labels as splits of files; classes are those of the training images.

    Args:
        entries: images of each split.
        source: where they come from, for messages.
        names: of the classes 0 to K - 1, where labels are such numbers; None: labels are names.

    Raises:
        DataError: no training images, fewer than two classes, or another split has a class that they do not.
    """
    if not entries.get("train"):
        raise DataError(f"{source} has no training images; call their files, or their split, train")
    labels = sorted({label for _, label in entries["train"]}, key=_order)
    if len(labels) < 2:
        raise DataError(f"{source}: all training images are of class {labels[0]!r}; there must be at least two classes")
    place = {label: number for number, label in enumerate(labels)}
    classes = tuple(_name_of(label, names) for label in labels)
    if len(set(classes)) < len(classes):
        raise DataError(f"{source}: two classes are called {max(classes, key=classes.count)!r}; name each once")
    for split, images in entries.items():
        for image, label in images:
            if label not in place:
                raise DataError(
                    f"{source}: {image} of {split} is of class {_name_of(label, names)!r}, of which there is no "
                    "training image; add some, or leave it out"
                )
    return {
        split: FileSplit(classes, tuple(image for image, _ in images), tuple(place[label] for _, label in images))
        for split, images in entries.items()
    }


def _order(label: Label) -> tuple[int, int, str]:
    """Numbers by size, then texts."""
    text = str(label)
    return (0, int(text), "") if text.isdecimal() else (1, 0, text)


def _name_of(label: Label, names: Sequence[str] | None) -> str:
    return str(names[label]) if names is not None and isinstance(label, int) and 0 <= label < len(names) else str(label)
