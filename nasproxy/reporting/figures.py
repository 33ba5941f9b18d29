"""Every figure of the report, described once: the page and the files for papers are drawn from it."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from nasproxy.alignment import Alignment, Indices
from nasproxy.comparing import Comparison, FactorEffect
from nasproxy.formatting import format_estimate, format_number, format_score, format_size
from nasproxy.ranking import Estimate, count_of, pareto_front
from nasproxy.reporting.chart import Axis, Band, Chart, Hover, Intervals, Panel, Points, Steps
from nasproxy.reporting.marks import ARCHS, CEILING, FRONT, RANDOM, TRUTH, Mark, mark_of

COSTS = {"num_params": "parameters", "flops": "FLOPs of a forward pass", "latency": "seconds of a forward pass"}
"""Field of an alignment -> title of its axis."""
MAX_POWERS = 7
"""Powers of ten that are labelled on one axis."""
WIDE = 100
"""From so many times the smallest on, the largest score asks for a logarithmic axis."""


def scatter_chart(comparison: Comparison) -> Chart:
    """Proxy score against true accuracy, one point per architecture; the proxy's top fraction is filled."""
    return Chart(tuple(_scatter_panel(comparison, index) for index in range(len(comparison.rankings))))


def _scatter_panel(comparison: Comparison, index: int) -> Panel:
    ranking, has_accuracies = comparison.rankings[index], comparison.proxies[index].info.has_accuracies
    alignment, order = comparison.alignment, comparison.alignment.order(index)
    has_truth = alignment.truth.is_known
    top, rest = np.split(order, [count_of(ranking.top_fraction, len(order))])
    marks = [_archs(comparison, index, rows[has_truth[rows]], is_top) for is_top, rows in ((False, rest), (True, top))]
    rho = "" if ranking.spearman.value is None else f"ρ = {format_number(ranking.spearman.value)}"
    return Panel(
        name=ranking.label,
        x_axis=Axis("test accuracy on the proxy (%)") if has_accuracies else _score_axis(ranking.metric, marks),
        y_axis=Axis("test accuracy after full training (%)"),
        marks=tuple(marks),
        note=rho,
    )


def _score_axis(metric: str, marks: Sequence[Points]) -> Axis:
    """Of scores of any size, which may differ by orders of magnitude."""
    scores = [score for mark in marks for score in mark.x if score > 0]
    low, high = min(scores, default=0.0), max(scores, default=0.0)
    if len(scores) < sum(len(mark.x) for mark in marks) or high < WIDE * low or not high:
        return Axis(f"{metric} score")
    return _log_axis(f"{metric} score", low, high, margin=1.15)


def _log_axis(title: str, low: float, high: float, *, margin: float) -> Axis:
    return Axis(title, "log", (low / margin, high * margin), round_ticks(low, high))


def _archs(comparison: Comparison, index: int, rows: Indices, is_top: bool) -> Points:
    """Some architectures, by what a proxy and the truth say of each."""
    alignment, has_accuracies = comparison.alignment, comparison.proxies[index].info.has_accuracies
    scores, ranks, true_ranks = (
        alignment.proxies[index].evaluation_means,
        alignment.proxies[index].ranks,
        alignment.true_ranks,
    )
    num_scored, num_true = int(alignment.proxies[index].is_known.sum()), int(alignment.truth.is_known.sum())
    true = alignment.truth.evaluation_means
    hover = []
    for row in rows.tolist():
        score = f"{100 * scores[row]:.1f} %" if has_accuracies else format_score(scores[row])
        hover.append((
            *_describe_arch(alignment, row),
            f"proxy {score} (rank {ranks[row]:.0f} of {num_scored})",
            f"truth {100 * true[row]:.1f} % (rank {true_ranks[row]:.0f} of {num_true})",
        ))  # fmt: skip
    scale = 100 if has_accuracies else 1
    x, y = scale * scores[rows], 100 * true[rows]
    return Points(tuple(x.tolist()), tuple(y.tolist()), tuple(hover), mark_of(index), is_filled=is_top)


def _describe_arch(alignment: Alignment, row: int) -> Hover:
    return alignment.arch_ids[row], *(f"{factor} {values[row]}" for factor, values in alignment.factors.items())


