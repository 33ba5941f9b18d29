"""Images that are not sorted into folders: CSV lists, tar archives, Parquet files."""

import csv
import io
import json
import pickle
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

import nasproxy as nap
from nasproxy.errors import DataError
from nasproxy.images import ImageData, load_images

CLASSES = ("cat", "dog")
COUNTS = {"train": 6, "test": 3}


def _picture(split: str, name: str, number: int) -> bytes:
    """A PNG of 8x8, another one for each."""
    seed = [len(split), CLASSES.index(name), number]
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


ITEMS = [
    (split, name, number, _picture(split, name, number))
    for split, count in COUNTS.items()
    for name in CLASSES
    for number in range(count)
]


def _as_folder(root: Path) -> Path:
    for split, name, number, content in ITEMS:
        path = root / split / name / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def _as_csv(root: Path) -> Path:
    _as_folder(root / "files")
    path = root / "pets.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["filename", "class", "split", "taken by"])
        for split, name, number, _ in ITEMS:
            writer.writerow([f"files/{split}/{name}/{number}.png", name, split, "me"])
    return path


def _write_tar(path: Path, members: Mapping[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def _as_webdataset(root: Path) -> Path:
    for split in COUNTS:
        for label, name in enumerate(CLASSES):
            members: dict[str, bytes] = {}
            for its_split, its_name, number, content in ITEMS:
                if (its_split, its_name) == (split, name):
                    members[f"{number:05d}.png"] = content
                    members[f"{number:05d}.cls"] = str(label).encode()
            _write_tar(root / f"{split}-{label:06d}.tar", members)
    return root


def _as_tar_with_json(root: Path) -> Path:
    for split in COUNTS:
        members: dict[str, bytes] = {}
        for its_split, name, number, content in ITEMS:
            if its_split == split:
                members[f"./{name}-{number}.rgb.png"] = content
                members[f"./{name}-{number}.json"] = json.dumps({"label": name, "id": number}).encode()
        _write_tar(root / split / "all.tar", members)
    return root


def _as_tar_of_folders(root: Path) -> Path:
    path = root / "pets.tar"
    _write_tar(path, {f"pets/{split}/{name}/{number}.png": content for split, name, number, content in ITEMS})
    return path


def _as_parquet(root: Path) -> Path:
    features = {"image": {"_type": "Image"}, "label": {"names": list(CLASSES), "_type": "ClassLabel"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    for split in COUNTS:
        rows = [(name, number, content) for its_split, name, number, content in ITEMS if its_split == split]
        table = pa.table(
            {
                "image": [{"bytes": content, "path": f"{number}.png"} for _, number, content in rows],
                "label": [CLASSES.index(name) for name, _, _ in rows],
            }
        )
        path = root / "data" / f"{split}-00000-of-00001.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table.replace_schema_metadata(metadata), path, row_group_size=2)
    return root


def _as_plain_parquet(root: Path) -> Path:
    for split in COUNTS:
        rows = [(name, content) for its_split, name, _, content in ITEMS if its_split == split]
        table = pa.table({"img": [content for _, content in rows], "fine_label": [name for name, _ in rows]})
        (root / split).mkdir(parents=True)
        pq.write_table(table, root / split / "0.parquet")
    return root


FORMS: list[Callable[[Path], Path]] = [
    _as_csv, _as_webdataset, _as_tar_with_json, _as_tar_of_folders, _as_parquet, _as_plain_parquet,
]  # fmt: skip
NUMBERED = {_as_webdataset}
"""Those whose labels are numbers, with no names anywhere."""


def _load(path: Path, tmp_path: Path, **overrides: Any) -> ImageData:
    return load_images(path, data_dir=tmp_path / "cache", **overrides)


@pytest.mark.parametrize("write", FORMS)
def test_every_form_gives_the_images_of_the_folder(write: Callable[[Path], Path], tmp_path: Path) -> None:
    expected = _load(_as_folder(tmp_path / "folder"), tmp_path)
    path = write(tmp_path / "pets")
    found = _load(path, tmp_path)
    assert found.name == "pets"
    assert found.classes == (("0", "1") if write in NUMBERED else CLASSES)
    assert found.describe() == expected.describe()
    for split in ("train", "val", "test"):
        ours, theirs = getattr(found, split), getattr(expected, split)
        if write not in NUMBERED:  # the split is drawn by the hash of images, labels and names
            assert torch.equal(ours.images, theirs.images)
            assert torch.equal(ours.labels, theirs.labels)
    if write not in NUMBERED:
        assert (found.data_hash, found.split_hash) == (expected.data_hash, expected.split_hash)
    again = _load(path, tmp_path)
    assert again.data_hash == found.data_hash
    assert len(list((tmp_path / "cache" / "decoded").iterdir())) == 2


def test_a_search_on_shards_is_resumed_from_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _as_tar_of_folders(tmp_path / "pets")
    monkeypatch.chdir(tmp_path / "pets")
    runs = nap.Runs(tmp_path / "runs")
    trials = runs.search("convnet-mini", "params", path.name, data_dir=tmp_path / "cache", name="on-shards")
    monkeypatch.chdir(tmp_path)
    run = runs.find("on-shards")
    assert run.read_config()["images"]["dataset"] == str(path)
    run.update_meta(status="interrupted")
    assert runs.search(resume="on-shards").by_id == trials.by_id


def test_a_broken_image_of_a_shard_is_named_and_may_be_left_out(tmp_path: Path) -> None:
    members = {f"train/{name}/{number}.png": content for split, name, number, content in ITEMS if split == "train"}
    _write_tar(tmp_path / "pets.tar", members | {"train/cat/9.png": b"no image"})
    with pytest.raises(DataError, match=r"cannot decode image .*/pets.tar/train/cat/9.png: it is no image; replace"):
        _load(tmp_path / "pets.tar", tmp_path)
    assert len(_load(tmp_path / "pets.tar", tmp_path, skip_broken=True).skipped) == 1


def test_parts_of_an_archive_that_are_no_images_are_passed_over(tmp_path: Path) -> None:
    members = {f"train/{name}/{number}.png": content for split, name, number, content in ITEMS if split == "train"}
    named = ("README.txt", "train/cat/classes.json", "train/cat/._0.png", "/etc/passwd", "../evil.sh")
    others = dict.fromkeys(named, b"pets\nof ours")
    _write_tar(tmp_path / "pets.tar", members | others)
    before = set(tmp_path.rglob("*"))
    data = _load(tmp_path / "pets.tar", tmp_path)
    assert len(data.train) + len(data.val) + len(data.test) == 12
    assert {path.name for path in set(tmp_path.rglob("*")) - before if path.is_file()} <= {
        path.name for path in (tmp_path / "cache" / "decoded").iterdir()
    }


CSV = "path,label\nfiles/train/cat/0.png,cat\nfiles/train/dog/0.png,dog\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("picture,label\na.png,cat\n", "has columns of picture, label; call one path, file, filename, image, img"),
        ("path,kind\na.png,cat\n", "has columns of path, kind; call one label, class, target, cls or fine_label"),
        ("", "has columns of no name; call one path"),
        (CSV + "files/train/cat/77.png,cat\n", r"line 4: there is no file .*77.png; paths are relative"),
        (CSV + "\n\nfiles/train/cat/1.png,\n", "line 6: no label; complete the line"),
        (CSV + "files/train/cat/1.png\n", "line 4: no label; complete the line"),
        (CSV.replace("label", "label,Split").replace("cat\n", "cat,dev\n"), "line 2: Split 'dev' is none; write train"),
        (CSV.replace("label", "label,set"), "line 2: set '' is none; write train"),
        (CSV.replace(",dog", ",cat"), "all training images are of class 'cat'; there must be at least two classes"),
        (
            "path,label,split\nfiles/train/cat/0.png,cat,train\nfiles/train/dog/0.png,dog,train\n"
            "files/test/cat/0.png,bird,test\n",
            "is of class 'bird', of which there is no training image",
        ),
        ("path,label,split\nfiles/test/cat/0.png,cat,test\n", "has no training images; call their files"),
    ],
)
def test_a_wrong_list_is_refused_with_its_line(tmp_path: Path, text: str, problem: str) -> None:
    path = _as_csv(tmp_path)
    path.write_text(text)
    with pytest.raises(DataError, match=problem):
        _load(path, tmp_path)


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        ({"a.png": ITEMS[0][3]}, r"pets.tar/a.png has no label; put a.cls beside it, or the image into a folder of"),
        ({"a.png": ITEMS[0][3], "a.json": b"{"}, "a.png has no label"),
        ({"a.png": ITEMS[0][3], "a.json": b'{"id": 3, "label": null}'}, "a.png has no label"),
        ({"a.png": ITEMS[0][3], "a.cls": b"\xff", "a.txt": b"two\nlines"}, "a.png has no label"),
        ({"README": b""}, "has no training images"),
    ],
)
def test_a_wrong_archive_is_refused(tmp_path: Path, members: dict[str, bytes], problem: str) -> None:
    _write_tar(tmp_path / "pets.tar", members)
    with pytest.raises(DataError, match=problem):
        _load(tmp_path / "pets.tar", tmp_path)


