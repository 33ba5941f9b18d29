"""Tensors and a JSON header in one file: read back as they were, written whole, damage told by one exception."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from nasproxy.errors import TensorFileError
from nasproxy.tensorfile import read_tensor_file, write_tensor_file

TENSORS = {"maps": torch.arange(24, dtype=torch.float32).view(2, 3, 4), "part/labels": torch.tensor([3, 1])}
HEADER = {"note": "é", "nested": {"numbers": [1, 2.5, None]}, "whole": True}


def test_it_is_read_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "x.safetensors"
    write_tensor_file(path, TENSORS, HEADER)
    tensors, header = read_tensor_file(path)
    assert header == HEADER
    assert set(tensors) == set(TENSORS)
    for name, value in TENSORS.items():
        assert torch.equal(tensors[name], value)
        assert tensors[name].dtype == value.dtype


def test_others_may_read_it_where_they_may_read_other_new_files(tmp_path: Path) -> None:
    write_tensor_file(tmp_path / "x.safetensors", TENSORS, HEADER)
    (tmp_path / "x.txt").touch()
    assert (tmp_path / "x.safetensors").stat().st_mode == (tmp_path / "x.txt").stat().st_mode


def test_tensors_may_need_a_gradient_or_lie_across_memory(tmp_path: Path) -> None:
    weights = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    write_tensor_file(tmp_path / "x.safetensors", {"turned": weights.T}, {})
    tensors, header = read_tensor_file(tmp_path / "x.safetensors")
    assert torch.equal(tensors["turned"], weights.detach().T)
    assert header == {}


def test_it_opens_with_safetensors_alone(tmp_path: Path) -> None:
    write_tensor_file(tmp_path / "x.safetensors", TENSORS, HEADER)
    with safe_open(tmp_path / "x.safetensors", framework="np") as file:
        assert file.get_tensor("maps").tolist() == TENSORS["maps"].tolist()
        assert {name: json.loads(text) for name, text in file.metadata().items()} == HEADER


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    write_tensor_file(path, TENSORS, HEADER)
    with pytest.raises(TypeError):
        write_tensor_file(path, TENSORS, {"folder": tmp_path})
    with pytest.raises(RuntimeError):
        write_tensor_file(path, {"a": TENSORS["maps"], "b": TENSORS["maps"]}, {})
    assert read_tensor_file(path)[1] == HEADER
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kept", [None, 0, 4, 100, 300])
def test_missing_and_cut_off_files_are_one_exception(tmp_path: Path, kept: int | None) -> None:
    path = tmp_path / "x.safetensors"
    if kept is not None:
        write_tensor_file(path, TENSORS, HEADER)
        path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(TensorFileError):
        read_tensor_file(path)


def test_so_are_folders_and_headers_of_other_programs(tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / "x.safetensors", metadata={"format": "pt"})
    for path in (tmp_path, tmp_path / "x.safetensors"):
        with pytest.raises(TensorFileError):
            read_tensor_file(path)
