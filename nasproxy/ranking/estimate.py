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
    p_value: float | None = None
    """Two-sided, of 'no relation'; None where it is not tested."""
    note: str | None = None
    """Why there is no value or no interval, or what was assumed."""


@dataclass(frozen=True)
class Difference:
    """How much better one proxy ranks than another: the first one's rho minus the second one's."""

    value: float | None
    low: float | None
    high: float | None
    num_archs: int
    """Architectures that both proxies and the truth scored."""
    p_value: float | None
    """Two-sided, of 'equally good'."""
    note: str | None = None
