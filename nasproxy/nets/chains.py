"""The chains of NAS-Bench-Macro as structures, without torch: which are one network, and the ids that people know.

Source: Su et al., "Prioritized Architecture Sampling with Monto-Carlo Tree Search", CVPR 2021, section 4.1.

Eight blocks in stages of two, three and three. Our id names them by a character each, stage by stage: `3i-55i-353`; in
the benchmark `10-220-121` without the hyphens: `10220121`.
"""

from collections.abc import Mapping

from nasproxy.errors import ArchError
from nasproxy.factors import FactorValue

STAGES = (2, 3, 3)
"""Blocks of each stage."""
FACTORS = tuple(f"block_{number}" for number in range(1, sum(STAGES) + 1))
"""The factor that holds the kind of each block."""
BLOCKS = {"identity": "0", "3x3": "1", "5x5": "2"}
"""Value of a factor -> digit in the benchmark. The first characters are those of our ids."""

_VALUES = {digit: value for value, digit in BLOCKS.items()}


def blocks_of(factors: Mapping[str, FactorValue]) -> list[list[str]]:
    """The blocks of each stage.

    Raises:
        ArchError: a value that is no key of `BLOCKS`.
    """
    values = [str(factors[name]) for name in FACTORS]
    for value in values:
        if value not in BLOCKS:
            raise ArchError(f"unknown block {value!r}; choose from {', '.join(BLOCKS)}")
    ends = [sum(STAGES[: number + 1]) for number in range(len(STAGES))]
    return [values[end - length : end] for length, end in zip(STAGES, ends, strict=True)]


def canonical(factors: Mapping[str, FactorValue]) -> tuple[tuple[str, ...], ...]:
    """The blocks that do something: the first of every stage, and the later ones that are no identity.

    Chains with the same ones are one network; of the 6,561 chains 3,969 differ.
    """
    return tuple((stage[0], *(block for block in stage[1:] if block != "identity")) for stage in blocks_of(factors))


def parse_id(text: str) -> dict[str, FactorValue] | None:
    """The factors behind the benchmark's id of a chain; None for an id of another form.

    Raises:
        ArchError: it is a number, but no chain.
    """
    if not text.isdigit():
        return None
    if len(text) != len(FACTORS) or set(text) - set(_VALUES):
        raise ArchError(f"{text!r} is no chain; write {len(FACTORS)} digits of 0 (identity), 1 (3x3) and 2 (5x5)")
    return {factor: _VALUES[digit] for factor, digit in zip(FACTORS, text, strict=True)}


def format_id(factors: Mapping[str, FactorValue]) -> str:
    """The benchmark's id of a chain."""
    return "".join(BLOCKS[block] for stage in blocks_of(factors) for block in stage)
