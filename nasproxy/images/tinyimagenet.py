"""TinyImageNet: 200 classes of ImageNet at 64x64, 500 training and 50 test images per class.

The official folder, inside the data folder; its validation images are our test split, as its test images have no
labels:

    tiny-imagenet-200/
      wnids.txt                 WordNet ids of the classes, one per line
      words.txt                 WordNet id, tab, names joined by commas: of these and of many more
      train/ID/images/*.JPEG
      val/images/*.JPEG
      val/val_annotations.txt   file, tab, WordNet id, tab, a box
"""

import tempfile
from pathlib import Path

from nasproxy.errors import DataError
from nasproxy.images.decoding import read_files
from nasproxy.images.download import downloading
from nasproxy.images.raw import FileSplit, Progress, RawData

FOLDER = "tiny-imagenet-200"
URL = f"http://cs231n.stanford.edu/{FOLDER}.zip"
MD5 = "90528d7ca1a48142e341f4ef8d21d0de"


def read_tinyimagenet(data_dir: Path, progress: Progress) -> RawData:
    """TinyImageNet from its official folder, downloaded (237 MiB) if missing; classes have their first name.

    Raises:
        DataError: it cannot be downloaded, or the folder is damaged.
    """
    root = data_dir / FOLDER
    if not root.is_dir():
        fetch_folder(data_dir)
    splits = _scan(root)
    raw = read_files(splits, root, data_dir / "decoded", image_size=None, channels=3, progress=progress)
    if raw.broken:
        raise _damaged(f"cannot read {raw.broken[0].path} ({raw.broken[0].reason})")
    return raw


def fetch_folder(data_dir: Path, *, url: str = URL, md5: str = MD5) -> None:
    """Downloads the archive unless it is present, and unpacks it: the folder appears whole or not at all.

    Raises:
        DataError: no network, or a wrong checksum.
    """
    from torchvision.datasets.utils import download_and_extract_archive  # takes more than a second

    with (
        downloading("TinyImageNet", data_dir, f"{FOLDER}.zip or the unpacked {FOLDER} there"),
        tempfile.TemporaryDirectory(dir=data_dir, prefix=".new-") as scratch,
    ):
        download_and_extract_archive(url, data_dir, scratch, md5=md5)
        (Path(scratch) / FOLDER).rename(data_dir / FOLDER)


def _scan(root: Path) -> dict[str, FileSplit]:
    ids = [fields[0] for fields in _read_fields(root / "wnids.txt", 1)]
    names = {fields[0]: fields[1].split(",")[0] for fields in _read_fields(root / "words.txt", 2)}
    classes = tuple(names.get(wordnet_id, wordnet_id) for wordnet_id in ids)
    train = [(path, label) for label, name in enumerate(ids) for path in _images_of(root / "train" / name / "images")]
    val = _read_annotations(root / "val", {wordnet_id: label for label, wordnet_id in enumerate(ids)})
    return {name: _file_split(classes, files) for name, files in (("train", train), ("test", val))}


def _images_of(folder: Path) -> list[Path]:
    paths = sorted(folder.glob("*.JPEG"))
    if not paths:
        raise _damaged(f"{folder} holds no images")
    return paths


def _read_annotations(folder: Path, label_of: dict[str, int]) -> list[tuple[Path, int]]:
    path = folder / "val_annotations.txt"
    files = []
    for name, wordnet_id in _read_fields(path, 2):
        if wordnet_id not in label_of:
            raise _damaged(f"{path} puts {name} into class {wordnet_id!r}, which is not in wnids.txt")
        files.append((folder / "images" / name, label_of[wordnet_id]))
    return files


def _read_fields(path: Path, count: int) -> list[list[str]]:
    """The first `count` tab-separated fields of every line of a file."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise _damaged(f"{path} cannot be read ({error})") from None
    fields = [line.split("\t")[:count] for line in lines]
    for number, found in enumerate(fields, start=1):
        if len(found) < count:
            raise _damaged(f"line {number} of {path} ({found[0]!r}) has too few fields")
    if not fields:
        raise _damaged(f"{path} is empty")
    return fields


def _file_split(classes: tuple[str, ...], files: list[tuple[Path, int]]) -> FileSplit:
    paths, labels = zip(*files, strict=True)
    return FileSplit(classes, paths, labels)


def _damaged(problem: str) -> DataError:
    return DataError(f"{problem}; remove the folder {FOLDER} to have it downloaded again")
