"""The input of a condensation method, and the state from which it can resume.

Notation: K classes, I stored items per class (see `nasproxy.encoding`), C channels, H height, W width.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nasproxy.config import CondenseSettings
from nasproxy.encoding import Encoding, Pixels, make_encoding
from nasproxy.errors import InputError, TensorFileError
from nasproxy.images import ImageSet
from nasproxy.tensorfile import read_tensor_file, write_tensor_file


@dataclass(frozen=True, eq=False)
class CondenseState:
    """Everything needed to resume a condensation: random draws derive from the seed and the step."""

    step: int
    """Updates done."""
    variables: Mapping[str, Tensor]
    """Optimised tensors of the encoding: name -> (K, I, ...)."""
    velocities: Mapping[str, Tensor]
    """Momentum buffers of the same shapes."""
    engine: str
    """Name of the `Engine` in use; empty where there is none."""
    net: Mapping[str, Tensor] = field(default_factory=dict)
    """State of a net that persists across steps; empty where there is none."""
    seconds: float = 0.0
    """Wall time spent so far."""

    def save(self, path: Path) -> None:
        """Writes a checkpoint, whole or not at all."""
        tensors = {f"{part}/{name}": tensor for part in _PARTS for name, tensor in getattr(self, part).items()}
        write_tensor_file(path, tensors, {name: getattr(self, name) for name in ("step", "engine", "seconds")})


_PARTS = ("variables", "velocities", "net")


def load_state(path: Path) -> CondenseState:
    """Reads a checkpoint.

    Raises:
        InputError: missing or damaged.
    """
    try:
        tensors, header = read_tensor_file(path)
        parts: dict[str, dict[str, Tensor]] = {part: {} for part in _PARTS}
        for key, tensor in tensors.items():
            part, _, name = key.partition("/")
            parts[part][name] = tensor
        return CondenseState(**parts, step=header["step"], engine=header["engine"], seconds=header["seconds"])
    except (TensorFileError, KeyError) as error:
        raise InputError(f"checkpoint {path} is unreadable: {error}; remove it to start over") from None


def encoding_of(settings: CondenseSettings) -> Encoding:
    """The encoding named by complete settings.

    Raises:
        SettingsError: an unknown encoding.
    """
    name = settings.encoding or Pixels.name
    return make_encoding(name, factor=settings.factor, tiles_along=settings.tiles_along, rank=settings.rank)


def _ignore(*_: Any) -> None:
    pass


@dataclass(frozen=True)
class Task:
    """The input of a method, and its callbacks."""

    images: ImageSet
    """The training images: on the device, or on the CPU where they do not fit on it."""
    settings: CondenseSettings
    """Complete: the method's defaults are filled in."""
    device: torch.device
    """Where to compute."""
    resume_from: CondenseState | None = None
    on_step: Callable[[int, float], None] = _ignore
    """Called every few updates with the number of updates done and the loss."""
    on_checkpoint: Callable[[CondenseState], None] = _ignore
    """Called with states to keep: regularly, and when the run is interrupted."""
    on_engine: Callable[[str, dict[str, float]], None] = _ignore
    """Called with the name of the chosen engine and the seconds per step of every engine tried."""

    cache_dir: Path | None = None
    """Cache for nets trained for selection; None: no cache."""
    on_kept: Callable[[float], None] = _ignore
    """Called with the seconds that a cached result originally took."""
    on_pace: Callable[[int, float], None] = _ignore
    """Called once, after a few updates, with their number and the seconds that one takes, where `ends` is given."""
    ends: float | None = None
    """By `time.monotonic`: no update is begun that would end later; None: never."""

    @property
    def encoding(self) -> Encoding:
        """The encoding named by the settings."""
        return encoding_of(self.settings)

    def real_images(self, index: Tensor) -> Tensor:
        """Normalised training images (..., C, H, W) on the device, for an index of any shape."""
        flat = self.images.normalized(index.flatten()).to(self.device, non_blocking=True)
        images: Tensor = flat.unflatten(0, index.shape)
        return images
