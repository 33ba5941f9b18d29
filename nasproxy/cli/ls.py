"""`nasproxy ls`: what there is."""

from enum import StrEnum
from typing import Annotated

import typer

from nasproxy.cli import options
from nasproxy.cli.printing import print_json, print_table
from nasproxy.rundir import list_runs


class What(StrEnum):
    """What can be listed."""

    RUNS = "runs"
    METHODS = "methods"
    DATASETS = "datasets"
    SPACES = "spaces"
    NETS = "nets"
    PROXIES = "proxies"
    STRATEGIES = "strategies"


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("ls")(ls)


def ls(
    what: Annotated[What, typer.Argument(help="What to list.")] = What.RUNS,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    json: options.Json = False,
) -> None:
    """List runs, or the methods, datasets, spaces, nets, proxies and strategies there are."""
    if what is What.RUNS:
        metas = [run.meta for run in list_runs(runs_dir)]
        rows = [{key: str(meta.get(key, "")) for key in ("name", "command", "status", "created")} for meta in metas]
    else:
        rows = [{"name": name, "summary": summary} for name, summary in _describe(what).items()]
    if json:
        print_json(rows)
    elif rows:
        print_table(list(rows[0]), [list(row.values()) for row in rows])


def _describe(what: What) -> dict[str, str]:
    if what is What.METHODS:
        from nasproxy.condensing import METHODS

        return {name: method.summary for name, method in METHODS.items()}
    if what is What.DATASETS:
        from nasproxy.images import DATASETS

        return {name: dataset.summary for name, dataset in DATASETS.items()}
    if what is What.SPACES:
        from nasproxy.config import read_toml
        from nasproxy.space import list_spaces

        return {name: read_toml(path).get("description", "") for name, path in list_spaces().items()}
    if what is What.NETS:
        return _describe_nets()
    if what is What.STRATEGIES:
        from nasproxy.searching import STRATEGIES

        return dict(STRATEGIES)
    from nasproxy.proxies import PROXIES

    return {name: proxy.summary for name, proxy in PROXIES.items()} | {"RUN": "the proxy set of a condense run"}


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
