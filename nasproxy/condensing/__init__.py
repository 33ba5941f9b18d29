"""Condensing: a training set becomes a proxy set. See `matching` (dm), `coresets` (selected images)."""

from nasproxy.condensing.condense import METHODS, Method, condense

__all__ = ["METHODS", "Method", "condense"]