def regret_chart(comparison: Comparison) -> Chart:
    """Accuracy lost against the number of architectures that are trained fully, all proxies and random picks."""
    curves = [("random picks, expected", RANDOM, comparison.random_regret_curve)]
    curves += [
        (ranking.label, mark_of(index), ranking.regret_curve) for index, ranking in enumerate(comparison.rankings)
    ]
    longest = max(len(curve) for _, _, curve in curves)
    panel = Panel(
        name="regret",
        x_axis=_log_axis(f"architectures trained fully{_among(comparison)}", 1, max(longest, 2), margin=1.05),
        y_axis=Axis("accuracy lost (percentage points)", starts_at_zero=True),
        marks=tuple(_regret_steps(name, mark, curve) for name, mark, curve in curves),
    )
    return Chart((panel,), tuple((name, mark) for name, mark, _ in curves), has_lines=True)


def _among(comparison: Comparison) -> str:
    """What a title adds where a figure is not of all architectures and cannot be weighted to them."""
    return "" if comparison.alignment.is_whole else ", of those with a truth"


def _regret_steps(name: str, mark: Mark, curve: Sequence[float]) -> Steps:
    lost = tuple(100 * regret for regret in curve)
    hover = tuple((name, f"{count:,} trained: {loss:.2f} points lost") for count, loss in enumerate(lost, start=1))
    return Steps(tuple(map(float, range(1, len(lost) + 1))), lost, hover, mark)


def forest_chart(comparison: Comparison) -> Chart:
    """ρ over all architectures with its interval, one row per proxy, best method on top; the ceiling as a band."""
    ceiling = comparison.ceiling
    band = () if ceiling.value is None else (Band(ceiling.value, ceiling.low, ceiling.high, CEILING),)
    labelled = _forest_rows(comparison)
    rows = [
        _intervals([rho], [row], [(label, f"ρ = {format_estimate(rho)}")], mark)
        for row, (label, rho, mark) in enumerate(labelled)
        if rho.value is not None
    ]
    panel = Panel(
        name="forest",
        x_axis=Axis("ρ with full training", limits=(-1.05, 1.05), has_zero_line=True,
                    ticks=tuple((value, f"{value:g}".replace("-", "−")) for value in (-1.0, -0.5, 0.0, 0.5, 1.0))),
        y_axis=_rows([label for label, _, _ in labelled], margin=0.6),
        marks=(*band, *rows),
    )  # fmt: skip
    return Chart((panel,))


def _forest_rows(comparison: Comparison) -> list[tuple[str, Estimate, Mark]]:
    """The mean over the sets of each method that has several, then each of its sets."""
    rows = []
    for method in comparison.methods:
        if len(method.members) > 1:
            label = f"{method.label}, mean of {len(method.members)} sets"
            rows.append((label, method.spearman, mark_of(min(method.members))))
        rows += [
            (comparison.rankings[index].label, comparison.rankings[index].spearman, mark_of(index))
            for index in method.members
        ]
    return rows


def factor_chart(comparison: Comparison) -> Chart:
    """What each value of a factor does to the score, in standard deviations: truth on top, proxies below it.

    Empty where the truth cannot judge.
    """
    if not comparison.can_judge:
        return Chart(())
    names = ["truth", *(ranking.label for ranking in comparison.rankings)]
    marks = [TRUTH, *(mark_of(index) for index in range(len(comparison.rankings)))]
    deviation = _true_deviation(comparison.alignment)
    title = f"effect (standard deviations{_among(comparison)})"
    panels = tuple(_factor_panel(effect, names, marks, deviation, title) for effect in comparison.factor_effects)
    return Chart(panels, tuple(zip(names, marks, strict=True)))


def _factor_panel(
    effect: FactorEffect, names: Sequence[str], marks: Sequence[Mark], deviation: float, title: str
) -> Panel:
    lanes = []
    for lane, (name, mark, estimates) in enumerate(zip(names, marks, (effect.truth, *effect.proxies), strict=True)):
        scale = 1 / deviation if lane == 0 and deviation else float(lane > 0)
        known = [(row, estimate) for row, estimate in enumerate(estimates) if estimate.value is not None]
        hover = [
            (name, f"{effect.factor} {effect.values[row]}: {format_estimate(estimate, scale=scale)} sd")
            for row, estimate in known
        ]
        offset = 0.72 * ((lane + 0.5) / len(names) - 0.5)  # a row is 1 high
        lanes.append(
            _intervals([estimate for _, estimate in known], [row + offset for row, _ in known], hover, mark, scale)
        )
    return Panel(
        name=effect.factor,
        x_axis=Axis(title, has_zero_line=True),
        y_axis=_rows([str(value) for value in effect.values], margin=0.5),
        marks=tuple(lanes),
        num_lanes=len(names),
    )


