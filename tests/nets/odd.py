"""Nets that return something else than scores of classes."""

from pathlib import Path

from nasproxy.space import Arch

ODD_OUTPUTS = """
import torch
from torch import nn

class Odd(nn.Module):
    def __init__(self, kind, num_pixels, num_classes):
        super().__init__()
        self.kind = kind
        self.head = nn.Linear(num_pixels, num_classes + (kind == "one-more"))

    def forward(self, images):
        scores = self.head(torch.relu(images).flatten(1))
        if self.kind == "tuple":
            return scores, scores
        if self.kind == "dict":
            return {"out": scores}
        return scores[:, None, None] if self.kind == "map" else scores.argmax(1) if self.kind == "answer" else scores

def build(arch, image_shape, num_classes):
    return Odd(arch.factors["kind"], image_shape[0] * image_shape[1] * image_shape[2], num_classes)

def count(arch, image_shape, num_classes):
    return 1, 1
"""
ODD_KINDS = {
    "tuple": "a tuple of 2",
    "dict": "a dict",
    "one-more": "a tensor ({n}, 11)",
    "map": "a tensor ({n}, 1, 1, 10)",
    "answer": "a tensor ({n})",
}
"""Nets that return something else than one tensor (N, 10), and what that is called."""


def odd_arch(folder: Path, kind: str, *, costs: bool = False) -> Arch:
    """An architecture whose net returns something of a kind; 'fine': what it should."""
    path = folder / "odd.py"
    path.write_text(ODD_OUTPUTS)
    return Arch(kind, {"kind": kind}, f"{path}:build", f"{path}:count" if costs else None)
