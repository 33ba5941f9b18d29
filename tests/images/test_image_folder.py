"""Image folders: layouts, file formats, sizes, the decoded cache, errors."""

import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, features
from torch import Tensor

from nasproxy.augment import GROUPS, Strategy, augment_batch, parse_strategy
from nasproxy.condensing import condense
from nasproxy.errors import DataError, SettingsError
from nasproxy.images import ImageData, ImageSet, load_images, make_generator
from nasproxy.images.decoding import LOOK_AHEAD, decode_images
from nasproxy.images.folder import list_images
from nasproxy.nets.convnet import default_arch
from nasproxy.training import make_net
from tests.conftest import make_image_folder
from tests.records import Notes


def _load(folder: Path, **settings: Any) -> ImageData:
    """The images of a folder in the order of their names, cached beside it."""
    return load_images(folder, **{"val_fraction": 0, "data_dir": folder.parent / "cache", **settings})


def _noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def _save(picture: Image.Image, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)
    return path


def _folder_of(root: Path, **pictures: Image.Image) -> Path:
    """A folder of classes 'a' (one file for each picture, named and ordered as given) and 'b' (a copy), no test/."""
    for number, (name, picture) in enumerate(pictures.items()):
        for class_name in ("a", "b"):
            _save(picture, root / "train" / class_name / f"{number}-{name.replace('_', '.')}")
            _save(picture, root / "test" / class_name / f"{number}-{name.replace('_', '.')}")
    return root


def _add_split(root: Path, name: str) -> None:
    """A further split of the classes of a folder, 3 images each."""
    for seed, class_name in enumerate(("cat", "dog")):
        for number in range(3):
            pixels = _noise(8, 8, 3, seed=10 * seed + number)
            _save(Image.fromarray(pixels), root / name / class_name / f"{number}.png")


def _counts(images: ImageSet) -> list[int]:
    return torch.bincount(images.labels, minlength=images.num_classes).tolist()


def _contents(*splits: ImageSet) -> Counter[tuple[bytes, int]]:
    return Counter(
        (image.numpy().tobytes(), int(label))
        for split in splits
        for image, label in zip(split.images, split.labels, strict=True)
    )


def _expected(folder: Path) -> Tensor:
    """(N, C, H, W) of all PNG files below a folder, by name."""
    return torch.stack([_tensor(np.asarray(Image.open(path))) for path in sorted(folder.rglob("*.png"))])


def _tensor(pixels: np.ndarray) -> Tensor:
    """(C, H, W) of (H, W, C)."""
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)


def test_train_and_test_folders_are_the_splits(image_folder: Path) -> None:
    data = _load(image_folder)
    assert torch.equal(data.train.images, _expected(image_folder / "train"))
    assert torch.equal(data.test.images, _expected(image_folder / "test"))
    assert data.train.labels.tolist() == data.test.labels.tolist() == [0] * 6 + [1] * 6
    assert (data.classes, data.name, len(data.val)) == (("cat", "dog"), "pets", 0)


def test_folder_images_are_bytes_that_may_be_mirrored(image_folder: Path) -> None:
    data = _load(image_folder)
    assert data.train.images.dtype == torch.uint8
    assert data.train.flippable


def test_a_folder_may_be_said_not_to_be_mirrored(image_folder: Path) -> None:
    before, data = _load(image_folder), _load(image_folder, flippable=False)
    assert not any(split.flippable for split in (data.train, data.val, data.test))
    assert "flip" not in str(parse_strategy("auto", flippable=data.train.flippable))
    assert data.split_hash == before.split_hash


def test_validation_is_held_out_from_train_alone(image_folder: Path) -> None:
    data = _load(image_folder, val_fraction=0.34)
    assert (_counts(data.train), _counts(data.val), _counts(data.test)) == ([4, 4], [2, 2], [6, 6])
    assert _contents(data.train, data.val) == _contents(_load(image_folder).train)


