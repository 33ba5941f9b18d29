"""Cells and chains against what the benchmarks publish of all of them: which are one network, which have no path."""

from collections import defaultdict
from collections.abc import Hashable
from pathlib import Path

import pytest

from nasproxy.errors import ArchError, SettingsError
from nasproxy.nets import cells, chains
from nasproxy.space import SearchSpace
from nasproxy.spacefile import load_space
from tests.nets.tables import read_table

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def cell_space() -> SearchSpace:
    return load_space("nasbench201")


@pytest.fixture(scope="module")
def published_cells() -> list[dict[str, str]]:
    return read_table(HERE / "nasbench201_cells.csv.gz")


def groups(pairs: list[tuple[Hashable, str]]) -> set[frozenset[str]]:
    """The sets of ids that have the same key."""
    found: dict[Hashable, set[str]] = defaultdict(set)
    for key, arch_id in pairs:
        found[key].add(arch_id)
    return {frozenset(ids) for ids in found.values()}


def test_cells_are_one_network_where_the_benchmark_says_so(
    cell_space: SearchSpace, published_cells: list[dict[str, str]]
) -> None:
    assert len(published_cells) == 15_625
    assert len({row["iso"] for row in published_cells}) == 6_466
    connected = [row["arch"] for row in published_cells if row["connected"] == "1"]
    ours = groups([(cell_space.find(arch).id, arch) for arch in connected])
    assert ours == groups([(row["iso"], row["arch"]) for row in published_cells if row["connected"] == "1"])
    assert len(ours) == len(cell_space) == 6_461


def test_cells_without_a_path_are_left_out_with_the_reason(
    cell_space: SearchSpace, published_cells: list[dict[str, str]]
) -> None:
    pathless = {row["arch"] for row in published_cells if row["connected"] == "0"}
    factors = (cells.parse_id(arch) for arch in pathless)
    assert {cell_space.arch(values).id for values in factors if values} == set(cell_space.left_out)
    assert len(pathless) == 341
    with pytest.raises(
        SettingsError, match=r"^'n-nn-nnn' is left out of space nasbench201: no path leads from .* choose another"
    ):
        cell_space.pick(["n-nn-nnn"])


def test_ids_of_cells_are_those_of_the_benchmark_and_back(published_cells: list[dict[str, str]]) -> None:
    for row in published_cells:
        factors = cells.parse_id(row["arch"])
        assert factors is not None
        assert cells.format_id(factors) == row["arch"]


def test_a_cell_has_a_short_id_and_the_one_that_people_know(cell_space: SearchSpace) -> None:
    known = "|nor_conv_3x3~0|+|skip_connect~0|nor_conv_1x1~1|+|avg_pool_3x3~0|none~1|nor_conv_3x3~2|"
    assert [arch.id for arch in cell_space.pick([known, "3-s1-pn3"])] == ["3-s1-pn3"]


def test_the_cell_that_stands_for_equal_ones_has_nothing_that_leads_nowhere(cell_space: SearchSpace) -> None:
    dead_end = "|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|"
    assert cell_space.find(dead_end).id == cell_space.find("p-33-snn").id == "n-nn-snn"


@pytest.mark.parametrize(
    ("arch_id", "problem"),
    [
        ("3-s1-pn4", r"unknown architecture of space nasbench201 '3-s1-pn4': did you mean '3-s1-pn.'\?.*6,461 in all"),
        ("|none~0|", r"no cell; write six operations like \|OP~0\|\+\|OP~0\|OP~1\|\+\|OP~0\|OP~1\|OP~2\|"),
        ("|", "no cell; write six"),
        (
            "|max_pool~0|+|none~0|none~1|+|none~0|none~1|none~2|",
            "no cell: unknown operation 'max_pool'; choose from none, skip_connect, nor_conv_1x1",
        ),
        (
            "|none~0|+|none~0|none~0|+|none~0|none~1|none~2|",
            "no cell: none~0 stands where an edge from 1 does; write",
        ),
        ("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|", "left out of space nasbench201: no path"),
    ],
)
def test_an_id_of_no_cell_is_refused_in_one_line(arch_id: str, problem: str, cell_space: SearchSpace) -> None:
    with pytest.raises(SettingsError, match=problem) as caught:
        cell_space.pick([arch_id])
    assert "\n" not in str(caught.value)
    assert arch_id in str(caught.value)


def test_an_unknown_operation_is_an_arch_error() -> None:
    with pytest.raises(ArchError, match="unknown operation 'nor_conv_3x3'; choose from none, skip, 1x1 conv"):
        cells.operations_of(dict.fromkeys(cells.FACTORS, "nor_conv_3x3"))


def test_chains_are_one_network_where_the_benchmark_says_so() -> None:
    space, rows = load_space("nasbench-macro"), read_table(HERE / "nasbench_macro_chains.csv.gz")
    assert (len(rows), len(space), len(space.left_out)) == (6_561, 3_969, 0)
    for row in rows:
        assert chains.format_id(space.find(row["arch"]).factors) == row["canonical"]


def test_a_chain_has_a_short_id_and_the_one_that_people_know() -> None:
    space = load_space("nasbench-macro")
    assert space.find("10220121").id == "3i-55i-353"
    assert space.find("01000001").id == space.find("i3-iii-i3i").id == "i3-iii-i3i"
    for wrong in ("1022012", "10220123"):
        with pytest.raises(SettingsError, match=f"'{wrong}' is no chain; write 8 digits of 0"):
            space.find(wrong)
    with pytest.raises(ArchError, match="unknown block '7x7'; choose from identity, 3x3, 5x5"):
        chains.blocks_of(dict.fromkeys(chains.FACTORS, "7x7"))
