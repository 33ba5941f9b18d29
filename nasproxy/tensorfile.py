"""Tensors, and a header of JSON values that describes them, in one `.safetensors` file."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from nasproxy.errors import TensorFileError
from nasproxy.files import write_atomically


def write_tensor_file(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Writes tensors of any device and the JSON text of each value of the header, whole or not at all.

    Makes the folder where it is missing.
    """
    content = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    metadata = {name: json.dumps(value) for name, value in header.items()}
    path.parent.mkdir(parents=True, exist_ok=True)

    def write(scratch: Path) -> None:
        scratch.touch()
        mode = scratch.stat().st_mode
        save_file(content, scratch, metadata=metadata)
        scratch.chmod(mode)  # safetensors makes files that nobody else may read

    write_atomically(path, write)


def read_header(path: Path) -> dict[str, Any]:
    """The header of a file that `write_tensor_file` wrote, without its tensors.

    Raises:
        TensorFileError: as `read_tensor_file`.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return _header_of(file)
    except (SafetensorError, OSError, ValueError) as error:
        raise TensorFileError(str(error)) from None


def read_tensor_file(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors, on the CPU, and the header of a file that `write_tensor_file` wrote.

    Raises:
        TensorFileError: missing, damaged, or with another kind of header; says why, not which file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, _header_of(file)  # noqa: SIM118  # no mapping
    except (SafetensorError, OSError, ValueError) as error:
        raise TensorFileError(str(error)) from None


def _header_of(file: Any) -> dict[str, Any]:
    return {name: json.loads(text) for name, text in (file.metadata() or {}).items()}