@pytest.mark.parametrize("name", ["val", "valid", "validation"])
def test_validation_images_of_a_folder_of_their_own_are_the_validation_split(image_folder: Path, name: str) -> None:
    without = load_images(image_folder, data_dir=image_folder.parent / "cache")
    _add_split(image_folder, name)
    data = load_images(image_folder, data_dir=image_folder.parent / "cache")
    assert torch.equal(data.val.images, _expected(image_folder / name))
    assert torch.equal(data.train.images, _expected(image_folder / "train"))
    assert torch.equal(data.test.images, _expected(image_folder / "test"))
    assert (_counts(data.train), _counts(data.val), _counts(data.test)) == ([6, 6], [3, 3], [6, 6])
    assert data.val.mean == data.train.mean
    assert data.data_hash != without.data_hash
    assert data.split_hash != without.split_hash


def test_beside_validation_images_a_test_split_is_held_out_of_train(image_folder: Path) -> None:
    whole = _load(image_folder)
    shutil.rmtree(image_folder / "test")
    _add_split(image_folder, "val")
    data = load_images(image_folder, data_dir=image_folder.parent / "cache", test_fraction=0.34)
    assert (_counts(data.train), _counts(data.val), _counts(data.test)) == ([4, 4], [3, 3], [2, 2])
    assert _contents(data.train, data.test) == _contents(whole.train)
    assert torch.equal(data.val.images, _expected(image_folder / "val"))


def test_the_same_images_for_validation_or_for_testing_are_other_data(image_folder: Path) -> None:
    cache = image_folder.parent / "cache"
    for_testing = load_images(image_folder, data_dir=cache)
    (image_folder / "test").rename(image_folder / "val")
    assert load_images(image_folder, data_dir=cache).data_hash != for_testing.data_hash


@pytest.mark.parametrize("fraction", [0, 0.2])
def test_a_validation_fraction_beside_validation_images_is_refused(image_folder: Path, fraction: float) -> None:
    _add_split(image_folder, "val")
    with pytest.raises(SettingsError, match=rf"val_fraction={fraction}: .*pets has validation images of its own, .*;"):
        _load(image_folder, val_fraction=fraction)


def test_validation_folder_of_other_classes_is_refused(image_folder: Path) -> None:
    _add_split(image_folder, "valid")
    (image_folder / "valid" / "dog").rename(image_folder / "valid" / "wolf")
    with pytest.raises(DataError, match=r"train/ and valid/ have different classes \(dog, wolf\); make them the same"):
        _load(image_folder)


def test_two_folders_of_validation_images_are_refused(image_folder: Path) -> None:
    _add_split(image_folder, "val")
    _add_split(image_folder, "validation")
    with pytest.raises(DataError, match="has val/ and validation/, of which one is the validation split"):
        _load(image_folder)


def test_without_a_test_folder_a_split_is_held_out(image_folder: Path) -> None:
    whole = _load(image_folder)
    shutil.rmtree(image_folder / "test")
    data = _load(image_folder, test_fraction=0.34)
    assert (_counts(data.train), _counts(data.test)) == ([4, 4], [2, 2])
    assert _contents(data.train, data.test) == _contents(whole.train)


def test_class_folders_may_lie_directly_in_the_folder(image_folder: Path) -> None:
    whole = _load(image_folder)
    data = _load(image_folder / "train", data_dir=image_folder.parent / "cache", test_fraction=0.5)
    assert data.classes == ("cat", "dog")
    assert (_counts(data.train), _counts(data.test)) == ([3, 3], [3, 3])
    assert _contents(data.train, data.test) == _contents(whole.train)


def test_images_in_folders_below_a_class_folder_belong_to_the_class(image_folder: Path) -> None:
    _save(Image.fromarray(_noise(8, 8, 3)), image_folder / "train" / "dog" / "more" / "one.png")
    assert _counts(_load(image_folder).train) == [6, 7]


def test_folder_may_be_given_as_text_and_from_home(image_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(image_folder.parent))
    data = load_images("~/pets", data_dir="~/cache")
    assert data.data_hash == _load(image_folder).data_hash
    assert (image_folder.parent / "cache" / "decoded").is_dir()


