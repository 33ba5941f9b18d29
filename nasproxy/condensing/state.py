"""What a condensation method is given, and the state it can be stopped in and continued from.

Notation: K classes, I images a class, C channels, H height, W width.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from nasproxy.config import CondenseSettings
from nasproxy.errors import InputError
from nasproxy.images import ImageSet
from nasproxy.rundir import write_atomically


@dataclass(frozen=True, eq=False)
class CondenseState:
    """Everything that the rest of a condensation depends on: random draws derive from the seed and the step."""

    step: int
    """Updates done."""
    images: Tensor
    """(K, I, C, H, W), normalised."""
    velocity: Tensor
    """Momentum buffer, same shape."""
    engine: str
    """Name of the `Engine` that it was made with; empty where there is none yet."""
    seconds: float = 0.0
    """Wall time spent so far."""

    def save(self, path: Path) -> None:
        """Writes a checkpoint, whole or not at all."""
        tensors = {"images": self.images.detach().cpu().contiguous(), "velocity": self.velocity.cpu().contiguous()}
        header = {name: json.dumps(getattr(self, name)) for name in ("step", "engine", "seconds")}
        write_atomically(path, lambda scratch: save_file(tensors, scratch, metadata=header))


def load_state(path: Path) -> CondenseState:
    """Reads a checkpoint.

    Raises:
        InputError: missing or damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata()
            return CondenseState(
                step=json.loads(header["step"]),
                images=file.get_tensor("images"),
                velocity=file.get_tensor("velocity"),
                engine=json.loads(header["engine"]),
                seconds=json.loads(header["seconds"]),
            )
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"checkpoint {path} is unreadable: {error}; remove it to start over") from None


@dataclass(frozen=True)
class Task:
    """What a method works on, and whom it tells."""

    images: ImageSet
    """The training images."""
    settings: CondenseSettings
    resume_from: CondenseState | None
    on_step: Callable[[int, float], None]
    """Called every so many updates with the number of updates done and the loss."""
    on_checkpoint: Callable[[CondenseState], None]
    """Called with states to keep: every so many steps, and when the work is cut short."""
    on_engine: Callable[[str, dict[str, float]], None]
    """Called with the name of the engine that was chosen, and the seconds of a step with each that was tried."""
    cache_dir: Path | None = None
    """Where nets that selecting trains are kept for the next time; None: nowhere."""
    on_kept: Callable[[float], None] = lambda seconds: None
    """Called with the seconds that work took which is not done again, because its result was kept."""
