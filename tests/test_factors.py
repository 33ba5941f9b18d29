"""Combinations of factors by number, and ids that are read back."""

import itertools
from collections import Counter
from random import Random

import pytest

from nasproxy.factors import ABSENT, Condition, FactorValue, Grid, IdFormat, IntRange, Ordered, Values

FACTORS: dict[str, Values] = {
    "block": ("conv", "pool", "none"),
    "kernel": Ordered([3, 5, 7]),
    "se": (True, False),
    "ratio": (0.25, 0.5),
    "width": IntRange(8, 30, 4),
}
CONDITIONS = (Condition(("kernel", "se"), {"block": ("conv",)}), Condition(("ratio",), {"se": (True,)}))


def _by_hand() -> list[dict[str, FactorValue]]:
    found: list[dict[str, FactorValue]] = []
    for block in FACTORS["block"]:
        for width in range(8, 31, 4):
            if block != "conv":
                found.append({"block": block, "width": width})
                continue
            for kernel, se in itertools.product((3, 5, 7), (True, False)):
                ratios: list[dict[str, FactorValue]] = [{"ratio": 0.25}, {"ratio": 0.5}] if se else [{}]
                found += [{"block": block, "kernel": kernel, "se": se, **ratio, "width": width} for ratio in ratios]
    return found


def _key(chosen: dict[str, FactorValue]) -> str:
    return repr(list(chosen.items()))


def test_a_grid_without_conditions_is_a_product_the_last_factor_fastest() -> None:
    factors: dict[str, Values] = {"a": (1, 2), "b": ("x", "y", "z"), "c": IntRange(0, 3)}
    grid = Grid(factors)
    assert grid.size == 24
    expected = [dict(zip(factors, values, strict=True)) for values in itertools.product(*factors.values())]
    assert list(grid) == expected


def test_a_grid_with_conditions_has_each_combination_once_and_no_other() -> None:
    grid = Grid(FACTORS, CONDITIONS)
    expected = _by_hand()
    assert grid.size == len(expected) == 6 * (2 + 3 * 3)
    assert sorted(map(_key, grid)) == sorted(map(_key, expected))
    assert all(list(chosen) == [name for name in FACTORS if name in chosen] for chosen in grid)
    assert all(grid.holds(chosen) for chosen in expected)


@pytest.mark.parametrize(
    "chosen",
    [
        {"block": "pool", "kernel": 3, "width": 8},
        {"block": "conv", "width": 8},
        {"block": "conv", "kernel": 4, "se": False, "width": 8},
        {"block": "conv", "kernel": 3, "se": 0, "width": 8},
        {"block": "conv", "kernel": 3, "se": False, "width": 9},
        {"block": "conv", "kernel": 3, "se": False, "ratio": 0.5, "width": 8},
        {"block": "pool", "width": True},
        {"block": "pool", "width": 8, "other": 1},
    ],
)
def test_what_is_no_combination_is_told_apart(chosen: dict[str, FactorValue]) -> None:
    assert not Grid(FACTORS, CONDITIONS).holds(chosen)


def test_a_grid_of_any_size_is_counted_and_its_combinations_found_at_once() -> None:
    factors: dict[str, Values] = {f"op{number}": tuple("abcdefghij") for number in range(40)}
    grid = Grid(factors)
    assert grid.size == 10**40
    assert "".join(map(str, grid.at(0).values())) == "a" * 40
    assert "".join(map(str, grid.at(10**40 - 1).values())) == "j" * 40
    assert "".join(map(str, grid.at(1203).values())) == "a" * 36 + "bcad"


def test_numbers_drawn_alike_are_architectures_drawn_alike() -> None:
    grid, random = Grid(FACTORS, CONDITIONS), Random(0)
    drawn = Counter(_key(grid.at(random.randrange(grid.size))) for _ in range(66 * 200))
    assert len(drawn) == 66
    assert 140 < min(drawn.values()) < max(drawn.values()) < 260  # 200, standard deviation 14


def test_a_range_has_its_steps_and_nothing_between() -> None:
    values = IntRange(8, 30, 4)
    assert list(values) == [8, 12, 16, 20, 24, 28]
    assert (len(values), values[-1], values.index(16)) == (6, 28, 2)
    assert 12 in values
    assert all(strange not in values for strange in (13, 32, 12.5, "12", True))


IDS = "{block}:k{kernel}-{se!s:.1}-r{ratio:.2f}-w{width:03d}"


def test_ids_are_read_back_as_they_were_written() -> None:
    grid, ids = Grid(FACTORS, CONDITIONS), IdFormat(IDS, FACTORS)
    written = {ids.write(chosen): chosen for chosen in grid}
    assert len(written) == grid.size
    assert ids.write({"block": "pool", "width": 8}) == f"pool:k{ABSENT}-{ABSENT}-r{ABSENT}-w008"
    assert ids.write(_by_hand()[0]) == "conv:k3-T-r0.25-w008"
    for arch_id, chosen in written.items():
        read = ids.read(arch_id)
        assert read is not None
        assert grid.keep_those_there(read) == chosen
        assert {name: type(value) for name, value in grid.keep_those_there(read).items()} == {
            name: type(value) for name, value in chosen.items()
        }


@pytest.mark.parametrize(
    "arch_id",
    ["", "conv", "conv:k3-T-r0.25-w8", "conv:k3-T-r0.25-w009", "conv:k4-T-r0.25-w008", "conv:k3-T-r0.25-w008x", "\n"],
)
def test_other_text_is_no_id(arch_id: str) -> None:
    assert IdFormat(IDS, FACTORS).read(arch_id) is None


def test_ids_that_do_not_tell_architectures_apart_are_found() -> None:
    factors: dict[str, Values] = {"a": (1, 2), "b": (0.123, 0.124), "c": ("only",)}
    assert IdFormat("{a}", factors).unnamed == ["b"]
    assert IdFormat("{a}-{b:.2f}", factors).ambiguous == ["b"]
    good = IdFormat("{a}-{b}-{a}", factors)
    assert (good.unnamed, good.ambiguous) == ([], [])
    assert good.read("1-0.123-1") == {"a": 1, "b": 0.123, "c": "only"}
    assert good.read("1-0.123-2") is None
    with pytest.raises(ValueError, match="Unknown format code"):
        IdFormat("{c:d}", factors)
