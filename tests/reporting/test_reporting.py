"""The report of a comparison: words, tables, figures for papers, and the text of the page (see test_report_page)."""

import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects
import pytest
from PIL import Image

from nasproxy.comparing import Comparison
from nasproxy.errors import InputError
from nasproxy.ranking import Difference, Estimate
from nasproxy.reporting import RunRecord, describe_findings, table_latex, table_markdown, write_report
from nasproxy.reporting.cautions import describe_cautions
from nasproxy.reporting.findings import sure_pairs, verdict_of
from nasproxy.reporting.marks import mark_of
from nasproxy.reporting.numerals import (
    format_duration,
    format_estimate,
    format_number,
    format_p_value,
    format_percent,
    format_score,
    join_names,
)
from nasproxy.reporting.page import page_html
from nasproxy.reporting.points import pareto_front, points_of
from nasproxy.reporting.records import without_folders
from tests.reporting.comparisons import NOTHING, degenerate_comparison, difference, estimate, make_comparison

DM, NASWOT, RANDOM, PARAMS = "cifar10-convnet720-dm-50", "naswot", "random-50", "params"


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
    return replace(comparison, rankings=tuple(rankings))


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


# --- figures as text


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (-0.004, "0.00"), (-0.05, "−0.05"), (1.0, "1.00"), (0.876, "0.88")]
)
def test_numbers_have_a_true_minus_and_no_negative_zero(value: float | None, text: str) -> None:
    assert format_number(value) == text


def test_an_estimate_without_interval_has_no_brackets() -> None:
    assert format_estimate(Estimate(0.5, None, None, 9)) == "0.50"
    assert format_estimate(Estimate(0.5, -0.1, 0.9, 9)) == "0.50 [−0.10, 0.90]"
    assert format_estimate(NOTHING) == "–"


def test_small_things_are_written_as_people_do() -> None:
    assert [format_p_value(p) for p in (None, 0.0002, 0.0347)] == ["–", "< 0.001", "0.035"]
    assert [format_duration(seconds) for seconds in (61, 600, 8000)] == ["61 s", "10.0 min", "2.2 h"]
    assert [format_score(score) for score in (0.01234567, 152_370.2, -3e9)] == ["0.01235", "152,370", "−3e+09"]
    assert [format_percent(share, 0) for share in (0.05, 0.996, 1.02)] == ["5\xa0%", "100\xa0%", "102\xa0%"]
    assert format_percent(0.125) == "12.5\xa0%"
    assert [join_names(list(names)) for names in ("a", "ab", "abc")] == ["a", "a and b", "a, b and c"]


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


# --- points and marks


def test_no_two_proxies_look_alike() -> None:
    marks = [mark_of(index) for index in range(56)]
    assert len({(mark.color, mark.symbol) for mark in marks}) == 56
    assert len({(mark.color, mark.dash) for mark in marks[:35]}) == 35


def test_points_are_ranked_as_proxy_and_truth_do(comparison: Comparison) -> None:
    points = points_of(comparison, 1)
    assert [point.proxy_rank for point in points] == list(range(1, 41))
    assert all(one.score >= other.score for one, other in pairwise(points))
    for point in points:
        assert point.true_rank == 1 + sum(other.true_accuracy > point.true_accuracy for other in points)
    assert [point.is_top for point in points] == [True] * 8 + [False] * 32


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
    assert describe_findings(degenerate_comparison())[0].endswith("full training: too few architectures.")


@pytest.mark.parametrize(
    ("cell", "verdict"),
    [
        (difference(0.01, 0.5), "better"),
        (difference(-0.5, -0.01), "worse"),
        (difference(-0.01, 0.5), "open"),
        (difference(0.0, 0.5), "open"),
        (Difference(None, None, None, 2, None), "unknown"),
        (Difference(0.4, None, None, 2, None), "unknown"),
    ],
)
def test_a_verdict_needs_an_interval_without_zero(cell: Difference, verdict: str) -> None:
    assert verdict_of(cell) == verdict


