"""`python -m benchmarks.yardstick FOLDER`: architectures that proxies are chosen on, and those they are reported on.

Fixed before any proxy is tried: for each published benchmark two lists that have no architecture in common, drawn by
seed from all networks of the space. What is chosen on the development architectures of one benchmark is reported on the
other one, and on the whole of `convnet-narrow`, untouched; and the other way round.

The reported networks of NAS-Bench-201 are the sample that `nasproxy compare --sample 500` draws, and `best-tenth.csv`
beside it; the first 24 development networks are those that recipes were chosen on before.
"""

import argparse
import csv
from collections.abc import Iterable
from pathlib import Path

from nasproxy.searching.sample import Quantity, draw_sample
from nasproxy.spacefile import load_space

PUBLISHED = Path("runs/published")
DEVELOPMENT, REPORTED = 100, 500
MACRO = "nasbench-macro"
CELLS = "nasbench201"


def main() -> None:
    """Writes the lists."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.yardstick", description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=PUBLISHED / "yardstick")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for name, arch_ids in make_lists().items():
        (options.folder / f"{name}.csv").write_text("\n".join(["arch_id", *arch_ids]) + "\n")
        print(f"{name}: {len(arch_ids)}")


def make_lists() -> dict[str, list[str]]:
    """The ids of each list, in the order of the draw."""
    cells, macro = (draw(arch.id for arch in load_space(space).archs()) for space in (CELLS, MACRO))
    best, first = (read_ids(PUBLISHED / CELLS / f"{name}.csv") for name in ("best-tenth", "development"))
    reported = {*cells[:REPORTED], *best}
    left = [arch_id for arch_id in cells if arch_id not in {*reported, *first}]
    return {
        f"{CELLS}-development": [*first, *left][:DEVELOPMENT],
        f"{CELLS}-reported": [*cells[:REPORTED], *(arch_id for arch_id in best if arch_id not in cells[:REPORTED])],
        f"{MACRO}-development": macro[REPORTED : REPORTED + DEVELOPMENT],
        f"{MACRO}-reported": macro[:REPORTED],
    }


def draw(arch_ids: Iterable[str]) -> list[str]:
    """All of them, in the order of `--sample`."""
    every = list(arch_ids)
    return list(draw_sample(every, str(len(every)), 0, lambda _: Quantity({})).weights)


def read_ids(path: Path) -> list[str]:
    """The column `arch_id` of a table."""
    with path.open(newline="") as file:
        return [row["arch_id"] for row in csv.DictReader(file)]


if __name__ == "__main__":
    main()