def test_non_square_images_are_channels_height_width(tmp_path: Path) -> None:
    folder = make_image_folder(tmp_path / "wide", size=(12, 8))
    data = _load(folder)
    assert data.image_shape == (3, 8, 12)
    assert torch.equal(data.train.images, _expected(folder / "train"))


def _spectrograms(root: Path) -> Path:
    """Grey pictures, wider than high."""
    return _folder_of(root, **{f"n{number}_png": Image.fromarray(_noise(16, 40, seed=number)) for number in range(6)})


def test_grey_non_square_images_go_all_the_way(tmp_path: Path) -> None:
    data = _load(_spectrograms(tmp_path / "sounds"), flippable=False)
    proxy = condense(data, "random", images_per_class=3).images
    net = make_net(default_arch(data.image_shape), data.train, 0)
    assert data.image_shape == proxy.image_shape == (1, 16, 40)
    assert not proxy.flippable
    for group in GROUPS:
        augmented = augment_batch(proxy.normalized(), Strategy(((group,),)), make_generator(group))
        assert not torch.equal(augmented, proxy.normalized())
        logits = net(augmented)
        assert logits.shape == (6, 2)
        assert bool(logits.isfinite().all())


def test_grey_non_square_images_are_cut_square_by_image_size(tmp_path: Path) -> None:
    data = _load(_spectrograms(tmp_path / "sounds"), image_size=16)
    assert data.image_shape == (1, 16, 16)
    assert torch.equal(data.train.images[0, 0], torch.from_numpy(_noise(16, 40, seed=0)[:, 12:28].copy()))


def test_many_images_keep_their_order(tmp_path: Path) -> None:
    shades = [number % 256 for number in range(LOOK_AHEAD + 20)]
    for number, shade in enumerate(shades):
        for name in ("a", "b"):
            _save(Image.new("L", (2, 2), shade), tmp_path / "many" / "train" / name / f"{number:04}.pgm")
    data = _load(tmp_path / "many", test_fraction=0.01)
    held_out = _contents(data.test)
    assert held_out.total() == 6
    whole = Counter((bytes([shade] * 4), label) for label in (0, 1) for shade in shades)
    assert _contents(data.train) == whole - held_out


COLOUR = (200, 100, 50)


def _palette_picture() -> Image.Image:
    picture = Image.new("P", (8, 8), 1)
    picture.putpalette([0, 0, 0, *COLOUR])
    return picture


def _palette_picture_with_transparency() -> Image.Image:
    picture = _palette_picture()
    picture.info["transparency"] = bytes([0, 128])
    return picture


def _picture_of_16_bits(value: int) -> Image.Image:
    return Image.fromarray(np.full((8, 8), value, dtype=np.uint16))


KINDS: list[tuple[str, Image.Image, tuple[int, int, int]]] = [
    ("colour_png", Image.new("RGB", (8, 8), COLOUR), COLOUR),
    ("grey_png", Image.new("L", (8, 8), 77), (77, 77, 77)),
    ("transparent_png", Image.new("RGBA", (8, 8), (*COLOUR, 128)), COLOUR),
    ("palette_png", _palette_picture(), COLOUR),
    ("palettetransparency_png", _palette_picture_with_transparency(), COLOUR),
    ("palette_gif", _palette_picture(), COLOUR),
    ("greytransparent_png", Image.new("LA", (8, 8), (77, 128)), (77, 77, 77)),
    ("blackwhite_png", Image.new("1", (8, 8), 1), (255, 255, 255)),
    ("16bitwhite_png", _picture_of_16_bits(65535), (255, 255, 255)),
    ("16bitblack_png", _picture_of_16_bits(0), (0, 0, 0)),
    ("16bitgrey_png", _picture_of_16_bits(100 * 257), (100, 100, 100)),
    ("16bitdark_tiff", _picture_of_16_bits(257), (1, 1, 1)),
    ("32bit_tiff", Image.new("I", (8, 8), 65535), (255, 255, 255)),
    ("cmyk_tiff", Image.new("CMYK", (8, 8), (0, 255, 255, 0)), (255, 0, 0)),
    ("cmykwhite_jpg", Image.new("CMYK", (8, 8), (0, 0, 0, 0)), (255, 255, 255)),
    ("colour_bmp", Image.new("RGB", (8, 8), COLOUR), COLOUR),
    ("grey_pgm", Image.new("L", (8, 8), 77), (77, 77, 77)),
    ("capitals_PNG", Image.new("RGB", (8, 8), COLOUR), COLOUR),
]