def test_rivals_are_beaten_or_cannot_be_told_apart(comparison: Comparison) -> None:
    unknown = Difference(None, None, None, 0, None)
    mixed = with_differences(comparison, {(0, 1): difference(-0.1, 0.3), (0, 2): difference(0.1, 0.3), (0, 3): unknown})
    assert said(mixed, "clearly beats") == (
        f"{DM} clearly beats {RANDOM}: the interval of the difference in ρ is above 0."
    )
    assert said(mixed, "cannot be told") == (
        f"{DM} cannot be told from {NASWOT}: the interval of the difference in ρ includes 0."
    )
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
        differences=tuple(tuple(comparison.differences[row][column] for column in kept) for row in kept),
        factor_effects=(),
    )
    assert said(fewer, words)


def test_the_ceiling_and_the_share_of_it_that_is_reached(comparison: Comparison) -> None:
    below = with_ranking(comparison, 0, spearman=estimate(0.485, 0.3, 0.6))
    assert said(below, "Seed noise") == (
        "Seed noise of the truth limits what can be measured to about ρ = 0.97 [0.95, 0.98]; "
        f"{DM} is at 50\N{NO-BREAK SPACE}% of that."
    )
    reached = with_ranking(comparison, 0, spearman=estimate(0.96, 0.9, 0.98))
    assert said(reached, "Seed noise").endswith(
        f"{DM} is at 99\N{NO-BREAK SPACE}% of that, and its interval reaches it."
    )
    assert "Seed noise" not in " ".join(describe_findings(replace(comparison, ceiling=NOTHING)))


