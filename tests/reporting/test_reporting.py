"""The report of a comparison: words, tables, figures for papers, and the text of the page (see test_report_page)."""

import base64
import gzip
import hashlib
import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects
import pytest
from matplotlib.collections import LineCollection
from PIL import Image

from nasproxy.choosing import choose
from nasproxy.comparing import PARTIAL, Comparison, compare_trials
from nasproxy.errors import InputError
from nasproxy.files import write_atomically
from nasproxy.formatting import format_estimate
from nasproxy.ranking import Diagnosis, Difference, Estimate, pareto_front
from nasproxy.reporting import RunRecord, describe_findings, table_latex, table_markdown, write_report
from nasproxy.reporting.cautions import describe_cautions
from nasproxy.reporting.chart import Band, Chart, Intervals, Points, Steps
from nasproxy.reporting.figures import CHARTS, round_ticks, scatter_chart
from nasproxy.reporting.findings import sure_pairs, verdict_of
from nasproxy.reporting.interactive import TITLE_WIDTH, plotly_figure
from nasproxy.reporting.marks import mark_of
from nasproxy.reporting.page import page_html
from nasproxy.reporting.printed import printed_figure, write_figure
from nasproxy.reporting.records import without_folders
from nasproxy.tables import comparison_frame, rankings_frame
from nasproxy.trials import DataInfo, ProxyKind, SampleInfo, State
from tests.reporting.comparisons import (
    NOTHING,
    degenerate_comparison,
    difference,
    estimate,
    make_comparison,
    partial_comparison,
)

DM, NASWOT, RANDOM, PARAMS = "cifar10-convnet720-dm-50", "naswot", "random-50", "params"
ONE_SET = (
    f"Each proxy set is one draw of its method: what is said of {DM} and {RANDOM} is of these single sets; --sets 2 "
    "measures what another would change."
)


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return make_comparison()


@pytest.fixture(scope="module")
def page(comparison: Comparison) -> str:
    return page_html(comparison, [RECORD], title="Four <proxies>")


RECORD = RunRecord(
    name="cifar10-whole",
    role="truth",
    settings={"images": {"dataset": "cifar10-jpeg", "data_dir": "/home/somebody/data"}, "recipe": {"cutmix": None}},
    meta={
        "arguments": ["search", "--data-dir=/home/somebody/data"],
        "wall_seconds": 8000.0,
        "versions": {"torch": "2"},
    },
)


def with_ranking(comparison: Comparison, index: int, **changes: object) -> Comparison:
    rankings = list(comparison.rankings)
    rankings[index] = replace(rankings[index], **changes)  # type: ignore[arg-type]
    methods = list(comparison.methods)
    methods[index] = replace(methods[index], spearman=rankings[index].spearman)
    return replace(comparison, rankings=tuple(rankings), methods=tuple(methods))


def with_differences(comparison: Comparison, cells: dict[tuple[int, int], Difference]) -> Comparison:
    rows = [list(row) for row in comparison.differences]
    for (row, column), cell in cells.items():
        rows[row][column] = cell
    return replace(comparison, differences=tuple(map(tuple, rows)))


def with_truth(comparison: Comparison, **changes: object) -> Comparison:
    info = replace(comparison.truth.info, **changes)  # type: ignore[arg-type]
    return replace(comparison, truth=replace(comparison.truth, info=info))


def said(comparison: Comparison, word: str) -> str:
    """The one sentence with a word."""
    (sentence,) = [sentence for sentence in describe_findings(comparison) if word in sentence]
    return sentence


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/home/me/my data/cifar", "cifar"),
        ("~/data/", "data"),
        (r"C:\Users\me\data", "data"),
        ("--data-dir=/srv/data", "--data-dir=data"),
        ("sqlite:////srv/runs/a/study.db", "study.db"),
        ("top:/srv/runs/a:5%", "top:a:5%"),
        ("cannot open '/srv/x/y.png'", "cannot open 'y.png'"),
        ("postgresql://user@host/db", "postgresql://user@host/db"),
        ("runs/mine and 1/2", "runs/mine and 1/2"),
    ],
)
def test_absolute_paths_keep_their_last_part_only(text: str, shown: str) -> None:
    assert without_folders(text) == shown


# --- figures


def test_no_two_proxies_look_alike() -> None:
    marks = [mark_of(index) for index in range(56)]
    assert len({(mark.color, mark.symbol) for mark in marks}) == 56
    assert len({(mark.color, mark.dash) for mark in marks[:35]}) == 35


def test_points_are_ranked_as_proxy_and_truth_do(comparison: Comparison) -> None:
    panel = scatter_chart(comparison).panels[1]
    rest, top = [mark for mark in panel.marks if isinstance(mark, Points)]
    assert ([rest.is_filled, top.is_filled], [len(rest.x), len(top.x)]) == ([False, True], [32, 8])
    scores, accuracies = top.x + rest.x, top.y + rest.y
    for place, lines in enumerate(top.hover + rest.hover):
        assert lines[-2].endswith(f"(rank {1 + sum(score > scores[place] for score in scores)} of 40)")
        assert lines[-1].endswith(f"(rank {1 + sum(accuracy > accuracies[place] for accuracy in accuracies)} of 40)")
    assert min(top.x) >= max(rest.x)


