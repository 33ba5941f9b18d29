"""TinyImageNet from a small folder in its official layout: reading, downloading, errors."""

import hashlib
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torch
from PIL import Image

from nasproxy.errors import DataError
from nasproxy.images import ImageData, load_images
from nasproxy.images.tinyimagenet import FOLDER, fetch_folder
from tests.records import Notes

IDS = ("n02124075", "n01443537", "n04067472")  # as in wnids.txt: in no order
WORDS = (
    "n00001740\tentity\n"
    "n01443537\tgoldfish, Carassius auratus\n"
    "n02124075\tEgyptian cat\n"
    "n04067472\treel\n"
    "n99999999\tsomething else\n"
)
NUM_TRAIN, NUM_VAL = 12, 2


def _save_jpeg(path: Path, label: int, number: int) -> None:
    """A plain picture: its brightness tells class and number; every fifth is grey, as some of the real ones are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    value = 60 * label + 4 * number
    picture = Image.fromarray(np.full((64, 64, 3), value, dtype=np.uint8))
    (picture.convert("L") if number % 5 == 4 else picture).save(path, format="JPEG", quality=95)


def _write_folder(root: Path) -> Path:
    for label, wordnet_id in enumerate(IDS):
        for number in range(NUM_TRAIN):
            _save_jpeg(root / "train" / wordnet_id / "images" / f"{wordnet_id}_{number}.JPEG", label, number)
        boxes = root / "train" / wordnet_id / f"{wordnet_id}_boxes.txt"
        boxes.write_text(f"{wordnet_id}_0.JPEG\t0\t0\t62\t63\n")
    annotations = []
    for number in range(NUM_VAL * len(IDS)):
        _save_jpeg(root / "val" / "images" / f"val_{number}.JPEG", number % len(IDS), number)
        annotations.append(f"val_{number}.JPEG\t{IDS[number % len(IDS)]}\t0\t32\t44\t62\n")
    (root / "val" / "val_annotations.txt").write_text("".join(annotations))
    (root / "test" / "images").mkdir(parents=True)
    (root / "wnids.txt").write_text("\n".join(IDS))
    (root / "words.txt").write_text(WORDS)
    return root


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return _write_folder(tmp_path / "data" / FOLDER).parent


def _load(data_dir: Path) -> ImageData:
    return load_images("tinyimagenet", data_dir=data_dir, val_fraction=0)


def test_the_official_folder_is_read(data_dir: Path) -> None:
    data = _load(data_dir)
    assert (data.image_shape, data.name, data.train.flippable) == ((3, 64, 64), "tinyimagenet", True)
    assert data.classes == ("Egyptian cat", "goldfish", "reel")
    assert data.train.labels.tolist() == [label for label in range(3) for _ in range(NUM_TRAIN)]
    by_name = sorted(range(NUM_TRAIN), key=str)
    expected = torch.tensor([60 * label + 4 * number for label in range(3) for number in by_name])
    assert (data.train.images.float().mean(dim=(1, 2, 3)) - expected).abs().max() < 1


def test_the_official_validation_images_are_the_test_split(data_dir: Path) -> None:
    data = load_images("tinyimagenet", data_dir=data_dir, val_fraction=0.25)
    assert (len(data.train), len(data.val), len(data.test)) == (27, 9, 6)
    assert data.test.labels.tolist() == [0, 1, 2, 0, 1, 2]
    expected = torch.tensor([60 * (number % 3) + 4 * number for number in range(6)])
    assert (data.test.images.float().mean(dim=(1, 2, 3)) - expected).abs().max() < 1


def test_decoded_images_are_cached(data_dir: Path) -> None:
    notes = Notes()
    first, second = (load_images("tinyimagenet", data_dir=data_dir, progress=notes) for _ in range(2))
    assert (len(notes.of("reading")), len(notes.of("decoding"))) == (84, 42)
    assert len(list((data_dir / "decoded").iterdir())) == 1
    assert first.train.content_hash() == second.train.content_hash()
    assert first.split_hash == second.split_hash


def test_a_changed_annotation_counts_although_images_are_cached(data_dir: Path) -> None:
    before = _load(data_dir)
    annotations = data_dir / FOLDER / "val" / "val_annotations.txt"
    annotations.write_text(annotations.read_text().replace(IDS[1], IDS[2]))
    after = _load(data_dir)
    assert after.test.labels.tolist() == [0, 2, 2, 0, 2, 2]
    assert after.data_hash != before.data_hash


def _remove_images(root: Path) -> None:
    shutil.rmtree(root / "train" / IDS[1] / "images")


def _cut_annotations(root: Path) -> None:
    (root / "val" / "val_annotations.txt").write_text(f"val_0.JPEG\t{IDS[0]}\t0\nval_1.J")


def _rename_class(root: Path) -> None:
    (root / "val" / "val_annotations.txt").write_text("val_0.JPEG\tn123\t0\t0\t1\t1\n")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        pytest.param(lambda root: (root / "wnids.txt").unlink(), r"wnids\.txt cannot be read", id="no-wnids"),
        pytest.param(lambda root: (root / "wnids.txt").write_text(""), r"wnids\.txt is empty", id="empty-wnids"),
        pytest.param(lambda root: (root / "words.txt").unlink(), r"words\.txt cannot be read", id="no-words"),
        pytest.param(_remove_images, rf"{IDS[1]}/images holds no images", id="no-images"),
        pytest.param(_cut_annotations, r"line 2 of .*val_annotations\.txt \('val_1\.J'\) has too few", id="cut-line"),
        pytest.param(_rename_class, r"puts val_0\.JPEG into class 'n123', which is not in", id="unknown-class"),
    ],
)
def test_a_damaged_folder_is_refused_with_a_remedy(
    data_dir: Path, spoil: Callable[[Path], object], message: str
) -> None:
    spoil(data_dir / FOLDER)
    with pytest.raises(DataError, match=rf"{message}.*; remove the folder {FOLDER} to have it downloaded again"):
        _load(data_dir)


def test_a_missing_image_is_named(data_dir: Path) -> None:
    (data_dir / FOLDER / "val" / "images" / "val_3.JPEG").unlink()
    with pytest.raises(DataError, match=r"cannot read .*val_3\.JPEG"):
        _load(data_dir)


def test_a_broken_image_has_the_remedy_of_a_damaged_folder(data_dir: Path) -> None:
    (data_dir / FOLDER / "val" / "images" / "val_3.JPEG").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"cannot read .*val_3\.JPEG \(it is no image\); remove the folder"):
        _load(data_dir)


class _Handler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    _write_folder(tmp_path / "site" / FOLDER)
    return Path(shutil.make_archive(str(tmp_path / "served" / FOLDER), "zip", tmp_path / "site", FOLDER))


@pytest.fixture
def url(archive: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Where a server of this machine has the archive."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, directory=archive.parent)) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/{archive.name}"
        server.shutdown()
        thread.join()


def test_an_archive_is_downloaded_checked_and_unpacked(archive: Path, url: str, tmp_path: Path) -> None:
    fetch_folder(tmp_path / "data", url=url, md5=hashlib.md5(archive.read_bytes()).hexdigest())
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == [FOLDER, f"{FOLDER}.zip"]
    assert len(_load(tmp_path / "data").train) == 36


def test_an_archive_with_another_checksum_is_not_unpacked(url: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"TinyImageNet .* cannot be downloaded \(File not found or corrupted\.\)"):
        fetch_folder(tmp_path / "data", url=url)
    assert [path.name for path in (tmp_path / "data").iterdir()] == [f"{FOLDER}.zip"]
