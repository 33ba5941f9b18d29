"""`nasproxy search`: score architectures by a proxy."""

from typing import Annotated

import typer

import nasproxy as nap
from nasproxy.cli import options
from nasproxy.cli.flags import takes_settings
from nasproxy.cli.printing import print_result, run_of
from nasproxy.cli.talk import Talk

FAILED_TRIALS = 3
"""Exit code of a search that is done, but for architectures that failed."""


@takes_settings(nap.SearchConfig)
def search(
    given: nap.Tree,
    name: options.Name = None,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    resume: options.Resume = None,
    retry_failed: Annotated[
        bool, options.run_option("--retry-failed", help="With --resume: try failed ones again.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Score every architecture by a proxy: train it there and record how well it does, or apply a formula.

    A condense run brings its data along, and --archs top:RUN:5% the data and space of that run: no --dataset is needed.
    """
    with Talk() as talk:
        runs = nap.Runs(runs_dir, listener=talk)
        trials = runs.search(settings=given, name=name, resume=resume, retry_failed=retry_failed)
    run = run_of(trials)
    failed = trials.count(nap.State.FAILED, nap.State.LOST)
    best = trials.ranked()[0]
    result = {
        "run": run.name,
        "num_trials": len(trials),
        "num_failed": failed,
        "num_not_finite": trials.count(nap.State.NOT_FINITE),
        "ranked_by": trials.info.selection_metric,
        "best": best.arch_id,
        "best_score": f"{best.selection_score:.6g}",
        "trials": str(run.path / "trials.csv"),
    }
    if trials.info.sample is not None:
        result["sample"] = trials.info.sample.describe()
    next_step = f"nasproxy search --proxy whole --archs top:{run.name}:5%"
    if trials.info.kind is nap.ProxyKind.FULL_TRAINING:
        next_step = f"nasproxy rank PROXY_RUN --truth {run.name}"
    print_result(result, as_json=json, next_step=next_step)
    if failed:
        raise typer.Exit(FAILED_TRIALS)
