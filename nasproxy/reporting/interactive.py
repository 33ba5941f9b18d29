"""Figures of architectures and of budgets for the page, as Plotly reads them."""

from collections.abc import Sequence
from html import escape

from nasproxy.comparing import Comparison
from nasproxy.reporting.layouts import Figure, join_lines, make_axis, make_layout
from nasproxy.reporting.marks import REFERENCE_COLOR, Mark, mark_of
from nasproxy.reporting.numerals import format_number, format_score
from nasproxy.reporting.points import Point, is_trained, pareto_front, points_of, true_trials
from nasproxy.study import Trial

COSTS = {"num_params": "parameters", "flops": "FLOPs of a forward pass"}
"""Field of a trial -> title of its axis."""


def scatter_figure(comparison: Comparison, index: int) -> Figure:
    """Proxy score against true accuracy, one point an architecture; the proxy's top fraction is filled."""
    trained = is_trained(comparison.proxies[index])
    mark = mark_of(index)
    points = points_of(comparison, index)
    traces = [
        _points_trace([point for point in points if point.is_top is is_top], mark, trained, is_top)
        for is_top in (False, True)
    ]
    by = "test accuracy on the proxy (%)" if trained else f"{comparison.rankings[index].by} score"
    layout = make_layout(460, xaxis=make_axis(by), yaxis=make_axis("test accuracy after full training (%)"))
    return {"data": traces, "layout": layout}


def _points_trace(points: Sequence[Point], mark: Mark, trained: bool, is_top: bool) -> Figure:
    symbol = mark.symbol if is_top else f"{mark.symbol}-open"
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [100 * point.score if trained else point.score for point in points],
        "y": [100 * point.true_accuracy for point in points],
        "text": [_describe(point, trained) for point in points],
        "hovertemplate": "%{text}<extra></extra>",
        "marker": {"color": mark.color, "symbol": symbol, "size": 10 if is_top else 8, "opacity": 0.9},
    }


def _describe(point: Point, trained: bool) -> str:
    score = f"{100 * point.score:.1f} %" if trained else format_score(point.score)
    return join_lines(
        f"<b>{escape(point.arch_id)}</b>",
        *_factor_lines(point),
        f"proxy {score} (rank {point.proxy_rank})",
        f"truth {100 * point.true_accuracy:.1f} % (rank {point.true_rank})",
    )


def _factor_lines(arch: Point | Trial) -> list[str]:
    return [f"{escape(factor)} {escape(str(value))}" for factor, value in arch.factors.items()]


def regret_figure(comparison: Comparison) -> Figure:
    """Accuracy lost against the number of architectures that are trained fully, all proxies and random picks."""
    traces = [
        _curve(comparison.random_regret_curve, "random", REFERENCE_COLOR, "dot", 2),
        *(
            _curve(ranking.regret_curve, ranking.label, mark_of(index).color, mark_of(index).dash, 2.2)
            for index, ranking in enumerate(comparison.rankings)
        ),
    ]
    longest = max((len(trace["x"]) for trace in traces), default=1)
    layout = make_layout(
        380,
        xaxis=make_axis("architectures trained fully", type="log", **_counting_ticks(longest)),
        yaxis=make_axis("accuracy lost (percentage points)", rangemode="tozero"),
    )
    return {"data": traces, "layout": layout | {"hovermode": "closest"}}


def _curve(regrets: Sequence[float], name: str, color: str, dash: str, width: float) -> Figure:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": escape(name),
        "x": list(range(1, len(regrets) + 1)),
        "y": [100 * regret for regret in regrets],
        "line": {"color": color, "dash": dash, "width": width, "shape": "hv"},
        "cliponaxis": False,
        "hovertemplate": f"<b>{escape(name)}</b><br>%{{x}} trained: %{{y:.2f}} points lost<extra></extra>",
    }


def _counting_ticks(longest: int) -> Figure:
    """1, 2, 5, 10, … up to the longest curve: a logarithmic axis of counts has no use for 1.5."""
    ticks = [base * 10**power for power in range(6) for base in (1, 2, 5) if base * 10**power <= longest]
    return {"tickvals": ticks, "ticktext": [f"{tick:,}" for tick in ticks]}


def cost_figure(comparison: Comparison, cost: str) -> Figure | None:
    """True accuracy against a key of `COSTS`, the Pareto front as steps; None where no trial knows its cost."""
    known = [trial for trial in true_trials(comparison).values() if getattr(trial, cost)]
    if not known:
        return None
    costs = [float(getattr(trial, cost)) for trial in known]
    accuracies = [100 * trial.test_accuracy for trial in known]
    front = pareto_front(costs, accuracies)
    everything = {
        "type": "scatter",
        "mode": "markers",
        "x": costs,
        "y": accuracies,
        "text": [_describe_cost(trial) for trial in known],
        "hovertemplate": "%{text}<extra></extra>",
        "marker": {"color": REFERENCE_COLOR, "size": 8, "opacity": 0.7},
    }
    steps = {
        "type": "scatter",
        "mode": "lines+markers",
        "x": [costs[index] for index in front],
        "y": [accuracies[index] for index in front],
        "line": {"color": mark_of(0).color, "width": 2, "shape": "hv"},
        "marker": {"color": mark_of(0).color, "size": 9},
        "hoverinfo": "skip",
    }
    layout = make_layout(
        380,
        xaxis=make_axis(COSTS[cost], type="log", dtick=1 if _spans_decades(costs) else "D2"),
        yaxis=make_axis("true test accuracy (%)"),
    )
    return {"data": [everything, steps], "layout": layout}


def _spans_decades(costs: Sequence[float]) -> bool:
    return max(costs) > 100 * min(costs)


def _describe_cost(trial: Trial) -> str:
    return join_lines(
        f"<b>{escape(trial.arch_id)}</b>",
        *_factor_lines(trial),
        *(f"{title}: {format_score(getattr(trial, cost))}" for cost, title in COSTS.items() if getattr(trial, cost)),
        f"truth {format_number(100 * trial.test_accuracy, 1)} %",
    )
