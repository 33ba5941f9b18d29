"""What a condensation method is given, and the state it can be stopped in and continued from.

Notation: K classes, I stored items a class (see `nasproxy.encoding`), C channels, H height, W width.
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
    """Everything that the rest of a condensation depends on: random draws derive from the seed and the step."""

    step: int
    """Updates done."""
    variables: Mapping[str, Tensor]
    """What is optimised: name -> (K, I, ...), the tensors of the encoding."""
    velocities: Mapping[str, Tensor]
    """Momentum buffers of the same shapes."""
    engine: str
    """Name of the `Engine` that it was made with; empty where there is none."""
    net: Mapping[str, Tensor] = field(default_factory=dict)
    """State of a net that lives on from step to step; empty where none does."""
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
    """The encoding that complete settings ask for.

    Raises:
        SettingsError: an unknown encoding.
    """
    return make_encoding(settings.encoding or Pixels.name, factor=settings.factor, rank=settings.rank)


def _ignore(*_: Any) -> None:
    pass


@dataclass(frozen=True)
class Task:
    """What a method works on, and whom it tells."""

    images: ImageSet
    """The training images: on the device, or on the CPU where it does not hold them."""
    settings: CondenseSettings
    """Complete: nothing is left to the method's own values."""
    device: torch.device
    """Where the work is done."""
    resume_from: CondenseState | None = None
    on_step: Callable[[int, float], None] = _ignore
    """Called every so many updates with the number of updates done and the loss."""
    on_checkpoint: Callable[[CondenseState], None] = _ignore
    """Called with states to keep: every so often, and when the work is cut short."""
    on_engine: Callable[[str, dict[str, float]], None] = _ignore
    """Called with the name of the engine that was chosen, and the seconds of a step with each that was tried."""

    cache_dir: Path | None = None
    """Where nets that selecting trains are kept for the next time; None: nowhere."""
    on_kept: Callable[[float], None] = _ignore
    """Called with the seconds that work took which is not done again, because its result was kept."""

    @property
    def encoding(self) -> Encoding:
        """The encoding that the settings ask for."""
        return encoding_of(self.settings)

    def real_images(self, index: Tensor) -> Tensor:
        """Training images of an index of any shape: (..., C, H, W), normalised, on the device."""
        flat = self.images.normalized(index.flatten()).to(self.device, non_blocking=True)
        images: Tensor = flat.unflatten(0, index.shape)
        return images
