"""Truths that somebody else has trained and published, by name; the tables lie beside this file."""

from nasproxy.truths.published import EARLY_STOPS, TRUTHS, load_early_stop, load_published, names_truth

__all__ = ["EARLY_STOPS", "TRUTHS", "load_early_stop", "load_published", "names_truth"]
