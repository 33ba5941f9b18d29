"""The words that a figure is described in; `interactive` and `printed` draw what is said in them.

Two libraries draw it: Plotly writes no image files without a browser, and those of Matplotlib have no hover.
"""

from dataclasses import dataclass
from typing import Literal

from nasproxy.reporting.marks import Mark

Numbers = tuple[float, ...]
Hover = tuple[str, ...]
"""Lines of a hover box, the first one as its headline."""


@dataclass(frozen=True)
class Points:
    """Architectures, one point each."""

    x: Numbers
    y: Numbers
    hover: tuple[Hover, ...]
    mark: Mark
    is_filled: bool = True
    """Whether they stand out from others of the same mark."""


@dataclass(frozen=True)
class Intervals:
    """Estimates, one bar from low to high each."""

    x: Numbers
    low: Numbers
    high: Numbers
    y: Numbers
    """Rows, counted downwards."""
    hover: tuple[Hover, ...]
    mark: Mark


@dataclass(frozen=True)
class Steps:
    """A curve that stays level up to its next point."""

    x: Numbers
    y: Numbers
    hover: tuple[Hover, ...]
    """Empty: the curve has nothing to say."""
    mark: Mark


@dataclass(frozen=True)
class Ribbon:
    """An area around such a curve, behind it."""

    x: Numbers
    low: Numbers
    high: Numbers
    mark: Mark


@dataclass(frozen=True)
class Band:
    """An upright line with its interval as a band, behind all else."""

    x: float
    low: float | None
    high: float | None
    mark: Mark


@dataclass(frozen=True)
class Axis:
    """One axis of a panel."""

    title: str
    kind: Literal["linear", "log", "rows"] = "linear"
    """Of 'rows', row 0 is on top."""
    limits: tuple[float, float] | None = None
    """None: as the marks need."""
    ticks: tuple[tuple[float, str], ...] | None = None
    """Where, and what is written there; None: as the library thinks best."""
    has_zero_line: bool = False
    starts_at_zero: bool = False


@dataclass(frozen=True)
class Panel:
    """One pair of axes."""

    name: str
    """Where a figure has several panels: what this one is about."""
    x_axis: Axis
    y_axis: Axis
    marks: tuple[Points | Intervals | Steps | Ribbon | Band, ...]
    note: str = ""
    """Beside the name, where there is no table to say it."""
    num_lanes: int = 1
    """Marks one below the other in each row."""

    @property
    def num_rows(self) -> int | None:
        """Rows of a panel of rows; None of others."""
        return len(self.y_axis.ticks or ()) if self.y_axis.kind == "rows" else None


@dataclass(frozen=True)
class Chart:
    """A whole figure; without panels, there is nothing to see."""

    panels: tuple[Panel, ...]
    key: tuple[tuple[str, Mark], ...] = ()
    """What marks mean, where the panels do not say it."""
    has_lines: bool = False
    """Whether the key is one of lines instead of markers."""
