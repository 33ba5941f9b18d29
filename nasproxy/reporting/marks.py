"""What a proxy looks like: the same colour, marker and dash in every figure and table of a report."""

from dataclasses import dataclass
from typing import Any

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D46")
"""Okabe & Ito's palette without black and yellow, which vanish on a dark or a light page, and with a brown."""

SHAPES = (
    ("circle", "o", "M6 1.5a4.5 4.5 0 1 1 0 9a4.5 4.5 0 1 1 0-9Z"),
    ("square", "s", "M2 2h8v8H2Z"),
    ("diamond", "D", "M6 .5L11.5 6L6 11.5L.5 6Z"),
    ("triangle-up", "^", "M6 1L11.5 11H.5Z"),
    ("triangle-down", "v", "M6 11L11.5 1H.5Z"),
    ("cross", "P", "M4 1h4v3h3v4H8v3H4V8H1V4h3Z"),
    ("x", "X", "M3 .5L6 3.5L9 .5L11.5 3L8.5 6L11.5 9L9 11.5L6 8.5L3 11.5L.5 9L3.5 6L.5 3Z"),
    ("pentagon", "p", "M6 .5L11.5 4.7L9.4 11.3H2.6L.5 4.7Z"),
)
"""Names in Plotly and Matplotlib, and the outline on an SVG canvas of 12x12."""

DASHES: tuple[tuple[str, Any], ...] = (
    ("solid", "solid"),
    ("dash", (0, (5, 2))),
    ("dot", (0, (1.2, 1.6))),
    ("dashdot", (0, (6, 2, 1.2, 2))),
    ("longdash", (0, (9, 3))),
)
"""In Plotly and Matplotlib."""

REFERENCE_COLOR = "#80868F"
"""Of the truth, of the ceiling and of random picks: legible on light and on dark."""


@dataclass(frozen=True)
class Mark:
    """How one proxy is drawn."""

    color: str
    symbol: str
    """Marker in Plotly."""
    marker: str
    """Marker in Matplotlib."""
    outline: str
    """Marker as an SVG path."""
    dash: str
    """Line in Plotly."""
    linestyle: Any
    """Line in Matplotlib."""


def mark_of(index: int) -> Mark:
    """The mark of the proxy at `index` of a comparison; the first 280 differ."""
    return Mark(COLORS[index % len(COLORS)], *SHAPES[index % len(SHAPES)], *DASHES[index % len(DASHES)])


_DIAMOND = ("diamond-wide", "d", "M6 2.5L11.5 6L6 9.5L.5 6Z")
TRUTH = Mark(REFERENCE_COLOR, *_DIAMOND, *DASHES[0])
CEILING = Mark(REFERENCE_COLOR, *_DIAMOND, *DASHES[1])
RANDOM = Mark(REFERENCE_COLOR, *_DIAMOND, *DASHES[2])
ARCHS = Mark(REFERENCE_COLOR, *SHAPES[0], *DASHES[0])
"""Architectures, whatever proxies say of them."""
FRONT = Mark(COLORS[0], *SHAPES[0], *DASHES[0])
"""Architectures of the Pareto front, and its steps."""