def test_points_of_a_partial_truth_keep_their_rank_among_all() -> None:
    partial = partial_comparison("some")
    marks = [mark for mark in scatter_chart(partial).panels[0].marks if isinstance(mark, Points)]
    hover = [lines for mark in marks for lines in mark.hover]
    assert len(hover) == 20
    ranks = dict(zip(partial.alignment.arch_ids, partial.alignment.proxies[0].ranks.tolist(), strict=True))
    assert all(f"(rank {ranks[lines[0]]:.0f} of 40)" in lines[-2] for lines in hover)


@pytest.mark.parametrize(
    ("low", "high", "texts"),
    [
        (1, 2, ["1", "2"]),
        (1, 40, ["1", "3", "10", "30"]),
        (110, 290, ["110", "290"]),
        (90, 290, ["100", "200"]),
        (9_000, 2_400_000, ["10k", "100k", "1M"]),
        (6e6, 8e8, ["10M", "30M", "100M", "300M"]),
        (3e5, 4e9, ["1M", "10M", "100M", "1G"]),
        (0.02, 9, ["0.03", "0.1", "0.3", "1", "3"]),
        (1e3, 2e20, ["1k", "1M", "1G", "1T", "1e+15", "1e+18"]),
        (6.25e6, 7.5e6, ["6.25M", "7.5M"]),
        (800, 800, ["800"]),
    ],
)
def test_ticks_of_a_logarithmic_axis_are_round(low: float, high: float, texts: list[str]) -> None:
    assert [text for _, text in round_ticks(low, high)] == texts


def test_scores_of_all_sizes_have_a_logarithmic_axis(comparison: Comparison) -> None:
    axes = {panel.name: panel.x_axis for panel in scatter_chart(comparison).panels}
    assert (axes[NASWOT].kind, axes[NASWOT].ticks) == ("linear", None)
    assert axes[PARAMS].kind == "log"
    assert [text for _, text in axes[PARAMS].ticks or ()] == ["10k", "100k", "1M"]


@pytest.mark.parametrize("name", CHARTS)
def test_the_page_and_the_files_for_papers_show_the_same_numbers(comparison: Comparison, name: str) -> None:
    chart = CHARTS[name](comparison)
    assert chart.panels
    for panel, axes in zip(chart.panels, printed_figure(chart).axes, strict=False):
        figure = plotly_figure(panel)
        titles = [figure["layout"][axis]["title"]["text"] for axis in ("xaxis", "yaxis")]
        assert all(len(line) <= TITLE_WIDTH for title in titles for line in unescape(title).split("<br>"))
        traces = iter(figure["data"])
        points, bars = iter(axes.collections), iter(axes.get_lines())
        for mark in panel.marks:
            if isinstance(mark, Band):
                assert figure["layout"]["shapes"][1]["x0"] == mark.x == comparison.ceiling.value
                np.testing.assert_array_equal(next(bars).get_xdata(), mark.x)
                continue
            trace = next(traces)
            if isinstance(mark, Steps):
                drawn = next(bars).get_xydata()
            elif isinstance(mark, Points):
                drawn = next(points).get_offsets()
            else:
                lines = next(points)
                assert isinstance(lines, LineCollection)
                ends = np.array([segment[:, 0] for segment in map(np.asarray, lines.get_segments())])
                error = trace["error_x"]
                np.testing.assert_allclose(ends[:, 0], np.subtract(trace["x"], error["arrayminus"]))
                np.testing.assert_allclose(ends[:, 1], np.add(trace["x"], error["array"]))
                drawn = next(points).get_offsets()
            np.testing.assert_array_equal(drawn, np.stack([trace["x"], trace["y"]], axis=1))
            assert len(trace["x"]) > 0
        assert next(traces, None) is None
        assert next(points, None) is None


def test_a_chart_has_what_its_data_say(comparison: Comparison) -> None:
    charts = {name: describe(comparison) for name, describe in CHARTS.items()}
    (forest,), (regret,) = charts["forest"].panels, charts["regret"].panels
    band, *rows = forest.marks
    assert isinstance(band, Band)
    for ranking, row in zip(comparison.rankings, rows, strict=True):
        assert isinstance(row, Intervals)
        assert (row.low, row.x, row.high) == (
            (ranking.spearman.low,),
            (ranking.spearman.value,),
            (ranking.spearman.high,),
        )
    random, *curves = [mark for mark in regret.marks if isinstance(mark, Steps)]
    np.testing.assert_allclose(random.y, 100 * np.array(comparison.random_regret_curve))
    for ranking, curve in zip(comparison.rankings, curves, strict=True):
        np.testing.assert_allclose(curve.y, 100 * np.array(ranking.regret_curve))
    for panel in charts["costs"].panels:
        others, steps, front = panel.marks
        assert isinstance(others, Points)
        assert isinstance(front, Points)
        assert len(others.x) + len(front.x) == 40
        assert (steps.x, steps.y) == (front.x, front.y)  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["forest", "costs"])
