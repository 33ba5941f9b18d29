"""Spaces that are written as a function of an Optuna trial: what it suggests are the factors, what it returns the net.

    # nets.py; --space nets.py:space
    def space(trial, image_shape, num_classes):
        layers = [nn.Flatten()]
        width = math.prod(image_shape)
        for number in range(trial.suggest_int("layers", 1, 3)):
            units = trial.suggest_int(f"units{number}", 8, 256, log=True)
            layers += [nn.Linear(width, units), nn.ReLU()]
            width = units
        return nn.Sequential(*layers, nn.Linear(width, num_classes))

`trial` has `suggest_categorical`, `suggest_int` and `suggest_float`, as Optuna's has, and nothing else: the net depends
on what is suggested alone. The function is run to learn which factors an architecture has, on torch's meta device where
it can be, for images of 3x32x32 and 10 classes; so which factors there are must not depend on the images.
"""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from random import Random
from typing import Any, ClassVar

from nasproxy.errors import ArchError, SpaceError
from nasproxy.factors import FactorValue, FloatRange, IntRange, Values
from nasproxy.seeding import derive_seed
from nasproxy.space import SEEN_PER_DRAW, TRIES_PER_DRAW, Arch, SearchSpace, load_builder, source_of
from nasproxy.suggesting import Asked, Drawn, NoIdError, Read, TrialLike, takes_trial

DRAWS_TO_LEARN = 300
"""Architectures that are drawn to learn which factors there are."""
IMAGE_SHAPE, NUM_CLASSES = (3, 32, 32), 10
"""Of the nets that are built for that."""


@dataclass(frozen=True)
class FunctionSpace(SearchSpace):
    """A space that a function of a trial spans. It is never listed, and nobody knows its size."""

    is_listed: ClassVar[bool] = False
    size: ClassVar[int | None] = None

    @classmethod
    def load(cls, path: str) -> "FunctionSpace":
        """The space of `/absolute/file.py:function`.

        Raises:
            SpaceError: it cannot be imported, is no function of a trial, suggests nothing, or suggests other values
                under one name in other architectures.
        """
        function = load_builder(path, as_it_is=True)
        module, _, name = path.rpartition(":")
        if not takes_trial(function):
            raise SpaceError(
                f"{path} is no function of a trial: write def {name}(trial, image_shape, num_classes), or a .toml file "
                "for a builder of architectures"
            )
        space = cls(name=Path(module).stem, factors={}, builder=path, arch_id="", source=path)
        factors = space._learn()
        if not factors:
            raise SpaceError(f"{path} suggests nothing, so it is one net and no space; use trial.suggest_int and so on")
        return cls(name=Path(module).stem, factors=factors, builder=path, arch_id="", source=path)

    def describe_size(self) -> str:
        """For people."""
        return "an unknown number of"

    def arch(self, factors: Mapping[str, FactorValue]) -> Arch:
        """The architecture with these factor values."""
        return Arch("-".join(f"{name}={value}" for name, value in factors.items()), dict(factors), self.builder)

    def own_id(self, arch_id: str) -> str:
        """The id as it is."""
        return arch_id

    def standing_for(self, own_id: str) -> Arch | None:
        """The architecture of an id; None: it is none."""
        factors = self._read(own_id)
        return None if factors is None else self.arch(factors)

    def suggest(self, trial: Any) -> Arch:
        """The architecture of what an Optuna trial suggests."""
        asked = Asked(trial)
        self._run(asked)
        return self.arch(asked.chosen)

    def draw(
        self, count: int, seed: int, admits: Callable[[Arch], bool] = lambda arch: True, *, tries: int | None = None
    ) -> tuple[list[Arch], int]:
        """Architectures drawn factor by factor, none twice; the first k of a larger draw are the draw of k."""
        random, drawn, seen = Random(derive_seed(seed, "draw", self.name)), list[Arch](), set[Hashable]()
        for _ in range(tries or TRIES_PER_DRAW * count):
            if len(drawn) == count or len(seen) > SEEN_PER_DRAW * (count + 10):
                break
            trial = Drawn(random)
            if not self._run(trial):
                continue
            arch = self.arch(trial.chosen)
            if arch.id not in seen:
                seen.add(arch.id)
                if trial.chosen.keys() <= self.factors.keys() and admits(arch):
                    drawn.append(arch)
        return drawn, max(len(seen), 1)

    @cached_property
    def _hash(self) -> str:
        source, function = source_of(self.builder)
        return blake2b(f"{function}\0{source}".encode(), digest_size=16).hexdigest()

    @property
    def _example(self) -> str:
        return self.draw(1, 0)[0][0].id

    def _read(self, own_id: str) -> dict[str, FactorValue] | None:
        reader = Read(own_id)
        try:
            self._run(reader)
        except NoIdError:
            return None
        return reader.chosen if not reader.rest and self.arch(reader.chosen).id == own_id else None

    def _learn(self) -> dict[str, Values]:
        known: dict[str, Values] = {}
        random = Random(derive_seed(0, "learn", self.name))
        for _ in range(DRAWS_TO_LEARN):
            trial = Drawn(random)
            self._run(trial)
            for name, values in trial.values.items():
                if known.setdefault(name, values) != values:
                    raise SpaceError(
                        f"{self.builder} suggests {name!r} from {_describe(known[name])} here and from "
                        f"{_describe(values)} there; give them two names"
                    )
        return known

    def _run(self, trial: TrialLike) -> bool:
        """Runs the function for what it suggests; whether it came to its end.

        Raises:
            SpaceError: it fails for another reason than that the architecture does not fit.
        """
        import torch  # only here: a space is read without it

        function: Any = load_builder(self.builder, as_it_is=True)
        try:
            with torch.device("meta"):
                function(trial, IMAGE_SHAPE, NUM_CLASSES)
        except ArchError:
            return False
        except NoIdError:
            raise
        except Exception:  # maybe only on the meta device
            try:
                function(trial, IMAGE_SHAPE, NUM_CLASSES)
            except ArchError:
                return False
            except Exception as error:
                raise SpaceError(
                    f"{self.builder} fails for {self.arch(trial.chosen).id}: {type(error).__name__}: {error}; correct "
                    "the function"
                ) from error
        return True


def _describe(values: Values) -> str:
    if isinstance(values, IntRange | FloatRange):
        return f"{values.low:g} to {values.high:g}"
    return ", ".join(map(str, values))
