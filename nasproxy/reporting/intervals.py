"""Figures of estimates and their intervals, as Plotly reads them: the forest plot and the effects of factors."""

from collections.abc import Sequence
from html import escape

from nasproxy.comparing import Comparison, FactorEffect
from nasproxy.ranking import Estimate
from nasproxy.reporting.layouts import Figure, make_axis, make_layout, wrap_label
from nasproxy.reporting.marks import REFERENCE_COLOR, Mark, mark_of
from nasproxy.reporting.numerals import format_estimate
from nasproxy.reporting.points import true_deviation


def forest_figure(comparison: Comparison) -> Figure:
    """ρ over all architectures with its interval, one row a proxy, best on top; the ceiling as a band."""
    rows = [(index, ranking) for index, ranking in enumerate(comparison.rankings) if ranking.spearman.value is not None]
    traces = [
        _interval_trace(mark_of(index), [ranking.spearman], [-index], f"<b>{escape(ranking.label)}</b><br>ρ = ", 1)
        for index, ranking in rows
    ]
    count = len(comparison.rankings)
    layout = make_layout(
        110 + 34 * count,
        xaxis=make_axis("Spearman’s ρ", range=[-1.05, 1.05], zeroline=True, dtick=0.5),
        yaxis=make_axis(
            "",
            range=[0.6 - count, 0.6],
            tickvals=[-index for index in range(count)],
            ticktext=[wrap_label(ranking.label) for ranking in comparison.rankings],
            showgrid=False,
            zeroline=False,
        ),
    )
    return {"data": traces, "layout": layout | {"shapes": _ceiling_shapes(comparison.ceiling)}}


def _ceiling_shapes(ceiling: Estimate) -> list[Figure]:
    if ceiling.value is None:
        return []
    whole = {"xref": "x", "yref": "paper", "y0": 0, "y1": 1, "layer": "below"}
    line = whole | {
        "type": "line",
        "x0": ceiling.value,
        "x1": ceiling.value,
        "line": {"color": REFERENCE_COLOR, "dash": "dash", "width": 1.5},
    }
    if ceiling.low is None or ceiling.high is None:
        return [line]
    band = {"type": "rect", "x0": ceiling.low, "x1": ceiling.high, "line": {"width": 0}}
    return [whole | band | {"fillcolor": REFERENCE_COLOR, "opacity": 0.22}, line]


def _interval_trace(
    mark: Mark, estimates: Sequence[Estimate], rows: Sequence[float], lead: str, scale: float
) -> Figure:
    values = [scale * (estimate.value or 0.0) for estimate in estimates]
    highs = [scale * _or(estimate.high, estimate.value) for estimate in estimates]
    lows = [scale * _or(estimate.low, estimate.value) for estimate in estimates]
    return {
        "type": "scatter",
        "mode": "markers",
        "x": values,
        "y": list(rows),
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [high - value for high, value in zip(highs, values, strict=True)],
            "arrayminus": [value - low for low, value in zip(lows, values, strict=True)],
            "color": mark.color,
            "thickness": 1.8,
            "width": 0,
        },
        "marker": {"color": mark.color, "symbol": mark.symbol, "size": 9},
        "text": [lead + format_estimate(estimate) for estimate in estimates],
        "hovertemplate": "%{text}<extra></extra>",
    }


def _or(value: float | None, otherwise: float | None) -> float:
    return value if value is not None else otherwise or 0.0


def factor_figure(comparison: Comparison, effect: FactorEffect) -> Figure:
    """What each value of a factor does to the score, in standard deviations: truth on top, proxies below it."""
    deviation = true_deviation(comparison)
    truth_mark = Mark(REFERENCE_COLOR, "diamond-wide", "d", "", "solid", "solid")
    sources = [(truth_mark, "truth", effect.truth, 1 / deviation if deviation else 0.0)]
    for index, (ranking, estimates) in enumerate(zip(comparison.rankings, effect.proxies, strict=True)):
        sources.append((mark_of(index), ranking.label, estimates, 1.0))
    traces = []
    for place, (mark, name, estimates, scale) in enumerate(sources):
        known = [(row, estimate) for row, estimate in enumerate(estimates) if estimate.value is not None]
        offset = _spread(place, len(sources))
        rows = [-row - offset for row, _ in known]
        traces.append(_interval_trace(mark, [estimate for _, estimate in known], rows, "", scale))
        traces[-1]["text"] = [
            f"<b>{escape(name)}</b><br>{escape(effect.factor)} {escape(str(effect.values[row]))}: "
            f"{_effect_text(estimate, scale)}"
            for row, estimate in known
        ]
    return {"data": traces, "layout": _factor_layout(effect, len(sources))}


def _effect_text(estimate: Estimate, scale: float) -> str:
    return f"{format_estimate(estimate, scale=scale)} sd"


def _spread(place: int, count: int) -> float:
    """Where the `place`-th of `count` sources lies around its value's row, which is 1 high: within ±0.36."""
    return 0.72 * ((place + 0.5) / count - 0.5)


def _factor_layout(effect: FactorEffect, num_sources: int) -> Figure:
    count = len(effect.values)
    layout = make_layout(
        78 + count * max(13 * num_sources, 34),
        xaxis=make_axis("effect (standard deviations)", zeroline=True),
        yaxis=make_axis(
            "",
            range=[0.5 - count, 0.5],
            tickvals=[-row for row in range(count)],
            ticktext=[wrap_label(str(value)) for value in effect.values],
            showgrid=False,
            zeroline=False,
        ),
    )
    lines = [
        {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": -row - 0.5, "y1": -row - 0.5, "layer": "below"}
        | {"line": {"color": REFERENCE_COLOR, "width": 0.5}}
        for row in range(count - 1)
    ]
    return layout | {"shapes": lines}