def test_files_of_a_figure_are_the_same_on_a_second_run(comparison: Comparison, name: str, tmp_path: Path) -> None:
    chart: Chart = CHARTS[name](comparison)
    for run in ("one", "two"):
        (tmp_path / run).mkdir()
        write_figure(chart, tmp_path / run, name, write_atomically)
    for suffix in ("png", "svg", "pdf"):
        content = (tmp_path / "one" / f"{name}.{suffix}").read_bytes()
        assert content == (tmp_path / "two" / f"{name}.{suffix}").read_bytes()
        assert not re.search(rb"(CreationDate|dc:date|\b20[0-9]{2}-[0-9]{2}-[0-9]{2})", content)


def test_the_pareto_front_is_what_nothing_dominates() -> None:
    generator = np.random.default_rng(3)
    costs, accuracies = generator.integers(1, 20, 60).tolist(), generator.integers(1, 20, 60).tolist()
    both = list(zip(costs, accuracies, strict=True))
    undominated = {(c, a) for c, a in both if not any(d <= c and b >= a and (d, b) != (c, a) for d, b in both)}
    assert [both[index] for index in pareto_front(costs, accuracies)] == sorted(undominated)


# --- findings


def test_the_best_proxy_and_how_sure_that_is(comparison: Comparison) -> None:
    rho = format_estimate(comparison.rankings[0].spearman)
    expected = (
        f"{DM} has the highest measured ρ of 4 proxies: {rho} over 40 architectures; it ranks better than chance."
    )
    assert describe_findings(comparison)[0] == expected


@pytest.mark.parametrize(
    ("rho", "words"),
    [
        (estimate(0.2, -0.1, 0.5), "the interval includes 0, so it is not shown to beat chance"),
        (estimate(-0.5, -0.8, -0.2), "it ranks backwards"),
        (Estimate(0.5, None, None, 3, note="3 architectures"), "how sure that is cannot be said (3 architectures)"),
    ],
)
def test_chance_is_beaten_only_with_the_whole_interval(comparison: Comparison, rho: Estimate, words: str) -> None:
    first = describe_findings(with_ranking(comparison, 0, spearman=rho))[0]
    assert first.endswith(f"; {words}.")
    assert "better than chance" not in first


def test_without_a_correlation_that_is_said() -> None:
    assert describe_findings(degenerate_comparison())[0].endswith("full training: all proxy scores are equal.")


@pytest.mark.parametrize(
    ("cell", "verdict"),
    [
        (difference(0.01, 0.5), "better"),
        (difference(-0.5, -0.01), "worse"),
        (difference(-0.01, 0.5), "open"),
        (difference(0.0, 0.5), "open"),
        (difference(0.01, 0.5, is_sure=False), "open"),
        (Difference(None, None, None, 2), "unknown"),
        (Difference(0.4, None, None, 2), "unknown"),
    ],
)
def test_a_verdict_needs_a_p_value_that_is_small_for_all_pairs(cell: Difference, verdict: str) -> None:
    assert verdict_of(cell) == verdict


def test_rivals_are_beaten_or_cannot_be_told_apart(comparison: Comparison) -> None:
    unknown = Difference(None, None, None, 0)
    mixed = with_differences(comparison, {(0, 1): difference(-0.1, 0.3), (0, 2): difference(0.1, 0.3), (0, 3): unknown})
    assert said(mixed, "clearly beats") == f"{DM} clearly beats {RANDOM}."
    assert said(mixed, "cannot be told") == f"{DM} cannot be told from {NASWOT}."
    assert said(mixed, "could not be tested") == f"Whether {DM} differs from {PARAMS} could not be tested."


def test_no_difference_is_claimed_where_all_intervals_include_zero(comparison: Comparison) -> None:
    cells = {(row, column): difference(-0.2, 0.3) for row in range(4) for column in range(4)}
    text = " ".join(describe_findings(with_differences(comparison, cells)))
    assert not re.search(r"clearly beats|beats every|each beat every|ranks worse", text)
    assert f"{DM} and {RANDOM} are not shown to beat naswot and params, which train nothing." in text


def test_a_trained_proxy_is_measured_by_the_yardsticks(comparison: Comparison) -> None:
    assert said(comparison, "every training-free") == f"{DM} beats every training-free proxy here (naswot and params)."
    worse = with_differences(comparison, {(2, 1): difference(-0.3, -0.1), (2, 3): difference(0.1, 0.3)})
    assert said(worse, "ranks worse") == f"{RANDOM} ranks worse than naswot, which trains nothing."
    assert "is not shown to beat" not in " ".join(describe_findings(worse))


def test_proxies_with_the_same_shortcoming_share_a_sentence(comparison: Comparison) -> None:
    cells = {(row, column): difference(-0.2, 0.3) for row in (0, 2) for column in (1, 3)}
    shared = with_differences(comparison, cells)
    assert said(shared, "not shown to beat n") == (
        f"{DM} and {RANDOM} are not shown to beat naswot and params, which train nothing."
    )


@pytest.mark.parametrize(
    ("kept", "words"),
    [([0, 2], "No training-free proxy (params, flops, naswot …) is compared"), ([1, 3], "All proxies")],
)
def test_a_missing_kind_of_proxy_is_said(comparison: Comparison, kept: list[int], words: str) -> None:
    fewer = replace(
        comparison,
        proxies=tuple(comparison.proxies[index] for index in kept),
        rankings=tuple(comparison.rankings[index] for index in kept),
        methods=tuple(replace(comparison.methods[index], members=(place,)) for place, index in enumerate(kept)),
        differences=tuple(tuple(comparison.differences[row][column] for column in kept) for row in kept),
        factor_effects=(),
    )
    assert said(fewer, words)


