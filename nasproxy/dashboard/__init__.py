"""The Optuna dashboard: of one search, live, or of several side by side, as they are when it is opened."""

from nasproxy.dashboard.server import Dashboard

__all__ = ["Dashboard"]
