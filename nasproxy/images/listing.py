"""Images that are listed rather than sorted into folders: what to make of names of splits, files and labels.

A list is a CSV file of paths and labels:

    path,label,split             or file, filename, image; class, target; the split is optional (or set, fold, subset)
    photos/1.jpg,cat,train       relative to the CSV file
    photos/2.jpg,dog,test        train, val (valid, validation) or test
"""

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from nasproxy.errors import DataError
from nasproxy.images.raw import VALIDATION_NAMES, FileSplit, ImageFile

Label = int | str
Entries = Mapping[str, Sequence[tuple[ImageFile, Label]]]
"""Split -> each image, and its label."""

IMAGE_COLUMNS = ("path", "file", "filename", "image", "img", "jpg", "png", "jpeg")
LABEL_COLUMNS = ("label", "class", "target", "cls", "fine_label")
_SPLIT_COLUMNS = ("split", "set", "fold", "subset")
_SPLITS = {"train": "train", "training": "train", "test": "test"} | dict.fromkeys(VALIDATION_NAMES, "val")
LONGEST_NUMBER = 18
"""Digits of a label that is a number."""


def split_named(name: str) -> str | None:
    """'train', 'val' or 'test', as people write it; None: it is none of these."""
    return _SPLITS.get(name.strip().lower())


def split_in(name: str) -> str | None:
    """The split that a name of a file or folder has in it, as 'imagenet-train-000.tar' has 'train'; None: none."""
    return next((split for word in re.split(r"[-_.\s]", name) if (split := split_named(word))), None)


def find_column(source: object, columns: Iterable[str], names: Sequence[str]) -> str:
    """The column that is called by one of these names, however its letters are written.

    Raises:
        DataError: there is none.
    """
    lower = {column.strip().lower(): column for column in columns}
    for name in names:
        if name in lower:
            return lower[name]
    found = ", ".join(lower.values()) or "no name"
    raise DataError(f"{source} has columns of {found}; call one {' or '.join([', '.join(names[:-1]), names[-1]])}")


def read_list(path: Path) -> dict[str, FileSplit]:
    """The splits of a CSV file of paths and labels.

    Raises:
        DataError: it cannot be read, lacks a column, names a split or file that is none, or see `sort_entries`.
    """
    entries: dict[str, list[tuple[ImageFile, Label]]] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restkey="")
            columns = list(reader.fieldnames or [])
            image_column, label_column = (find_column(path, columns, names) for names in (IMAGE_COLUMNS, LABEL_COLUMNS))
            split_column = next((name for name in columns if name.strip().lower() in _SPLIT_COLUMNS), None)
            for row in reader:
                where = f"{path}, line {reader.line_num}"
                named, label = row[image_column], row[label_column]
                if not named or not label:
                    raise DataError(f"{where}: no {label_column if named else image_column}; complete the line")
                written = row[split_column] if split_column else "train"
                if (split := split_named(written or "")) is None:
                    raise DataError(f"{where}: {split_column} {written or ''!r} is none; write train, val or test")
                if not (image := path.parent / named).is_file():
                    raise DataError(f"{where}: there is no file {image}; paths are relative to the CSV file")
                entries.setdefault(split, []).append((image, label.strip()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot read {path}: {error}; give a CSV file with columns path and label") from None
    return sort_entries(entries, path)


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
        if split != "train" and {label for _, label in images} <= {-1, "-1"}:
            raise DataError(f"{source}: the labels of {split} are hidden (-1); take its files away, or give labels")
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
    is_number = text.isascii() and text.isdecimal() and len(text) <= LONGEST_NUMBER
    return (0, int(text), text) if is_number else (1, 0, text)


def _name_of(label: Label, names: Sequence[str] | None) -> str:
    return str(names[label]) if names is not None and isinstance(label, int) and 0 <= label < len(names) else str(label)
