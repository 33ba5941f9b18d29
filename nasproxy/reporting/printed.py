"""Figures for papers: Matplotlib on the Agg canvas, without pyplot's global state.

Sizes are inches at the width of a column or of a page in a two-column paper; text is 7 to 8 points there.
"""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter
from matplotlib.typing import RcKeyType

from nasproxy.comparing import Comparison, FactorEffect
from nasproxy.ranking import Estimate
from nasproxy.reporting.marks import REFERENCE_COLOR, mark_of
from nasproxy.reporting.numerals import format_number
from nasproxy.reporting.points import is_trained, points_of, true_deviation

COLUMN_WIDTH, PAGE_WIDTH, PAGE_HEIGHT = 3.4, 7.0, 9.0
DOTS_PER_INCH = 300
_MANY = 10_000
"""Scores from here on are written with k, M, G."""

_STYLE: dict[RcKeyType, Any] = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "grid.linewidth": 0.4,
    "grid.color": "#D9DCE1",
    "axes.axisbelow": True,
    "text.usetex": False,
    "text.parse_math": False,
}


def write_figures(
    comparison: Comparison, folder: Path, write: Callable[[Path, Callable[[Path], object]], None]
) -> None:
    """Writes all figures as PNG into a folder that exists.

    Args:
        comparison: what to draw.
        folder: of the figures.
        write: called with each path and with what writes an image to a path.
    """
    for name, draw in FIGURES.items():
        with rc_context(_STYLE):
            figure = draw(comparison)
            write(folder / f"{name}.png", partial(_save, figure))


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})


def scatter_grid(comparison: Comparison) -> Figure:
    """Proxy against true accuracy, a panel a proxy; the proxy's top fraction is filled."""
    count = len(comparison.rankings)
    columns = count if count < 3 else 2 if count == 4 else 3
    rows = math.ceil(count / columns)
    figure = _figure(COLUMN_WIDTH if columns == 1 else PAGE_WIDTH, 2.3 * rows if columns > 1 else 2.8)
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True).flat
    for index, axes in zip(range(count), panels, strict=False):
        _scatter_panel(axes, comparison, index)
    for axes in figure.axes[count:]:
        axes.set_visible(False)
    figure.supylabel("test accuracy after full training (%)", fontsize=8)
    return figure


def _scatter_panel(axes: Axes, comparison: Comparison, index: int) -> None:
    ranking, mark = comparison.rankings[index], mark_of(index)
    trained = is_trained(comparison.proxies[index])
    scale = 100 if trained else 1
    points = points_of(comparison, index)
    for is_top in (False, True):
        chosen = [point for point in points if point.is_top is is_top]
        axes.scatter(
            [scale * point.score for point in chosen],
            [100 * point.true_accuracy for point in chosen],
            s=18,
            marker=mark.marker,
            facecolors=mark.color if is_top else "none",
            edgecolors=mark.color,
            linewidths=0.8,
        )
    rho = "" if ranking.spearman.value is None else f"  ρ = {format_number(ranking.spearman.value)}"
    axes.set_title(f"{ranking.label}{rho}", loc="left")
    axes.set_xlabel("proxy test accuracy (%)" if trained else ranking.by)
    if max((abs(point.score) for point in points), default=0) >= _MANY:
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.grid(visible=True)


def forest_plot(comparison: Comparison) -> Figure:
    """ρ over all architectures with its interval, best on top; the ceiling as a band."""
    count = len(comparison.rankings)
    figure = _figure(COLUMN_WIDTH, 0.8 + 0.24 * count)
    axes = figure.subplots()
    _draw_ceiling(axes, comparison.ceiling)
    for index, ranking in enumerate(comparison.rankings):
        _draw_interval(axes, index, ranking.spearman, index)
    axes.axvline(0, color=REFERENCE_COLOR, linewidth=0.6)
    axes.set_yticks(range(count), [ranking.label for ranking in comparison.rankings])
    axes.set(xlim=(-1.05, 1.05), ylim=(count - 0.4, -0.6), xlabel="Spearman’s ρ with full training")
    axes.grid(visible=True, axis="x")
    return figure


def _draw_ceiling(axes: Axes, ceiling: Estimate) -> None:
    if ceiling.value is None:
        return
    axes.axvline(ceiling.value, color=REFERENCE_COLOR, linestyle="--", linewidth=0.9)
    if ceiling.low is not None and ceiling.high is not None:
        axes.axvspan(ceiling.low, ceiling.high, color=REFERENCE_COLOR, alpha=0.22, linewidth=0)


def _draw_interval(axes: Axes, index: int, estimate: Estimate, row: float) -> None:
    mark = mark_of(index)
    _draw_estimate(axes, estimate, row, color=mark.color, marker=mark.marker)


