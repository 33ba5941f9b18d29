"""A trained net as ONNX, for runtimes without torch: pixels in, probabilities out."""

import json
import logging
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from nasproxy.errors import InputError, SettingsError
from nasproxy.files import write_atomically
from nasproxy.model import Model


class _FromPixels(nn.Module):
    """Pixels (N, C, H, W), 1.0 for full brightness -> probabilities (N, K)."""

    mean: Tensor
    std: Tensor

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.net = model.net
        for name in ("mean", "std"):
            self.register_buffer(name, torch.tensor(model.about["normalisation"][name]).view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        probabilities: Tensor = self.net((images - self.mean) / self.std).softmax(dim=1)
        return probabilities


def write_onnx(model: Model, path: str | Path) -> None:
    """Writes a net as one ONNX file, whole or not at all.

    Input `images` (N, C, H, W), float32 in [0, 1], not normalised, any N; output `probabilities` (N, K). The file's
    metadata have the classes, the architecture and its accuracies as JSON.

    Args:
        model: on the CPU.
        path: of the file.

    Raises:
        SettingsError: packages are missing.
        InputError: torch cannot export the net, or the file cannot be written.
    """
    try:
        import onnx  # noqa: F401  torch says so in a hundred lines
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise SettingsError(f"ONNX needs more packages: {error}; pip install nasproxy[onnx]") from None
    path, example = Path(path).expanduser(), torch.zeros(2, *model.image_shape)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                _FromPixels(model).eval(),
                (example,),
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim("N", min=1)},),
                input_names=["images"],
                output_names=["probabilities"],
                verbose=False,
            )
    except Exception as error:  # the exporter raises what it meets
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"torch cannot export {model.arch_id} as ONNX: {reason}; take another architecture") from error
    assert program is not None
    about = {"classes": list(model.classes), "arch": model.about["arch"]["id"], "accuracies": model.about["accuracies"]}
    program.model.metadata_props.update({name: json.dumps(value) for name, value in about.items()})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, program.save)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}; choose another place") from None
