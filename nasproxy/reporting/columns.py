"""The columns of the table of proxies, for the page, Markdown and LaTeX alike."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from nasproxy.comparing import Comparison, Method, Ranking
from nasproxy.formatting import format_count, format_interval, format_minutes, format_number, format_percent
from nasproxy.ranking import Estimate

AT_CHANCE = "the proxy’s nets of it are no better than guessing"


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
class TableColumn:
    """One column of the table."""

    label: str
    definition: str
    cell: Callable[[Ranking], Cell]
    is_text: bool = False


def table_columns(comparison: Comparison) -> list[TableColumn]:
    """All columns, in their order."""
    top = format_percent(comparison.rankings[0].top_fraction)
    methods = {method.label: method for method in comparison.methods}
    has_sets = any(method.spread is not None for method in methods.values())
    return [
        TableColumn("proxy", "What scored the architectures.", lambda r: Cell(r.label, r.label), is_text=True),
        TableColumn(
            "ρ, all",
            "Spearman’s rank correlation with full training, over all architectures with a truth. "
            "1: the same order; 0: none; −1: reversed.",
            lambda r: _estimate(r.spearman, has_bar=True),
        ),
        *([_mean_column(methods)] if has_sets else []),
        TableColumn(
            f"ρ, top {top} by proxy",
            f"The same over the {top} that the proxy puts first: does it order what one would train?",
            lambda r: _estimate(r.top_spearman),
        ),
        TableColumn(
            f"ρ, top {top} by truth",
            f"The same over the {top} that are best in truth: does it order the good ones?",
            lambda r: _estimate(r.true_top_spearman),
        ),
        TableColumn(
            "τ-b, all",
            "Kendall’s rank correlation, corrected for ties: of two architectures taken at random, how much more often "
            "the proxy orders them right than wrong.",
            lambda r: _estimate(r.kendall),
        ),
        TableColumn(
            f"precision, top {top}",
            f"Share of the proxy’s top {top} that is in the top {top} by truth.",
            lambda r: _estimate(r.precision),
        ),
        TableColumn(
            "regret, first pick",
            "Test accuracy, in percentage points, lost by training only the architecture that the proxy puts first, "
            "against the best with a truth. Some of it is the truth's seed noise; the interval has that in it "
            "where there are two seeds or more.",
            lambda r: _estimate(r.regret, scale=100, digits=1),
        ),
        TableColumn(
            f"regret, top {top}",
            f"The same when the proxy’s top {top} is trained and the best of it kept.",
            lambda r: _estimate(r.top_regret, scale=100, digits=1),
        ),
        TableColumn("n", "Architectures that both the proxy and the truth scored.", lambda r: _count(r.num_archs)),
        TableColumn(
            "first pick",
            "The architecture with the best proxy score, among those with a truth.",
            lambda r: Cell(r.selected, r.selected, note=AT_CHANCE if r.is_selected_at_chance else None),
            is_text=True,
        ),
        TableColumn(
            "condense, min",
            "Wall minutes to make the proxy set; 0 where there is none.",
            lambda r: Cell(format_minutes(r.cost.condense_seconds), r.cost.condense_seconds),
        ),
        TableColumn(
            "search, min",
            "Minutes of training or scoring, summed over all architectures and seeds.",
            lambda r: Cell(format_minutes(r.cost.search_seconds), r.cost.search_seconds),
        ),
        TableColumn(
            "stored images",
            "Images whose memory has to be kept for the proxy; not known of a table.",
            lambda r: _count(r.num_stored_images),
        ),
    ]


def _mean_column(methods: Mapping[str, Method]) -> TableColumn:
    def cell(ranking: Ranking) -> Cell:
        method = methods[ranking.method]
        mean = _estimate(method.spearman)
        spread = "" if method.spread is None else f" ± {format_number(method.spread)}"
        return replace(mean, text=f"{mean.text}{spread}")

    return TableColumn(
        "ρ, method",
        "The same, mean over all sets of the method ± the standard deviation from set to set as measured. The interval "
        "includes what another set would change.",
        cell,
    )


def table_rows(comparison: Comparison, columns: list[TableColumn]) -> list[list[Cell]]:
    """One row per proxy."""
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


def _count(count: int | None) -> Cell:
    return Cell(format_count(count), count)