def test_the_ceiling_and_the_share_of_it_that_is_reached(comparison: Comparison) -> None:
    noisy = replace(comparison, ceiling=estimate(0.97, 0.95, 0.985))
    below = with_ranking(noisy, 0, spearman=estimate(0.485, 0.3, 0.6))
    assert said(below, "Seed noise") == (
        "Seed noise of the truth limits what can be measured to about ρ = 0.97 [0.95, 0.98]; "
        f"{DM} is at 50\N{NO-BREAK SPACE}% of that."
    )
    reached = with_ranking(noisy, 0, spearman=estimate(0.96, 0.9, 0.98))
    assert said(reached, "Seed noise").endswith(
        f"{DM} is at 99\N{NO-BREAK SPACE}% of that, and its interval reaches it."
    )
    assert "Seed noise" not in " ".join(describe_findings(replace(comparison, ceiling=NOTHING)))


def test_regret_of_the_first_pick_and_of_the_top(comparison: Comparison) -> None:
    losing = with_ranking(
        comparison, 0, regret=estimate(0.022, 0.0, 0.05), top_regret=estimate(0.004, 0.0, 0.01),
        noise_regret=Estimate(0.003, None, None, 40), top_noise_regret=NOTHING,
    )  # fmt: skip
    assert said(losing, "only the first pick") == (
        f"Training only the first pick of {DM} loses 2.2 [0.0, 5.0] percentage points of accuracy against the best of "
        "the 40 architectures with a truth; a perfect proxy would seem to lose 0.3, by the truth's seed noise alone."
    )
    random = 100 * comparison.random_regret_curve[7]
    assert said(losing, "Training its top") == (
        "Training its top 20\N{NO-BREAK SPACE}% (8 with a truth) and keeping the best loses 0.4 [0.0, 1.0] percentage "
        f"points; as many drawn at random lose {random:.1f} on average; how much of it is the truth's seed noise is "
        "unknown."
    )


def test_factors_are_judged_where_the_truth_is_sure(comparison: Comparison) -> None:
    low, high = estimate(-0.1, -0.2, -0.05), estimate(0.1, 0.05, 0.2)
    effect = replace(
        comparison.factor_effects[0],
        factor="norm",
        values=("none", "batch"),
        truth=(low, high),
        proxies=((low, high), (low, high), (high, low), (NOTHING, low)),
    )
    assert said(replace(comparison, factor_effects=(effect,)), "norm:") == (
        "norm: the truth is sure that batch beats none. Pairs ordered as in truth: "
        f"{DM} and {NASWOT} 1 of 1; {RANDOM} and {PARAMS} 0 of 1."
    )
    agreed = replace(effect, proxies=((low, high),) * 4)
    assert said(replace(comparison, factor_effects=(agreed,)), "norm:").endswith("in truth: every proxy 1 of 1.")
    unsure = replace(effect, truth=(low, estimate(0.1, -0.06, 0.2)))
    assert said(replace(comparison, factor_effects=(unsure,)), "tell any two values")


def test_pairs_are_sure_where_intervals_do_not_overlap() -> None:
    assert sure_pairs([estimate(0, -1, 1), estimate(3, 2, 4), estimate(1.5, 0.5, 2.5), NOTHING]) == [(1, 0)]


def test_a_good_comparison_needs_no_caution_but_that_of_its_sets(comparison: Comparison) -> None:
    assert describe_cautions(comparison) == [ONE_SET]


def test_a_method_of_several_sets_is_spoken_of_as_one() -> None:
    comparison = make_comparison(num_sets=2)
    labels = [ranking.label for ranking in comparison.rankings]
    assert {f"{DM} (set 1)", f"{DM} (set 2)", RANDOM} < set(labels)
    text = " ".join(describe_findings(comparison))
    (dm,) = [method for method in comparison.methods if method.label == DM]
    assert f"{DM} has the highest measured ρ of 4 proxies: {format_estimate(dm.spearman)}" in text
    assert "40 architectures, mean of 2 sets" in text
    assert f"standard deviation of {dm.spread:.2f} (2 sets)" in text or f"{DM} {dm.spread:.2f} (2 sets)" in text
    assert f"{RANDOM} has one set each: what another one would change is taken from the methods with several." in text
    assert f"± {dm.spread:.2f}" in table_markdown(comparison)
    (forest,) = CHARTS["forest"](comparison).panels
    assert [text for _, text in forest.y_axis.ticks or ()][:3] == [
        f"{DM}, mean of 2 sets", f"{DM} (set 1)", f"{DM} (set 2)"
    ]  # fmt: skip
    assert page_html(comparison, [RECORD], title="t").count('<th scope="row">') == 4


def test_pairs_are_counted_and_adjusted_for(comparison: Comparison, page: str) -> None:
    cells = {
        (row, column): difference(0.1, 0.3, is_sure=(row, column) == (0, 3)) for row in range(4) for column in range(4)
    }
    text = " ".join(describe_findings(with_differences(comparison, cells)))
    assert "1 of 6 pairs differ in ρ" in text
    assert "Holm’s method" in text
    assert page.count("p < 0.001") + page.count(" p 0.") + page.count(" p 1.") >= 12


