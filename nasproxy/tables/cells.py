"""Texts in cells of a CSV file, which a spreadsheet might take for formulas."""

FORMULA_MARKS = ("=", "+", "-", "@", "\t", "\r")
"""What the first character of a formula may be in a spreadsheet."""


def to_cell(text: str) -> str:
    """A text as it stands in a CSV file: one that would be a formula has an apostrophe in front."""
    return f"'{text}" if text.lstrip("'").startswith(FORMULA_MARKS) else text


def from_cell(text: str) -> str:
    """The inverse of `to_cell`."""
    return text[1:] if text.startswith("'") and text.lstrip("'").startswith(FORMULA_MARKS) else text
