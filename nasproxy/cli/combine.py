"""`nasproxy combine`: several proxies as one."""

from typing import Annotated

import nasproxy as nap
from nasproxy.cli import options
from nasproxy.cli.flags import takes_settings
from nasproxy.cli.printing import command, print_result, run_of


@takes_settings(nap.CombineConfig, takes_any=False)
def combine(
    given: nap.Tree,
    runs: Annotated[list[str], options.run_argument("Searches of the same space and data.", metavar="RUN RUN")],
    name: options.Name = None,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    verbose: options.Verbose = None,
    json: options.Json = False,
) -> None:
    """Make one proxy of several: it is ranked, exported and reported like any search."""
    given["combine"]["runs"] = runs
    with nap.Talk(verbose=verbose) as talk:
        trials = nap.Runs(runs_dir, progress=talk).combine(settings=given, name=name)
    run = run_of(trials)
    best = trials.best
    result = {
        "run": run.name,
        "num_trials": len(trials),
        "best": best.arch_id if best else None,
        "best_score": f"{best.selection_score:.6g}" if best else None,
    }
    print_result(
        result,
        as_json=json,
        next_step=command("rank", run.name, "--truth", "TRUTH_RUN", runs_dir=runs_dir),
        quiet=verbose is False,
    )