def test_cautions_of_a_poor_comparison() -> None:
    assert describe_cautions(degenerate_comparison()) == [
        "Few architectures (n = 3): below 20, the interval is as wide as the scale; give more of them a truth before "
        "believing an order.",
        "The truth was shortened to 3 epochs (100 epochs are full training): it is a proxy itself.",
        "A shortened truth flatters proxies that train as it does, only shorter: early-stop.",
        "Only 3 of 4 architectures have a truth (a part): all figures are of these alone.",
        "The truth has one seed: its noise, and with it the highest ρ that can be measured, is unknown.",
    ]


def test_a_truth_of_updates_is_shortened(comparison: Comparison) -> None:
    short = with_truth(comparison, recipe={"epochs": 100, "steps": 4000})
    assert describe_cautions(short)[0].startswith("The truth was shortened to 4,000 updates")


def test_a_truth_for_the_best_only_narrows_the_range() -> None:
    assert describe_cautions(partial_comparison("top:50%")) == [
        "Only 20 of 40 architectures have a truth (chosen as top:50%): all figures are of these alone, and a proxy "
        "chose them, which narrows their range and lowers every ρ.",
        ONE_SET,
    ]


def test_a_weighted_sample_says_what_is_of_the_whole_space() -> None:
    assert describe_cautions(partial_comparison("sample:20", weights=2.0)) == [
        "Only 20 of 40 architectures have a truth (chosen as sample:20): order, differences, precision and ceiling are "
        "weighted to the whole space; regret and effects of factors are of these alone.",
        ONE_SET,
    ]


def test_a_sample_of_the_space_says_what_is_of_the_space(comparison: Comparison) -> None:
    def drawn(by: str | None, truth_for: str | None = None) -> list[str]:
        """Cautions where the architectures of `comparison` are a sample."""
        weights = {trial.arch_id: 18.0 for trial in comparison.truth}
        proxy = comparison.proxies[0].weighted(weights, SampleInfo.of(weights.values(), by))
        chosen = dict.fromkeys(list(weights)[::2], 2.0) if truth_for == "sample:20" else None
        truth = comparison.truth.of(chosen or list(weights)[: 40 if truth_for is None else 10])
        return describe_cautions(compare_trials([proxy], truth, truth_for=truth_for, weights=chosen))

    uniform, strata = "a uniform sample of 40 of 720 architectures", "a weighted sample of 40 of 720 architectures by "
    alone = "regret and effects of factors are of the sample alone."
    assert drawn(None)[0] == (
        f"What is compared here is {uniform}: order, differences, precision and ceiling are estimates for the whole "
        f"space; {alone}"
    )
    assert drawn("params")[0] == (
        f"What is compared here is {strata}strata of params: order, differences, precision and ceiling are weighted to "
        f"the whole space; {alone}"
    )
    assert drawn(None, "sample:20")[:2] == [
        f"What is compared here is {uniform}.",
        "Only 20 of 40 architectures have a truth (chosen as sample:20): order, differences, precision and ceiling are "
        "weighted to the whole space; regret and effects of factors are of these alone.",
    ]
    weights = {trial.arch_id: 18.0 for trial in comparison.truth}
    begun = comparison.proxies[0].weighted(weights, SampleInfo(50, 900)).of(list(weights)[:30])
    assert f"{describe_cautions(compare_trials([begun], comparison.truth))[0]}".startswith(
        "What is compared here is a uniform sample of 50 of 900 architectures, of which 30 have a score: order, "
    )
    assert "Only 10 of 40 architectures have a truth (a part): all figures are of these alone." in drawn(None, "some")


def test_what_cannot_be_weighted_is_marked_as_of_the_architectures_with_a_truth(comparison: Comparison) -> None:
    partial = partial_comparison("sample:20", weights=2.0)
    for of, is_marked in ((partial, True), (comparison, False)):
        axes = [panel.x_axis.title for name in ("regret", "factor-effects") for panel in CHARTS[name](of).panels]
        assert {"of those with a truth" in title for title in axes} == {is_marked}
        notes = {estimate.note for effect in of.factor_effects for estimate in effect.truth}
        assert (notes == {PARTIAL}) is is_marked
        html = page_html(of, [], title="")
        assert ("against the best of those with a truth?" in html) is is_marked
        assert ("Of the architectures with a truth alone: mean score" in html) is is_marked


def test_a_correlation_that_few_architectures_carry_is_a_caution(comparison: Comparison) -> None:
    found = Diagnosis(0.7, 0.002, 0.93, (3, 1))
    one = with_ranking(comparison, 0, diagnosis=found, worst_judged=("a", "b"), spearman=estimate(0.76, 0.5, 0.9))
    assert describe_cautions(one) == [
        f"The interval of {DM} may be too short, and differences that involve this proxy are less sure than their "
        f"p-values: few architectures carry ρ ({DM}: 0.93 instead of 0.76 without the 2 worst judged, a and b).",
        ONE_SET,
    ]
    many = replace(found, value_without=None)
    two = with_ranking(one, 1, diagnosis=many, worst_judged=tuple("cdefg"), spearman=estimate(0.5, 0.2, 0.7))
    sentence = describe_cautions(two)[0]
    assert sentence.startswith(f"The intervals of {DM} and {NASWOT} may be too short, and differences that involve th")
    assert f"; {NASWOT}: – instead of 0.50 without the 5 worst judged, c, d, e and others)." in sentence
    alone = replace(one, methods=one.methods[:1])
    assert "differences" not in describe_cautions(alone)[0]


