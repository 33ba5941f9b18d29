"""The report of a comparison in a folder: page, figures, tables."""

from collections.abc import Sequence
from pathlib import Path

from nasproxy.comparing import Comparison
from nasproxy.errors import InputError
from nasproxy.files import write_atomically, write_text
from nasproxy.reporting.page import page_html
from nasproxy.reporting.printed import write_figures
from nasproxy.reporting.records import RunRecord
from nasproxy.reporting.tables import table_latex, table_markdown


def write_report(
    comparison: Comparison, records: Sequence[RunRecord], folder: Path, *, title: str, dashboard: str | None = None
) -> Path:
    """Writes `report.html` and, beside it, `figures/*.png`, `table.md` and `table.tex`; equal input, equal bytes.

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
        write_figures(comparison, folder / "figures", write_atomically)
    except OSError as error:
        raise InputError(f"cannot write the report {page}: {error}; choose another folder") from None
    return page