@pytest.mark.parametrize(("name", "picture", "colour"), KINDS, ids=[kind[0] for kind in KINDS])
def test_every_kind_of_image_becomes_8_bit_colour(
    tmp_path: Path, name: str, picture: Image.Image, colour: tuple[int, int, int]
) -> None:
    data = _load(_folder_of(tmp_path / "kinds", **{name: picture}), channels=3)
    expected = torch.tensor(colour, dtype=torch.uint8).view(1, 3, 1, 1).expand(2, 3, 8, 8)
    assert data.train.images.dtype == torch.uint8
    assert torch.equal(data.train.images, expected)


def test_kinds_mixed_in_one_folder_become_colour(tmp_path: Path) -> None:
    data = _load(_folder_of(tmp_path / "kinds", **{name: picture for name, picture, _ in KINDS}))
    found = {path.name: number for number, path in enumerate(sorted((tmp_path / "kinds" / "train" / "a").iterdir()))}
    expected = {f"{n}-{name.replace('_', '.')}": list(colour) for n, (name, _, colour) in enumerate(KINDS)}
    assert data.train.images.shape == (2 * len(KINDS), 3, 8, 8)
    assert {name: data.train.images[number, :, 0, 0].tolist() for name, number in found.items()} == expected


@pytest.mark.parametrize("name", ["grey_png", "greytransparent_png", "blackwhite_png", "16bitgrey_png", "grey_pgm"])
def test_all_grey_images_have_one_channel(tmp_path: Path, name: str) -> None:
    picture, colour = {kind[0]: kind[1:] for kind in KINDS}[name]
    data = _load(_folder_of(tmp_path / "greys", grey_png=Image.new("L", (8, 8), 3), **{f"x{name}": picture}))
    assert data.image_shape == (1, 8, 8)
    assert data.train.images[:, 0, 0, 0].tolist() == [3, colour[0]] * 2
    assert len(data.train.mean) == len(data.train.std) == 1


def test_one_coloured_image_makes_all_coloured(tmp_path: Path) -> None:
    folder = _folder_of(tmp_path / "greys", a_png=Image.new("L", (8, 8), 3))
    _save(Image.new("RGB", (8, 8), COLOUR), folder / "test" / "b" / "9.png")
    assert _load(folder).image_shape == (3, 8, 8)


def test_channels_1_makes_coloured_images_grey(tmp_path: Path) -> None:
    data = _load(_folder_of(tmp_path / "kinds", a_png=Image.new("RGB", (8, 8), COLOUR)), channels=1)
    luma = 0.299 * COLOUR[0] + 0.587 * COLOUR[1] + 0.114 * COLOUR[2]
    assert data.image_shape == (1, 8, 8)
    assert (data.train.images.float() - luma).abs().max() <= 1


def test_16_bit_grey_is_rounded_to_8_bits(tmp_path: Path) -> None:
    values = np.array([[0, 128, 129, 257], [32767, 32768, 65406, 65407]], dtype=np.uint16)
    data = _load(_folder_of(tmp_path / "deep", a_png=Image.fromarray(values)))
    assert data.train.images[0, 0].tolist() == [[0, 0, 1, 1], [127, 128, 254, 255]]


