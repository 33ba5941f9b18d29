"""Figures for papers: a description in, PNG, SVG and PDF out, by Matplotlib without pyplot's global state.

Sizes are inches at the width of a column or of a page in a two-column paper; text is 7 to 8 points there.
"""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, NullLocator
from matplotlib.typing import RcKeyType

from nasproxy.reporting.chart import Axis, Band, Chart, Intervals, Panel, Points, Ribbon, Steps
from nasproxy.reporting.marks import REFERENCE_COLOR

COLUMN_WIDTH, PAGE_WIDTH, PAGE_HEIGHT = 3.4, 7.0, 9.0
DOTS_PER_INCH = 300
_MANY = 10_000
"""Scores from here on are written with k, M, G."""
_LONG = 30
"""Characters from which on four names do not fit side by side below a page-wide figure."""
_MARKER_SIZE = 4.5
"""Points."""

_STYLE: dict[RcKeyType, Any] = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "figure.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "grid.linewidth": 0.4,
    "grid.color": "#D9DCE1",
    "axes.axisbelow": True,
    "text.usetex": False,
    "text.parse_math": False,
    "pdf.fonttype": 42,  # TrueType: publishers refuse Type 3
    "svg.hashsalt": "nasproxy",
}
_METADATA: dict[str, dict[str, None]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
"""Format of a file -> what would differ from day to day, or from version to version."""


def write_figure(
    chart: Chart, folder: Path, name: str, write: Callable[[Path, Callable[[Path], object]], None]
) -> None:
    """Writes a figure as NAME.png, NAME.svg and NAME.pdf into a folder that exists; equal input, equal bytes.

    Args:
        chart: what to draw.
        folder: of the files.
        name: of the files.
        write: called with each path and with what writes an image to a path.
    """
    with rc_context(_STYLE):
        figure = printed_figure(chart)
        for suffix in _METADATA:
            write(folder / f"{name}.{suffix}", partial(_save, figure, suffix))


def _save(figure: Figure, suffix: str, path: Path) -> None:
    figure.savefig(path, format=suffix, dpi=DOTS_PER_INCH, metadata=_METADATA[suffix])


def printed_figure(chart: Chart) -> Figure:
    """All panels in a grid, with the key below."""
    count = len(chart.panels)
    columns = count if count < 3 else 2 if count == 4 else 3
    rows = math.ceil(count / columns)
    heights = [max(map(_height, chart.panels[row * columns : (row + 1) * columns])) for row in range(rows)]
    key_columns = 2 if columns == 1 or max((len(name) for name, _ in chart.key), default=0) > _LONG else 4
    key_height = 0.15 * math.ceil(len(chart.key) / key_columns)
    size = (COLUMN_WIDTH if columns == 1 else PAGE_WIDTH, min(sum(heights) + key_height, PAGE_HEIGHT))
    figure = Figure(figsize=size, layout="constrained")
    shared = _shared_title(chart)
    grid = figure.subplots(rows, columns, squeeze=False, sharey=shared is not None, height_ratios=heights)
    for panel, axes in zip(chart.panels, grid.flat, strict=False):
        _draw_panel(axes, panel, has_title=count > 1, has_y_title=shared is None)
    for axes in grid.flat[count:]:
        axes.set_visible(False)
    if shared is not None:
        figure.supylabel(shared)
    if chart.key:
        columns_needed = math.ceil(len(chart.key) / math.ceil(len(chart.key) / key_columns))
        figure.legend(handles=_key(chart), loc="outside lower center", ncols=columns_needed, handlelength=2.6)
    return figure


def _height(panel: Panel) -> float:
    return 2.4 if panel.num_rows is None else 0.75 + panel.num_rows * max(0.09 * panel.num_lanes, 0.25)


def _shared_title(chart: Chart) -> str | None:
    """Of the vertical axis, where several panels have the same."""
    titles = {panel.y_axis.title for panel in chart.panels if panel.y_axis.kind != "rows"}
    return titles.pop() if len(titles) == 1 and len(chart.panels) > 1 else None


def _draw_panel(axes: Axes, panel: Panel, *, has_title: bool, has_y_title: bool) -> None:
    for mark in panel.marks:
        _draw(axes, mark)
    _set_axis(axes, panel.x_axis, "x")
    _set_axis(axes, panel.y_axis, "y")
    if panel.num_rows is not None:
        axes.grid(visible=False, axis="y")
        if panel.num_lanes > 1:
            for row in range(panel.num_rows - 1):
                axes.axhline(row + 0.5, color="#D9DCE1", linewidth=0.4, zorder=0.5)
    if has_title:
        axes.set_title(f"{panel.name}  {panel.note}".rstrip(), loc="left")
    if not has_y_title:
        axes.set_ylabel("")


def _draw(axes: Axes, mark: Points | Intervals | Steps | Ribbon | Band) -> None:
    color, marker = mark.mark.color, mark.mark.marker
    match mark:
        case Points():
            face = color if mark.is_filled else "none"
            axes.scatter(mark.x, mark.y, s=18, marker=marker, facecolors=face, edgecolors=color, linewidths=0.8)
        case Intervals():
            axes.hlines(mark.y, mark.low, mark.high, colors=color, linewidth=1.2)
            axes.scatter(mark.x, mark.y, s=_MARKER_SIZE**2, marker=marker, color=color, zorder=2.1)
        case Steps():
            axes.step(mark.x, mark.y, where="post", color=color, linestyle=mark.mark.linestyle, linewidth=1.3)
        case Ribbon():
            axes.fill_between(mark.x, mark.low, mark.high, step="post", color=color, alpha=0.15, linewidth=0)
        case Band():
            axes.axvline(mark.x, color=color, linestyle=mark.mark.linestyle, linewidth=0.9, zorder=0.8)
            if mark.low is not None and mark.high is not None:
                axes.axvspan(mark.low, mark.high, color=color, alpha=0.22, linewidth=0, zorder=0.7)


def _set_axis(axes: Axes, axis: Axis, which: str) -> None:
    """`which` is 'x' or 'y'."""
    side = getattr(axes, f"{which}axis")
    side.set_label_text(axis.title)
    if axis.kind == "log":
        getattr(axes, f"set_{which}scale")("log")
        side.set_minor_locator(NullLocator())
    if axis.ticks is not None:
        side.set_ticks([value for value, _ in axis.ticks], [text for _, text in axis.ticks])
    elif max(map(abs, side.get_view_interval()), default=0) >= _MANY:
        side.set_major_formatter(EngFormatter(sep=""))
    if axis.limits is not None:
        getattr(axes, f"set_{which}lim")(axis.limits)
    if axis.starts_at_zero:
        getattr(axes, f"set_{which}lim")(0)
    if axis.has_zero_line:
        axes.axvline(0, color=REFERENCE_COLOR, linewidth=0.6, zorder=0.6)


def _key(chart: Chart) -> list[Line2D]:
    if chart.has_lines:
        return [
            Line2D([], [], color=m.color, linestyle=m.linestyle, linewidth=1.3, label=name) for name, m in chart.key
        ]
    return [
        Line2D([], [], color=m.color, marker=m.marker, markersize=_MARKER_SIZE, linewidth=1.2, label=name)
        for name, m in chart.key
    ]
