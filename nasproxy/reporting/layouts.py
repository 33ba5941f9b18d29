"""What all figures of the page have in common: layout, axes, labels, in the colours of neither theme.

The page's script adds what depends on the theme (text, grid, hover boxes) and fits the width.
"""

from html import escape
from typing import Any

Figure = dict[str, Any]
"""As Plotly reads it: `data` and `layout`, or a part of them."""


def make_layout(height: int, **axes: Figure) -> Figure:
    """A layout of this height in pixels, without legend or dragging: the page has keys of its own, and scrolls."""
    margin = {"l": 8, "r": 14, "t": 10, "b": 8}
    return {"height": height, "margin": margin, "showlegend": False, "hovermode": "closest", "dragmode": False, **axes}


def make_axis(title: str, **more: Any) -> Figure:
    """An axis whose labels always fit."""
    return {"title": {"text": escape(title), "standoff": 10}, "automargin": True, "zeroline": False, **more}


def wrap_label(name: str, width: int = 16) -> str:
    """A long name on two lines or more, broken at hyphens, so that it leaves room for the plot on a phone."""
    lines = [""]
    for part in escape(name).replace("-", "-\0").split("\0"):
        if lines[-1] and len(lines[-1]) + len(part) > width:
            lines.append("")
        lines[-1] += part
    return join_lines(*lines)


def join_lines(*lines: str) -> str:
    """Lines of one label or hover box."""
    return "<br>".join(lines)