def test_rotation_written_by_a_camera_is_applied(tmp_path: Path) -> None:
    pixels = _noise(6, 8, 3)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    folder = _folder_of(tmp_path / "plain", a_png=Image.fromarray(pixels))
    for path in sorted(folder.rglob("*.png")):
        Image.fromarray(pixels).save(path, exif=exif)
    data = _load(folder)
    assert data.image_shape == (3, 8, 6)
    assert torch.equal(data.train.images[0], torch.rot90(_tensor(pixels), -1, (1, 2)))


def test_mixed_sizes_are_resized_to_one(tmp_path: Path) -> None:
    sizes = ((8, 8), (16, 16), (20, 10), (5, 9))
    pictures = {f"n{n}_png": Image.new("RGB", size, COLOUR) for n, size in enumerate(sizes)}
    data = _load(_folder_of(tmp_path / "sizes", **pictures), image_size=8)
    expected = torch.tensor(COLOUR, dtype=torch.uint8).view(1, 3, 1, 1).expand(8, 3, 8, 8)
    assert torch.equal(data.train.images, expected)


def test_images_of_the_wanted_size_keep_their_pixels(image_folder: Path) -> None:
    assert torch.equal(_load(image_folder, image_size=8).train.images, _load(image_folder).train.images)


def test_resizing_keeps_the_middle(tmp_path: Path) -> None:
    pixels = np.zeros((8, 24, 3), dtype=np.uint8)
    pixels[:, 8:16] = COLOUR
    data = _load(_folder_of(tmp_path / "wide", a_png=Image.fromarray(pixels)), image_size=8)
    assert torch.equal(data.train.images[0], _tensor(pixels[:, 8:16]))


def test_shrinking_averages_the_pixels(tmp_path: Path) -> None:
    chequered = (np.indices((16, 16)).sum(axis=0) % 2 * 254).astype(np.uint8)
    data = _load(_folder_of(tmp_path / "large", a_png=Image.fromarray(chequered)), image_size=8)
    inner = data.train.images[:, :, 1:-1, 1:-1].float()
    torch.testing.assert_close(inner, torch.full((2, 1, 6, 6), 127.0), atol=2, rtol=0)


def test_mixed_sizes_without_image_size_are_refused(tmp_path: Path) -> None:
    folder = _folder_of(tmp_path / "sizes", small_png=Image.new("L", (8, 6), 0), large_png=Image.new("L", (16, 12), 0))
    with pytest.raises(DataError, match=r"several sizes .*8x6: .*small\.png, 16x12: .*large\.png.*give --image-size"):
        _load(folder)


@pytest.mark.parametrize("part", [0.02, 0.5, 0.95])
def test_truncated_jpeg_is_refused_by_name(image_folder: Path, part: float) -> None:
    path = _save(Image.fromarray(_noise(64, 64, 3)), image_folder / "train" / "cat" / "half.jpg")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(DataError, match=rf"cannot decode image {path}: .*; replace or remove the file"):
        _load(image_folder, image_size=8)


def _cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _spoil_pixels_of_avif(content: bytes) -> bytes:
    start = content.index(b"mdat") + 4
    return content[:start] + bytes(len(content) - start)


@pytest.mark.parametrize(
    ("suffix", "spoil"),
    [
        pytest.param(".png", _cut, id="cut-png"),
        pytest.param(".gif", _cut, id="cut-gif"),
        pytest.param(".bmp", _cut, id="cut-bmp"),
        pytest.param(".jpg", lambda content: b"", id="empty-jpg"),
        pytest.param(".jpg", lambda content: b"no picture", id="text-as-jpg"),
        pytest.param(
            ".webp",
            _cut,
            id="cut-webp",
            marks=pytest.mark.skipif(not features.check("webp"), reason="Pillow without WebP"),
        ),
        pytest.param(
            ".avif",
            _spoil_pixels_of_avif,
            id="spoilt-avif",
            marks=pytest.mark.skipif(not features.check("avif"), reason="Pillow without AVIF"),
        ),
    ],
)
def test_damaged_file_is_refused_by_name(image_folder: Path, suffix: str, spoil: Any) -> None:
    path = _save(Image.fromarray(_noise(32, 32, 3)), image_folder / "train" / "cat" / f"bad{suffix}")
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(DataError, match=f"cannot decode image {path}: "):
        _load(image_folder, image_size=8)


