"""Images in shards: tar archives as WebDataset writes them, and Parquet files as hubs ship them.

    pets/train-000.tar           or one file, or files in folders train/, val/, test/
      00001.jpg  00001.cls       an image, and its class (.cls or .txt; .json with "label", "class" or "cls")
      cat/7.jpg                  or an image in a folder of its class

    pets/data/train-00000-of-00002.parquet
      image  label               or img, jpg, png; a struct with bytes, or bytes; names of the classes in its metadata

A file belongs to the split that its name, or its folder, begins with; others are training images. Nothing is unpacked:
an image is read where it lies.
"""

import json
import tarfile
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from nasproxy.errors import DataError
from nasproxy.images.folder import is_called_like_an_image
from nasproxy.images.listing import Label, sort_entries, split_named
from nasproxy.images.raw import FileSplit, ImageFile

SUFFIXES = (".tar", ".parquet")
_CLASS_SUFFIXES = (".cls", ".txt", ".json")
_LABEL_KEYS = ("label", "class", "cls", "fine_label")
_IMAGE_KEYS = ("image", "img", "jpg", "png", "jpeg")
KEPT_GROUPS = 4
"""Row groups of Parquet files that are held in memory."""


def find_shards(path: Path) -> list[Path]:
    """A file itself, if it is called like a shard; of a folder the shards in it or its folders, of one kind."""
    if path.is_file():
        return [path] if path.suffix in SUFFIXES else []
    for suffix in SUFFIXES:
        found = [file for pattern in (f"*{suffix}", f"*/*{suffix}") for file in path.glob(pattern)]
        if shards := sorted(file for file in found if file.is_file() and not file.name.startswith(".")):
            return shards
    return []


def read_shards(path: Path, shards: Sequence[Path]) -> dict[str, FileSplit]:
    """The splits of shards.

    Args:
        path: the file or folder that was named.
        shards: see `find_shards`.

    Raises:
        DataError: a shard that cannot be read, an image without a label, or see `sort_entries`.
    """
    entries: dict[str, list[tuple[ImageFile, Label]]] = {}
    names: tuple[str, ...] | None = None
    for shard in shards:
        if shard.suffix == ".tar":
            for split, image, label in _scan_tar(path, shard):
                entries.setdefault(split, []).append((image, label))
        else:
            table = _Parquet(shard)
            names = table.names or names
            entries.setdefault(_split_of(path, shard), []).extend(table.entries())
    return sort_entries(entries, path, names)


def _split_of(path: Path, shard: Path) -> str:
    """By the first of its folders, or else its name, that begins like a split."""
    for part in shard.relative_to(path).parts if path.is_dir() else (shard.name,):
        if split := split_named(part.replace("_", "-").replace(".", "-").partition("-")[0]):
            return split
    return "train"


@dataclass(frozen=True)
class TarMember:
    """An image in a tar archive."""

    archive: Path
    name: str
    offset: int
    size: int

    def read_bytes(self) -> bytes:
        with self.archive.open("rb") as file:
            file.seek(self.offset)
            return file.read(self.size)

    def __str__(self) -> str:
        return f"{self.archive}/{self.name}"


def _scan_tar(path: Path, archive: Path) -> Iterator[tuple[str, TarMember, Label]]:
    try:
        with tarfile.open(archive, "r:") as file:
            members = [
                TarMember(archive, member.name, member.offset_data, member.size) for member in file if member.isreg()
            ]
    except (OSError, tarfile.TarError) as error:
        raise DataError(
            f"cannot read {archive}: {error}; give plain tar archives, whose images can be read one by one"
        ) from None
    labels = {
        _key_of(member.name): _read_label(member)
        for member in members
        if PurePosixPath(member.name).suffix.lower() in _CLASS_SUFFIXES
    }
    own = _split_of(path, archive)
    for member in members:
        name = PurePosixPath(member.name)
        if not is_called_like_an_image(name) or name.name.startswith("."):
            continue
        key, folders = _key_of(member.name), [part for part in name.parts[:-1] if part != "."]
        if key in labels:
            yield own, member, labels[key]
        elif folders:
            yield split_named(folders[-2]) or own if len(folders) > 1 else own, member, folders[-1]
        else:
            raise DataError(f"{member} has no label; put {key}.cls beside it, or the image into a folder of its class")


