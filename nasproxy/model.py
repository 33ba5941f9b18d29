"""A trained net as people use it: weights, and all that one has to know to classify images with them.

model.safetensors    weights, a torch `state_dict`
model.json           the architecture and what builds it, classes, image shape, normalisation, accuracies, provenance
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nasproxy.device import find_device
from nasproxy.errors import InputError, NasproxyError, TensorFileError
from nasproxy.files import write_text
from nasproxy.images import ImageSet
from nasproxy.images.decoding import decode_images
from nasproxy.images.folder import list_images
from nasproxy.images.raw import Progress
from nasproxy.space import Arch, build
from nasproxy.tensorfile import read_tensor_file
from nasproxy.training import predict_logits

FORMAT = 1
"""Version of `model.json`."""
ABOUT, WEIGHTS = "model.json", "model.safetensors"
_KEYS = ("arch", "image_shape", "classes", "normalisation", "accuracies", "data")
"""What `model.json` must have."""


@dataclass(frozen=True)
class Prediction:
    """What a net says of an image file."""

    path: Path
    label: str
    """The likeliest class."""
    probability: float
    """Of that class."""
    probabilities: tuple[float, ...]
    """Of all classes, in their order."""


@dataclass(frozen=True, eq=False)
class Model:
    """A trained net. Made by `load_model`.

    N images, C channels, H height, W width, K classes.
    """

    net: nn.Module
    """Normalised images (N, C, H, W) -> logits (N, K); in evaluation mode."""
    about: Mapping[str, Any]
    """What `model.json` says."""
    path: Path
    """Of `model.json`."""
    device: torch.device
    """Where the net is."""

    def __repr__(self) -> str:
        test = self.about["accuracies"]["test"]
        return (
            f"<Model {self.arch_id} of {self.about['data']['dataset']}: {len(self.classes)} classes, test {test:.1%}>"
        )

    @property
    def arch_id(self) -> str:
        return str(self.about["arch"]["id"])

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.about["classes"])

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        channels, height, width = self.about["image_shape"]
        return channels, height, width

    def predict(self, images: Tensor) -> Tensor:
        """Probabilities (N, K), on the CPU.

        Args:
            images: (N, C, H, W), uint8, or floating point with 1.0 for full brightness; not normalised.

        Raises:
            InputError: another shape.
        """
        if images.ndim != 4 or tuple(images.shape[1:]) != self.image_shape:
            raise InputError(f"images are {tuple(images.shape)}; this net takes (N, C, H, W) of {self.image_shape}")
        if not len(images):
            return torch.empty(0, len(self.classes))
        mean, std = (tuple(self.about["normalisation"][name]) for name in ("mean", "std"))
        labels = torch.zeros(len(images), dtype=torch.long)
        image_set = ImageSet(images, labels, self.classes, mean, std).to(self.device)
        with torch.no_grad():
            return predict_logits(self.net, image_set).softmax(dim=1).cpu()

    def predict_files(
        self, paths: Sequence[str | Path], *, progress: Progress = lambda what, done, total: None
    ) -> tuple[list[Prediction], dict[Path, str]]:
        """Predictions of image files, resized, cropped and converted as the training images were.

        Args:
            paths: files, and folders of them, which are searched to the bottom.
            progress: called for every file.

        Returns:
            Of every image that can be decoded, in their order; path -> reason, of the others.

        Raises:
            InputError: a path that is not there, or a folder without images.
        """
        files = [file for path in paths for file in list_images(Path(path).expanduser())]
        channels, height, width = self.image_shape
        images, reasons = decode_images(files, image_size=(height, width), channels=channels, progress=progress)
        broken = {files[number]: reason for number, reason in reasons.items()}
        there = [file for file in files if file not in broken]
        if not there:
            return [], broken
        rows = self.predict(images).tolist()
        return [_predict(file, row, self.classes) for file, row in zip(there, rows, strict=True)], broken


def _predict(path: Path, probabilities: Sequence[float], classes: Sequence[str]) -> Prediction:
    best = max(range(len(classes)), key=probabilities.__getitem__)
    return Prediction(path, classes[best], probabilities[best], tuple(probabilities))


def write_about(folder: Path, about: Mapping[str, Any]) -> None:
    """Writes `model.json` beside weights that are there."""
    write_text(folder / ABOUT, json.dumps({"nasproxy_model": FORMAT, **about}, indent=2) + "\n")


def load_model(path: str | Path, device: torch.device | str = "cpu") -> Model:
    """Reads a trained net.

    Args:
        path: a run that has one, or its `model.json`.
        device: where the net is put: cpu, cuda, cuda:N or auto.

    Raises:
        InputError: missing, damaged, or no net that its builder makes.
        DeviceError: a device that is not there.
    """
    path = Path(path).expanduser()
    path = path / ABOUT if path.is_dir() else path
    about = _read_about(path)
    put_on = find_device(str(device))
    try:
        net = build(Arch(**about["arch"]), tuple(about["image_shape"]), len(about["classes"]))
        weights, _ = read_tensor_file(path.parent / WEIGHTS)
        net.load_state_dict(weights)
    except TensorFileError as error:
        raise InputError(f"{path.parent / WEIGHTS} cannot be read: {error}; put the file back") from None
    except NasproxyError:
        raise
    except Exception as error:  # a user's builder may have changed
        reason = " ".join(str(error).split())[:300]
        raise InputError(
            f"{about['arch']['builder']} no longer makes the net of {path}: {reason}; put the builder back as it was"
        ) from None
    return Model(net.to(put_on).eval(), about, path, put_on)


def _read_about(path: Path) -> dict[str, Any]:
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        if about["nasproxy_model"] != FORMAT:
            raise InputError(
                f"{path} is of format {about['nasproxy_model']}; this nasproxy reads format {FORMAT}, train again or "
                "install the one that wrote it"
            )
        lacking = [name for name in _KEYS if name not in about]
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; 'nasproxy train RUN' makes a model") from None
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{path} describes no model; 'nasproxy train RUN' makes one") from None
    if lacking:
        raise InputError(f"{path} lacks {', '.join(lacking)}; 'nasproxy train RUN' makes a whole one")
    return dict(about)
