"""The columns of the table of proxies, for the page, Markdown and LaTeX alike."""

from collections.abc import Callable
from dataclasses import dataclass

from nasproxy.comparing import Comparison, Ranking
from nasproxy.ranking import Estimate
from nasproxy.reporting.numerals import (
    MISSING,
    format_interval,
    format_minutes,
    format_number,
    format_p_value,
    format_percent,
)


@dataclass(frozen=True)
class Cell:
    """One cell of the table."""

    text: str
    key: float | str | None
    """What a column is sorted by; None sorts last."""
    interval: str = ""
    note: str | None = None
    bounds: tuple[float, float, float] | None = None
    """(low, value, high) on the scale -1 to 1, where a bar is drawn."""


@dataclass(frozen=True)
class Column:
    """One column of the table."""

    label: str
    definition: str
    cell: Callable[[Ranking], Cell]
    is_text: bool = False


def table_columns(comparison: Comparison) -> list[Column]:
    """All columns, in their order."""
    top = format_percent(comparison.rankings[0].top_fraction)
    return [
        Column(
            "proxy", "Name of the run that scored the architectures.", lambda r: Cell(r.label, r.label), is_text=True
        ),
        Column(
            "ρ, all",
            "Spearman’s rank correlation with full training, over all architectures with a truth. "
            "1: the same order; 0: none; −1: reversed.",
            lambda r: _estimate(r.spearman, has_bar=True),
        ),
        Column(
            f"ρ, top {top} by proxy",
            f"The same over the {top} that the proxy puts first: does it order what one would train?",
            lambda r: _estimate(r.top_spearman),
        ),
        Column(
            f"ρ, top {top} by truth",
            f"The same over the {top} that are best in truth: does it order the good ones?",
            lambda r: _estimate(r.true_top_spearman),
        ),
        Column(
            "τ-b, all",
            "Kendall’s rank correlation, corrected for ties: of two architectures taken at random, how much more often "
            "the proxy orders them right than wrong.",
            lambda r: _estimate(r.kendall),
        ),
        Column(
            f"precision, top {top}",
            f"Share of the proxy’s top {top} that is in the top {top} by truth.",
            lambda r: _estimate(r.precision),
        ),
        Column(
            "regret, first pick",
            "Test accuracy, in percentage points, lost by training only the architecture that the proxy puts first, "
            "against the best with a truth.",
            lambda r: _estimate(r.regret, scale=100, digits=1),
        ),
        Column(
            f"regret, top {top}",
            f"The same when the proxy’s top {top} is trained and the best of it kept.",
            lambda r: _estimate(r.top_regret, scale=100, digits=1),
        ),
        Column(
            "ρ, corrected",
            "ρ over all, as it would be without the seed noise of proxy and truth (Spearman’s correction for "
            "attenuation). It can exceed 1.",
            lambda r: _estimate(r.corrected_spearman),
        ),
        Column("p", "Two-sided p-value of ‘ρ over all is 0’.", lambda r: _p_value(r.spearman)),
        Column("n", "Architectures that both the proxy and the truth scored.", lambda r: _count(r.num_archs)),
        Column("first pick", "The architecture with the best proxy score, among those with a truth.", _selected, True),
        Column(
            "condense, min",
            "Wall minutes to make the proxy set; 0 where there is none.",
            lambda r: Cell(format_minutes(r.condense_seconds), r.condense_seconds),
        ),
        Column(
            "search, min",
            "Minutes of training or scoring, summed over all architectures and seeds.",
            lambda r: Cell(format_minutes(r.search_seconds), r.search_seconds),
        ),
        Column(
            "stored images",
            "Images whose memory has to be kept for the proxy.",
            lambda r: _count(r.num_stored_images),
        ),
    ]


def table_rows(comparison: Comparison, columns: list[Column]) -> list[list[Cell]]:
    """One row a proxy."""
    return [[column.cell(ranking) for column in columns] for ranking in comparison.rankings]


def table_notes(rows: list[list[Cell]]) -> list[str]:
    """What cells have to add, each once, in reading order: a footnote's number is its place, from 1."""
    return list(dict.fromkeys(cell.note for row in rows for cell in row if cell.note))


def _estimate(estimate: Estimate, *, scale: float = 1, digits: int = 2, has_bar: bool = False) -> Cell:
    value = None if estimate.value is None else scale * estimate.value
    bounds = None
    if has_bar and estimate.value is not None and estimate.low is not None and estimate.high is not None:
        bounds = (estimate.low, estimate.value, estimate.high)
    interval = format_interval(estimate, scale=scale, digits=digits)
    return Cell(format_number(value, digits), value, interval, estimate.note, bounds)


def _p_value(estimate: Estimate) -> Cell:
    return Cell(format_p_value(estimate.p_value), estimate.p_value, note=None if estimate.p_value else estimate.note)


def _count(count: int) -> Cell:
    return Cell(f"{count:,}", count)


def _selected(ranking: Ranking) -> Cell:
    return Cell(ranking.selected or MISSING, ranking.selected)