def _draw_estimate(axes: Axes, estimate: Estimate, row: float, *, color: str, marker: str, scale: float = 1) -> None:
    if estimate.value is None:
        return
    if estimate.low is not None and estimate.high is not None:
        axes.plot([scale * estimate.low, scale * estimate.high], [row, row], color=color, linewidth=1.2)
    axes.plot([scale * estimate.value], [row], color=color, marker=marker, markersize=4.5, linestyle="none")


def regret_plot(comparison: Comparison) -> Figure:
    """Accuracy lost against the number of architectures that are trained fully, beside random picks."""
    figure = _figure(COLUMN_WIDTH, 2.3 + 0.15 * math.ceil((len(comparison.rankings) + 1) / 2))
    axes = figure.subplots()
    random = comparison.random_regret_curve
    _draw_curve(axes, random, label="random", color=REFERENCE_COLOR, linestyle="dotted")
    for index, ranking in enumerate(comparison.rankings):
        mark = mark_of(index)
        _draw_curve(axes, ranking.regret_curve, label=ranking.label, color=mark.color, linestyle=mark.linestyle)
    longest = max([len(random), *(len(ranking.regret_curve) for ranking in comparison.rankings), 2])
    ticks = [base * 10**power for power in range(6) for base in (1, 2, 5) if base * 10**power <= longest]
    axes.set_xscale("log")
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set(xlabel="architectures trained fully", ylabel="accuracy lost (points)", xlim=(0.95, longest * 1.05))
    axes.set_ylim(bottom=0)
    axes.grid(visible=True)
    figure.legend(loc="outside lower center", ncols=2, handlelength=2.6)
    return figure


def _draw_curve(axes: Axes, regrets: tuple[float, ...], **style: Any) -> None:
    axes.step(range(1, len(regrets) + 1), [100 * regret for regret in regrets], where="post", linewidth=1.3, **style)


def factor_effects(comparison: Comparison) -> Figure:
    """What each value of each factor does to the score, in standard deviations: truth beside proxies."""
    effects = comparison.factor_effects
    columns = min(max(len(effects), 1), 3)
    rows = max(math.ceil(len(effects) / columns), 1)
    most = max((len(effect.values) for effect in effects), default=1)
    height = rows * (0.7 + most * max(0.09 * (len(comparison.rankings) + 1), 0.28)) + 0.4
    figure = _figure(PAGE_WIDTH if columns > 1 else COLUMN_WIDTH, min(height, PAGE_HEIGHT))
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for effect, axes in zip(effects, panels, strict=False):
        _factor_panel(axes, comparison, effect)
    for axes in figure.axes[len(effects) :]:
        axes.set_visible(False)
    _proxy_legend(figure, comparison)
    return figure


def _factor_panel(axes: Axes, comparison: Comparison, effect: FactorEffect) -> None:
    count = len(comparison.rankings) + 1
    deviation = true_deviation(comparison)
    for row in range(len(effect.values)):
        if deviation:
            top = row - 0.36 * (1 - 1 / count)
            _draw_estimate(axes, effect.truth[row], top, color=REFERENCE_COLOR, marker="d", scale=1 / deviation)
        for index, estimates in enumerate(effect.proxies):
            _draw_interval(axes, index, estimates[row], row + 0.72 * ((index + 1.5) / count - 0.5))
    axes.axvline(0, color=REFERENCE_COLOR, linewidth=0.6)
    axes.set_yticks(range(len(effect.values)), [str(value) for value in effect.values])
    axes.set(ylim=(len(effect.values) - 0.5, -0.5), xlabel="effect (standard deviations)")
    axes.set_title(effect.factor, loc="left")
    axes.grid(visible=True, axis="x")


def _proxy_legend(figure: Figure, comparison: Comparison) -> None:
    handles: list[Any] = []
    axes = figure.axes[0]
    names = [("truth", REFERENCE_COLOR, "d")]
    names += [(r.label, mark_of(i).color, mark_of(i).marker) for i, r in enumerate(comparison.rankings)]
    for name, color, marker in names:
        handles += axes.plot([], [], color=color, marker=marker, markersize=4.5, linewidth=1.2, label=name)
    figure.legend(
        handles=handles, loc="outside lower center", ncols=math.ceil(len(handles) / math.ceil(len(handles) / 4))
    )


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


FIGURES: dict[str, Callable[[Comparison], Figure]] = {
    "scatter": scatter_grid,
    "forest": forest_plot,
    "regret": regret_plot,
    "factor-effects": factor_effects,
}
"""File name without suffix -> what draws it."""