def test_missing_and_flagged_trials_are_named(comparison: Comparison) -> None:
    poor = with_ranking(comparison, 1, num_failed=1, num_not_finite=2, num_flagged=4)
    assert describe_cautions(poor) == [
        ONE_SET,
        "3 architectures of naswot got no score.",
        "4 of naswot diverged or stayed at chance; ranked as measured.",
    ]


# --- a truth that cannot judge


@pytest.fixture(scope="module")
def blind(comparison: Comparison) -> Comparison:
    """The same orders, by a truth whose nets all stayed at chance."""
    lost = tuple(replace(trial, state=State.AT_CHANCE) for trial in comparison.truth)
    return compare_trials(comparison.proxies, replace(comparison.truth, items=lost), top=0.2)


def test_a_truth_at_chance_comes_first_and_silences_the_verdicts(comparison: Comparison, blind: Comparison) -> None:
    assert "clearly beats" in " ".join(describe_findings(comparison))
    limit, best, *cautions = describe_findings(blind)
    assert limit.startswith("40 of 40 architectures are at chance in the truth: it says nothing")
    assert best.endswith("over 40 architectures; by this truth that says nothing.")
    assert cautions == describe_cautions(blind)
    assert not re.search("clearly|is sure|better than|beats|worse|loses", " ".join([best, *cautions]))


def test_figures_of_a_truth_at_chance_show_no_verdict(comparison: Comparison, blind: Comparison) -> None:
    assert CHARTS["factor-effects"](comparison).panels
    assert CHARTS["factor-effects"](blind).panels == ()
    assert verdict_of(difference(0.01, 0.5), can_judge=False) == "open"
    text = page_text(page_html(blind, [], title="t"))
    assert "The truth does not tell architectures apart, nor the values of a factor." in text
    assert re.search(r'<td class="(better|worse)"', page_text(page_html(comparison, [], title="t")))
    assert not re.search(r'<td class="(better|worse)"', text)
    first = text.index("40 of 40 architectures are at chance")
    assert first < text.index("Which network to use cannot be said") < text.index("What this says")


def test_some_nets_at_chance_are_a_caution(comparison: Comparison) -> None:
    worst = {trial.arch_id for trial in comparison.truth.ranked()[-3:]}
    items = tuple(
        replace(trial, state=State.AT_CHANCE) if trial.arch_id in worst else trial for trial in comparison.truth
    )
    some = compare_trials(comparison.proxies, replace(comparison.truth, items=items), top=0.2)
    assert describe_cautions(some)[0].startswith("3 of 40 architectures are at chance in the truth: their order is noi")
    assert "clearly beats" in " ".join(describe_findings(some))


def test_a_small_validation_set_is_a_caution(comparison: Comparison) -> None:
    data = DataInfo(900, 24, 1000, 0.1)
    proxies = [replace(trials, info=replace(trials.info, data=data)) for trials in comparison.proxies]
    assert "Validation has 24 images" in describe_cautions(compare_trials(proxies, comparison.truth, top=0.2))[-1]


# --- which network


def test_the_page_begins_with_the_network_to_use(comparison: Comparison, page: str) -> None:
    text, choice = page_text(page), choose(comparison)
    assert text.index(choice.answer) < text.index(choice.certainty) < text.index("What this says")
    table = text[text.index("Table of the best architectures") : text.index("What this says")]
    for candidate in choice.candidates:
        assert candidate.arch_id in table
    assert "--top 25% takes 10" in text


def test_a_proxy_has_one_label_in_table_figures_sentences_and_pictures(tmp_path: Path) -> None:
    comparison = make_comparison(num_sets=2)
    Image.new("RGB", (4, 4), "red").save(tmp_path / "proxy.png")
    search, second = comparison.proxies[0].info, f"{DM} (set 2)"
    name = next(ranking.name for ranking in comparison.rankings if ranking.label == second)
    records = [
        RunRecord("the-set", "condense", {}, {}, tmp_path / "proxy.png"),
        RunRecord(name, "proxy", {"search": {"proxy": "the-set"}}, {}),
    ]
    assert search.proxy == DM
    page = page_html(comparison, records, title="t")
    assert f"<figcaption>{second}, one row per class</figcaption>" in page
    assert f"{second} score" in comparison_frame(comparison)


def test_a_first_pick_at_chance_is_noted(comparison: Comparison) -> None:
    odd = with_ranking(comparison, 0, is_selected_at_chance=True)
    assert "1. the proxy’s nets of it are no better than guessing" in table_markdown(odd)


def test_commands_on_the_page_can_be_pasted(comparison: Comparison) -> None:
    page = page_html(comparison, [], title="t", dashboard="my pets")
    assert "<code>nasproxy dashboard &#39;my pets&#39;</code>" in page


