"""Encoding formats against references written from their equations: decoding, encoding, memory."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from nasproxy.encoding import ENCODINGS, EncodedImages, Encoding, LowRank, MultiFormation, Pixels, make_encoding
from nasproxy.errors import SettingsError

EVERY: list[Encoding] = [
    Pixels(), MultiFormation(2), MultiFormation(3), MultiFormation(2, "width"), LowRank(1), LowRank(2)
]  # fmt: skip


def smooth_images(count: int, side: int = 12) -> Tensor:
    """Random images without fine detail, (count, 3, side, side)."""
    coarse = torch.randn(count, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    return F.interpolate(coarse, size=(side, side), mode="bicubic")


@pytest.mark.parametrize(("factor", "side"), [(2, 8), (3, 9), (2, 7), (3, 8)])
def test_multi_formation_cuts_tiles_and_enlarges_each(factor: int, side: int) -> None:
    mosaics = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    decoded = MultiFormation(factor).decode({"images": mosaics})
    tile = -(-side // factor)
    expected = []
    for mosaic in mosaics:
        rows = [min(row, side - 1) for row in range(tile * factor)]  # the border is repeated
        padded = mosaic[:, rows][:, :, rows]
        for row in range(factor):
            for column in range(factor):
                part = padded[:, row * tile : (row + 1) * tile, column * tile : (column + 1) * tile]
                expected.append(F.interpolate(part[None], size=(side, side), mode="bilinear")[0])
    assert torch.allclose(decoded, torch.stack(expected), atol=1e-6)


@pytest.mark.parametrize(("factor", "width"), [(2, 8), (3, 8)])
def test_multi_formation_along_the_width_cuts_tiles_of_full_height(factor: int, width: int) -> None:
    mosaics = torch.rand(2, 1, 6, width, generator=torch.Generator().manual_seed(0))
    encoding = MultiFormation(factor, "width")
    decoded = encoding.decode({"images": mosaics})
    assert decoded.shape == (2 * factor, 1, 6, width)
    tile = -(-width // factor)
    columns = [min(column, width - 1) for column in range(tile * factor)]
    for number, image in enumerate(decoded):
        part = mosaics[number // factor][..., columns][..., number % factor * tile : (number % factor + 1) * tile]
        assert torch.allclose(image, F.interpolate(part[None], size=(6, width), mode="bilinear")[0], atol=1e-6)


def test_along_the_width_only_the_width_limits_the_factor() -> None:
    assert MultiFormation(4, "width").items_for(10, (1, 2, 64)) == 10
    assert MultiFormation(4, "width").tiles == 4
    with pytest.raises(SettingsError, match="factor 4 is more than the 2 pixels"):
        MultiFormation(4, "width").items_for(10, (1, 64, 2))


def test_bilinear_enlargement_by_hand() -> None:
    """A 2 x 2 mosaic of single pixels decodes to four flat images."""
    mosaic = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    decoded = MultiFormation(2).decode({"images": mosaic})
    assert decoded.shape == (4, 1, 2, 2)
    assert [image.unique().tolist() for image in decoded] == [[1.0], [2.0], [3.0], [4.0]]


def test_low_rank_is_a_product_channel_by_channel() -> None:
    tensors = LowRank(2).draw(3, (2, 5, 7), torch.Generator().manual_seed(0))
    decoded = LowRank(2).decode(tensors)
    assert decoded.shape == (3, 2, 5, 7)
    for n in range(3):
        for c in range(2):
            for row in range(5):
                for column in range(7):
                    value = sum(
                        float(tensors["left"][n, c, row, r] * tensors["right"][n, c, r, column]) for r in range(2)
                    )
                    assert float(decoded[n, c, row, column]) == pytest.approx(value, abs=1e-5)


def test_low_rank_of_real_images_is_the_best_of_that_rank() -> None:
    """Eckart-Young: what is left over are the singular values that were cut off."""
    images = torch.randn(4, 3, 8, 10, generator=torch.Generator().manual_seed(1))
    error = (LowRank(3).decode(LowRank(3).encode(images)) - images).square().sum(dim=(2, 3))
    values = torch.linalg.svdvals(images)
    assert torch.allclose(error, values[..., 3:].square().sum(-1), rtol=1e-4)


@pytest.mark.parametrize("encoding", EVERY, ids=str)
def test_encoding_keeps_smooth_images(encoding: Encoding) -> None:
    images = smooth_images(2 * encoding.tiles)
    decoded = encoding.decode(encoding.encode(images))
    assert decoded.shape == images.shape
    error = float((decoded - images).norm() / images.norm())
    assert error < {"pixels": 1e-6, "multi-formation": 0.35, "low-rank": 0.9}[encoding.name]
    shuffled = float((decoded.roll(1, dims=0) - images).norm() / images.norm())
    assert error < 0.8 * shuffled, "each image decodes to itself, not to its neighbour"


@pytest.mark.parametrize("encoding", EVERY, ids=str)
@pytest.mark.parametrize("image_shape", [(1, 16, 16), (3, 32, 32), (3, 20, 12)])
def test_a_format_takes_no_more_memory_than_its_budget(encoding: Encoding, image_shape: tuple[int, int, int]) -> None:
    channels, height, width = image_shape
    num_items = encoding.items_for(10, image_shape)
    tensors = encoding.draw(num_items, image_shape, torch.Generator().manual_seed(0))
    stored = EncodedImages(encoding, tensors, "normalized")
    assert stored.num_numbers == sum(tensor.numel() for tensor in tensors.values())
    assert 0 < stored.num_numbers <= 10 * channels * height * width
    assert stored.decode().shape == (num_items * encoding.tiles, *image_shape)


def test_the_papers_numbers_of_images() -> None:
    shape = (3, 32, 32)
    assert LowRank(2).items_for(10, shape) == 80
    assert LowRank(4).items_for(50, shape) == 200
    assert MultiFormation(2).items_for(10, shape) * MultiFormation(2).tiles == 40
    assert MultiFormation(3).items_for(10, (3, 224, 224)) * MultiFormation(3).tiles == 90


@pytest.mark.parametrize("encoding", EVERY, ids=str)
def test_decoding_is_differentiable(encoding: Encoding) -> None:
    tensors = encoding.draw(2, (1, 6, 6), torch.Generator().manual_seed(0))
    names = list(tensors)
    inputs = tuple(tensors[name].double().requires_grad_() for name in names)
    assert torch.autograd.gradcheck(lambda *values: encoding.decode(dict(zip(names, values, strict=True))), inputs)


@pytest.mark.parametrize("name", ENCODINGS)
def test_a_format_is_made_again_from_its_description(name: str) -> None:
    encoding = make_encoding(name, factor=3, tiles_along="width", rank=5)
    tensors = encoding.draw(1, (1, 32, 32), torch.Generator().manual_seed(0))
    described: dict[str, Any] = EncodedImages(encoding, tensors, "pixels").describe()
    assert make_encoding(described["format"], **described) == encoding
    assert described["unit"] == "pixels"


@pytest.mark.parametrize(
    ("name", "parameters", "shape", "message"),
    [
        ("pixel", {}, (1, 8, 8), "did you mean 'pixels'"),
        ("low-rank", {"rank": 5}, (1, 8, 8), "use a rank of 4 or less"),
        ("multi-formation", {"factor": 9}, (1, 8, 8), "factor 9 is more than the 8 pixels"),
    ],
)
def test_what_cannot_work_is_refused(
    name: str, parameters: dict[str, int], shape: tuple[int, int, int], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        make_encoding(name, **parameters).items_for(10, shape)
