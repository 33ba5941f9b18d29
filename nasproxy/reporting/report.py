"""The report of a comparison in a folder: page, figures, tables."""

from collections.abc import Sequence
from pathlib import Path

from nasproxy.comparing import Comparison
from nasproxy.errors import InputError
from nasproxy.files import write_atomically, write_text
from nasproxy.replaying import Replays
from nasproxy.reporting.figures import CHARTS
from nasproxy.reporting.page import page_html
from nasproxy.reporting.printed import write_figure
from nasproxy.reporting.records import RunRecord
from nasproxy.reporting.replays import replay_chart
from nasproxy.reporting.tables import table_latex, table_markdown


def write_report(
    comparison: Comparison, records: Sequence[RunRecord], folder: Path, *, title: str, dashboard: str | None = None
) -> Path:
    """Writes `report.html` and, beside it, `table.md`, `table.tex` and `figures/`; equal input, equal bytes.

    Each figure is there as .png, .svg and .pdf. One with nothing to show is not written.

    Args:
        comparison: proxies beside the truth; at least one proxy.
        records: the runs behind it, in the order in which the page shows them.
        folder: made if it is missing.
        title: headline of the page.
        dashboard: run that `nasproxy dashboard` opens on this comparison, for links; None: there is none.

    Returns:
        The page.

    Raises:
        InputError: the folder cannot be written, or a picture cannot be read.
    """
    page = folder / "report.html"
    try:
        (folder / "figures").mkdir(parents=True, exist_ok=True)
        write_text(page, page_html(comparison, records, title=title, dashboard=dashboard))
        write_text(folder / "table.md", table_markdown(comparison))
        write_text(folder / "table.tex", table_latex(comparison))
        for name, describe in CHARTS.items():
            if (chart := describe(comparison)).panels:
                write_figure(chart, folder / "figures", name, write_atomically)
    except OSError as error:
        raise InputError(f"cannot write the report {page}: {error}; choose another folder") from None
    return page


def write_replay_figure(replays: Replays, folder: Path) -> None:
    """Writes `regret.png`, `.svg` and `.pdf` into a folder that exists; equal input, equal bytes."""
    write_figure(replay_chart(replays), folder, "regret", write_atomically)
