"""What every condensation method promises, in every encoding that it takes."""

from pathlib import Path
from typing import Any

import pytest
import torch

from nasproxy.condensing import METHODS, condense
from nasproxy.condensing.state import CondenseState, load_state
from nasproxy.encoding import ENCODINGS, make_encoding
from nasproxy.images import ImageData, ImageSet
from nasproxy.nets.convnet import default_arch
from nasproxy.proxyset import ProxySet, load_proxy_set

SMALL: dict[str, Any] = {
    "images_per_class": 2,
    "real_batch_size": 6,
    "embedding_net": "w8-d2-instance-relu-avg",
    "outer_loop": 3,
    "inner_loop": 2,
    "inner_images": 64,
    "selection_epochs": 2,
    "steps": 5,
}
"""Small enough to take a moment; nets live for three steps, so that step 4 goes on with one that was trained."""
UPDATING = ("dm", "dc", "dsa", "idc-i", "mmd")
"""Methods that take any encoding; the others are names for some of these, or select real images."""
SELECTING = ("random", "herding", "forgetting", "k-center")
"""Methods that optimise nothing."""
CASES = [(method, None) for method in METHODS] + [(method, name) for method in UPDATING for name in ENCODINGS]


def make(digits: ImageData, method: str, encoding: str | None, **settings: Any) -> ProxySet:
    if encoding is not None:
        settings["encoding"] = encoding
    steps = {"steps": 0} if method in SELECTING else {}
    return condense(digits, method, **SMALL | steps | settings)


@pytest.fixture(params=CASES, ids=lambda case: "-".join(filter(None, case)), scope="module")
def case(request: pytest.FixtureRequest) -> tuple[str, str | None]:
    chosen: tuple[str, str | None] = request.param
    return chosen


@pytest.fixture(scope="module")
def proxy(digits: ImageData, case: tuple[str, str | None]) -> ProxySet:
    before = digits.train.content_hash()
    proxy = make(digits, *case, seed=1)
    assert digits.train.content_hash() == before, "the training images are untouched"
    return proxy


def test_it_is_balanced_of_the_right_shape_and_finite(digits: ImageData, proxy: ProxySet) -> None:
    encoding = make_encoding(proxy.settings["encoding"], factor=2, rank=2)
    per_class = encoding.items_for(2, digits.image_shape) * encoding.tiles
    assert proxy.images.images.shape == (10 * per_class, *digits.image_shape)
    assert proxy.images.images.dtype == torch.float32
    assert proxy.images.labels.tolist() == [k for k in range(10) for _ in range(per_class)]
    assert bool(proxy.images.images.isfinite().all())


def test_it_is_decided_by_the_seed(digits: ImageData, case: tuple[str, str | None], proxy: ProxySet) -> None:
    again, other = (make(digits, *case, seed=seed) for seed in (1, 2))
    assert torch.equal(again.images.images, proxy.images.images)
    assert not torch.equal(other.images.images, proxy.images.images)


def test_it_goes_on_bit_for_bit(
    digits: ImageData, case: tuple[str, str | None], proxy: ProxySet, tmp_path: Path
) -> None:
    """From the checkpoint of every step, through a file."""
    kept: list[CondenseState] = []
    make(digits, *case, seed=1, checkpoint_every=1, on_checkpoint=kept.append)
    assert [state.step for state in kept] == list(range(1, proxy.settings["steps"] + 1))
    for state in kept:
        state.save(tmp_path / "checkpoint.safetensors")
        rest = make(digits, *case, seed=1, resume_from=load_state(tmp_path / "checkpoint.safetensors"))
        assert torch.equal(rest.images.images, proxy.images.images), state.step


