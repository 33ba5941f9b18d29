"""The report as one HTML page: template, style, script and figures in one file that needs no network."""

import base64
import gzip
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from nasproxy.choosing import choose, describe_top
from nasproxy.comparing import Comparison
from nasproxy.config import DASHBOARD_PORT
from nasproxy.errors import format_command
from nasproxy.formatting import format_interval, format_number, format_p_value, format_percent
from nasproxy.ranking import Difference
from nasproxy.reporting.cautions import describe_cautions, training_length
from nasproxy.reporting.columns import table_columns, table_notes, table_rows
from nasproxy.reporting.figures import CHARTS
from nasproxy.reporting.findings import describe_results, verdict_of
from nasproxy.reporting.interactive import PlotlyFigure, plotly_figure
from nasproxy.reporting.marks import mark_of
from nasproxy.reporting.records import RunRecord, command_line, meta_rows, settings_rows
from nasproxy.signals import split_signal


def page_html(comparison: Comparison, records: Sequence[RunRecord], *, title: str, dashboard: str | None = None) -> str:
    """The whole page. Equal input gives equal text: no time of now is in it."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("nasproxy.reporting"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    columns = table_columns(comparison)
    rows = table_rows(comparison, columns)
    charts = {name: describe(comparison) for name, describe in CHARTS.items()}
    figures = {name: {panel.name: plotly_figure(panel) for panel in chart.panels} for name, chart in charts.items()}
    return environment.get_template("page.html").render(
        title=title,
        summary=_summary(comparison),
        choice=choose(comparison),
        can_judge=comparison.can_judge,
        results=describe_results(comparison),
        cautions=describe_cautions(comparison),
        columns=columns,
        rows=rows,
        notes=table_notes(rows),
        proxies=[(ranking.label, mark_of(index)) for index, ranking in enumerate(comparison.rankings)],
        methods=[(method.label, mark_of(min(method.members))) for method in comparison.methods],
        top=format_percent(comparison.rankings[0].top_fraction),
        charts=charts,
        figures=figures,
        packed_figures=_pack(figures),
        differences=[[_difference_cell(cell, comparison) for cell in row] for row in comparison.differences],
        has_sets=any(len(method.members) > 1 for method in comparison.methods),
        is_whole=comparison.alignment.is_whole,
        has_ceiling=comparison.ceiling.value is not None,
        pictures=_pictures(comparison, records),
        dashboard=format_command("dashboard", dashboard) if dashboard else None,
        few=describe_top(comparison),
        studies=_studies(comparison),
        runs=[(record, command_line(record), meta_rows(record), settings_rows(record)) for record in records],
        plotly=Markup(
            files("nasproxy.reporting").joinpath("plotly", "plotly-basic.min.js").read_text(encoding="utf-8")
        ),
    )


def _pack(figures: Mapping[str, Mapping[str, PlotlyFigure]]) -> str:
    """JSON as base64 of gzip: the hover texts of thousands of points are mostly the same words."""
    text = json.dumps(figures, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode("ascii")


def _studies(comparison: Comparison) -> list[tuple[str, str]]:
    """Name and address of what the Optuna dashboard shows of a comparison, once it is served (`Dashboard`)."""
    names = ["all side by side", "the truth", *(ranking.label for ranking in comparison.rankings)]
    root = f"http://127.0.0.1:{DASHBOARD_PORT}/dashboard/studies"
    return [(name, f"{root}/{number}") for number, name in enumerate(names)]


def _summary(comparison: Comparison) -> str:
    info, task = comparison.truth.info, comparison.proxies[0].info
    seeds = f"{info.num_seeds} seed{'s' if info.num_seeds != 1 else ''}"
    length = training_length(comparison.truth) or "a table"
    alignment = comparison.alignment
    scored = alignment.sample.describe() if alignment.sample else f"{alignment.num_scored:,} architectures"
    chosen = f" ({alignment.truth_for})" if alignment.truth_for not in ("all", "some") else ""
    return (
        f"{task.dataset} · space {task.space} · {scored} · "
        f"truth: {length}, {seeds}, for {len(alignment.with_truth):,} of them{chosen}"
    )


def _difference_cell(difference: Difference, comparison: Comparison) -> dict[str, Any]:
    """Text, interval, p-value and background of a cell of the matrix; only what is sure is coloured."""
    verdict = verdict_of(difference, can_judge=comparison.can_judge)
    strength = min(abs(difference.value or 0.0), 1.0)
    return {
        "value": format_number(difference.value),
        "interval": format_interval(difference),
        "p_value": format_p_value(difference.adjusted_p_value),
        "verdict": verdict,
        "percent": round(18 + 62 * strength) if verdict in ("better", "worse") else 0,
        "note": difference.note,
    }


def _pictures(comparison: Comparison, records: Sequence[RunRecord]) -> list[tuple[str, str, tuple[str, ...]]]:
    """Label, picture and classes of each proxy set; the name of its run where no search with it is compared."""
    searched_with = {record.name: record.settings.get("search", {}).get("proxy") for record in records}
    labels = {searched_with.get(split_signal(ranking.name)[0]): ranking.label for ranking in comparison.rankings}
    return [
        (labels.get(record.name, record.name), _data_uri(record.picture), record.classes)
        for record in records
        if record.picture
    ]


def _data_uri(picture: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(picture.read_bytes()).decode('ascii')}"
