"""Real small objects that many tests share."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
import torch
from PIL import Image

from nasproxy.comparing import Ranking, rank
from nasproxy.images import ImageData, ImageSet, load_images
from nasproxy.space import SearchSpace
from nasproxy.spacefile import load_space
from nasproxy.trials import Trials
from tests.records import make_proxy, make_training_free, make_truth


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Small tensors gain nothing from more threads, and Ray's workers want the cores."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _interruptible() -> None:
    """A shell's background job ignores Ctrl-C, and so would the processes that tests start and interrupt."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def local_ray() -> Iterator[None]:
    """One Ray per process of tests: a search uses the Ray that is there."""
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def digits() -> ImageData:
    """scikit-learn's digits, 1x16x16: 1,295 training, 143 validation, 359 test images."""
    return load_images("digits")


@pytest.fixture(scope="session")
def mini_space() -> SearchSpace:
    return load_space("convnet-mini")


@pytest.fixture
def tiny_set() -> ImageSet:
    """12 random colour images, 3x8x8, of 3 classes, 4 each."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (12, 3, 8, 8), dtype=torch.uint8, generator=generator)
    labels = torch.arange(3).repeat(4)
    return ImageSet(images, labels, ("a", "b", "c"), (0.5, 0.4, 0.3), (0.25, 0.2, 0.3))


def make_image_folder(root: Path, *, num_images: int = 6, size: tuple[int, int] = (8, 8)) -> Path:
    """An image folder of two classes, 'cat' (dark) and 'dog' (bright), with train/ and test/."""
    generator = torch.Generator().manual_seed(1)
    for split in ("train", "test"):
        for label, name in enumerate(("cat", "dog")):
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(num_images):
                pixels = torch.randint(0, 128, (size[1], size[0], 3), generator=generator) + 127 * label
                Image.fromarray(pixels.to(torch.uint8).numpy()).save(folder / f"{number}.png")
    return root


@pytest.fixture
def image_folder(tmp_path: Path) -> Path:
    return make_image_folder(tmp_path / "pets")


@pytest.fixture(scope="session")
def proxy() -> Trials:
    return make_proxy()


@pytest.fixture(scope="session")
def truth() -> Trials:
    return make_truth()


@pytest.fixture(scope="session")
def training_free() -> Trials:
    return make_training_free()


@pytest.fixture(scope="session")
def ranking(proxy: Trials, truth: Trials) -> Ranking:
    return rank(proxy, truth, top=0.4)