def test_regret_of_the_first_pick_and_of_the_top(comparison: Comparison) -> None:
    losing = with_ranking(comparison, 0, regret=estimate(0.022, 0.0, 0.05), top_regret=estimate(0.004, 0.0, 0.01))
    assert said(losing, "only the first pick") == (
        f"Training only the first pick of {DM} loses 2.2 [0.0, 5.0] percentage points of accuracy against the best of "
        "the 40 architectures with a truth."
    )
    random = 100 * comparison.random_regret_curve[7]
    assert said(losing, "Training its top") == (
        "Training its top 20\N{NO-BREAK SPACE}% (8 with a truth) and keeping the best loses 0.4 [0.0, 1.0] percentage "
        f"points; as many drawn at random lose {random:.1f} on average."
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


def test_a_good_comparison_needs_no_caution(comparison: Comparison) -> None:
    assert describe_cautions(comparison) == []


def test_cautions_of_a_poor_comparison() -> None:
    assert describe_cautions(degenerate_comparison()) == [
        "Few architectures (n = 3): below 20, the interval is as wide as the scale; give more of them a truth before "
        "believing an order.",
        "The truth was shortened to 3 epochs (100 epochs are full training): it is a proxy itself.",
        "A shortened truth flatters proxies that train as it does, only shorter: stopped.",
        "Only 3 of 24 architectures have a truth (a part): the figures are about these.",
        "The truth has one seed: its noise, and with it the highest ρ that can be measured, is unknown.",
    ]


def test_a_truth_of_updates_is_shortened(comparison: Comparison) -> None:
    short = with_truth(comparison, recipe={"epochs": 100, "steps": 4000})
    assert describe_cautions(short)[0].startswith("The truth was shortened to 4,000 updates")


def test_a_truth_for_the_best_only_narrows_the_range(comparison: Comparison) -> None:
    partial = replace(comparison, num_archs=720, truth_for="top:5%")
    assert describe_cautions(partial) == [
        "Only 40 of 720 architectures have a truth (chosen as top:5%): a proxy chose them, which narrows their range "
        "and lowers every ρ."
    ]
    corrected = with_ranking(partial, 0, space_spearman=estimate(0.9, 0.8, 0.95, note="normal scores"))
    assert said(corrected, "whole space") == (
        f"Over the whole space, {DM} is estimated at ρ = 0.90 [0.80, 0.95] (normal scores)."
    )


def test_missing_and_flagged_trials_are_named(comparison: Comparison) -> None:
    poor = with_ranking(comparison, 1, num_failed=1, num_not_finite=2, num_flagged=4)
    assert describe_cautions(poor) == [
        "3 architectures of naswot got no score.",
        "4 of naswot diverged or stayed at chance; ranked as measured.",
    ]


# --- tables


def test_the_markdown_table_has_a_row_a_proxy_and_footnotes(comparison: Comparison) -> None:
    lines = table_markdown(comparison).splitlines()
    assert [line.split(" | ")[0] for line in lines[2:6]] == [f"| {name}" for name in (DM, NASWOT, RANDOM, PARAMS)]
    assert {line.count(" | ") for line in lines[:6]} == {14}
    assert lines[-1] == "1. one score for all seeds: no noise to correct for"


def test_a_combination_that_saw_the_truth_says_so(comparison: Comparison) -> None:
    assert not any("was fitted to the truth" in text for text in describe_findings(comparison))
    first = comparison.proxies[0]
    fitted = replace(first, info=replace(first.info, recipe={"combination": "fitted"}))
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
    assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {14}


@pytest.mark.parametrize("write", [table_markdown, table_latex, lambda c: page_text(page_html(c, [], title="t"))])
def test_missing_values_are_dashes_with_a_note(write: Callable[[Comparison], str]) -> None:
    text = write(degenerate_comparison())
    assert not re.search(r"\b(nan|NaN|None|inf|Infinity)\b", text)
    assert "too few architectures" in text


# --- the page


def page_text(page: str) -> str:
    """The page without its scripts and styles."""
    return re.sub(r"<(script|style)\b.*?</\1>", "", page, flags=re.DOTALL)


def figures_in(page: str) -> dict[str, dict[str, dict[str, Any]]]:
    found = re.search(r'<script type="application/json" id="figures">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    figures: dict[str, dict[str, dict[str, Any]]] = json.loads(found[1])
    return figures


def test_the_sections_come_in_order(page: str) -> None:
    order = ["findings", "table", "scatter", "regret", "forest", "differences", "factors", "costs", "runs", "reading"]
    assert re.findall(r'<section id="(\w+)"', page) == order


def test_the_page_needs_no_network(page: str) -> None:
    assert page.count("plotly.js v") == 1
    assert not re.search(r"""(?:src|href)\s*=\s*["'](?!data:|#)""", page_text(page))
    assert "@import" not in page.split("</style>")[0]


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
    best = max(comparison.truth, key=lambda trial: trial.test_accuracy)
    (text,) = [text for text in texts if f"<b>{best.arch_id}</b>" in text]
    assert f"truth {100 * best.test_accuracy:.1f} % (rank 1)" in text
    assert f"norm {best.factors['norm']}" in text


def test_effects_of_the_truth_are_standardised(comparison: Comparison, page: str) -> None:
    effect = comparison.factor_effects[0]
    drawn = figures_in(page)["factors"][effect.factor]["data"][0]["x"]
    accuracies = [trial.test_accuracy for trial in comparison.truth]
    expected = [(item.value or math.nan) / np.std(accuracies) for item in effect.truth]
    np.testing.assert_allclose(drawn, expected)


# --- all files


def test_a_report_is_the_same_for_the_same_comparison(comparison: Comparison, tmp_path: Path) -> None:
    pages = [write_report(comparison, [RECORD], tmp_path / name, title="t") for name in ("one", "two")]
    assert pages[0] == tmp_path / "one" / "report.html"
    names = [f"figures/{name}.png" for name in ("factor-effects", "forest", "regret", "scatter")]
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
    assert len(list((tmp_path / "figures").glob("*.png"))) == 4


def test_a_picture_is_in_the_page(comparison: Comparison, tmp_path: Path) -> None:
    Image.new("RGB", (4, 4), "red").save(tmp_path / "proxy.png")
    record = RunRecord("dm", "condense", {}, {}, tmp_path / "proxy.png")
    page = page_html(comparison, [record], title="t")
    assert 'src="data:image/png;base64,iVBOR' in page
    assert 'alt="Images of the proxy set dm, one row a class"' in page


def test_a_folder_that_cannot_be_made_is_an_input_error(comparison: Comparison, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(InputError, match="cannot write the report"):
        write_report(comparison, [], tmp_path / "file", title="t")


def test_template_style_and_script_ship_with_the_package() -> None:
    folder = resources.files("nasproxy.reporting") / "templates"
    assert sorted(item.name for item in folder.iterdir()) == ["page.css", "page.html", "page.js"]
