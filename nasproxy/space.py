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

Three more functions are optional, for spaces whose factors say the same in several ways, or that are large:

    canonical = "module:function"                     # factors -> a form that equal networks share
    alias = "module:function"                         # id that people know -> factors, or None
    costs = "module:function"                         # (arch, image_shape, num_classes) -> (parameters, FLOPs)

`canonical` returns anything hashable; of architectures with one form the first stands for all, whichever of them is
named. It raises `ArchError` for what is no part of the space, with the reason. `alias` is asked about every id that is
none of ours, wherever ids are read, and may raise `ArchError` too. `costs` replaces counting on a built net.

The builder is `build(arch, image_shape, num_classes) -> torch.nn.Module`; it may raise `ArchError` for an architecture
that does not fit the images. The net takes images (N, C, H, W) and returns one tensor (N, K), a score for each of the K
classes; one that returns anything else is refused in the same way.

This module imports no torch: builders are imported when the first net is built; what `canonical` and `alias` name
should import none either.
"""

import importlib
import importlib.util
import json
import math
import sys
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from itertools import product
from pathlib import Path
from random import Random
from string import Formatter
from typing import TYPE_CHECKING, Any

from nasproxy.config import read_toml
from nasproxy.errors import ArchError, SettingsError, SpaceError, unknown_name
from nasproxy.seeding import derive_seed

if TYPE_CHECKING:
    from torch import nn

FactorValue = str | int | float | bool
Builder = Callable[["Arch", tuple[int, int, int], int], "nn.Module"]
CountCosts = Callable[["Arch", tuple[int, int, int], int], tuple[int, int]]
"""(arch, image shape (C, H, W), number of classes) -> parameters and FLOPs, a multiply-add counted as two."""

RESERVED = frozenset(
    {
        *("rank", "arch_id", "num_params", "flops", "weight", "state", "score", "score_std"),
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
    "canonical": (str, "text"),
    "alias": (str, "text"),
    "costs": (str, "text"),
}
"""What a space file may hold."""
_FUNCTIONS = ("builder", "canonical", "alias", "costs")
"""Keys that name functions."""


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
    costs: str | None = field(default=None, compare=False)
    """Import path of what counts parameters and FLOPs without a net; None: they are counted on a built one."""


@dataclass(frozen=True)
class SearchSpace:
    """A finite set of architectures."""

    name: str
    factors: Mapping[str, tuple[FactorValue, ...]]
    builder: str
    arch_id: str
    exclude: tuple[Mapping[str, tuple[FactorValue, ...]], ...] = ()
    canonical: str | None = None
    """Import path of the form that equal networks share; None: no two architectures are equal."""
    alias: str | None = None
    """Import path of the factors behind an id that people know; None: there are no such ids."""
    costs: str | None = None
    """Import path of what counts parameters and FLOPs without a net; None: they are counted on a built one."""
    source: str | None = field(default=None, compare=False)
    """Name or absolute path that `load_space` finds it by; None: it was made in memory."""

    def archs(self) -> list[Arch]:
        """All architectures, the last factor varying fastest."""
        return list(self._content.archs)

    @property
    def left_out(self) -> Mapping[str, str]:
        """Id -> reason, of what the factors span and `canonical` refuses."""
        return self._content.left_out

    def arch(self, factors: Mapping[str, FactorValue]) -> Arch:
        """The architecture with these factor values, whether or not another one stands for it."""
        return Arch(self.arch_id.format_map(factors), dict(factors), self.builder, self.costs)

    def own_id(self, arch_id: str) -> str:
        """Our id for one that people know (`alias`); any other as it is.

        Raises:
            SettingsError: an id of a known form that is no architecture.
        """
        if self.alias is None or arch_id in self._content.standing:
            return arch_id
        try:
            factors = _load_function("alias", self.alias)(arch_id)
        except ArchError as error:
            raise SettingsError(f"space {self.name}: {error}") from None
        return arch_id if factors is None else self.arch(factors).id

    def standing_for(self, own_id: str) -> Arch | None:
        """The architecture of one of our ids, or the equal one that stands for it; None: it is not in the space."""
        return self._content.standing.get(own_id)

    def find(self, arch_id: str) -> Arch:
        """The architecture of an id: ours, or one that people know (`alias`); an equal one where that stands for it.

        Raises:
            SettingsError: an id that is not in the space: the nearest is named, or why it is left out.
        """
        own_id = self.own_id(arch_id)
        if own_id in self.left_out:
            raise SettingsError(
                f"{arch_id!r} is left out of space {self.name}: {self.left_out[own_id]}; choose another architecture"
            )
        found = self.standing_for(own_id)
        if found is None:
            raise unknown_name(f"architecture of space {self.name}", arch_id, (arch.id for arch in self._content.archs))
        return found

    def pick(self, ids: Iterable[str]) -> list[Arch]:
        """The architectures of these ids, each once, in their order; ids are read as by `find`.

        Raises:
            SettingsError: an id that is not in the space (the nearest is named, or why it is left out).
        """
        return list(dict.fromkeys(self.find(arch_id) for arch_id in ids))

    def shuffled(self, seed: int) -> list[Arch]:
        """All architectures in a random order that depends on the seed only."""
        archs = self.archs()
        Random(derive_seed(seed, "space", self.name)).shuffle(archs)
        return archs

    def content_hash(self) -> str:
        """32 hex digits that depend on every architecture and on the builder (a file: its content), not on places."""
        return self._hash

    def __len__(self) -> int:
        return len(self._content.archs)

    @cached_property
    def _content(self) -> "_Content":
        canonical = None if self.canonical is None else _load_function("canonical", self.canonical)
        content, first = _Content(), dict[Hashable, Arch]()
        for factors in self._combinations():
            arch = self.arch(factors)
            if arch.id in content.standing or arch.id in content.left_out:
                content.repeated.append(arch.id)
            try:
                standing = first.setdefault(arch.id if canonical is None else canonical(factors), arch)
            except ArchError as error:
                content.left_out[arch.id] = str(error)
                continue
            except Exception as error:  # a user's function may raise anything
                raise SpaceError(
                    f"space {self.name}: canonical {self.canonical!r} fails for {arch.id}: "
                    f"{type(error).__name__}: {error}; correct the function"
                ) from error
            if standing is arch:
                content.archs.append(arch)
            content.standing[arch.id] = standing
        return content

    @cached_property
    def _hash(self) -> str:
        module, _, function = self.builder.rpartition(":")
        source = Path(module).read_text(encoding="utf-8") if module.endswith(".py") else module
        archs = [[arch.id, arch.factors] for arch in self._content.archs]
        return blake2b(json.dumps([function, source, archs]).encode(), digest_size=16).hexdigest()

    def _combinations(self) -> Iterator[dict[str, FactorValue]]:
        for values in product(*self.factors.values()):
            factors = dict(zip(self.factors, values, strict=True))
            if not any(all(factors[name] in allowed for name, allowed in rule.items()) for rule in self.exclude):
                yield factors


@dataclass(frozen=True)
class _Content:
    """The architectures of a space, worked out once."""

    archs: list[Arch] = field(default_factory=list)
    standing: dict[str, Arch] = field(default_factory=dict)
    """Id -> the architecture itself, or the equal one that stands for it."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Id -> reason."""
    repeated: list[str] = field(default_factory=list)
    """Ids that several combinations of factors have."""


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
    return _parse_space(read_toml(path), path, source)


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
    builder: Builder = _load_function("builder", path)
    return builder


