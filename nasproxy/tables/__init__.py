"""Tables of architectures: results written, scores and true accuracies read."""

from nasproxy.tables.reading import read_scores, read_truth
from nasproxy.tables.writing import (
    FORMATS,
    Frame,
    comparison_frame,
    csv_text,
    ranking_row,
    rankings_frame,
    replay_frame,
    trials_frame,
    write_table,
)

__all__ = [
    "FORMATS",
    "Frame",
    "comparison_frame",
    "csv_text",
    "ranking_row",
    "rankings_frame",
    "read_scores",
    "read_truth",
    "replay_frame",
    "trials_frame",
    "write_table",
]
