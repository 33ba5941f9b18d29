"""Space files: TOML, checked, made into a `SearchSpace`. What they hold: see `nasproxy.space`."""

from collections.abc import Mapping
from pathlib import Path
from string import Formatter
from typing import Any

from nasproxy.config import read_toml
from nasproxy.definebyrun import FunctionSpace
from nasproxy.errors import SpaceError, unknown_name
from nasproxy.factors import MAX_BRANCHES, Condition, FactorValue, IntRange, Ordered, Values, count_branches, is_one_of
from nasproxy.space import SearchSpace

LARGEST = 10**15
"""Number in a range, either way."""
SOME = 1000
"""Architectures of a large space whose ids are checked."""
RESERVED = frozenset(
    {
        *("rank", "arch_id", "num_params", "flops", "latency", "front", "weight", "state", "score", "score_std"),
        *(
            "val_accuracy",
            "val_accuracy_std",
            "test_accuracy",
            "test_accuracy_std",
            "num_seeds",
            "train_seconds",
            "reason",
        ),
        *("truth_val_accuracy", "truth_test_accuracy", "truth_rank"),
    }
)
"""Columns of the tables of results: no factor can be called so."""

_KEYS: dict[str, tuple[type, str]] = {
    "name": (str, "text"),
    "description": (str, "text"),
    "size": (int, "a whole number"),
    "builder": (str, "text"),
    "arch_id": (str, "text"),
    "factors": (dict, "a table of lists"),
    "exclude": (list, "a list of tables"),
    "when": (list, "a list of tables"),
    "canonical": (str, "text"),
    "alias": (str, "text"),
    "costs": (str, "text"),
}
"""What a space file may hold."""
_FUNCTIONS = ("builder", "canonical", "alias", "costs")
"""Keys that name functions."""


def load_space(name_or_path: str | Path) -> SearchSpace:
    """A space by the name of a shipped file in `search_spaces/`, from a TOML file, or `file.py:function` of a trial.

    Raises:
        SettingsError: no such file or shipped space (the nearest is named).
        InputError: the file is unreadable or no TOML.
        SpaceError: the file contradicts itself; all its errors are named at once.
    """
    path, source = Path(name_or_path).expanduser(), str(name_or_path)
    module, _, function = source.rpartition(":")
    if module.endswith(".py"):
        return FunctionSpace.load(f"{Path(module).expanduser().resolve()}:{function}")
    if path.suffix != ".toml" and not path.is_file():
        shipped = list_spaces()
        if str(name_or_path) not in shipped:
            raise unknown_name("search space (a name, or a .toml file)", str(name_or_path), shipped)
        path = shipped[str(name_or_path)]
    else:
        source = str(path.resolve())
    return _parse_space(read_toml(path), path, source)


def list_spaces() -> dict[str, Path]:
    """The shipped spaces: name -> file."""
    package = Path(__file__).parent
    folder = next(folder for folder in (package / "search_spaces", package.parent / "search_spaces") if folder.is_dir())
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def _parse_space(content: dict[str, Any], path: Path, source: str) -> SearchSpace:
    problems = _problems_of(content)
    if problems:
        raise SpaceError(f"search space {path}: {'; '.join(problems)}")
    factors = {name: _read_values(values) for name, values in content["factors"].items()}
    space = SearchSpace(
        name=content.get("name", path.stem),
        factors=factors,
        arch_id=content.get("arch_id", "-".join(f"{name}={{{name}}}" for name in factors)),
        exclude=tuple({name: _as_tuple(value) for name, value in rule.items()} for rule in content.get("exclude", [])),
        source=source,
        conditions=tuple(map(_read_condition, content.get("when", []))),
        **{key: _from_folder(content[key], path.parent) for key in _FUNCTIONS if key in content},
    )
    try:
        if problem := space.find_ambiguity(SOME):
            raise SpaceError(f"search space {path}: {problem}")
    except ValueError as error:
        raise SpaceError(f"search space {path}: arch_id {space.arch_id!r} does not fit its factors: {error}") from None
    declared, size = content.get("size"), space.size
    if declared is not None and size is not None and size != declared:
        raise SpaceError(
            f"search space {path}: declares size = {declared} but its factors span {size} architectures; "
            "correct one of them"
        )
    return space


def _read_values(values: Any) -> Values:
    """The values of a factor as they are written in a space file."""
    if isinstance(values, list):
        return tuple(values)
    return IntRange(**values) if "low" in values else Ordered(values["values"])


def _read_condition(rule: Mapping[str, Any]) -> Condition:
    return Condition(
        _as_names(rule["factors"]), {name: _as_tuple(value) for name, value in rule.items() if name != "factors"}
    )


def _from_folder(import_path: str, folder: Path) -> str:
    """An import path whose file is looked for beside the space."""
    module, colon, function = import_path.rpartition(":")
    return f"{(folder / module).resolve() if module.endswith('.py') else module}{colon}{function}"


