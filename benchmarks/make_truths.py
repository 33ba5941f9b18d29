"""Writes the truths that the package ships from the tables of NAS-Bench-201 and NAS-Bench-Macro, and from our example.

    python -m benchmarks.make_truths FOLDER

FOLDER holds `nasbench201.csv.gz`, `nasbench201_seeds.csv.gz` and `nasbench_macro.csv.gz`: what the benchmarks publish,
a row per cell or chain. Our own truth is `runs/published/two-cores/truth.csv`. Written are `nasproxy/truths/*.csv.gz`,
a row per architecture of our spaces, and `tests/nets/*.csv.gz`, which of all cells and chains are one network by the
benchmarks' own account. Numbers are copied as they are written; the same tables give the same bytes.
"""

import csv
import gzip
import io
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from nasproxy.nets import cells, chains
from nasproxy.space import SearchSpace
from nasproxy.spacefile import load_space

ROOT = Path(__file__).parent.parent
OWN = ROOT / "runs" / "published" / "two-cores" / "truth.csv"
TRUTHS, TESTS = ROOT / "nasproxy" / "truths", ROOT / "tests" / "nets"

DATASETS = ("c10", "c100", "im16")
MEANS = [f"{dataset}_{part}{length}" for length in ("", "_12ep") for dataset in DATASETS for part in ("test", "val")]
SEEDS = ["c10_test_a", "c10_test_b", "c10_test_c", "c10_val_s777", "c10_val_s888", "c10_val_s999"]
"""Of NAS-Bench-201; of the other data sets only both halves of the test set together are published seed by seed."""
MACRO_COLUMNS = ["n_seeds", "c10_test", "c10_test_a", "c10_test_b", "c10_test_c"]

Row = dict[str, str]


def main(folder: Path) -> None:
    """Reads the tables and writes ours, with a line about each."""
    rows = _read(folder / "nasbench201.csv.gz")
    for row, seeds in zip(rows, _read(folder / "nasbench201_seeds.csv.gz"), strict=True):
        assert row["index"] == seeds.pop("index")
        row.update(seeds)
    sound = [row for row in rows if row["connected"] == "1" and row["param_mismatch"] == "0"]
    print(f"nasbench201: {len(rows)} cells, {len(rows) - len(sound)} of them without a path or with a doubtful record")
    _write_truth("nasbench201", sound, ["n_seeds", *MEANS, *SEEDS])
    _write(TESTS / "nasbench201_cells.csv.gz", ["arch", "iso", "connected", "param_mismatch"], rows)

    rows = _read(folder / "nasbench_macro.csv.gz")
    print(f"nasbench-macro: {len(rows)} chains")
    _write_truth("nasbench-macro", [row | {"n_seeds": "3"} for row in rows], MACRO_COLUMNS)
    _write(TESTS / "nasbench_macro_chains.csv.gz", ["arch", "canonical"], rows)

    by_arch = {
        row["arch_id"]: {"n_seeds": "1", "fashion_test": row["test_accuracy"], "fashion_val": row["val_accuracy"]}
        for row in csv.DictReader(OWN.read_text(encoding="utf-8").splitlines())
    }
    _write(
        TRUTHS / "convnet-narrow-fashion.csv.gz",
        ["arch_id", "n_seeds", "fashion_test", "fashion_val"],
        _in_order_of(load_space("convnet-narrow"), by_arch),
    )


def _write_truth(name: str, rows: Iterable[Row], columns: list[str]) -> None:
    """A row per architecture: its own, or the first of an equal one where its own is not sound."""
    space, by_arch = load_space(name), dict[str, Row]()
    format_id = cells.format_id if name == "nasbench201" else chains.format_id
    own_ids = {arch.id: format_id(arch.factors) for arch in space.archs()}
    for row in rows:
        arch_id = space.find(row["arch"]).id
        if arch_id not in by_arch or row["arch"] == own_ids[arch_id]:
            by_arch[arch_id] = row
    others = sum(row["arch"] != own_ids[arch_id] for arch_id, row in by_arch.items())
    print(f"{name}: {len(by_arch)} of {len(space)} architectures have a truth, {others} that of an equal one")
    _write(
        TRUTHS / f"{name}.csv.gz",
        ["arch_id", "arch", *columns, "params", "flops"],
        _in_order_of(space, by_arch),
    )


def _in_order_of(space: SearchSpace, by_arch: Mapping[str, Row]) -> list[Row]:
    return [{"arch_id": arch.id} | by_arch[arch.id] for arch in space.archs() if arch.id in by_arch]


def _read(path: Path) -> list[Row]:
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _write(path: Path, columns: list[str], rows: Iterable[Row]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path.write_bytes(gzip.compress(text.getvalue().encode(), compresslevel=9, mtime=0))
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