def test_files_that_are_no_shards_are_refused(tmp_path: Path) -> None:
    (tmp_path / "pets.tar").write_bytes(b"no archive at all")
    with pytest.raises(DataError, match=r"cannot read .*pets.tar: .*; give plain tar archives"):
        _load(tmp_path / "pets.tar", tmp_path)
    (tmp_path / "pets.parquet").write_bytes(b"no table at all")
    with pytest.raises(DataError, match=r"cannot read .*pets.parquet: .*; replace it"):
        _load(tmp_path / "pets.parquet", tmp_path)
    pq.write_table(pa.table({"image": [b"x"], "caption": ["a cat"]}), tmp_path / "pets.parquet")
    with pytest.raises(DataError, match=r"has columns of image, caption; call one label, class, target, cls or fine"):
        _load(tmp_path / "pets.parquet", tmp_path)
    pq.write_table(pa.table({"image": [b"x"], "label": [1.5]}), tmp_path / "pets.parquet")
    with pytest.raises(DataError, match=r"pets.parquet, row 0 has the label 1.5; give a whole number or a text"):
        _load(tmp_path / "pets.parquet", tmp_path)
    with pytest.raises(DataError, match=r"no folder .*missing.tar; give a folder with train/CLASS/\*, a .csv of paths"):
        _load(tmp_path / "missing.tar", tmp_path)


