"""The table of proxies as Markdown and as LaTeX."""

from collections.abc import Callable

from nasproxy.comparing import Comparison
from nasproxy.reporting.columns import Cell, TableColumn, table_columns, table_notes, table_rows

_LATEX = {
    "\\": r"\textbackslash{}",
    **{mark: f"\\{mark}" for mark in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "−": "$-$",
    "–": "--",
    "ρ": r"$\rho$",
    "τ": r"$\tau$",
    "\N{NO-BREAK SPACE}": "~",
}
_MARKDOWN = {mark: f"\\{mark}" for mark in "\\|*_`[]<"}


def table_markdown(comparison: Comparison) -> str:
    """One row per proxy, as a Markdown table with its footnotes."""
    columns, rows, notes = _parts(comparison)
    escape = str.maketrans(_MARKDOWN)
    lines = [
        _markdown_row([column.label.translate(escape) for column in columns]),
        _markdown_row(["---" if column is columns[0] else "---:" for column in columns]),
    ]
    for row in rows:
        lines.append(_markdown_row([_cell(cell, notes, escape, lambda mark: f"<sup>{mark}</sup>") for cell in row]))
    footnotes = [f"{number}. {note.translate(escape)}" for number, note in enumerate(notes, start=1)]
    return "\n".join([*lines, *([""] if footnotes else []), *footnotes]) + "\n"


def table_latex(comparison: Comparison) -> str:
    """One row per proxy, as a LaTeX tabular for the booktabs package, its footnotes in a paragraph below."""
    columns, rows, notes = _parts(comparison)
    escape = str.maketrans(_LATEX)
    lines = [
        r"% \usepackage{booktabs}",
        rf"\begin{{tabular}}{{l{'r' * (len(columns) - 1)}}}",
        r"\toprule",
        _latex_row([column.label.translate(escape) for column in columns]),
        r"\midrule",
        *(
            _latex_row([_cell(cell, notes, escape, lambda m: rf"\textsuperscript{{{m}}}") for cell in row])
            for row in rows
        ),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    footnotes = [
        rf"\textsuperscript{{{number}}}~{note.translate(escape)}" for number, note in enumerate(notes, start=1)
    ]
    return "\n".join([*lines, *([r"\par\footnotesize"] if footnotes else []), *footnotes]) + "\n"


def _parts(comparison: Comparison) -> tuple[list[TableColumn], list[list[Cell]], list[str]]:
    columns = table_columns(comparison)
    rows = table_rows(comparison, columns)
    return columns, rows, table_notes(rows)


def _cell(cell: Cell, notes: list[str], escape: dict[int, str], raise_mark: Callable[[int], str]) -> str:
    text = f"{cell.text} {cell.interval}".strip().translate(escape)
    return text + (raise_mark(notes.index(cell.note) + 1) if cell.note else "")


def _markdown_row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _latex_row(cells: list[str]) -> str:
    return f"{' & '.join(cells)} \\\\"
