"""What the factors of a space span: every combination has a number, so that none need be listed.

A factor is a list of values, a list in an order that means something, or a range of whole numbers:

    width = [16, 32, 64]
    kernel = {values = [3, 5, 7], ordered = true}
    units = {low = 8, high = 4096}                    # and step = 8, or log = true

A factor may be there only where others have certain values; several conditions on one must all hold:

    [[when]]
    factors = ["kernel", "expand"]                    # only
    block = ["conv", "mbconv"]                        # where block is one of these

Elsewhere an architecture has no such factor, and its id says `none` in that place.

Notation: B branches, one for each choice of those factors that conditions ask for.
"""

import math
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from string import Formatter
from typing import Any, overload

FactorValue = str | int | float | bool
Values = Sequence[FactorValue]
"""Of a factor: a tuple, `Ordered`, `IntRange` or `FloatRange`."""
ABSENT = "none"
"""What an id says of a factor that is not there."""
MAX_BRANCHES = 100_000
"""Choices of factors that conditions ask for: these are listed."""


class Ordered(tuple[FactorValue, ...]):
    """Values in an order that means something, such as sizes."""

    __slots__ = ()


@dataclass(frozen=True)
class IntRange(Sequence[int]):
    """The whole numbers from `low` to `high`, `step` apart."""

    low: int
    high: int
    step: int = 1
    log: bool = False
    """Whether ratios count rather than differences, for what learns from trials; the draw is uniform either way."""

    @property
    def numbers(self) -> range:
        return range(self.low, self.high + 1, self.step)

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[int]: ...
    def __getitem__(self, index: int | slice) -> int | Sequence[int]:
        return self.numbers[index]

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and value in self.numbers


