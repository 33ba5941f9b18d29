"""Condensing: a training set becomes a proxy set.

See `methods` for what there is, `matching`, `gradients` and `coresets` for how, `updating` for the loop.
"""

from nasproxy.condensing.condense import condense
from nasproxy.condensing.methods import METHODS, Method

__all__ = ["METHODS", "Method", "condense"]