def test_an_interrupted_run_leaves_a_state_to_go_on_from(
    digits: ImageData, case: tuple[str, str | None], proxy: ProxySet
) -> None:
    if proxy.settings["steps"] == 0:
        pytest.skip("nothing is optimised")
    kept: list[CondenseState] = []

    def interrupt(step: int, loss: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(digits, *case, seed=1, on_step=interrupt, on_checkpoint=kept.append)
    rest = make(digits, *case, seed=1, resume_from=kept[-1])
    assert torch.equal(rest.images.images, proxy.images.images)


def test_it_takes_the_memory_it_says(digits: ImageData, proxy: ProxySet, tmp_path: Path) -> None:
    proxy.save(tmp_path / "proxy.safetensors")
    budget = 20 * 16 * 16
    assert proxy.num_stored_numbers <= budget
    assert proxy.num_stored_images == 20
    in_file = (tmp_path / "proxy.safetensors").stat().st_size
    labels = 8 * len(proxy.images)
    assert 4 * proxy.num_stored_numbers + labels < in_file < 4 * proxy.num_stored_numbers + labels + 4096


def test_decoded_after_saving_it_is_what_it_was_before(proxy: ProxySet, tmp_path: Path) -> None:
    proxy.save(tmp_path / "proxy.safetensors")
    loaded = load_proxy_set(tmp_path / "proxy.safetensors")
    assert torch.equal(loaded.images.images, proxy.images.images)
    assert torch.equal(loaded.images.labels, proxy.images.labels)
    assert loaded.settings == proxy.settings
    assert loaded.num_stored_numbers == proxy.num_stored_numbers


def test_its_settings_are_complete(proxy: ProxySet) -> None:
    """What made it can be asked for again, whatever the method's own values become."""
    missing = {name for name, value in proxy.settings.items() if value is None}
    for_idc = set() if proxy.settings["method"].startswith("idc") else {"first_epochs", "distance"}
    assert proxy.settings["steps"] == 0 or missing <= {"synthetic_batch_size", "classes_per_step"} | for_idc


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("method", UPDATING)
def test_real_initialisation_has_the_brightness_of_training_images(
    digits: ImageData, method: str, encoding: str
) -> None:
    """Whatever unit a method works in, and whatever a format loses."""
    start = make(digits, method, encoding, init="real", steps=0, images_per_class=10, factor=2, rank=4).images
    real = digits.train.images.float() / 255
    assert abs(float(start.images.mean() - real.mean())) < 0.03
    assert 0.75 < float(start.images.std() / real.std()) < 1.05


def test_combinations_are_names(digits: ImageData) -> None:
    """lodm and the like are a method and an encoding."""
    for name, method, encoding in (("lodm", "dm", "low-rank"), ("idc", "idc-i", "multi-formation")):
        assert torch.equal(make(digits, name, None).images.images, make(digits, method, encoding).images.images)


@pytest.mark.parametrize(
    ("method", "image_shape", "num_images"),
    [("idc", (3, 224, 224), 18), ("dm", (3, 64, 64), 4), ("dsa", (1, 64, 40), 4), ("lodm", (1, 40, 64), 48)],
    ids=["as-imagenet", "as-tinyimagenet", "spectrogram", "wide-spectrogram"],
)
def test_images_of_other_sizes(method: str, image_shape: tuple[int, int, int], num_images: int) -> None:
    """The nets' depth and the formats' parameters follow the images; neither needs to be square."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (12, *image_shape), dtype=torch.uint8, generator=generator)
    channels = image_shape[0]
    images = ImageSet(pixels, torch.arange(12) % 2, ("a", "b"), (0.5,) * channels, (0.25,) * channels, flippable=False)
    data = ImageData("random", images, images, images, "hash", "split")
    per_class = 1 if method == "idc" else 2
    depth = default_arch(image_shape).factors["depth"]
    proxy = condense(
        data, method, images_per_class=per_class, real_batch_size=2, steps=2, outer_loop=1, first_epochs=1,
        embedding_net=f"w4-d{depth}-instance-relu-avg",
    )  # fmt: skip
    assert proxy.images.images.shape == (num_images, *image_shape)
    assert bool(proxy.images.images.isfinite().all())
    assert proxy.num_stored_images <= 2 * per_class