def _problems_of(content: dict[str, Any]) -> list[str]:
    problems = [str(unknown_name("key", key, _KEYS)) for key in sorted(set(content) - set(_KEYS))]
    problems += [f"the key {key!r} is missing" for key in ("builder", "factors") if key not in content]
    wrong = [
        f"the key {key!r} must be {what}, not {content[key]!r}"
        for key, (kind, what) in _KEYS.items()
        if key in content and not isinstance(content[key], kind)
    ]
    if wrong:
        return problems + wrong
    problems += [
        f"{key} {content[key]!r} is no import path: write module:function or file.py:function"
        for key in _FUNCTIONS
        if ":" not in content.get(key, ":")
    ]
    factors = content.get("factors", {})
    if "factors" in content and not factors:
        problems.append("it has no factors; write some below [factors], such as depth = [1, 2, 3]")
    for name, values in factors.items():
        if name in RESERVED:
            problems.append(f"factor {name!r} has the name of a column of the results; call it otherwise")
        problems += _problems_of_factor(name, values)
    for rule in content.get("exclude", []):
        if not isinstance(rule, dict):
            problems.append(f"exclude must hold tables, not {rule!r}")
            continue
        problems += [str(unknown_name("factor in exclude", name, factors)) for name in rule if name not in factors]
    if not problems:
        problems = _problems_of_conditions(content.get("when", []), factors)
    try:
        fields = {name for _, name, _, _ in Formatter().parse(content.get("arch_id", "")) if name is not None}
    except ValueError as error:
        return [*problems, f"arch_id {content['arch_id']!r} is no format: {error}"]
    problems += [str(unknown_name("factor in arch_id", name, factors)) for name in sorted(fields - set(factors))]
    return problems


_RANGE = {"low": int, "high": int, "step": int, "log": bool}
"""Keys of a range of whole numbers."""


def _problems_of_factor(name: str, values: Any) -> list[str]:
    if isinstance(values, dict) and "values" not in values:
        return _problems_of_range(name, values)
    if isinstance(values, dict):
        if set(values) != {"values", "ordered"} or values["ordered"] is not True:
            return [f"factor {name!r}: {values!r} is no factor; write {{values = [3, 5, 7], ordered = true}}"]
        values = values["values"]
    if not isinstance(values, list) or not values:
        return [f"factor {name!r} must be a list of at least one value, or a range, not {values!r}"]
    problems = [
        f"factor {name!r}: {value!r} is neither text, number nor boolean"
        for value in values
        if not isinstance(value, FactorValue)
    ]
    if len(set(map(repr, values))) < len(values):
        twice = next(value for value in values if values.count(value) > 1)
        problems.append(f"factor {name!r} has the value {twice!r} twice; remove one")
    return problems


def _problems_of_range(name: str, values: dict[str, Any]) -> list[str]:
    if (
        not {"low", "high"} <= set(values) <= set(_RANGE)
        or any(type(value) is not _RANGE[key] for key, value in values.items())
        or not -LARGEST <= values["low"] <= values["high"] <= LARGEST
        or values.get("step", 1) < 1
    ):
        return [f"factor {name!r}: {values!r} is no range; write {{low = 8, high = 64}}, and step = 8 or log = true"]
    if values.get("log") and (values["low"] < 1 or values.get("step", 1) != 1):
        return [f"factor {name!r}: log = true needs a low above 0 and no step"]
    return []


def _problems_of_conditions(rules: list[Any], factors: Mapping[str, Any]) -> list[str]:
    order, problems = list(factors), []
    for rule in rules:
        if not isinstance(rule, dict) or "factors" not in rule or len(rule) < 2 or not _are_names(rule["factors"]):
            problems.append(f"when must hold tables with factors and what must hold for them, not {rule!r}")
            continue
        inner, outer = _as_names(rule["factors"]), [name for name in rule if name != "factors"]
        unknown = [name for name in (*inner, *outer) if name not in factors]
        problems += [str(unknown_name("factor in when", name, factors)) for name in unknown]
        if not unknown and max(map(order.index, outer)) >= min(map(order.index, inner)):
            problems.append(f"when: {', '.join(outer)} must stand before {', '.join(inner)} in [factors]")
        for name in outer if not unknown else ():
            values = _read_values(factors[name])
            strange = [value for value in _as_tuple(rule[name]) if not is_one_of(value, values)]
            problems += [f"when: {value!r} is no value of {name}" for value in strange]
    if not problems:
        read = {name: _read_values(values) for name, values in factors.items()}
        if (count := count_branches(read, [_read_condition(rule) for rule in rules])) > MAX_BRANCHES:
            problems.append(
                f"when: the factors that conditions ask for have {count:,} combinations, more than {MAX_BRANCHES:,}; "
                "ask for fewer of them"
            )
    return problems


def _are_names(value: Any) -> bool:
    return isinstance(value, str) or (
        isinstance(value, list) and bool(value) and all(isinstance(v, str) for v in value)
    )


def _as_names(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _as_tuple(value: Any) -> tuple[FactorValue, ...]:
    return tuple(value) if isinstance(value, list) else (value,)