def _break(folder: Path, *names: str) -> list[Path]:
    """Files of a folder that are no pictures."""
    paths = [folder / name for name in names]
    for path in paths:
        path.write_bytes(b"no picture")
    return paths


@pytest.mark.parametrize("name", ["EPS", "XPM", "PSD", "HDF5"])
def test_files_of_formats_that_are_more_than_pixels_are_not_opened(image_folder: Path, name: str) -> None:
    """A PostScript file is a program, that Pillow would have Ghostscript run, whatever the file is called."""
    content = {
        "EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n{} loop\n%%EOF\n",
        "XPM": b'/* XPM */\nstatic char *a[] = {\n"1 1 1 1",\n"a c #000000",\n"a"};\n',
        "PSD": b"8BPS\x00\x01" + bytes(6) + b"\x00\x03" + b"\x00\x00\x00\x08" * 2 + b"\x00\x08\x00\x03" + bytes(40),
        "HDF5": b"\x89HDF\r\n\x1a\n" + bytes(64),
    }[name]
    path = image_folder / "train" / "cat" / "0.png"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"cannot decode image {path}: it is no image; replace or remove the file"):
        _load(image_folder)


def test_pipes_and_devices_are_named_and_not_read(image_folder: Path) -> None:
    os.mkfifo(image_folder / "train" / "cat" / "pipe.png")
    (image_folder / "test" / "dog" / "endless.png").symlink_to("/dev/zero")
    (image_folder / "test" / "dog" / "gone.png").symlink_to("nowhere.png")
    with pytest.raises(DataError) as error:
        _load(image_folder)
    problem = str(error.value)
    assert problem.count("it is no regular file") == 2
    assert "gone.png: No such file or directory" in problem
    assert len(_load(image_folder, skip_broken=True).train) == 12
    files = list_images(image_folder / "train" / "cat")
    images, broken = decode_images(files, image_size=8, channels=None, progress=lambda *_: None)
    assert (len(images), list(broken.values())) == (6, ["it is no regular file"])


def test_all_broken_files_are_named_at_once(image_folder: Path) -> None:
    paths = _break(image_folder, "train/cat/0.png", "train/dog/5.png", "test/cat/2.png")
    named = "; ".join(f"{path}: it is no image" for path in paths)
    with pytest.raises(DataError, match=f"^cannot decode 3 images: {named}; .*leave them out with --skip-broken$"):
        _load(image_folder)


def test_of_many_broken_files_the_first_five_are_named_and_the_others_counted(image_folder: Path) -> None:
    _break(image_folder, *(f"train/cat/{number}.png" for number in range(5)), "train/dog/0.png", "train/dog/1.png")
    with pytest.raises(DataError, match=r"^cannot decode 7 images: .*cat/4\.png: it is no image; and 2 more; replace"):
        _load(image_folder)


def test_a_file_that_cannot_be_read_is_broken(image_folder: Path) -> None:
    (image_folder / "train" / "cat" / "gone.png").symlink_to("nowhere")
    with pytest.raises(DataError, match=r"cannot decode image .*gone\.png: No such file or directory; replace"):
        _load(image_folder)


def test_broken_files_are_left_out_where_that_is_asked_for(image_folder: Path) -> None:
    whole = _load(image_folder)
    paths = _break(image_folder, "train/cat/0.png", "train/dog/5.png", "test/cat/2.png")
    data = _load(image_folder, skip_broken=True)
    assert torch.equal(data.train.images, whole.train.images[1:-1])
    assert (_counts(data.train), _counts(data.test)) == ([5, 5], [5, 6])
    assert torch.equal(data.test.images, torch.cat([whole.test.images[:2], whole.test.images[3:]]))
    assert [file.path for file in data.skipped] == list(map(str, paths))
    assert whole.skipped == ()
    assert data.data_hash != whole.data_hash