def test_a_row_without_an_image_is_a_broken_file(tmp_path: Path) -> None:
    rows = [(name, content) for split, name, _, content in ITEMS if split == "train"]
    table = pa.table(
        {"image": [None, *(content for _, content in rows)], "label": ["cat", *(name for name, _ in rows)]}
    )
    pq.write_table(table, tmp_path / "pets.parquet")
    with pytest.raises(DataError, match=r"pets.parquet, row 0: the row holds no bytes of an image"):
        _load(tmp_path / "pets.parquet", tmp_path)


def _train_members() -> dict[str, bytes]:
    return {f"{name}/{number}.png": content for split, name, number, content in ITEMS if split == "train"}


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("imagenet-train-000000", "train"),
        ("imagenet1k-validation-00", "val"),
        ("cifar10.test.0", "test"),
        ("valid_3", "val"),
    ],
)
def test_a_shard_is_of_the_split_that_its_name_has_in_it(tmp_path: Path, name: str, split: str) -> None:
    _write_tar(tmp_path / "data" / "pets-train-0.tar", _train_members())
    _write_tar(tmp_path / "data" / f"{name}.tar", {"cat/70.png": ITEMS[0][3], "dog/71.png": ITEMS[9][3]})
    data = _load(tmp_path / "data", tmp_path, val_fraction=0.1)
    counts = {part: len(getattr(data, part)) for part in ("train", "val", "test")}
    if split != "train":
        assert counts[split] == 2
    assert sum(counts.values()) == 14
    _write_tar(tmp_path / "data" / "more.tar", {"cat/72.png": ITEMS[0][3]})
    with pytest.raises(DataError, match=r"more.tar is of no split, and other files are: let its name have train, val"):
        _load(tmp_path / "data", tmp_path)


def test_labels_beside_images_go_with_split_folders_and_the_surest_one_counts(tmp_path: Path) -> None:
    members: dict[str, bytes] = {}
    for split, name, number, content in ITEMS:
        key = f"pets/{split}/{name}{number}"
        members |= {f"{key}.png": content, f"{key}.json": b'{"width": 8}', f"{key}.txt": b"a photograph"}
        members[f"{key}.cls"] = name.encode()
    _write_tar(tmp_path / "pets.tar", members | {"pets/train/._cat0.cls": b"dog"})
    data = _load(tmp_path / "pets.tar", tmp_path)
    assert data.classes == CLASSES
    assert len(data.test) == 6


