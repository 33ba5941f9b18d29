"""What the published benchmarks say of their cells and chains; `benchmarks/make_truths.py` writes the files."""

import csv
import gzip
from pathlib import Path


def read_table(path: Path) -> list[dict[str, str]]:
    """The rows of a packed CSV file."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