def test_the_first_file_may_be_the_broken_one(tmp_path: Path) -> None:
    folder = _folder_of(tmp_path / "sizes", a_png=Image.new("L", (4, 4)), b_png=Image.new("L", (8, 8), 9))
    _break(folder, *(f"{split}/{name}/0-a.png" for split in ("train", "test") for name in ("a", "b")))
    assert torch.equal(_load(folder, skip_broken=True).train.images, torch.full((2, 1, 8, 8), 9, dtype=torch.uint8))


def test_broken_files_are_remembered_beside_the_decoded_ones(image_folder: Path) -> None:
    (path,) = _break(image_folder, "train/cat/0.png")
    with pytest.raises(DataError, match="cannot decode image"):
        _load(image_folder)
    notes = Notes()
    data = _load(image_folder, skip_broken=True, progress=notes)
    assert {what for what, _, _ in notes.steps} == {"reading"}
    assert [file.path for file in data.skipped] == [str(path)]
    with pytest.raises(DataError, match=f"cannot decode image {path}: it is no image"):
        _load(image_folder)


def test_without_broken_files_it_makes_no_difference_whether_they_are_left_out(image_folder: Path) -> None:
    assert _load(image_folder, skip_broken=True).data_hash == _load(image_folder).data_hash
    assert len(_decoded(image_folder)) == 1


@pytest.mark.parametrize(("split", "called"), [("train", "training"), ("val", "validation"), ("test", "test")])
def test_a_class_of_broken_files_alone_is_refused(image_folder: Path, split: str, called: str) -> None:
    _add_split(image_folder, "val")
    _break(image_folder, *(str(path.relative_to(image_folder)) for path in (image_folder / split / "dog").iterdir()))
    with pytest.raises(DataError, match=f"pets: no {called} image of class 'dog' can be decoded; add some"):
        load_images(image_folder, data_dir=image_folder.parent / "cache", skip_broken=True)


def test_a_folder_of_broken_files_alone_is_refused(image_folder: Path) -> None:
    _break(image_folder, *(str(path.relative_to(image_folder)) for path in image_folder.rglob("*.png")))
    with pytest.raises(DataError, match="no training image of class 'cat' can be decoded"):
        _load(image_folder, skip_broken=True)


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        pytest.param(Image.new("I", (8, 8), 70000), "outside 16 bits", id="above-16-bits"),
        pytest.param(Image.new("I", (8, 8), -1), "outside 16 bits", id="negative"),
        pytest.param(Image.new("F", (8, 8), 0.5), "floating-point pixels", id="float"),
    ],
)
def test_pixels_of_unknown_range_are_refused_by_name(image_folder: Path, picture: Image.Image, message: str) -> None:
    path = _save(picture, image_folder / "train" / "cat" / "odd.tiff")
    with pytest.raises(DataError, match=f"image {path}: .*{message}"):
        _load(image_folder)


@pytest.mark.parametrize(
    "name", ["notes.txt", "labels.csv", "Thumbs.db", ".DS_Store", ".hidden.png", "README", "licence.pdf", "data.h5"]
)
def test_other_files_in_a_class_folder_are_ignored(image_folder: Path, name: str) -> None:
    before = _load(image_folder)
    (image_folder / "train" / "cat" / name).write_bytes(b"no picture")
    after = _load(image_folder)
    assert after.data_hash == before.data_hash
    assert len(after.train) == 12


@pytest.mark.parametrize("where", ["", "train"])
def test_files_and_hidden_folders_beside_class_folders_are_ignored(image_folder: Path, where: str) -> None:
    before = _load(image_folder)
    (image_folder / where / ".cache").mkdir()
    _save(Image.new("RGB", (8, 8)), image_folder / where / "overview.png")
    after = _load(image_folder)
    assert (after.data_hash, after.classes) == (before.data_hash, ("cat", "dog"))


