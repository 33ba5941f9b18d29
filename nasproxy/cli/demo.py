"""`nasproxy demo`: the whole job on the built-in digits, in three to four minutes on two cores."""

from typing import Annotated

import typer

from nasproxy.cli import options
from nasproxy.cli.compare import print_comparison
from nasproxy.cli.talk import Talk
from nasproxy.config import CompareConfig, make_config


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("demo")(demo)


def demo(
    runs_dir: options.RunsDir = options.RUNS_DIR,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
) -> None:
    """Compare four proxies of the digits on 24 ConvNets: two small sets, and two formulas that train nothing."""
    from nasproxy.runs.comparing import run_compare
    from nasproxy.runs.presets import find_preset

    config = make_config(CompareConfig, find_preset("demo"), {"machine": {"device": device}})
    with Talk() as talk:
        run, comparison = run_compare(config, root=runs_dir, name=None, resume=None, listener=talk)
    print_comparison(comparison)
    print(
        f"""
look at next:
  {run.report_path}    the report: open it in a browser
  {run.path}/architectures.csv    every architecture, ranked by the truth and by each proxy
  nasproxy dashboard {run.name}    every trial in the browser
  nasproxy compare --preset two-cores --dry-run    the real thing, and how long it takes here"""
    )
