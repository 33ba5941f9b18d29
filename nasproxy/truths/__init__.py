"""Truths that somebody else has trained and published, by name; the tables lie beside this file."""

from nasproxy.truths.published import EARLY_STOPS, TRUTHS, load_published, load_published_scores, names_truth, task_of

__all__ = ["EARLY_STOPS", "TRUTHS", "load_published", "load_published_scores", "names_truth", "task_of"]