@dataclass(frozen=True)
class FloatRange(Sequence[float]):
    """The numbers from `low` to `high`; with a step, so far apart. Only of spaces that a function spans."""

    low: float
    high: float
    step: float | None = None
    log: bool = False
    """Whether each power is drawn alike rather than each number."""

    def at(self, share: float) -> float:
        """The number at a share of the way, in [0, 1)."""
        if self.step is not None:
            return self[int(share * len(self))]
        if self.log:
            return float(self.low * (self.high / self.low) ** share)
        return self.low + share * (self.high - self.low)

    def __len__(self) -> int:
        """Numbers that there are with a step; without one two, the ends."""
        return 2 if self.step is None else round((self.high - self.low) // self.step) + 1

    @overload
    def __getitem__(self, index: int) -> float: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[float]: ...
    def __getitem__(self, index: int | slice) -> float | Sequence[float]:
        numbers = [self.low, self.high] if self.step is None else [self.low + self.step * i for i in range(len(self))]
        return numbers[index]

    def __contains__(self, value: object) -> bool:
        return isinstance(value, float | int) and not isinstance(value, bool) and self.low <= value <= self.high


@dataclass(frozen=True)
class Condition:
    """That factors are there only where others have one of these values."""

    factors: tuple[str, ...]
    holds: Mapping[str, tuple[FactorValue, ...]]
    """Factor -> values; all must hold."""

    def is_met(self, chosen: Mapping[str, FactorValue]) -> bool:
        """Whether it holds for the factors that are there."""
        return all(name in chosen and is_one_of(chosen[name], values) for name, values in self.holds.items())


@dataclass(frozen=True)
class _Branch:
    """One choice of the factors that conditions ask for, and which of the others are there then."""

    fixed: Mapping[str, FactorValue]
    free: tuple[str, ...]


@dataclass(frozen=True)
class _Part:
    """Factors that conditions tie to each other; every combination of theirs goes with every one of the other parts."""

    branches: tuple[_Branch, ...]
    """(B,)"""
    ends: tuple[int, ...]
    """(B,) number after the last combination of each branch."""

    def at(self, number: int, factors: Mapping[str, Values]) -> dict[str, FactorValue]:
        place = bisect_right(self.ends, number)
        branch = self.branches[place]
        rest, chosen = number - (self.ends[place - 1] if place else 0), dict(branch.fixed)
        for name in reversed(branch.free):
            rest, index = divmod(rest, len(factors[name]))
            chosen[name] = factors[name][index]
        return chosen


@dataclass(frozen=True)
class Grid:
    """All combinations of factors, by number: the last factor varies fastest, within a branch."""

    factors: Mapping[str, Values]
    conditions: tuple[Condition, ...] = ()

    @cached_property
    def size(self) -> int:
        """Number of combinations."""
        return math.prod(part.ends[-1] for part in self._parts)

    def at(self, number: int) -> dict[str, FactorValue]:
        """The factors of a combination, from 0 on."""
        chosen: dict[str, FactorValue] = {}
        for part in reversed(self._parts):
            number, own = divmod(number, part.ends[-1])
            chosen |= part.at(own, self.factors)
        return {name: chosen[name] for name in self.factors if name in chosen}

    def __iter__(self) -> Iterator[dict[str, FactorValue]]:
        return map(self.at, range(self.size))

    def keep_those_there(self, chosen: Mapping[str, FactorValue]) -> dict[str, FactorValue]:
        """These factors without those that are not there beside the others."""
        there: dict[str, FactorValue] = {}
        for name in self.factors:
            if name in chosen and self.is_there(name, there):
                there[name] = chosen[name]
        return there

    def holds(self, chosen: Mapping[str, FactorValue]) -> bool:
        """Whether these are the factors of a combination: those that are there, each with one of its values."""
        expected: dict[str, FactorValue] = {}
        for name, values in self.factors.items():
            if self.is_there(name, expected):
                if name not in chosen or not is_one_of(chosen[name], values):
                    return False
                expected[name] = chosen[name]
        return expected.keys() == chosen.keys()

    def is_there(self, name: str, chosen: Mapping[str, FactorValue]) -> bool:
        """Whether a factor is there beside those before it."""
        return all(condition.is_met(chosen) for condition in self.conditions if name in condition.factors)

    @cached_property
    def _parts(self) -> list[_Part]:
        return [self._part_of(names) for names in tied_factors(self.factors, self.conditions)]

    def _part_of(self, names: Sequence[str]) -> _Part:
        asked = {name for condition in self.conditions for name in condition.holds}
        branches: list[dict[str, FactorValue]] = [{}]
        for name in names:
            if name in asked:
                branches = [{**chosen, **choice} for chosen in branches for choice in self._choices(name, chosen)]
        made = tuple(
            _Branch(chosen, tuple(name for name in names if name not in asked and self.is_there(name, chosen)))
            for chosen in branches
        )
        sizes = (math.prod(len(self.factors[name]) for name in branch.free) for branch in made)
        return _Part(made, tuple(accumulate(sizes)))

    def _choices(self, name: str, chosen: Mapping[str, FactorValue]) -> list[dict[str, FactorValue]]:
        return [{name: value} for value in self.factors[name]] if self.is_there(name, chosen) else [{}]


def tied_factors(factors: Iterable[str], conditions: Iterable[Condition]) -> list[list[str]]:
    """Factors in their order, in groups of which no condition speaks of two."""
    group: dict[str, set[str]] = {name: {name} for name in factors}
    for condition in conditions:
        together = set().union(*(group[name] for name in (*condition.factors, *condition.holds)))
        group |= dict.fromkeys(together, together)
    names = list(group)
    first = {name: min(group[name], key=names.index) for name in names}
    return [[other for other in names if first[other] == name] for name in names if first[name] == name]


class IdFormat:
    """The ids of architectures, written from factors and read back."""

    def __init__(self, text: str, factors: Mapping[str, Values]) -> None:
        """Takes a format such as 'w{width}-d{depth}'.

        Raises:
            ValueError: it does not fit the values, e.g. a format of numbers for text.
        """
        self.text, self._factors = text, factors
        self._fields = {name: (spec or "", kind) for _, name, spec, kind in Formatter().parse(text) if name is not None}
        self._texts = {
            name: {self._write_one(name, value): value for value in factors[name]}
            for name in self._fields
            if not isinstance(factors[name], IntRange)
        }
        for name in self._fields:
            self._write_one(name, factors[name][0])

    def write(self, chosen: Mapping[str, FactorValue]) -> str:
        """The id of these factors."""
        parts = []
        for literal, name, _, _ in Formatter().parse(self.text):
            parts.append(literal)
            if name is not None:
                parts.append(self._write_one(name, chosen[name]) if name in chosen else ABSENT)
        return "".join(parts)

    def read(self, arch_id: str) -> dict[str, FactorValue] | None:
        """The factors of an id, in their order; those that it does not name have their only value. None: it is none."""
        match = self._pattern.fullmatch(arch_id)
        if match is None:
            return None
        chosen: dict[str, FactorValue] = {}
        for name, values in self._factors.items():
            if name not in self._fields:
                chosen[name] = values[0]
                continue
            text = match[name]
            if isinstance(values, IntRange) and text != ABSENT:
                number = int(text)
                if number not in values or self._write_one(name, number) != text:
                    return None
                chosen[name] = number
            elif name in self._texts and text in self._texts[name]:
                chosen[name] = self._texts[name][text]
        return chosen

    @property
    def unnamed(self) -> list[str]:
        """Factors of several values that ids do not name."""
        return [name for name, values in self._factors.items() if name not in self._fields and len(values) > 1]

    @property
    def ambiguous(self) -> list[str]:
        """Factors of which two values are written alike."""
        return [name for name, texts in self._texts.items() if len(texts) < len(self._factors[name])]

    def _write_one(self, name: str, value: FactorValue) -> str:
        spec, kind = self._fields[name]
        converted: Any = Formatter().convert_field(value, kind)
        return format(converted, spec)

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        parts, seen = [], set[str]()
        for literal, name, _, _ in Formatter().parse(self.text):
            parts.append(re.escape(literal))
            if name in seen:
                parts.append(f"(?P={name})")
            elif name is not None:
                seen.add(name)
                texts = [r"-?\d+"] if isinstance(self._factors[name], IntRange) else map(re.escape, self._texts[name])
                choices = "|".join([*sorted(texts, key=len, reverse=True), ABSENT])
                parts.append(f"(?P<{name}>{choices})")
        return re.compile("".join(parts))


def count_branches(factors: Mapping[str, Values], conditions: Sequence[Condition]) -> int:
    """At most so many choices of factors that conditions ask for and tie to each other."""
    asked = {name for condition in conditions for name in condition.holds}
    groups = tied_factors(factors, conditions)
    return max(math.prod(len(factors[name]) for name in group if name in asked) for group in groups)


def is_one_of(value: FactorValue, values: Values) -> bool:
    """Whether it is one of these, and of its kind: True is not 1 here."""
    if isinstance(values, IntRange):
        return value in values
    return any(value == known and isinstance(value, bool) == isinstance(known, bool) for known in values)


def sort_values(values: Iterable[FactorValue]) -> list[FactorValue]:
    """Different values of a factor: numbers by size, then text by the alphabet."""
    return sorted(set(values), key=lambda value: (math.inf, value) if isinstance(value, str) else (value, ""))