def _key_of(name: str) -> str:
    """What files of one item share: the path up to the first dot of the name, as WebDataset has it."""
    path = PurePosixPath(name)
    return str(path.parent / path.name.partition(".")[0])


def _read_label(member: TarMember) -> Label:
    try:
        text = member.read_bytes().decode("utf-8").strip()
        if member.name.endswith(".json"):
            content = json.loads(text)
            text = str(next(content[key] for key in _LABEL_KEYS if key in content))
    except (OSError, ValueError, TypeError, StopIteration):
        text = ""
    if not text or "\n" in text:
        raise DataError(f"{member} holds no label; write the class into it, or into its key 'label'")
    return text


@dataclass(frozen=True)
class ParquetCell:
    """An image in a row of a Parquet file."""

    table: "_Parquet"
    row: int
    group: int
    """Of rows that are read at once."""
    place: int
    """In the group."""

    def read_bytes(self) -> bytes:
        return self.table.read_image(self.group, self.place)

    def __str__(self) -> str:
        return f"{self.table.path}, row {self.row}"


class _Parquet:
    """A Parquet file of images and labels."""

    _groups: ClassVar[OrderedDict[tuple[Path, int], Any]] = OrderedDict()
    """Columns of images, of the row groups that were read last."""
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, path: Path) -> None:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile

        self.path = path
        try:
            self._file = ParquetFile(path)
        except (OSError, ArrowException) as error:
            raise DataError(f"cannot read {path}: {' '.join(str(error).split())[:200]}; replace the file") from None
        columns = self._file.schema_arrow.names
        self._image, self._label = (self._find(columns, keys) for keys in (_IMAGE_KEYS, _LABEL_KEYS))

    def _find(self, columns: Sequence[str], keys: Sequence[str]) -> str:
        for key in keys:
            if key in columns:
                return key
        raise DataError(f"{self.path} has the columns {', '.join(columns)}, none of {', '.join(keys)}; name one so")

    @cached_property
    def names(self) -> tuple[str, ...] | None:
        """Of the classes, where the file says so as Hugging Face's do."""
        metadata = self._file.schema_arrow.metadata or {}
        try:
            features = json.loads(metadata[b"huggingface"])["info"]["features"]
            return tuple(map(str, features[self._label]["names"]))
        except (KeyError, TypeError, ValueError):
            return None

    def entries(self) -> Iterator[tuple[ParquetCell, Label]]:
        """Images and labels, in order."""
        row = 0
        for group in range(self._file.num_row_groups):
            labels = self._file.read_row_group(group, columns=[self._label]).column(0).to_pylist()
            for place, label in enumerate(labels):
                cell = ParquetCell(self, row, group, place)
                if isinstance(label, bool) or not isinstance(label, int | str):
                    raise DataError(f"{cell} has the label {label!r}; give a whole number or a text")
                yield cell, label
                row += 1

    def read_image(self, group: int, place: int) -> bytes:
        """The bytes of an image file.

        Raises:
            OSError: the row holds none.
        """
        with self._lock:
            column = self._groups.get((self.path, group))
            if column is None:
                column = self._file.read_row_group(group, columns=[self._image]).column(self._image)
                self._groups[self.path, group] = column
                if len(self._groups) > KEPT_GROUPS:
                    self._groups.popitem(last=False)
        value = column[place].as_py()
        content = value.get("bytes") if isinstance(value, dict) else value
        if not isinstance(content, bytes):
            raise OSError("the row holds no bytes of an image")
        return content
