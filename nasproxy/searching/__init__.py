"""Searching: architectures scored by a proxy on Ray Tune.

`plan` decides and checks, `schedule` says which architecture is next, `cluster` starts Ray, `worker` trains or
scores, and `search` brings them together.
"""

from nasproxy.searching.cluster import RaySession, plan_workforce
from nasproxy.searching.plan import Plan, SpaceCosts, measure_space, plan_search
from nasproxy.searching.schedule import STRATEGIES
from nasproxy.searching.search import run_plan, search

__all__ = [
    "STRATEGIES",
    "Plan",
    "RaySession",
    "SpaceCosts",
    "measure_space",
    "plan_search",
    "plan_workforce",
    "run_plan",
    "search",
]
