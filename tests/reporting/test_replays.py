"""The figure of replayed searches, on the page and in print."""

from pathlib import Path

import numpy as np
import plotly.graph_objects
import pytest
from matplotlib.collections import FillBetweenPolyCollection

from nasproxy.replaying import Fidelity, Replays, replay
from nasproxy.reporting import write_replay_figure
from nasproxy.reporting.chart import Ribbon, Steps
from nasproxy.reporting.interactive import plotly_figure
from nasproxy.reporting.printed import printed_figure
from nasproxy.reporting.replays import FLOOR, replay_chart
from tests.replaying.test_replay import SCORES, SEEDED, SPACE, TRUTH


@pytest.fixture(scope="module")
def replays() -> Replays:
    cheap, dear = Fidelity(SCORES, 12), Fidelity(SEEDED, 200)
    searches = [("random", [cheap]), ("random", [dear]), ("grid", [cheap]), ("halving", [cheap, dear])]
    return Replays(
        tuple(replay(SPACE, used, TRUTH, strategy, num_archs=6, repetitions=9) for strategy, used in searches),
        cost_unit="epochs",
    )


def test_all_means_are_in_one_panel_and_bands_in_one_for_each_strategy(replays: Replays) -> None:
    chart = replay_chart(replays)
    assert [panel.name for panel in chart.panels] == ["mean of all", "random", "grid", "halving"]
    kinds = [[type(mark) for mark in panel.marks] for panel in chart.panels]
    assert kinds == [[Steps] * 4, [Ribbon, Ribbon, Steps, Steps], [Steps], [Ribbon, Steps]]
    assert [name for name, _ in chart.key] == [item.label for item in replays]
    curve, ribbon = chart.panels[0].marks[0], chart.panels[1].marks[0]
    assert isinstance(curve, Steps)
    assert isinstance(ribbon, Ribbon)
    assert curve.x == ribbon.x == (12, 24, 36, 48, 60, 72)
    assert curve.y == pytest.approx(np.maximum(100 * replays[0].mean, FLOOR))
    for drawn, true in zip((ribbon.low, ribbon.high), replays[0].band(), strict=True):
        assert drawn == pytest.approx(np.maximum(100 * true, FLOOR))


def test_both_drawings_fill_the_same_area(replays: Replays) -> None:
    chart = replay_chart(replays)
    axes = printed_figure(chart).axes[1]
    ribbon = chart.panels[1].marks[0]
    assert isinstance(ribbon, Ribbon)
    (filled, _) = (item for item in axes.collections if isinstance(item, FillBetweenPolyCollection))
    corners = {(x, y) for x, y in np.asarray(filled.get_paths()[0].vertices).tolist()}
    trace = plotly.graph_objects.Figure(plotly_figure(chart.panels[1])).data[0]
    assert trace.fill == "toself"
    assert set(zip(trace.x, trace.y, strict=True)) <= corners
    assert {(ribbon.x[2], ribbon.low[1]), (ribbon.x[2], ribbon.high[2])} <= corners


def test_files_of_the_figure_are_the_same_on_a_second_run(replays: Replays, tmp_path: Path) -> None:
    written = []
    for _ in range(2):
        write_replay_figure(Replays(replays.items[:1]), tmp_path)
        written.append({path.name: path.read_bytes() for path in tmp_path.iterdir()})
    assert written[0] == written[1]
    assert set(written[0]) == {"regret.png", "regret.svg", "regret.pdf"}