# --- tables


def test_the_markdown_table_has_a_row_per_proxy_and_footnotes(comparison: Comparison) -> None:
    rho = replace(comparison.rankings[0].spearman, note="one score for all seeds")
    lines = table_markdown(with_ranking(comparison, 0, spearman=rho)).splitlines()
    assert [line.split(" | ")[0] for line in lines[2:6]] == [f"| {name}" for name in (DM, NASWOT, RANDOM, PARAMS)]
    assert {line.count(" | ") for line in lines[:6]} == {12}
    assert lines[-1] == "1. one score for all seeds"


def test_a_combination_that_saw_the_truth_says_so(comparison: Comparison) -> None:
    assert not any("was fitted to the truth" in text for text in describe_findings(comparison))
    first = comparison.proxies[0]
    fitted = replace(first, info=replace(first.info, is_fitted=True))
    told = describe_findings(replace(comparison, proxies=(fitted, *comparison.proxies[1:])))
    assert any(text.startswith(f"{comparison.rankings[0].label} was fitted to the truth") for text in told)


def test_tables_escape_names(comparison: Comparison) -> None:
    odd = with_ranking(comparison, 0, label="a|b_50%&$#")
    assert r"| a\|b\_50%&$# |" in table_markdown(odd)
    assert r"a|b\_50\%\&\$\# & 0.9" in table_latex(odd)


def test_the_latex_table_is_plain_ascii_booktabs(comparison: Comparison) -> None:
    text = table_latex(comparison)
    assert text.isascii()
    assert [text.count(rf"\{rule}") for rule in ("toprule", "midrule", "bottomrule")] == [1, 1, 1]
    rows = [line for line in text.splitlines() if line.endswith("\\\\")]
    assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {12}


@pytest.mark.parametrize("write", [table_markdown, table_latex, lambda c: page_text(page_html(c, [], title="t"))])
def test_missing_values_are_dashes_with_a_note(write: Callable[[Comparison], str]) -> None:
    text = write(degenerate_comparison())
    assert not re.search(r"\b(nan|NaN|None|inf|Infinity)\b", text)
    assert "all proxy scores are equal" in text


# --- the page


def page_text(page: str) -> str:
    """The page without its scripts and styles."""
    return re.sub(r"<(script|style)\b.*?</\1>", "", page, flags=re.DOTALL)


def figures_in(page: str) -> dict[str, dict[str, dict[str, Any]]]:
    found = re.search(r'<script type="application/gzip" id="figures">(.*?)</script>', page)
    assert found is not None
    figures: dict[str, dict[str, dict[str, Any]]] = json.loads(gzip.decompress(base64.b64decode(found[1])))
    return figures


def test_the_sections_come_in_order(page: str) -> None:
    order = ["choice", "findings", "table", "scatter", "regret", "forest", "differences", "factors", "costs", "runs"]
    assert re.findall(r'<section id="(\w+)"', page) == [*order, "reading"]


def test_the_page_needs_no_network(page: str) -> None:
    assert page.count("* plotly.js (basic - minified) v") == 1
    assert not re.search(r"""(?:src|href)\s*=\s*["'](?!data:|#)""", page_text(page))
    assert "@import" not in page.split("</style>")[0]


def test_a_page_of_many_architectures_is_small() -> None:
    page = page_html(make_comparison(240), [], title="t")
    assert len(page.encode()) < 1.5e6


def test_plotly_ships_as_it_was_published() -> None:
    folder = resources.files("nasproxy.reporting") / "plotly"
    bundle, described = (folder / "plotly-basic.min.js").read_bytes(), (folder / "README.md").read_text("utf-8")
    assert f"SHA-256: {hashlib.sha256(bundle).hexdigest()}\n" in described
    (version,) = re.findall(r"`plotly\.js-basic-dist-min` (\S+),", described)
    assert f"plotly.js (basic - minified) v{version}\n".encode() in bundle
    assert "MIT License" in (folder / "LICENSE").read_text("utf-8")


def test_titles_and_names_are_escaped(page: str) -> None:
    assert "<h1>Four &lt;proxies&gt;</h1>" in page


def test_no_absolute_path_is_printed(page: str) -> None:
    assert "somebody" not in page
    assert "nasproxy search --data-dir=data" in page


def test_unset_settings_are_dashes(page: str) -> None:
    assert "<dt>cutmix</dt><dd>–</dd>" in page
    assert "<dt>wall seconds</dt><dd>2.2 h</dd>" in page


@pytest.mark.parametrize("make", [make_comparison, degenerate_comparison])
def test_plotly_accepts_every_figure(make: Callable[[], Comparison]) -> None:
    figures = figures_in(page_html(make(), [], title="t"))
    for figure in (figure for section in figures.values() for figure in section.values()):
        plotly.graph_objects.Figure(figure)
        assert "NaN" not in json.dumps(figure)


def test_the_scatter_figure_has_every_architecture_with_its_ranks(comparison: Comparison, page: str) -> None:
    traces = figures_in(page)["scatter"][PARAMS]["data"]
    texts = [text for trace in traces for text in trace["text"]]
    assert len(texts) == 40
    best = max(comparison.truth, key=lambda trial: trial.evaluation_score)
    (text,) = [text for text in texts if f"<b>{best.arch_id}</b>" in text]
    assert f"truth {100 * best.evaluation_score:.1f} % (rank 1 of 40)" in text
    assert f"norm {best.factors['norm']}" in text