@pytest.mark.parametrize("root", ["", "pets/", "./a/b/"])
def test_the_class_is_the_folder_below_the_split_or_below_what_wraps_all(tmp_path: Path, root: str) -> None:
    members = {f"{root}{name}/2020/{n}.png": c for split, name, n, c in ITEMS if split == "train"}
    _write_tar(tmp_path / "pets.tar", members)
    assert _load(tmp_path / "pets.tar", tmp_path).classes == CLASSES
    deep = {f"{root}{split}/{name}/images/{n}.png": c for split, name, n, c in ITEMS}
    _write_tar(tmp_path / "pets.tar", deep)
    data = _load(tmp_path / "pets.tar", tmp_path)
    assert (data.classes, len(data.test)) == (CLASSES, 6)


def test_class_folders_come_before_stray_archives_and_mixtures_are_refused(tmp_path: Path) -> None:
    folder = _as_folder(tmp_path / "pets")
    _write_tar(folder / "backup.tar", {"x": b""})
    pq.write_table(pa.table({"a": [1]}), folder / "train" / "metadata.parquet")
    assert _load(folder, tmp_path).classes == CLASSES
    mixed = _as_parquet(tmp_path / "mixed")
    _write_tar(mixed / "backup.tar", {"x": b""})
    with pytest.raises(DataError, match=r"mixed has .tar and .parquet files; keep those that are the data set"):
        _load(mixed, tmp_path)
    several = tmp_path / "several"
    for config in ("large", "small"):
        _as_plain_parquet(several / config)
    with pytest.raises(DataError, match=r"several has shards in large, small; name one of these folders"):
        _load(several, tmp_path)
    assert _load(several / "small", tmp_path).classes == CLASSES


def test_a_file_that_is_written_anew_is_read_anew(tmp_path: Path) -> None:
    rows = [(name, content) for split, name, _, content in ITEMS if split == "train"]

    def write(order: int) -> ImageData:
        table = pa.table({"image": [c for _, c in rows[::order]], "label": [name for name, _ in rows[::order]]})
        pq.write_table(table, tmp_path / "pets.parquet", row_group_size=3)
        return _load(tmp_path / "pets.parquet", tmp_path)

    first, second = write(1), write(-1)
    assert first.data_hash != second.data_hash
    assert {first.train.images.shape[0], second.train.images.shape[0]} == {8}


def test_what_was_skipped_can_be_sent_to_other_processes(tmp_path: Path) -> None:
    rows = [(name, content) for split, name, _, content in ITEMS if split == "train"]
    images, labels = [None, *(content for _, content in rows)], ["cat", *(name for name, _ in rows)]
    pq.write_table(pa.table({"image": images, "label": labels}), tmp_path / "pets.parquet")
    data = _load(tmp_path / "pets.parquet", tmp_path, skip_broken=True)
    assert pickle.loads(pickle.dumps(data)).skipped == data.skipped
    assert "pets.parquet, row 0: the row holds no bytes of an image" in (data.describe_skipped() or "")


def test_a_test_split_may_lack_a_class_and_hidden_labels_are_said(tmp_path: Path) -> None:
    train = [(name, content) for split, name, _, content in ITEMS if split == "train"]
    for split, rows in {"train": train, "test": train[:2]}.items():
        table = pa.table({"image": [c for _, c in rows], "label": [CLASSES.index(name) for name, _ in rows]})
        pq.write_table(table, tmp_path / f"{split}-0.parquet")
    assert set(_load(tmp_path, tmp_path).test.labels.tolist()) == {0}
    pq.write_table(pa.table({"image": [train[0][1]], "label": [-1]}), tmp_path / "test-0.parquet")
    with pytest.raises(DataError, match=r"the labels of test are hidden \(-1\); take its files away, or give labels"):
        _load(tmp_path, tmp_path)


def test_a_link_to_a_file_without_a_suffix_is_read_by_its_own_name(tmp_path: Path) -> None:
    blob = tmp_path / "blobs" / "ab12"
    blob.parent.mkdir()
    _as_tar_of_folders(tmp_path).rename(blob)
    (tmp_path / "pets.tar").symlink_to(blob)
    trials = nap.Runs(tmp_path / "runs").search("convnet-mini", "params", tmp_path / "pets.tar", sample="2")
    assert trials.info.dataset == "pets"
