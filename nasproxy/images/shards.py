"""Images in shards: tar archives as WebDataset writes them, and Parquet files as hubs ship them.

    pets/train-000.tar           or one file, or files in folders train/, val/, test/
      00001.jpg  00001.cls       an image, and its class (.cls; .json with "label", "class" …; .txt of one line)
      train/cat/7.jpg            or an image in the folder of its class, however deep

    pets/data/train-00000-of-00002.parquet
      image  label               or img, jpg, png; a struct with bytes, or bytes; names of the classes in its metadata

A shard is of the split that its name or a folder has in it; where none says so, of training images. Nothing is
unpacked: an image is read where it lies.
"""

import json
import tarfile
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from nasproxy.errors import DataError
from nasproxy.images.folder import is_called_like_an_image
from nasproxy.images.listing import (
    IMAGE_COLUMNS,
    LABEL_COLUMNS,
    Label,
    find_column,
    sort_entries,
    split_in,
    split_named,
)
from nasproxy.images.raw import FileSplit, ImageFile

SUFFIXES = (".tar", ".parquet")
DEPTH = 3
"""Levels of folders that shards are looked for in."""
LOOKED_AT = 1000
"""Files of a folder that are looked at to see whether it is one of a class."""
_LABEL_SUFFIXES = (".cls", ".json", ".txt")
"""Of files with a label beside an image, the surest first."""
KEPT_BYTES = 2**28
"""Of columns of images of a Parquet file that are held in memory, at most, but for the one that is read."""


def find_shards(path: Path) -> list[Path]:
    """A file itself, if it is called like a shard; of a folder without class folders the shards in it.

    Raises:
        DataError: shards of two kinds, or in several folders that no split is called after.
    """
    if path.is_file():
        return [path] if path.suffix in SUFFIXES else []
    if not path.is_dir() or _has_class_folders(path):
        return []
    files = [file for depth in range(1, DEPTH + 1) for file in path.glob("/".join(["*"] * depth))]
    shards = sorted(file for file in files if file.suffix in SUFFIXES and file.name[0] != "." and file.is_file())
    if len({shard.suffix for shard in shards}) > 1:
        raise DataError(f"{path} has .tar and .parquet files; keep those that are the data set, or name a file")
    folders = {
        tuple(part for part in shard.parent.relative_to(path).parts if split_in(part) is None) for shard in shards
    }
    if len(folders) > 1:
        named = ", ".join(sorted("/".join(folder) or "." for folder in folders))
        raise DataError(f"{path} has shards in {named}; name one of these folders")
    return shards


def _has_class_folders(path: Path) -> bool:
    base = path / "train" if (path / "train").is_dir() else path
    folders = (folder for folder in base.iterdir() if folder.is_dir() and not folder.name.startswith("."))
    return any(is_called_like_an_image(file) for folder in folders for file in islice(folder.rglob("*"), LOOKED_AT))


def read_shards(path: Path, shards: Sequence[Path]) -> dict[str, FileSplit]:
    """The splits of shards.

    Args:
        path: the file or folder that was named.
        shards: see `find_shards`.

    Raises:
        DataError: a shard that cannot be read, an image without a label, some of a split and some of none, or see
            `sort_entries`.
    """
    entries: dict[str, list[tuple[ImageFile, Label]]] = {}
    names: tuple[str, ...] | None = None
    splits = {shard: _split_of(path, shard) for shard in shards}
    if None in splits.values() and any(splits.values()):
        strange = next(shard for shard, split in splits.items() if split is None)
        raise DataError(f"{strange} is of no split, and other files are: let its name have train, val or test in it")
    for shard, split in splits.items():
        if shard.suffix == ".tar":
            for own, image, label in _scan_tar(shard):
                entries.setdefault(own or split or "train", []).append((image, label))
        else:
            table = _Parquet(shard)
            names = table.names or names
            entries.setdefault(split or "train", []).extend(table.entries())
    return sort_entries(entries, path, names)


def _split_of(path: Path, shard: Path) -> str | None:
    """By its folders, or else its name."""
    parts = shard.relative_to(path).parts if path.is_dir() else (shard.name,)
    return next((split for part in parts if (split := split_in(part))), None)


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


def _scan_tar(archive: Path) -> Iterator[tuple[str | None, TarMember, Label]]:
    """Each image, its label, and the split that a folder in the archive is called after."""
    try:
        with tarfile.open(archive, "r:") as file:
            members = {member.name: member for member in file if member.isfile() and not _is_hidden(member.name)}
            images = [name for name in members if is_called_like_an_image(PurePosixPath(name))]
            beside: dict[str, list[str]] = {}
            keys = {_key_of(name) for name in images}
            for name in members:
                if PurePosixPath(name).suffix.lower() in _LABEL_SUFFIXES and _key_of(name) in keys:
                    beside.setdefault(_key_of(name), []).append(name)
            contents = {name: _read(file, members[name]) for names in beside.values() for name in names}
            targets = {name: file.getmember(member.linkname) if member.islnk() else member
                       for name, member in members.items() if name in set(images)}  # fmt: skip
    except (OSError, KeyError, tarfile.TarError) as error:
        raise DataError(
            f"cannot read {archive}: {error}; give plain tar archives, whose images can be read one by one"
        ) from None
    labels = {key: _find_label({name: contents[name] for name in names}) for key, names in beside.items()}
    wrapping = _count_wrapping([name for name in images if labels.get(_key_of(name)) is None])
    for name in images:
        member = TarMember(archive, name, targets[name].offset_data, targets[name].size)
        folders = _folders_of(name)
        at = next((place for place, folder in enumerate(folders) if split_named(folder)), None)
        split = None if at is None else split_named(folders[at])
        label = labels.get(_key_of(name))
        if label is None:
            below = folders[wrapping:] if at is None else folders[at + 1 :]
            if not below:
                key = PurePosixPath(name).name.partition(".")[0]
                raise DataError(
                    f"{member} has no label; put {key}.cls beside it, or the image into a folder of its class"
                )
            label = below[0]
        yield split, member, label


