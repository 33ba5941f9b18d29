"""Figures on the page: a description in, Plotly's JSON out, in the colours of neither theme.

The page's script adds what depends on the theme (text, grid, hover boxes) and fits the width.
"""

import math
from html import escape
from textwrap import wrap
from typing import Any

from nasproxy.reporting.chart import Axis, Band, Hover, Intervals, Panel, Points, Ribbon, Steps
from nasproxy.reporting.marks import REFERENCE_COLOR

PlotlyFigure = dict[str, Any]
"""`data` and `layout`, or a part of them."""
TITLE_WIDTH = 36
"""Characters of a line of an axis' title: what a phone has room for."""


def plotly_figure(panel: Panel) -> PlotlyFigure:
    """One panel, without legend or dragging: the page has keys of its own, and scrolls."""
    shapes = [shape for mark in panel.marks if isinstance(mark, Band) for shape in _band_shapes(mark)]
    layout = {
        "height": _height(panel),
        "margin": {"l": 8, "r": 14, "t": 10, "b": 8},
        "showlegend": False,
        "hovermode": "closest",
        "dragmode": False,
        "xaxis": _axis(panel.x_axis),
        "yaxis": _axis(panel.y_axis),
        "shapes": shapes + _row_lines(panel),
    }
    return {"data": [_trace(mark) for mark in panel.marks if not isinstance(mark, Band)], "layout": layout}


def _height(panel: Panel) -> int:
    """Pixels."""
    return 400 if panel.num_rows is None else 90 + panel.num_rows * max(13 * panel.num_lanes, 34)


def _axis(axis: Axis) -> PlotlyFigure:
    drawn: PlotlyFigure = {
        "title": {"text": "<br>".join(map(escape, wrap(axis.title, TITLE_WIDTH))), "standoff": 10},
        "automargin": True,
        "zeroline": axis.has_zero_line,
    }
    if axis.kind == "log":
        drawn["type"] = "log"
    if axis.kind == "rows":
        drawn["showgrid"] = False
    if axis.limits is not None:
        drawn["range"] = [math.log10(end) if axis.kind == "log" else end for end in axis.limits]
    if axis.ticks is not None:
        drawn["tickvals"] = [value for value, _ in axis.ticks]
        drawn["ticktext"] = [_wrap(text) if axis.kind == "rows" else escape(text) for _, text in axis.ticks]
    if axis.starts_at_zero:
        drawn["rangemode"] = "tozero"
    return drawn


def _trace(mark: Points | Intervals | Steps | Ribbon) -> PlotlyFigure:
    if isinstance(mark, Ribbon):
        return _area(mark)
    trace: PlotlyFigure = {"type": "scatter", "x": list(mark.x), "y": list(mark.y)}
    if mark.hover:
        trace |= {"text": [_hover_text(lines) for lines in mark.hover], "hovertemplate": "%{text}<extra></extra>"}
    else:
        trace |= {"hoverinfo": "skip"}
    color, symbol = mark.mark.color, mark.mark.symbol
    match mark:
        case Points():
            style = {"symbol": symbol, "size": 10} if mark.is_filled else {"symbol": f"{symbol}-open", "size": 8}
            return trace | {"mode": "markers", "marker": {"color": color, "opacity": 0.9, **style}}
        case Intervals():
            bars = {
                "type": "data",
                "symmetric": False,
                "array": [high - value for high, value in zip(mark.high, mark.x, strict=True)],
                "arrayminus": [value - low for low, value in zip(mark.low, mark.x, strict=True)],
                "color": color,
                "thickness": 1.8,
                "width": 0,
            }
            return trace | {"mode": "markers", "error_x": bars, "marker": {"color": color, "symbol": symbol, "size": 9}}
        case Steps():
            line = {"color": color, "dash": mark.mark.dash, "width": 2.2, "shape": "hv"}
            return trace | {"mode": "lines", "line": line, "cliponaxis": False}


def _area(ribbon: Ribbon) -> PlotlyFigure:
    """Its outline: the upper steps from left to right, the lower ones back."""
    x = [value for value in ribbon.x for _ in range(2)][1:]
    high, low = ([value for value in ends for _ in range(2)][:-1] for ends in (ribbon.high, ribbon.low))
    return {
        "type": "scatter",
        "x": x + x[::-1],
        "y": high + low[::-1],
        "mode": "none",
        "fill": "toself",
        "fillcolor": ribbon.mark.color,
        "opacity": 0.15,
        "hoverinfo": "skip",
    }


def _band_shapes(band: Band) -> list[PlotlyFigure]:
    upright = {"xref": "x", "yref": "paper", "y0": 0, "y1": 1, "layer": "below"}
    style = {"color": band.mark.color, "dash": band.mark.dash, "width": 1.5}
    line = upright | {"type": "line", "x0": band.x, "x1": band.x, "line": style}
    if band.low is None or band.high is None:
        return [line]
    area = {"type": "rect", "x0": band.low, "x1": band.high, "line": {"width": 0}}
    return [upright | area | {"fillcolor": band.mark.color, "opacity": 0.22}, line]


def _row_lines(panel: Panel) -> list[PlotlyFigure]:
    """Between rows that have several lanes."""
    count = panel.num_rows if panel.num_rows and panel.num_lanes > 1 else 1
    across = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "layer": "below"}
    style = {"line": {"color": REFERENCE_COLOR, "width": 0.5}}
    return [across | style | {"y0": row + 0.5, "y1": row + 0.5} for row in range(count - 1)]


def _hover_text(lines: Hover) -> str:
    first, *others = map(escape, lines)
    return "<br>".join([f"<b>{first}</b>", *others])


def _wrap(name: str, width: int = 16) -> str:
    """A long name on two lines or more, broken at hyphens, so that it leaves room for the plot on a phone."""
    lines = [""]
    for part in escape(name).replace("-", "-\0").split("\0"):
        if lines[-1] and len(lines[-1]) + len(part) > width:
            lines.append("")
        lines[-1] += part
    return "<br>".join(lines)
