"""Damaged and hostile files: every reader takes a file, or refuses it in one line; none raises anything else.

Valid files are damaged at random, byte by byte and word by word. `NASPROXY_FUZZ=10000` tries as many a reader.
"""

import gzip
import io
import json
import os
import re
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import nasproxy as nap
from nasproxy.config import SearchConfig, read_config
from nasproxy.errors import NasproxyError
from nasproxy.images import ImageData, load_images
from nasproxy.images.decoding import decode_images
from nasproxy.model import load_model
from nasproxy.rundir import RunDir
from nasproxy.runs.loading import Task, read_arch_ids
from nasproxy.runs.overview import summarize_run
from nasproxy.spacefile import load_space
from nasproxy.tables import read_scores, read_truth

TASK = Task()
EXAMPLES = int(os.environ.get("NASPROXY_FUZZ", "200"))
ODD = [
    b"", b"nan", b"-1", b"0", b"1e999", b"99999999999999999999", b"[]", b"{}", b"null", b"true", b'"', b"'", b"\n",
    b"\0", b"\xff\xfe", b"=", b",", b"../../../etc/passwd", b"%s%n", b"\x1b[2J", "\N{RIGHT-TO-LEFT OVERRIDE}".encode(),
    b"A" * 5000,
]  # fmt: skip
"""What words are replaced by, and what is put between bytes."""


def png() -> bytes:
    file = io.BytesIO()
    Image.effect_noise((12, 9), 40).save(file, "PNG")
    return file.getvalue()


def jpeg() -> bytes:
    file = io.BytesIO()
    Image.effect_noise((12, 9), 40).convert("RGB").save(file, "JPEG")
    return file.getvalue()


def tar() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for number in range(6):
            for suffix, content in (("png", png()), ("cls", str(number % 2).encode())):
                member = tarfile.TarInfo(f"{number}.{suffix}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def parquet() -> bytes:
    file = io.BytesIO()
    rows = [{"image": {"bytes": png(), "path": "a.png"}, "label": number % 2} for number in range(6)]
    pd.DataFrame(rows).to_parquet(file)
    return file.getvalue()


def idx(*shape: int) -> bytes:
    return struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape) + bytes(torch.Size(shape).numel())


def proxy_set(data: ImageData, folder: Path) -> bytes:
    nap.condense(data, "random", images_per_class=1).save(folder / "set.safetensors")
    return (folder / "set.safetensors").read_bytes()


SPACE = b"""
builder = "nasproxy.nets.convnet:build"
arch_id = "w{width}-d{depth}-{norm}"
[factors]
width = {low = 8, high = 32, step = 8}
depth = [1, 2, 3]
norm = ["none", "batch"]
[[exclude]]
norm = "none"
depth = 3
[[when]]
factors = "norm"
depth = [2, 3]
"""
CONFIG = b"""
[search]
proxy = "whole"
seeds = 2
sample = "5:params"
[recipe]
lr = 0.1
lr_drops = [0.5]
[machine]
workers = 2
"""
TABLE = b"""arch_id,test_accuracy_1,test_accuracy_2,val_accuracy,train_seconds,state
a,0.5,0.25,0.5,1,complete
b,0.75,0.5,0.6,2,complete
"""
META = json.dumps({
    "name": "x", "layout": 2, "command": "search", "status": "running", "created": "2026-11-27T10:00:00.000+00:00",
    "best": {"arch_id": "a", "score": 0.5}, "wall_seconds": 3.5, "parents": {},
}).encode()  # fmt: skip
CARD = json.dumps({
    "nasproxy_model": 1, "image_shape": [1, 16, 16], "classes": ["a", "b"], "data": {}, "accuracies": {"test": 0.9},
    "normalisation": {"mean": [0.5], "std": [0.2]},
    "arch": {"id": "w8-d1-none-relu-avg", "factors": {"width": 8}, "builder": "nasproxy.nets.convnet:build"},
}).encode()  # fmt: skip
LIST = b"path,label,split\na.png,cat,train\nb.png,dog,train\na.png,cat,test\nb.png,dog,test\n"


def read_alone(reader: Callable[[Path], object], name: str) -> Callable[[bytes, Path], object]:
    def read(content: bytes, folder: Path) -> object:
        (folder / name).write_bytes(content)
        return reader(folder / name)

    return read


