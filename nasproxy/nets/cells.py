"""The cells of NAS-Bench-201 as structures, without torch: which are one network, and the ids that people know.

Source: Dong & Yang, "NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture Search", ICLR 2020,
section 2.1; the same cells are the topology space of Dong et al., "NATS-Bench", TPAMI 2021.

A cell has four nodes, 0 its input and 3 its output, and an operation on each of the six edges between them; a node is
the sum of what its incoming edges give. Our id names the operations by a character each, node by node: `3-s1-pn3` is

    node 1 = 3x3 conv(node 0)
    node 2 = skip(node 0) + 1x1 conv(node 1)
    node 3 = pool(node 0) + none(node 1) + 3x3 conv(node 2)

and in the benchmark `|nor_conv_3x3~0|+|skip_connect~0|nor_conv_1x1~1|+|avg_pool_3x3~0|none~1|nor_conv_3x3~2|`.
"""

from collections.abc import Mapping
from functools import lru_cache

from nasproxy.errors import ArchError
from nasproxy.factors import FactorValue

EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
"""(from, to) of every edge, in the order of the ids."""
FACTORS = tuple(f"edge_{source}_{target}" for source, target in EDGES)
"""The factor that holds the operation of each edge."""
OPERATIONS = {
    "none": "none",
    "skip": "skip_connect",
    "1x1 conv": "nor_conv_1x1",
    "3x3 conv": "nor_conv_3x3",
    "pool": "avg_pool_3x3",
}
"""Value of a factor -> name in the benchmark. The first characters are those of our ids."""

_VALUES = {name: value for value, name in OPERATIONS.items()}


def operations_of(factors: Mapping[str, FactorValue]) -> list[str]:
    """The value of each edge, in the order of `EDGES`.

    Raises:
        ArchError: a value that is no key of `OPERATIONS`.
    """
    values = [str(factors[name]) for name in FACTORS]
    for value in values:
        if value not in OPERATIONS:
            raise ArchError(f"unknown operation {value!r}; choose from {', '.join(OPERATIONS)}")
    return values


def canonical(factors: Mapping[str, FactorValue]) -> str:
    """The output of a cell as a formula of its input: cells with the same one are one network.

    `none`, and whatever is applied to a node 1 of `none`, is zero (#); a skip is what it skips; sums are sorted. It is
    the benchmark's own formula, letter by letter, and has its 6,466 values over the 15,625 cells: it sorts only the
    terms of a node, and keeps zeros in sums, so some networks that are equal stay apart.

    Raises:
        ArchError: no path leads from input to output: the net would not see its images. So 341 of the 15,625.
    """
    formula, is_reached = _node(3, tuple(OPERATIONS[value] for value in operations_of(factors)))
    if not is_reached:
        raise ArchError("no path leads from the input of its cell to the output: the net would not see its images")
    return formula


def _node(number: int, names: tuple[str, ...]) -> tuple[str, bool]:
    """The formula of a node, and whether a path leads to it, from the operations of all edges up to those into it."""
    earlier = [("0", True), *(_inner_node(node, names[: node * (node + 1) // 2]) for node in range(1, number))]
    terms, is_reached = [], False
    for name, (source, source_is_reached) in zip(names[-number:], earlier, strict=True):
        if name == "none" or source == "#":
            terms.append("#")
        else:
            terms.append(source if name == "skip_connect" else f"({source})@{name}")
        is_reached |= source_is_reached and name != "none"
    return "+".join(sorted(terms)), is_reached


_inner_node = lru_cache(_node)
"""Of nodes 1 and 2, which many cells share."""


def parse_id(text: str) -> dict[str, FactorValue] | None:
    """The factors behind the benchmark's id of a cell; None for an id of another form.

    Raises:
        ArchError: it has that form, but is no cell.
    """
    if not text.startswith("|"):
        return None
    form = "+".join("|" + "".join(f"OP~{source}|" for source, target in EDGES if target == node) for node in (1, 2, 3))
    pieces = [piece.split("|")[1:-1] for piece in text.split("+")]
    edges = [edge.partition("~") for piece in pieces for edge in piece]
    if [len(piece) for piece in pieces] != [1, 2, 3]:
        raise ArchError(f"{text!r} is no cell; write six operations like {form}")
    for (name, _, number), (source, _) in zip(edges, EDGES, strict=True):
        if number != str(source):
            raise ArchError(
                f"{text!r} is no cell: {name}~{number} stands where an edge from {source} does; write {form}"
            )
        if name not in _VALUES:
            raise ArchError(f"{text!r} is no cell: unknown operation {name!r}; choose from {', '.join(_VALUES)}")
    return {factor: _VALUES[name] for factor, (name, _, _) in zip(FACTORS, edges, strict=True)}


def format_id(factors: Mapping[str, FactorValue]) -> str:
    """The benchmark's id of a cell."""
    names = [OPERATIONS[value] for value in operations_of(factors)]
    nodes = (
        "".join(f"|{name}~{source}" for (source, target), name in zip(EDGES, names, strict=True) if target == node)
        for node in (1, 2, 3)
    )
    return "+".join(f"{node}|" for node in nodes)