def test_effects_of_the_truth_are_standardised(comparison: Comparison, page: str) -> None:
    effect = comparison.factor_effects[0]
    drawn = figures_in(page)["factor-effects"][effect.factor]["data"][0]["x"]
    accuracies = [trial.evaluation_score for trial in comparison.truth]
    expected = [(item.value or math.nan) / np.std(accuracies) for item in effect.truth]
    np.testing.assert_allclose(drawn, expected)


# --- all files


def test_a_report_is_the_same_for_the_same_comparison(comparison: Comparison, tmp_path: Path) -> None:
    pages = [write_report(comparison, [RECORD], tmp_path / name, title="t") for name in ("one", "two")]
    assert pages[0] == tmp_path / "one" / "report.html"
    names = [f"figures/{name}.{suffix}" for name in sorted(CHARTS) for suffix in ("pdf", "png", "svg")]
    names += ["report.html", "table.md", "table.tex"]
    written = [path for path in pages[0].parent.rglob("*") if path.is_file()]
    assert sorted(path.relative_to(pages[0].parent).as_posix() for path in written) == names
    for path in written:
        assert path.read_bytes() == (pages[1].parent / path.relative_to(pages[0].parent)).read_bytes()
    with Image.open(pages[0].parent / "figures" / "forest.png") as picture:
        assert round(picture.info["dpi"][0]) == 300
        assert picture.width == pytest.approx(3.4 * 300, abs=1)


def test_a_degenerate_comparison_has_a_report(tmp_path: Path) -> None:
    text = write_report(degenerate_comparison(), [], tmp_path, title="t").read_text(encoding="utf-8")
    assert "No factor varies among these architectures." in text
    drawn = [path.name for path in (tmp_path / "figures").glob("*.png")]
    assert sorted(drawn) == ["costs.png", "forest.png", "regret.png", "scatter.png"]


def test_a_picture_is_in_the_page(comparison: Comparison, tmp_path: Path) -> None:
    Image.new("RGB", (4, 4), "red").save(tmp_path / "proxy.png")
    record = RunRecord("dm", "condense", {}, {}, tmp_path / "proxy.png")
    page = page_html(comparison, [record], title="t")
    assert 'src="data:image/png;base64,iVBOR' in page
    assert 'alt="Images of the proxy set dm, one row per class"' in page


def test_classes_are_named_beside_the_picture(comparison: Comparison, tmp_path: Path) -> None:
    Image.new("RGB", (4, 4), "red").save(tmp_path / "proxy.png")
    record = RunRecord("dm", "condense", {}, {}, tmp_path / "proxy.png", ("ankle boot", "<b>"))
    page = page_html(comparison, [record], title="t")
    assert re.findall('<li title="(.*?)">(.*?)</li>', page) == [("ankle boot",) * 2, ("&lt;b&gt;",) * 2]
    assert "repeat(2, minmax(0, 1fr))" in page


def table_comparison(*columns: tuple[str, str]) -> Comparison:
    """Columns of tables, as (file, column), beside the formula params."""
    whole = make_comparison()
    params = next(trials for trials in whole.proxies if trials.name == PARAMS)
    tables = [
        replace(
            params,
            info=replace(
                params.info, name=f"run-{number}", proxy=f"{file}:{column}", kind=ProxyKind.TABLE, score_name=column
            ),
        )
        for number, (file, column) in enumerate(columns)
    ]
    return compare_trials([params, *tables], whole.truth, top=0.2)


def test_a_column_of_a_table_has_the_shortest_label_that_no_other_proxy_has() -> None:
    named = [("scores.csv", "random (0.1)"), ("scores.csv", "params"), ("a.csv", "dm"), ("a.csv", "dm")]
    comparison = table_comparison(*named)
    labels = [PARAMS, "random (0.1)", "scores.csv:params", "run-2", "run-3"]
    by_name = {ranking.name: ranking.label for ranking in comparison.rankings}
    assert by_name == dict(zip([PARAMS, "run-0", "run-1", "run-2", "run-3"], labels, strict=True))
    assert {f"{label} score" for label in labels} <= set(comparison_frame(comparison))
    assert {panel.name for panel in scatter_chart(comparison).panels} == set(labels)
    assert set(rankings_frame(list(comparison.rankings))["label"]) == set(labels)


def test_of_a_table_stored_images_are_not_known() -> None:
    lines = table_markdown(table_comparison(("scores.csv", "random"))).splitlines()[2:4]
    assert {line.split(" | ")[0]: line.split(" | ")[-1] for line in lines} == {"| params": "100 |", "| random": "– |"}


def test_a_folder_that_cannot_be_made_is_an_input_error(comparison: Comparison, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(InputError, match="cannot write the report"):
        write_report(comparison, [], tmp_path / "file", title="t")


def test_template_style_and_script_ship_with_the_package() -> None:
    folder = resources.files("nasproxy.reporting") / "templates"
    assert sorted(item.name for item in folder.iterdir()) == ["page.css", "page.html", "page.js"]
