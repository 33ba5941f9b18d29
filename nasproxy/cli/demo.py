"""`nasproxy demo`: the whole job on the built-in digits, in three to four minutes on two cores."""

import nasproxy as nap
from nasproxy.cli import options
from nasproxy.cli.compare import print_comparison
from nasproxy.cli.flags import takes_settings
from nasproxy.cli.printing import command, run_of


@takes_settings(nap.CompareConfig, only={"device"}, takes_any=False)
def demo(given: nap.Tree, runs_dir: options.RunsDir = options.RUNS_DIR, verbose: options.Verbose = None) -> None:
    """Compare four proxies of the digits on 24 ConvNets: two small sets, and two formulas that train nothing."""
    with nap.Talk(verbose=verbose) as talk:
        comparison = nap.Runs(runs_dir, progress=talk).compare(settings=given, preset="demo")
    print_comparison(comparison, runs_dir)
    run = run_of(comparison)
    print(
        f"""
look at next:
  {run.report_path}    the report: open it in a browser
  {run.path}/architectures.csv    every architecture, ranked by the truth and by each proxy
  {command("dashboard", run.name, runs_dir=runs_dir)}    every trial in the browser
  nasproxy compare --preset two-cores --dry-run    the real thing, and how long it takes here"""
    )
