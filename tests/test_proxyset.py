"""Proxy sets: kept with where they came from, refused for data they are no proxy of."""

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from nasproxy.errors import ProxySetError
from nasproxy.images import ImageData, ImageSet, load_images
from nasproxy.images.imageset import read_image_file, save_image_set
from nasproxy.proxyset import ProxySet, load_proxy_set


@pytest.fixture
def proxy_set(digits: ImageData) -> ProxySet:
    """Two real digits a class, as floats."""
    index = torch.cat([index[:2] for index in digits.train.class_indices])
    images = digits.train.subset(index)
    return ProxySet(
        images=replace(images, images=images.images / 255),
        method="random",
        images_per_class=2,
        seed=3,
        seconds=1 / 3,
        dataset=digits.name,
        data_hash=digits.data_hash,
        split_hash=digits.split_hash,
        settings={"steps": 0, "image_lr": None, "augmentation": "auto"},
    )


def test_saved_proxy_set_is_read_back_bit_for_bit(proxy_set: ProxySet, tmp_path: Path) -> None:
    path = tmp_path / "proxy.safetensors"
    proxy_set.save(path)
    loaded = load_proxy_set(path)
    assert torch.equal(loaded.images.images, proxy_set.images.images)
    assert torch.equal(loaded.images.labels, proxy_set.images.labels)
    assert loaded.images.images.dtype == torch.float32
    assert (loaded.images.classes, loaded.images.flippable) == (proxy_set.images.classes, False)
    assert (loaded.images.mean, loaded.images.std) == (proxy_set.images.mean, proxy_set.images.std)
    assert loaded.num_stored_images == len(loaded.images) == 20


@pytest.mark.parametrize("name", [field.name for field in fields(ProxySet) if field.name != "images"])
def test_saved_proxy_set_keeps(proxy_set: ProxySet, tmp_path: Path, name: str) -> None:
    proxy_set.save(tmp_path / "proxy.safetensors")
    assert getattr(load_proxy_set(tmp_path / "proxy.safetensors"), name) == getattr(proxy_set, name)


def test_saved_proxy_set_opens_with_safetensors_alone(proxy_set: ProxySet, tmp_path: Path) -> None:
    path = tmp_path / "proxy.safetensors"
    proxy_set.save(path)
    with safe_open(path, framework="np") as file:
        described = file.metadata()
        images, labels = file.get_tensor("images"), file.get_tensor("labels")
    assert (images.shape, str(images.dtype)) == ((20, 1, 16, 16), "float32")
    assert 0 <= images.min() < images.max() <= 1
    assert labels.tolist() == [digit for digit in range(10) for _ in range(2)]
    assert json.loads(described["classes"]) == [str(digit) for digit in range(10)]
    assert json.loads(described["mean"]) == list(proxy_set.images.mean)
    assert json.loads(described["std"]) == list(proxy_set.images.std)
    assert json.loads(described["method"]) == "random"
    assert json.loads(described["nasproxy_proxy_set"]) == 3


def test_saving_makes_the_folder(proxy_set: ProxySet, tmp_path: Path) -> None:
    proxy_set.save(tmp_path / "runs" / "one" / "proxy.safetensors")
    assert len(load_proxy_set(tmp_path / "runs" / "one" / "proxy.safetensors").images) == 20


def test_fits_the_data_it_was_made_from(proxy_set: ProxySet, digits: ImageData, tmp_path: Path) -> None:
    proxy_set.save(tmp_path / "proxy.safetensors")
    loaded = load_proxy_set(tmp_path / "proxy.safetensors")
    loaded.check_fits(digits)
    assert (loaded.images.image_shape, loaded.split_hash) == (digits.image_shape, digits.split_hash)


def test_fits_fewer_training_images_of_the_same_split(proxy_set: ProxySet) -> None:
    fewer = load_images("digits", train_per_class=5)
    assert len(fewer.train) == 50
    proxy_set.check_fits(fewer)


def test_does_not_fit_data_of_other_classes(proxy_set: ProxySet, digits: ImageData) -> None:
    classes = ("zero", *digits.classes[1:])
    other = replace(digits, name="words", train=replace(digits.train, classes=classes))
    with pytest.raises(ProxySetError, match=r"classes \(0, 1, 2, …; 10 in all\), words has \(zero, 1, 2, …; 10 in all"):
        proxy_set.check_fits(other)