def load_costs(path: str) -> CountCosts:
    """The function behind the import path of an architecture's `costs`.

    Raises:
        SpaceError: not of that form, or cannot be imported.
    """
    count: CountCosts = _load_function("costs", path)
    return count


def _load_function(key: str, path: str) -> Any:
    module_name, colon, function_name = path.rpartition(":")
    if not colon:
        raise SpaceError(f"{key} {path!r} is no import path: write module:function or file.py:function")
    try:
        module = _import_file(Path(module_name)) if module_name.endswith(".py") else _import_module(module_name)
        return getattr(module, function_name)
    except Exception as error:  # a user's file may raise anything on import
        raise SpaceError(f"{key} {path!r} cannot be imported: {error}; check the path and its imports") from error


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


def _parse_space(content: dict[str, Any], path: Path, source: str) -> SearchSpace:
    problems = _problems_of(content)
    if problems:
        raise SpaceError(f"search space {path}: {'; '.join(problems)}")
    factors = {name: tuple(values) for name, values in content["factors"].items()}
    space = SearchSpace(
        name=content.get("name", path.stem),
        factors=factors,
        arch_id=content.get("arch_id", "-".join(f"{name}={{{name}}}" for name in factors)),
        exclude=tuple({name: _as_tuple(value) for name, value in rule.items()} for rule in content.get("exclude", [])),
        source=source,
        **{key: _from_folder(content[key], path.parent) for key in _FUNCTIONS if key in content},
    )
    try:
        repeated = space._content.repeated[:1]
    except ValueError as error:
        raise SpaceError(f"search space {path}: arch_id {space.arch_id!r} does not fit its factors: {error}") from None
    if repeated:
        raise SpaceError(f"search space {path}: arch_id gives {repeated[0]!r} twice; name every factor in arch_id")
    if len(space) != content["size"]:
        raise SpaceError(
            f"search space {path}: declares size = {content['size']} but its factors span {len(space)} architectures; "
            "correct one of them"
        )
    return space


def _from_folder(import_path: str, folder: Path) -> str:
    """An import path whose file is looked for beside the space."""
    module, colon, function = import_path.rpartition(":")
    return f"{(folder / module).resolve() if module.endswith('.py') else module}{colon}{function}"


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
    problems += [
        f"{key} {content[key]!r} is no import path: write module:function or file.py:function"
        for key in _FUNCTIONS
        if ":" not in content.get(key, ":")
    ]
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