def _is_hidden(name: str) -> bool:
    return PurePosixPath(name).name.startswith(".")


def _folders_of(name: str) -> list[str]:
    return [part for part in PurePosixPath(name).parts[:-1] if part not in (".", "/")]


def _count_wrapping(names: Sequence[str]) -> int:
    """Folders that all of these images lie in, as whole archives are packed into one: no class."""
    paths, count = [_folders_of(name) for name in names], 0
    while paths and all(len(path) > count + 1 for path in paths) and len({path[count] for path in paths}) == 1:
        count += 1
    return count


def _key_of(name: str) -> str:
    """What files of one item share: the path up to the first dot of the name, as WebDataset has it."""
    path = PurePosixPath(name)
    return str(path.parent / path.name.partition(".")[0])


def _read(file: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    content = file.extractfile(member)
    return b"" if content is None else content.read()


def _find_label(contents: Mapping[str, bytes]) -> Label | None:
    """The label in the surest of the files beside an image that has one; None: none has."""
    for name in sorted(contents, key=lambda name: _LABEL_SUFFIXES.index(PurePosixPath(name).suffix.lower())):
        try:
            text = contents[name].decode("utf-8").strip()
            if name.lower().endswith(".json"):
                text = _label_in(json.loads(text))
        except ValueError:
            continue
        if text and "\n" not in text:
            return text
    return None


def _label_in(content: Any) -> str:
    if not isinstance(content, dict):
        return ""
    found = (content[key] for key in LABEL_COLUMNS if key in content)
    return next((str(value) for value in found if isinstance(value, int | str) and not isinstance(value, bool)), "")


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
    """A Parquet file of images and labels; it is open only while it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._kept: OrderedDict[int, Any] = OrderedDict()
        """Columns of images, of the row groups that were read last."""
        self._lock = threading.Lock()
        columns = self._schema.names
        self._image, self._label = (find_column(path, columns, names) for names in (IMAGE_COLUMNS, LABEL_COLUMNS))

    @cached_property
    def _schema(self) -> Any:
        from pyarrow.parquet import read_schema

        return self._reading(lambda: read_schema(self.path))

    @cached_property
    def names(self) -> tuple[str, ...] | None:
        """Of the classes, where the file says so as Hugging Face's do."""
        try:
            features = json.loads((self._schema.metadata or {})[b"huggingface"])["info"]["features"]
            return tuple(map(str, features[self._label]["names"]))
        except (KeyError, TypeError, ValueError):
            return None

    def entries(self) -> Iterator[tuple[ParquetCell, Label]]:
        """Images and labels, in order.

        Raises:
            DataError: it cannot be read, or a label is neither a whole number nor a text.
        """
        row = 0
        for group, labels in enumerate(self._reading(self._read_labels)):
            for place, label in enumerate(labels):
                cell = ParquetCell(self, row, group, place)
                if isinstance(label, bool) or not isinstance(label, int | str):
                    raise DataError(f"{cell} has the label {label!r}; give a whole number or a text")
                yield cell, label
                row += 1

    def _read_labels(self) -> list[list[Any]]:
        from pyarrow.parquet import ParquetFile

        with ParquetFile(self.path) as file:
            groups = range(file.num_row_groups)
            return [file.read_row_group(group, columns=[self._label]).column(0).to_pylist() for group in groups]

    def read_image(self, group: int, place: int) -> bytes:
        """The bytes of an image file.

        Raises:
            OSError: the row holds none, or cannot be read.
        """
        with self._lock:
            column = self._kept.get(group)
            if column is None:
                column = self._kept[group] = self._read_group(group)
                while len(self._kept) > 1 and sum(kept.nbytes for kept in self._kept.values()) > KEPT_BYTES:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(group)
        value = column[place].as_py()
        content = value.get("bytes") if isinstance(value, dict) else value
        if not isinstance(content, bytes):
            raise OSError("the row holds no bytes of an image")
        return content

    def _read_group(self, group: int) -> Any:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile

        try:
            with ParquetFile(self.path) as file:
                return file.read_row_group(group, columns=[self._image]).column(self._image)
        except ArrowException as error:
            raise OSError(" ".join(str(error).split())[:200]) from None

    def _reading(self, read: Any) -> Any:
        from pyarrow import ArrowException

        try:
            return read()
        except (OSError, ArrowException) as error:
            raise DataError(f"cannot read {self.path}: {' '.join(str(error).split())[:200]}; replace it") from None
