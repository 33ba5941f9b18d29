"""Small text files, and atomic writes."""

import os
from collections.abc import Callable
from pathlib import Path


def read_lines(path: Path) -> list[str]:
    """The non-blank lines of a text file, stripped."""
    return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def write_text(path: Path, text: str) -> None:
    """Writes a text file whole or not at all."""
    write_atomically(path, lambda scratch: scratch.write_text(text, encoding="utf-8"))


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Calls `write` with a scratch path of the same suffix, then moves the result to `path`: whole or not at all."""
    scratch = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        write(scratch)
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)
