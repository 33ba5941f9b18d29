"""Figures that say how sure they are."""

from dataclasses import dataclass

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95 % interval."""

    value: float | None
    """None where it is not defined."""
    low: float | None
    """Lower end of the interval; None where there is none."""
    high: float | None
    """Upper end of the interval."""
    num_archs: int
    """Architectures that it is based on."""
    note: str | None = None
    """Why there is no value or no interval, or what was assumed."""
