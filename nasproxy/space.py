"""Search spaces: factors and their values, the architectures they span, and the builder that makes nets of them.

A space is a TOML file:

    name = "convnet720"
    size = 720                                        # declared, checked
    builder = "nasproxy.nets.convnet:build"           # module:function, or file.py:function beside the TOML file
    arch_id = "w{width}-d{depth}-{norm}"              # unique id of an architecture; default: all factors
    [factors]
    width = [32, 64]
    ...
    [[exclude]]                                       # optional: combinations that are no part of the space
    depth = 4
    pooling = ["max", "avg"]                          # a list means any of these

The builder is `build(arch, image_shape, num_classes) -> torch.nn.Module`; it may raise `ArchError` for an architecture
that does not fit the images. This module imports no torch: builders are imported when the first net is built.
"""

import importlib
import importlib.util
import json
import math
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from itertools import product
from pathlib import Path
from random import Random
from string import Formatter
from typing import TYPE_CHECKING, Any

from nasproxy.config import read_toml
from nasproxy.errors import SpaceError, unknown_name
from nasproxy.seeding import derive_seed

if TYPE_CHECKING:
    from torch import nn

FactorValue = str | int | float | bool
Builder = Callable[["Arch", tuple[int, int, int], int], "nn.Module"]

RESERVED = frozenset(
    {
        *("rank", "arch_id", "num_params", "flops", "state", "score", "score_std"),
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
}
"""What a space file may hold."""


def sort_values(values: Iterable[FactorValue]) -> list[FactorValue]:
    """Different values of a factor: numbers by size, then text by the alphabet."""
    return sorted(set(values), key=lambda value: (math.inf, value) if isinstance(value, str) else (value, ""))


@dataclass(frozen=True)
class Arch:
    """One point of a space. Two archs are equal when their ids and builders are."""

    id: str
    factors: Mapping[str, FactorValue] = field(compare=False)
    builder: str
    """Import path of the builder: `module:function` or `/absolute/file.py:function`."""


@dataclass(frozen=True)
class SearchSpace:
    """A finite set of architectures."""

    name: str
    factors: Mapping[str, tuple[FactorValue, ...]]
    builder: str
    arch_id: str
    exclude: tuple[Mapping[str, tuple[FactorValue, ...]], ...] = ()
    source: str | None = field(default=None, compare=False)
    """Name or absolute path that `load_space` finds it by; None: it was made in memory."""

    def archs(self) -> list[Arch]:
        """All architectures, the last factor varying fastest."""
        combinations = (dict(zip(self.factors, values, strict=True)) for values in product(*self.factors.values()))
        return [self.arch(factors) for factors in combinations if not self._excludes(factors)]

    def arch(self, factors: Mapping[str, FactorValue]) -> Arch:
        """The architecture with these factor values."""
        return Arch(id=self.arch_id.format_map(dict(factors)), factors=dict(factors), builder=self.builder)

    def pick(self, ids: Iterable[str]) -> list[Arch]:
        """The architectures of these ids, in their order.

        Raises:
            SettingsError: an id that is not in the space (the nearest is named).
        """
        known = {arch.id: arch for arch in self.archs()}
        wanted = list(dict.fromkeys(ids))
        for arch_id in wanted:
            if arch_id not in known:
                raise unknown_name(f"architecture of space {self.name}", arch_id, known)
        return [known[arch_id] for arch_id in wanted]

    def shuffled(self, seed: int) -> list[Arch]:
        """All architectures in a random order that depends on the seed only."""
        archs = self.archs()
        Random(derive_seed(seed, "space", self.name)).shuffle(archs)
        return archs

    def content_hash(self) -> str:
        """32 hex digits that depend on every architecture and on the builder (a file: its content), not on places."""
        module, _, function = self.builder.rpartition(":")
        source = Path(module).read_text(encoding="utf-8") if module.endswith(".py") else module
        archs = [[arch.id, arch.factors] for arch in self.archs()]
        return blake2b(json.dumps([function, source, archs]).encode(), digest_size=16).hexdigest()

    def __len__(self) -> int:
        return len(self.archs())

    def _excludes(self, factors: Mapping[str, FactorValue]) -> bool:
        return any(all(factors[name] in values for name, values in rule.items()) for rule in self.exclude)


def load_space(name_or_path: str | Path) -> SearchSpace:
    """A space by the name of a shipped file in `search_spaces/`, or from a TOML file.

    Raises:
        SettingsError: no such file or shipped space (the nearest is named).
        InputError: the file is unreadable or no TOML.
        SpaceError: the file contradicts itself; all its errors are named at once.
    """
    path, source = Path(name_or_path).expanduser(), str(name_or_path)
    if path.suffix != ".toml" and not path.is_file():
        shipped = list_spaces()
        if str(name_or_path) not in shipped:
            raise unknown_name("search space (a name, or a .toml file)", str(name_or_path), shipped)
        path = shipped[str(name_or_path)]
    else:
        source = str(path.resolve())
    return replace(_parse_space(read_toml(path), path), source=source)


def list_spaces() -> dict[str, Path]:
    """The shipped spaces: name -> file."""
    package = Path(__file__).parent
    folder = next(folder for folder in (package / "search_spaces", package.parent / "search_spaces") if folder.is_dir())
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def build(arch: Arch, image_shape: tuple[int, int, int], num_classes: int) -> "nn.Module":
    """A net of this architecture for images (C, H, W), initialised from torch's global random state.

    Raises:
        ArchError: the architecture does not fit the images.
        SpaceError: the builder cannot be imported.
    """
    return load_builder(arch.builder)(arch, image_shape, num_classes)


def load_builder(path: str) -> Builder:
    """The function behind `module:function` or `/absolute/file.py:function`.

    Raises:
        SpaceError: not of that form, or cannot be imported.
    """
    module_name, colon, function_name = path.rpartition(":")
    if not colon:
        raise SpaceError(f"builder {path!r} is no import path: write module:function or file.py:function")
    try:
        module = _import_file(Path(module_name)) if module_name.endswith(".py") else _import_module(module_name)
        builder: Builder = getattr(module, function_name)
    except Exception as error:  # a user's file may raise anything on import
        raise SpaceError(f"builder {path!r} cannot be imported: {error}; check the path and its imports") from error
    return builder


def _import_module(name: str) -> Any:
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)
    return importlib.import_module(name)


