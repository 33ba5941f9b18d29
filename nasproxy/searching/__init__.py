"""Searching: architectures scored by a proxy on Ray Tune. See `proxies`, `schedule`, `worker`, `search`."""

from nasproxy.searching.proxies import PROXIES, Proxy, make_proxy
from nasproxy.searching.schedule import STRATEGIES
from nasproxy.searching.search import Plan, plan_search, search

__all__ = ["PROXIES", "STRATEGIES", "Plan", "Proxy", "make_proxy", "plan_search", "search"]
