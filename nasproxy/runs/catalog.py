"""What there is to choose from, with a line about each."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from nasproxy.errors import unknown_name
from nasproxy.runs.references import TABLE


def _summaries(module: str, registry: str) -> Callable[[], dict[str, str]]:
    """Name -> summary of a registry, whose module is imported when that is asked for."""

    def describe() -> dict[str, str]:
        content: Mapping[str, Any] = getattr(import_module(module), registry)
        return {name: value if isinstance(value, str) else value.summary for name, value in content.items()}

    return describe


def _describe_spaces() -> dict[str, str]:
    from nasproxy.config import read_toml
    from nasproxy.spacefile import list_spaces

    return {name: read_toml(path).get("description", "") for name, path in list_spaces().items()}


def _describe_recipes() -> dict[str, str]:
    from nasproxy.config import list_recipes, read_toml

    return {name: read_toml(path)["description"] for name, path in list_recipes().items()}


def _describe_nets() -> dict[str, str]:
    from nasproxy.nets.zoo import ZOO

    rows = {
        "auto": "the default ConvNet for the images, e.g. w128-d3-instance-relu-avg at 32x32",
        "wW-dD-NORM-ACT-POOL": "any ConvNet, e.g. w64-d2-batch-leakyrelu-max ('ls spaces' has convnet720)",
    }
    for name, family in ZOO.items():
        norms = f"; -{', -'.join(family.norms)}" if family.norms else ""
        rows[name] = f"{family.summary}{norms}"
    return rows


def _describe_all_proxies() -> dict[str, str]:
    homes = (("nasproxy.proxies", "PROXIES"), ("nasproxy.proxies", "COMPOSITES"), ("nasproxy.truths", "EARLY_STOPS"))
    named, composites, tables = (_summaries(*home)() for home in homes)
    return (
        named
        | composites
        | {f"{TABLE}{name}": f"published: {summary}" for name, summary in tables.items()}
        | {"RUN": "the proxy set of a condense run", "FILE.csv:COLUMN": "scores from elsewhere, higher is better"}
    )


CATALOG: Mapping[str, Callable[[], dict[str, str]]] = {
    "methods": _summaries("nasproxy.condensing", "METHODS"),
    "datasets": _summaries("nasproxy.images", "DATASETS"),
    "spaces": _describe_spaces,
    "nets": _describe_nets,
    "proxies": _describe_all_proxies,
    "strategies": _summaries("nasproxy.searching.schedule", "STRATEGIES"),
    "loggers": _summaries("nasproxy.searching.loggers", "LOGGERS"),
    "recipes": _describe_recipes,
    "screens": _summaries("nasproxy.searching.screen", "SCREENS"),
    "combinations": _summaries("nasproxy.combining", "COMBINATIONS"),
    "truths": _summaries("nasproxy.truths", "TRUTHS"),
    "presets": _summaries("nasproxy.runs.presets", "PRESETS"),
}
"""What can be listed -> name and one-line summary of each."""


def catalog(what: str) -> dict[str, str]:
    """Names and summaries of all methods, datasets, spaces, nets, proxies, strategies, screens and so on (`CATALOG`).

    Raises:
        SettingsError: another `what` (the nearest is named).
    """
    if what not in CATALOG:
        raise unknown_name("list", what, CATALOG)
    return CATALOG[what]()