def test_empty_class_folder_is_refused_by_name(image_folder: Path) -> None:
    (image_folder / "train" / "emu").mkdir()
    (image_folder / "train" / "emu" / "notes.txt").write_text("none yet")
    with pytest.raises(DataError, match=r"class folder .*train/emu holds no images; add some, or remove"):
        _load(image_folder)


def test_one_class_alone_is_refused(image_folder: Path) -> None:
    shutil.rmtree(image_folder / "train" / "dog")
    with pytest.raises(DataError, match=r"pets/train has only the class 'cat'; .*at least two classes"):
        _load(image_folder)


def test_folder_without_class_folders_is_refused(tmp_path: Path) -> None:
    _save(Image.new("L", (8, 8)), tmp_path / "flat" / "one.png")
    with pytest.raises(DataError, match=r"flat has no class folders; .*at least two classes"):
        _load(tmp_path / "flat")


def test_test_folder_of_other_classes_is_refused(image_folder: Path) -> None:
    (image_folder / "test" / "dog").rename(image_folder / "test" / "emu")
    with pytest.raises(DataError, match=r"train/ and test/ have different classes \(dog, emu\)"):
        _load(image_folder)


def test_class_too_small_to_hold_out_from_is_refused(tmp_path: Path) -> None:
    folder = make_image_folder(tmp_path / "few", num_images=1)
    with pytest.raises(DataError, match="too few to hold some out; add images"):
        _load(folder, val_fraction=0.1)


def _decoded(folder: Path) -> list[Path]:
    return sorted((folder.parent / "cache" / "decoded").iterdir())


def test_second_load_reads_the_decoded_cache(image_folder: Path) -> None:
    notes = Notes()
    first = _load(image_folder, progress=notes)
    assert len(_decoded(image_folder)) == 1
    assert notes.steps == [(what, done, 24) for what in ("reading", "decoding") for done in range(1, 25)]
    notes = Notes()
    second = _load(image_folder, progress=notes)
    assert {what for what, _, _ in notes.steps} == {"reading"}
    assert len(_decoded(image_folder)) == 1
    assert (second.data_hash, second.split_hash) == (first.data_hash, first.split_hash)
    assert second.train.content_hash() == first.train.content_hash()
    assert second.test.content_hash() == first.test.content_hash()
    assert (second.train.mean, second.train.std) == (first.train.mean, first.train.std)


def test_cache_serves_a_copy_of_the_folder(image_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(image_folder, tmp_path / "copy")
    first, second = _load(image_folder), _load(tmp_path / "copy")
    assert len(_decoded(image_folder)) == 1
    assert first.split_hash == second.split_hash


def test_changed_image_is_decoded_again(image_folder: Path) -> None:
    before = _load(image_folder)
    pixels = _noise(8, 8, 3)
    _save(Image.fromarray(pixels), image_folder / "train" / "cat" / "3.png")
    after = _load(image_folder)
    assert after.data_hash != before.data_hash
    assert after.split_hash != before.split_hash
    assert torch.equal(after.train.images[3], _tensor(pixels))
    assert len(_decoded(image_folder)) == 2


def test_renamed_class_changes_the_data_hash(image_folder: Path) -> None:
    before = _load(image_folder)
    for split in ("train", "test"):
        (image_folder / split / "cat").rename(image_folder / split / "cow")
    after = _load(image_folder)
    assert after.classes == ("cow", "dog")
    assert after.data_hash != before.data_hash


@pytest.mark.parametrize("setting", [{"image_size": 4}, {"channels": 1}])
def test_other_decoding_is_cached_apart(image_folder: Path, setting: dict[str, int]) -> None:
    before, after = _load(image_folder), _load(image_folder, **setting)
    assert after.data_hash != before.data_hash
    assert len(_decoded(image_folder)) == 2
    assert torch.equal(_load(image_folder).train.images, before.train.images)


def test_damaged_cache_is_decoded_again(image_folder: Path) -> None:
    before = _load(image_folder)
    (cached,) = _decoded(image_folder)
    cached.write_bytes(cached.read_bytes()[:100])
    assert _load(image_folder).data_hash == before.data_hash
