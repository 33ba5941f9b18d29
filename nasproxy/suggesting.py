"""What a function of an Optuna trial is given in the trial's place: it says what is suggested, and remembers it."""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

from nasproxy.errors import ArchError
from nasproxy.factors import FactorValue, FloatRange, IntRange, Values


class TrialLike:
    """What a function of a trial is given: it says what is suggested, and remembers it."""

    def __init__(self) -> None:
        self.chosen: dict[str, FactorValue] = {}
        self.values: dict[str, Values] = {}

    def suggest_categorical(self, name: str, choices: Sequence[FactorValue]) -> FactorValue:
        """One of these values."""
        return self._suggest(name, tuple(choices))

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """A whole number from `low` to `high`."""
        return int(self._suggest(name, IntRange(low, high, step, log)))

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """A number from `low` to `high`."""
        return float(self._suggest(name, FloatRange(float(low), float(high), step and float(step), log)))

    def _suggest(self, name: str, values: Values) -> FactorValue:
        if name not in self.chosen:
            self.values[name] = values
            self.chosen[name] = self._choose(name, values)
        return self.chosen[name]

    def _choose(self, name: str, values: Values) -> FactorValue:
        raise NotImplementedError


class Given(TrialLike):
    """Says what the factors of an architecture are."""

    def __init__(self, factors: Mapping[str, FactorValue]) -> None:
        super().__init__()
        self._factors = factors

    def _choose(self, name: str, values: Values) -> FactorValue:  # noqa: ARG002
        if name not in self._factors:
            raise ArchError(f"the builder asks for {name!r}, which the architecture does not have")
        return self._factors[name]


class Drawn(TrialLike):
    """Says what a random generator draws, each value alike; of a range of floats each number, or each power."""

    def __init__(self, random: Random) -> None:
        super().__init__()
        self._random = random

    def _choose(self, name: str, values: Values) -> FactorValue:  # noqa: ARG002
        if isinstance(values, FloatRange):
            return values.at(self._random.random())
        return values[self._random.randrange(len(values))]


class Read(TrialLike):
    """Says what an id does."""

    def __init__(self, arch_id: str) -> None:
        super().__init__()
        self.rest = arch_id

    def _choose(self, name: str, values: Values) -> FactorValue:
        mark = f"{'-' if len(self.chosen) else ''}{name}="
        rest = self.rest.removeprefix(mark)
        if isinstance(values, IntRange | FloatRange):
            number = re.match(r"-?[0-9.]+(?:e[+-]?[0-9]+)?", rest)
            texts: dict[str, FactorValue] = {}
            if number:
                kind = int if isinstance(values, IntRange) else float
                try:
                    texts = {number[0]: kind(number[0])}
                except ValueError:
                    texts = {}
        else:
            texts = {str(value): value for value in sorted(values, key=lambda value: len(str(value)), reverse=True)}
        for text, value in texts.items():
            if rest.startswith(text) and rest[len(text) : len(text) + 1] in ("", "-") and value in values:
                self.rest = rest[len(text) :]
                return value
        raise NoIdError(name)


class NoIdError(Exception):
    """The text is no id."""


class Asked(TrialLike):
    """Says what another trial, of Optuna's, suggests."""

    def __init__(self, trial: Any) -> None:
        super().__init__()
        self._trial = trial

    def _choose(self, name: str, values: Values) -> FactorValue:
        chosen: FactorValue
        if isinstance(values, IntRange):
            chosen = self._trial.suggest_int(name, values.low, values[-1], step=values.step, log=values.log)
        elif isinstance(values, FloatRange):
            chosen = self._trial.suggest_float(name, values.low, values.high, step=values.step, log=values.log)
        else:
            chosen = self._trial.suggest_categorical(name, list(values))
        return chosen


def takes_trial(function: Callable[..., Any]) -> bool:
    """Whether a builder is a function of a trial: its first parameter is called so."""
    try:
        return next(iter(inspect.signature(function).parameters), "") == "trial"
    except (TypeError, ValueError):
        return False


def build_from_factors(
    function: Callable[..., Any],
    factors: Mapping[str, FactorValue],
    image_shape: tuple[int, int, int],
    num_classes: int,
) -> Any:
    """The net that a function of a trial returns for these factors.

    Raises:
        ArchError: it asks for a factor that is not among them.
    """
    return function(Given(factors), image_shape, num_classes)