def read_images(name: str) -> Callable[[bytes, Path], object]:
    """A data set of one damaged file beside two images."""

    def read(content: bytes, folder: Path) -> object:
        for picture in ("a", "b"):
            (folder / f"{picture}.png").write_bytes(png())
        (folder / name).write_bytes(content)
        return load_images(folder / name, data_dir=folder / "cache", val_fraction=0.0)

    return read


def read_idx(content: bytes, folder: Path) -> object:
    for split, count in (("train", 6), ("t10k", 4)):
        (folder / f"{split}-images-idx3-ubyte").write_bytes(idx(count, 5, 4))
        (folder / f"{split}-labels-idx1-ubyte").write_bytes(idx(count)[:-1] + b"\1")
    (folder / "train-images-idx3-ubyte").write_bytes(content)
    return load_images(folder, data_dir=folder / "cache", val_fraction=0.0)


def read_packed_idx(content: bytes, folder: Path) -> object:
    (folder / "t10k-images-idx3-ubyte").unlink(missing_ok=True)
    (folder / "t10k-images-idx3-ubyte.gz").write_bytes(content)
    return load_images(folder, data_dir=folder / "cache", val_fraction=0.0)


def read_run(content: bytes, folder: Path) -> object:
    (folder / "meta.json").write_bytes(content)
    return nap.summarize_runs(folder.parent), summarize_run(RunDir(folder))


def decode(path: Path) -> object:
    return decode_images([path], image_size=8, channels=None, progress=lambda *_: None)


READERS: dict[str, tuple[Callable[[ImageData, Path], bytes], Callable[[bytes, Path], object]]] = {
    "proxy set": (proxy_set, read_alone(nap.load_proxy_set, "set.safetensors")),
    "truth": (lambda *_: TABLE, read_alone(read_truth, "t.csv")),
    "scores": (lambda *_: TABLE, read_alone(lambda path: read_scores(path, "test_accuracy"), "t.csv")),
    "ids": (lambda *_: TABLE, read_alone(lambda path: read_arch_ids(str(path), path.parent, TASK), "a.csv")),
    "space": (lambda *_: SPACE, read_alone(lambda path: load_space(path).describe_size(), "s.toml")),
    "settings": (lambda *_: CONFIG, read_alone(lambda path: read_config(SearchConfig, path), "c.toml")),
    "png": (lambda *_: png(), read_alone(decode, "i.png")),
    "jpeg": (lambda *_: jpeg(), read_alone(decode, "i.jpg")),
    "list": (lambda *_: LIST, read_images("l.csv")),
    "tar": (lambda *_: tar(), read_images("s.tar")),
    "parquet": (lambda *_: parquet(), read_images("s.parquet")),
    "idx": (lambda *_: idx(6, 5, 4), read_idx),
    "packed idx": (lambda *_: gzip.compress(idx(4, 5, 4)), read_packed_idx),
    "model card": (lambda *_: CARD, read_alone(load_model, "model.json")),
    "run": (lambda *_: META, read_run),
}


@st.composite
def damage(draw: st.DrawFn, content: bytes) -> bytes:
    """A file with one to four places changed: a byte, a word, or all from there on."""
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(len(content) - 1, 0)))
        kind = draw(st.sampled_from(["byte", "insert", "cut", "remove", "word"]))
        if kind == "byte":
            content = content[:place] + bytes([draw(st.integers(0, 255))]) + content[place + 1 :]
        elif kind == "insert":
            content = content[:place] + draw(st.sampled_from(ODD)) + content[place:]
        elif kind == "cut":
            content = content[:place]
        elif kind == "remove":
            content = content[:place] + content[place + draw(st.integers(1, 64)) :]
        elif words := list(re.finditer(rb"[\w.+-]+", content)):
            word = words[place % len(words)]
            content = content[: word.start()] + draw(st.sampled_from(ODD)) + content[word.end() :]
    return content


@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_is_read_or_refused_in_one_line(
    name: str, digits: ImageData, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, read = READERS[name]
    folder = tmp_path_factory.mktemp(name.replace(" ", "-"))
    if name == "packed idx":
        read_idx(idx(6, 5, 4), folder)
    valid = make(digits, folder)
    if name != "model card":  # it has no weights beside it
        read(valid, folder)
    for command in ("system", "popen", "execv", "fork", "posix_spawn"):
        monkeypatch.setattr(os, command, None)

    @settings(
        max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(damage(valid))
    def refuse(content: bytes) -> None:
        problem = ""
        try:
            read(content, folder)
        except NasproxyError as error:
            problem = str(error)
        assert "\n" not in problem

    refuse()
