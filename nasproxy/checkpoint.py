"""Nets in training, kept in a file now and then, so that a training that is cut short goes on where it was.

On a CPU it goes on bit for bit: parameters, momentum, learning rate and the state of every random generator are kept.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nasproxy.errors import TensorFileError
from nasproxy.tensorfile import read_tensor_file, write_tensor_file

SAVE_EVERY_SECONDS = 30.0
"""A training is kept at the end of an epoch, not more often than this, and at its own end."""


@dataclass
class Checkpoint:
    """The file of one training."""

    path: Path
    about: Mapping[str, Any]
    """What is trained and how, as JSON values: a file about something else is not gone on with."""
    every: float = SAVE_EVERY_SECONDS
    """Seconds between two writings, at least."""
    step: int = 0
    """Updates done."""
    looked: int = 0
    """Updates done when losses were looked at last."""
    is_over: bool = False
    """Whether the training has come to its end."""
    _seconds: float = 0.0
    """Spent before."""
    _started: float = field(default_factory=time.perf_counter)
    _saved: float = field(default_factory=time.perf_counter)

    @property
    def seconds(self) -> float:
        """Spent on this training, in all attempts."""
        return self._seconds + time.perf_counter() - self._started

    def restore(self, tensors: Sequence[Tensor], generators: Sequence[torch.Generator]) -> None:
        """Sets tensors and generators, and torch's global ones, to what the file says; nothing where there is none.

        A damaged file is none: the training begins anew.
        """
        try:
            content, header = read_tensor_file(self.path)
        except TensorFileError:
            return
        if header.get("about") != dict(self.about):
            return
        with torch.no_grad():
            for number, tensor in enumerate(tensors):
                tensor.copy_(content[f"tensor {number}"])
        for number, generator in enumerate(generators):
            generator.set_state(content[f"generator {number}"])
        torch.set_rng_state(content["torch"])
        if "cuda" in content and tensors[0].device.type == "cuda":
            torch.cuda.set_rng_state(content["cuda"], tensors[0].device)
        self.step, self.looked, self.is_over = header["step"], header["looked"], header["is_over"]
        self._seconds = header["seconds"]

    def save(self, tensors: Sequence[Tensor], generators: Sequence[torch.Generator]) -> None:
        """Writes the file, whole or not at all: at the end, and where the last time is long enough ago."""
        if not self.is_over and time.perf_counter() - self._saved < self.every:
            return
        content = {f"tensor {number}": tensor for number, tensor in enumerate(tensors)}
        content |= {f"generator {number}": generator.get_state() for number, generator in enumerate(generators)}
        content["torch"] = torch.get_rng_state()
        if tensors[0].device.type == "cuda":
            content["cuda"] = torch.cuda.get_rng_state(tensors[0].device)
        header = {
            "about": dict(self.about),
            "step": self.step,
            "looked": self.looked,
            "is_over": self.is_over,
            "seconds": self.seconds,
        }
        write_tensor_file(self.path, content, header)
        self._saved = time.perf_counter()