def _true_deviation(alignment: Alignment) -> float:
    """Standard deviation (n) of true accuracies over the architectures that effects of factors are about."""
    return float(alignment.truth.evaluation_means[alignment.common(*range(len(alignment.proxies)))].std())


def _intervals(
    estimates: Sequence[Estimate], rows: Sequence[float], hover: Sequence[Hover], mark: Mark, scale: float = 1
) -> Intervals:
    """Estimates that have a value; one without an interval is a point."""
    values = [estimate.value or 0.0 for estimate in estimates]
    lows = [value if estimate.low is None else estimate.low for value, estimate in zip(values, estimates, strict=True)]
    highs = [
        value if estimate.high is None else estimate.high for value, estimate in zip(values, estimates, strict=True)
    ]
    x, low, high = (tuple(scale * end for end in ends) for ends in (values, lows, highs))
    return Intervals(x, low, high, tuple(map(float, rows)), tuple(hover), mark)


def _rows(labels: Sequence[str], *, margin: float) -> Axis:
    return Axis(
        "", "rows", (len(labels) - 1 + margin, -margin), tuple((float(row), label) for row, label in enumerate(labels))
    )


def cost_chart(comparison: Comparison) -> Chart:
    """True accuracy against size and work, the Pareto front as steps; a cost that nobody knows has no panel."""
    panels = (_cost_panel(comparison.alignment, cost) for cost in COSTS)
    return Chart(tuple(panel for panel in panels if panel is not None))


def _cost_panel(alignment: Alignment, cost: str) -> Panel | None:
    costs = getattr(alignment, cost)
    rows = [row for row in np.flatnonzero(alignment.truth.is_known).tolist() if costs[row]]
    if not rows:
        return None
    x = [float(costs[row]) for row in rows]
    y = [100 * accuracy for accuracy in alignment.truth.evaluation_means[rows].tolist()]
    front = pareto_front(x, y)
    others = [place for place in range(len(rows)) if place not in front]
    marks = [
        Points(
            tuple(x[place] for place in places),
            tuple(y[place] for place in places),
            tuple(_describe_cost(alignment, rows[place]) for place in places),
            mark,
            is_filled,
        )
        for places, mark, is_filled in ((others, ARCHS, False), (front, FRONT, True))
    ]
    steps = Steps(marks[1].x, marks[1].y, (), FRONT)
    return Panel(
        name=COSTS[cost],
        x_axis=_log_axis(COSTS[cost], min(x), max(x), margin=1.15),
        y_axis=Axis("true test accuracy (%)"),
        marks=(marks[0], steps, marks[1]),
    )


def _describe_cost(alignment: Alignment, row: int) -> Hover:
    costs = {title: getattr(alignment, cost)[row] for cost, title in COSTS.items()}
    return (
        *_describe_arch(alignment, row),
        *(f"{title}: {format_score(cost)}" for title, cost in costs.items() if cost),
        f"truth {format_number(100 * float(alignment.truth.evaluation_means[row]), 1)} %",
    )


def round_ticks(low: float, high: float) -> tuple[tuple[float, str], ...]:
    """Ticks of a logarithmic axis whose labels do not touch on a phone.

    Powers of ten; where those are fewer than three, 1, 3, 10, … or else 1, 2, 5, 10, …; both ends, if these are fewer
    than two. Of very many powers every second, third, ….
    """
    lowest, highest = math.floor(math.log10(low)), math.ceil(math.log10(high))
    powers = range(lowest, highest + 1, math.ceil((highest - lowest + 1) / MAX_POWERS))
    for steps in ((1,), (1, 3), (1, 2, 5)):
        ticks = [value for power in powers for step in steps if low <= (value := float(step * 10.0**power)) <= high]
        if len(ticks) > 2:
            break
    return tuple((tick, format_size(tick)) for tick in (ticks if len(ticks) > 1 else sorted({low, high})))


CHARTS: dict[str, Callable[[Comparison], Chart]] = {
    "scatter": scatter_chart,
    "regret": regret_chart,
    "forest": forest_chart,
    "factor-effects": factor_chart,
    "costs": cost_chart,
}
"""Name of a figure, also that of its files -> what describes it."""
