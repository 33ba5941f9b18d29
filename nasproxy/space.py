"""Search spaces: factors and their values, the architectures they span, and the builder that makes nets of them.

A space is a TOML file:

    name = "convnet720"
    size = 720                                        # optional: declared, checked
    builder = "nasproxy.nets.convnet:build"           # module:function, or file.py:function beside the TOML file
    arch_id = "w{width}-d{depth}-{norm}"              # unique id of an architecture; default: all factors
    [factors]
    width = [32, 64]
    ...
    [[exclude]]                                       # optional: combinations that are no part of the space
    depth = 4
    pooling = ["max", "avg"]                          # a list means any of these

Ranges of whole numbers, values in an order, and factors that are there only `[[when]]` others have certain values:
see `nasproxy.factors`.

A space of more than `LISTED_AT_MOST` combinations is never listed: architectures are drawn, proposed by TPE, or named.
Of equal ones among those, each stands for itself, but a draw has none twice.

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
import sys
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from nasproxy.errors import ArchError, SettingsError, SpaceError, unknown_name
from nasproxy.factors import Condition, FactorValue, Grid, IdFormat, IntRange, Values
from nasproxy.seeding import derive_seed
from nasproxy.suggesting import build_from_factors, takes_trial

if TYPE_CHECKING:
    from torch import nn

LISTED_AT_MOST = 50_000
"""Combinations of factors that are worked out one by one."""
TRIES_PER_DRAW = 1000
"""Combinations that are looked at for each architecture of a draw, at most."""
SEEN_PER_DRAW = 20
"""Architectures, some more, of which one at least must be admitted to go on: it may take a net to say so."""
Builder = Callable[["Arch", tuple[int, int, int], int], "nn.Module"]
CountCosts = Callable[["Arch", tuple[int, int, int], int], tuple[int, int]]
"""(arch, image shape (C, H, W), number of classes) -> parameters and FLOPs, a multiply-add counted as two."""


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
    factors: Mapping[str, Values]
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
    conditions: tuple[Condition, ...] = ()
    """Where factors are there; one without a condition always is."""

    @property
    def is_listed(self) -> bool:
        """Whether all its architectures are known one by one."""
        return self.grid.size <= LISTED_AT_MOST

    @property
    def size(self) -> int | None:
        """Number of architectures; None where nobody has counted those that are excluded or equal."""
        if self.is_listed:
            return len(self._content.archs)
        return None if self.exclude or self.canonical else self.grid.size

    def describe_size(self) -> str:
        """For people: '6,461', '1.1e+12' or 'at most 1.1e+12'."""
        count = self.grid.size if self.size is None else self.size
        return ("at most " if self.size is None else "") + (f"{count:,}" if count < 10**9 else f"{Decimal(count):.1e}")

    def archs(self) -> list[Arch]:
        """All architectures, the last factor varying fastest.

        Raises:
            SettingsError: more than are listed.
        """
        if not self.is_listed:
            raise SettingsError(
                f"space {self.name} has {self.describe_size()} architectures, too many to try all; give --sample 100, "
                "--strategy random or tpe with --num-archs 100, or --archs FILE"
            )
        return list(self._content.archs)

    def draw(
        self, count: int, seed: int, admits: Callable[[Arch], bool] = lambda arch: True, *, tries: int | None = None
    ) -> tuple[list[Arch], int]:
        """Architectures drawn from all alike, none twice; the first k of a larger draw are the draw of k.

        Each combination of factors is as likely as any other; so one that several give, by `canonical`, is likelier.

        Args:
            count: how many.
            seed: of the draw.
            admits: whether an architecture may be drawn.
            tries: combinations that are looked at, at most; None: `TRIES_PER_DRAW` for each.

        Returns:
            The architectures, fewer where no more were found; and how many different combinations were looked at.
        """
        random, numbers = Random(derive_seed(seed, "draw", self.name)), set[int]()
        drawn, seen = list[Arch](), set[Hashable]()
        for _ in range(tries or TRIES_PER_DRAW * count):
            if len(drawn) == count or len(numbers) == self.grid.size or len(seen) > SEEN_PER_DRAW * (count + 10):
                break
            if (number := random.randrange(self.grid.size)) in numbers:
                continue
            numbers.add(number)
            factors = self.grid.at(number)
            form = self._form(factors)
            if form is not None and form not in seen:
                seen.add(form)
                if admits(arch := self.arch(factors)):
                    drawn.append(arch)
        return drawn, len(numbers)

    def _form(self, factors: Mapping[str, FactorValue]) -> Hashable | None:
        """What equal networks share; None: it is no part of the space.

        Raises:
            SpaceError: `canonical` fails.
        """
        if self._is_excluded(factors):
            return None
        try:
            return self._canonical(factors)
        except ArchError:
            return None

    def _canonical(self, factors: Mapping[str, FactorValue]) -> Hashable:
        """The form by the space's own function, or the id.

        Raises:
            ArchError: it is refused.
            SpaceError: the function fails.
        """
        if self.canonical is None:
            return self._ids.write(factors)
        try:
            form: Hashable = load_function("canonical", self.canonical)(factors)
            hash(form)
        except (ArchError, SpaceError):
            raise
        except Exception as error:  # a user's function may raise anything
            raise SpaceError(
                f"space {self.name}: canonical {self.canonical!r} fails for {self._ids.write(factors)}: "
                f"{type(error).__name__}: {error}; correct the function"
            ) from error
        return form

    @property
    def left_out(self) -> Mapping[str, str]:
        """Id -> reason, of what the factors span and `canonical` refuses; of a listed space."""
        return self._content.left_out if self.is_listed else {}

    def arch(self, factors: Mapping[str, FactorValue]) -> Arch:
        """The architecture with these factor values, whether or not another one stands for it."""
        return Arch(self._ids.write(factors), dict(factors), self.builder, self.costs)

    def own_id(self, arch_id: str) -> str:
        """Our id for one that people know (`alias`); any other as it is.

        Raises:
            SettingsError: an id of a known form that is no architecture.
        """
        if self.alias is None or self.standing_for(arch_id) is not None:
            return arch_id
        try:
            factors = load_function("alias", self.alias)(arch_id)
        except ArchError as error:
            raise SettingsError(f"space {self.name}: {error}") from None
        return arch_id if factors is None else self.arch(factors).id

    def standing_for(self, own_id: str) -> Arch | None:
        """The architecture of one of our ids, or the equal one that stands for it; None: it is not in the space."""
        if self.is_listed:
            return self._content.standing.get(own_id)
        factors = self._read(own_id)
        if factors is None or self._is_excluded(factors) or self._refusal(factors) is not None:
            return None
        return self.arch(factors)

    def find(self, arch_id: str) -> Arch:
        """The architecture of an id: ours, or one that people know (`alias`); an equal one where that stands for it.

        Raises:
            SettingsError: an id that is not in the space: the nearest is named, or why it is left out.
        """
        own_id = self.own_id(arch_id)
        found = self.standing_for(own_id)
        if found is not None:
            return found
        factors = None if self.is_listed else self._read(own_id)
        reason = self.left_out.get(own_id) if factors is None else self._refusal(factors)
        if reason is not None:
            raise SettingsError(f"{arch_id!r} is left out of space {self.name}: {reason}; choose another architecture")
        if self.is_listed:
            raise unknown_name(f"architecture of space {self.name}", arch_id, (arch.id for arch in self._content.archs))
        raise SettingsError(
            f"unknown architecture of space {self.name} {arch_id!r}; an id is like {self._example!r}"
            ", with values of its factors that are not excluded"
        )

    @property
    def _example(self) -> str:
        return self._ids.write(self.grid.at(0))

    def _read(self, own_id: str) -> dict[str, FactorValue] | None:
        """The factors of an id; None: it is none of ours."""
        named = self._ids.read(own_id)
        factors = None if named is None else self.grid.keep_those_there(named)
        if factors is None or not self.grid.holds(factors) or self._ids.write(factors) != own_id:
            return None
        return factors

    def _refusal(self, factors: Mapping[str, FactorValue]) -> str | None:
        """Why `canonical` refuses these factors."""
        try:
            self._canonical(factors)
        except ArchError as error:
            return str(error)
        return None

    def pick(self, ids: Iterable[str]) -> list[Arch]:
        """The architectures of these ids, each once, in their order; ids are read as by `find`.

        Raises:
            SettingsError: an id that is not in the space (the nearest is named, or why it is left out).
        """
        return list(dict.fromkeys(self.find(arch_id) for arch_id in ids))

    def suggest(self, trial: Any) -> Arch:
        """The architecture of what an Optuna trial suggests for each factor that is there, whether or not it is in the
        space."""
        chosen: dict[str, FactorValue] = {}
        for name, values in self.factors.items():
            if not self.grid.is_there(name, chosen):
                continue
            if isinstance(values, IntRange):
                chosen[name] = trial.suggest_int(name, values.low, values[-1], step=values.step, log=values.log)
            else:
                chosen[name] = trial.suggest_categorical(name, list(values))
        return self.arch(chosen)

    def shuffled(self, seed: int, archs: Iterable[Arch] = ()) -> list[Arch]:
        """All architectures in a random order that depends on the seed only; of a space that is not listed, these."""
        archs = self.archs() if self.is_listed else sorted(archs, key=lambda arch: arch.id)
        Random(derive_seed(seed, "space", self.name)).shuffle(archs)
        return archs

    def content_hash(self) -> str:
        """32 hex digits that depend on every architecture and on the builder (a file: its content), not on places."""
        return self._hash

    def __bool__(self) -> bool:
        return True

    def __len__(self) -> int:
        """Number of architectures of a listed space; see `size`."""
        return len(self.archs())

    @cached_property
    def grid(self) -> Grid:
        """All combinations of its factors."""
        return Grid(self.factors, self.conditions)

    @cached_property
    def _ids(self) -> IdFormat:
        return IdFormat(self.arch_id, self.factors)

    def find_ambiguity(self, num_tried: int) -> str | None:
        """Why its ids are not those of one architecture each; None: they are, as far as is seen.

        Args:
            num_tried: architectures of a space that is not listed, which are looked at.
        """
        if self.is_listed:
            repeated = self._content.repeated[:1]
            return f"arch_id gives {repeated[0]!r} twice; name every factor in arch_id" if repeated else None
        if alike := self._ids.unnamed + self._ids.ambiguous:
            return f"other values of {', '.join(alike)} give the same arch_id; name every factor in it, in full"
        for arch in self.draw(num_tried, 0, tries=num_tried)[0]:
            if self._read(arch.id) != arch.factors:
                return f"{arch.id!r} can be read in several ways; put a mark between the factors in arch_id"
        return None

    def _is_excluded(self, factors: Mapping[str, FactorValue]) -> bool:
        return any(all(factors.get(name) in allowed for name, allowed in rule.items()) for rule in self.exclude)

    @cached_property
    def _content(self) -> "_Content":
        content, first = _Content(), dict[Hashable, Arch]()
        for factors in self.grid:
            if self._is_excluded(factors):
                continue
            arch = self.arch(factors)
            if arch.id in content.standing or arch.id in content.left_out:
                content.repeated.append(arch.id)
            try:
                standing = first.setdefault(self._canonical(factors), arch)
            except ArchError as error:
                content.left_out[arch.id] = str(error)
                continue
            if standing is arch:
                content.archs.append(arch)
            content.standing[arch.id] = standing
        return content

    @cached_property
    def _hash(self) -> str:
        source, function = source_of(self.builder)
        if self.is_listed:
            content: Any = [[arch.id, arch.factors] for arch in self._content.archs]
        else:
            rules = [dict(rule) for rule in self.exclude]
            conditions = [[condition.factors, dict(condition.holds)] for condition in self.conditions]
            values = {name: repr(values) for name, values in self.factors.items()}
            content = [values, rules, conditions, self.arch_id, self.canonical and source_of(self.canonical)]
        return blake2b(json.dumps([function, source, content]).encode(), digest_size=16).hexdigest()


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


def build(arch: Arch, image_shape: tuple[int, int, int], num_classes: int) -> "nn.Module":
    """A net of this architecture for images (C, H, W), initialised from torch's global random state.

    Raises:
        ArchError: the architecture does not fit the images.
        SpaceError: the builder cannot be imported.
    """
    return load_builder(arch.builder)(arch, image_shape, num_classes)


def load_builder(path: str, *, as_it_is: bool = False) -> Builder:
    """The function behind `module:function` or `/absolute/file.py:function`; one of a trial as one of an architecture.

    Args:
        path: the import path.
        as_it_is: also where it is a function of a trial.

    Raises:
        SpaceError: not of that form, or cannot be imported.
    """
    builder: Builder = load_function("builder", path)
    if as_it_is:
        return builder
    if takes_trial(builder):
        return lambda arch, image_shape, num_classes: build_from_factors(
            builder, arch.factors, image_shape, num_classes
        )
    return builder


def load_costs(path: str) -> CountCosts:
    """The function behind the import path of an architecture's `costs`.

    Raises:
        SpaceError: not of that form, or cannot be imported.
    """
    count: CountCosts = load_function("costs", path)
    return count


def source_of(path: str) -> tuple[str, str]:
    """What an import path says, wherever its file lies: the file's content, or the module; and the function."""
    module, _, function = path.rpartition(":")
    return Path(module).read_text(encoding="utf-8") if module.endswith(".py") else module, function


def load_function(key: str, path: str) -> Any:
    """What an import path names.

    Args:
        key: what it is for, for messages.
        path: `module:function`, or `/absolute/file.py:function`.

    Raises:
        SpaceError: not of that form, or cannot be imported.
    """
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