def test_does_not_fit_data_of_fewer_classes(proxy_set: ProxySet, digits: ImageData, tiny_set: ImageSet) -> None:
    other = replace(digits, name="tiny", train=tiny_set)
    with pytest.raises(ProxySetError, match=r"tiny has \(a, b, c; 3 in all\); condense tiny itself"):
        proxy_set.check_fits(other)


@pytest.mark.parametrize(("shape", "shown"), [((1, 8, 8), "1x8x8"), ((3, 16, 16), "3x16x16"), ((1, 16, 12), "1x16x12")])
def test_does_not_fit_data_of_another_shape(
    proxy_set: ProxySet, digits: ImageData, shape: tuple[int, int, int], shown: str
) -> None:
    train = replace(digits.train, images=torch.zeros(len(digits.train), *shape, dtype=torch.uint8))
    with pytest.raises(ProxySetError, match=rf"images are 1x16x16, those of digits {shown}; .*--image-size"):
        proxy_set.check_fits(replace(digits, train=train))


@pytest.mark.parametrize("setting", [{"split_seed": 1}, {"val_fraction": 0.2}, {"test_fraction": 0.3}])
def test_does_not_fit_another_split(proxy_set: ProxySet, setting: dict[str, Any]) -> None:
    with pytest.raises(ProxySetError, match=r"another split of digits .*split_seed"):
        proxy_set.check_fits(load_images("digits", **setting))


def test_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ProxySetError, match=r"no file .*gone\.safetensors"):
        load_proxy_set(tmp_path / "gone.safetensors")


@pytest.mark.parametrize("kept", [0, 200, 2000])
def test_cut_off_file_is_refused_by_name(proxy_set: ProxySet, tmp_path: Path, kept: int) -> None:
    path = tmp_path / "proxy.safetensors"
    proxy_set.save(path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ProxySetError, match=r"proxy\.safetensors is no image set"):
        load_proxy_set(path)


def test_plain_image_set_is_refused(tiny_set: ImageSet, tmp_path: Path) -> None:
    save_image_set(tiny_set, tmp_path / "images.safetensors", {})
    with pytest.raises(ProxySetError, match=r"images\.safetensors is no proxy set; make one with 'nasproxy condense'"):
        load_proxy_set(tmp_path / "images.safetensors")


def test_tensors_of_another_program_are_refused(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(2)}, tmp_path / "model.safetensors")
    with pytest.raises(ProxySetError, match=r"model\.safetensors"):
        load_proxy_set(tmp_path / "model.safetensors")


@pytest.mark.parametrize(("number", "writer"), [(1, "nasproxy 0.1"), (2, "nasproxy 0.1"), (4, "a newer nasproxy")])
def test_another_format_is_refused(tiny_set: ImageSet, tmp_path: Path, number: int, writer: str) -> None:
    """In one line, before anything else in the file is looked at."""
    save_image_set(tiny_set, tmp_path / "proxy.safetensors", {"nasproxy_proxy_set": number})
    with pytest.raises(ProxySetError) as caught:
        load_proxy_set(tmp_path / "proxy.safetensors")
    assert str(caught.value).endswith(
        f"proxy.safetensors is a proxy set of format {number}, written by {writer}; "
        "this version reads format 3, condense again"
    )


def test_missing_metadata_is_named(tiny_set: ImageSet, tmp_path: Path) -> None:
    described = {"nasproxy_proxy_set": 3, "encoding": {"format": "pixels", "unit": "pixels"}, "method": "dm"}
    save_image_set(tiny_set, tmp_path / "proxy.safetensors", described)
    with pytest.raises(ProxySetError, match="lacks 'images_per_class' in its metadata; condense again"):
        load_proxy_set(tmp_path / "proxy.safetensors")


@pytest.mark.parametrize(
    ("encoding", "message"),
    [
        ({"format": "low-rank", "unit": "pixels", "rank": 2}, "lacks 'left'"),
        ({"format": "jpeg", "unit": "pixels"}, "cannot be decoded: unknown encoding 'jpeg'"),
    ],
)
def test_what_cannot_be_decoded_is_said(
    proxy_set: ProxySet, tmp_path: Path, encoding: dict[str, Any], message: str
) -> None:
    proxy_set.save(tmp_path / "whole.safetensors")
    header, _ = read_image_file(tmp_path / "whole.safetensors")
    save_image_set(proxy_set.images, tmp_path / "proxy.safetensors", header | {"encoding": encoding})
    with pytest.raises(ProxySetError, match=message):
        load_proxy_set(tmp_path / "proxy.safetensors")
