"""The figure of replayed searches: regret against cost."""

from collections.abc import Sequence

import numpy as np

from nasproxy.replaying import Replay, Replays
from nasproxy.reporting.chart import Axis, Chart, Numbers, Panel, Ribbon, Steps
from nasproxy.reporting.figures import round_ticks
from nasproxy.reporting.marks import mark_of

FLOOR = 0.02
"""Percentage points: less is drawn as so much, because the axis is logarithmic."""


def replay_chart(replays: Replays) -> Chart:
    """The means of all strategies in one panel; then each strategy with the band of 5 to 95 % of its repetitions."""
    marks = {replay: mark_of(number) for number, replay in enumerate(replays)}
    strategies = dict.fromkeys(replay.strategy for replay in replays)
    curves = {replay: Steps(_numbers(replay.costs), _points(replay.mean), (), mark) for replay, mark in marks.items()}
    panels = [_panel("mean of all", list(curves.values()), replays)] if len(strategies) > 1 else []
    for strategy in strategies:
        shown = [replay for replay in replays if replay.strategy == strategy]
        bands = [_ribbon(replay, curves[replay]) for replay in shown if replay.num_repetitions > 1]
        panels.append(_panel(strategy, [*bands, *(curves[replay] for replay in shown)], replays))
    return Chart(tuple(panels), tuple((replay.label, mark) for replay, mark in marks.items()), has_lines=True)


def _panel(name: str, marks: Sequence[Steps | Ribbon], replays: Replays) -> Panel:
    low, high = min(replay.costs[0] for replay in replays), max(replay.costs[-1] for replay in replays)
    limits = (float(low) / 1.05, 1.05 * max(float(high), 2 * float(low)))
    worst = max(float(_clipped(replay.band()[1]).max()) for replay in replays)
    return Panel(
        name=name,
        x_axis=Axis(f"cost ({replays.cost_unit})", "log", limits, round_ticks(*limits)),
        y_axis=Axis("accuracy lost (percentage points)", "log", (FLOOR, 1.1 * worst), round_ticks(FLOOR, 1.1 * worst)),
        marks=tuple(marks),
    )


def _ribbon(replay: Replay, curve: Steps) -> Ribbon:
    low, high = replay.band()
    return Ribbon(curve.x, _points(low), _points(high), curve.mark)


def _points(regrets: np.typing.NDArray[np.floating]) -> Numbers:
    return _numbers(_clipped(regrets))


def _clipped(regrets: np.typing.NDArray[np.floating]) -> np.typing.NDArray[np.floating]:
    points: np.typing.NDArray[np.floating] = np.maximum(100 * regrets, FLOOR)
    return points


def _numbers(values: np.typing.NDArray[np.floating]) -> Numbers:
    return tuple(map(float, values))