def _import_file(path: Path) -> Any:
    name = f"nasproxy_builder_{blake2b(str(path).encode(), digest_size=6).hexdigest()}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise ImportError(f"{path} is no Python file")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.modules[name] = module
    return sys.modules[name]


def _parse_space(content: dict[str, Any], path: Path) -> SearchSpace:
    problems = _problems_of(content)
    if problems:
        raise SpaceError(f"search space {path}: {'; '.join(problems)}")
    factors = {name: tuple(values) for name, values in content["factors"].items()}
    module, colon, function = content["builder"].rpartition(":")
    if module.endswith(".py"):
        module = str((path.parent / module).resolve())
    space = SearchSpace(
        name=content.get("name", path.stem),
        factors=factors,
        builder=f"{module}{colon}{function}",
        arch_id=content.get("arch_id", "-".join(f"{name}={{{name}}}" for name in factors)),
        exclude=tuple({name: _as_tuple(value) for name, value in rule.items()} for rule in content.get("exclude", [])),
    )
    try:
        ids = [arch.id for arch in space.archs()]
    except ValueError as error:
        raise SpaceError(f"search space {path}: arch_id {space.arch_id!r} does not fit its factors: {error}") from None
    if len(set(ids)) < len(ids):
        twice = next(arch_id for arch_id in ids if ids.count(arch_id) > 1)
        raise SpaceError(f"search space {path}: arch_id gives {twice!r} twice; name every factor in arch_id")
    if len(ids) != content["size"]:
        raise SpaceError(
            f"search space {path}: declares size = {content['size']} but its factors span {len(ids)} architectures; "
            "correct one of them"
        )
    return space


def _problems_of(content: dict[str, Any]) -> list[str]:
    problems = [str(unknown_name("key", key, _KEYS)) for key in sorted(set(content) - set(_KEYS))]
    problems += [f"the key {key!r} is missing" for key in ("size", "builder", "factors") if key not in content]
    wrong = [
        f"the key {key!r} must be {what}, not {content[key]!r}"
        for key, (kind, what) in _KEYS.items()
        if key in content and not isinstance(content[key], kind)
    ]
    if wrong:
        return problems + wrong
    if ":" not in content.get("builder", ":"):
        problems.append(f"builder {content['builder']!r} is no import path: write module:function or file.py:function")
    factors = content.get("factors", {})
    for name, values in factors.items():
        if name in RESERVED:
            problems.append(f"factor {name!r} has the name of a column of the results; call it otherwise")
        if not isinstance(values, list) or not values:
            problems.append(f"factor {name!r} must be a list of at least one value, not {values!r}")
            continue
        for value in values:
            if not isinstance(value, FactorValue):
                problems.append(f"factor {name!r}: {value!r} is neither text, number nor boolean")
        if len(set(map(repr, values))) < len(values):
            twice = next(value for value in values if values.count(value) > 1)
            problems.append(f"factor {name!r} has the value {twice!r} twice; remove one")
    for rule in content.get("exclude", []):
        if not isinstance(rule, dict):
            problems.append(f"exclude must hold tables, not {rule!r}")
            continue
        problems += [str(unknown_name("factor in exclude", name, factors)) for name in rule if name not in factors]
    try:
        fields = {name for _, name, _, _ in Formatter().parse(content.get("arch_id", "")) if name is not None}
    except ValueError as error:
        return [*problems, f"arch_id {content['arch_id']!r} is no format: {error}"]
    problems += [str(unknown_name("factor in arch_id", name, factors)) for name in sorted(fields - set(factors))]
    return problems


def _as_tuple(value: Any) -> tuple[FactorValue, ...]:
    return tuple(value) if isinstance(value, list) else (value,)
