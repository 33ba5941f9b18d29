"""`nasproxy search`: score architectures by a proxy."""

import sys
from pathlib import Path
from typing import Annotated

import typer

import nasproxy as nap
from nasproxy.cli import options
from nasproxy.cli.flags import takes_settings
from nasproxy.cli.printing import command, print_result, run_of

FAILED_TRIALS = 3
"""Exit code of a search that is done, but for architectures that failed."""


@takes_settings(nap.SearchConfig, takes_recipe=True)
def search(
    given: nap.Tree,
    name: options.Name = None,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    resume: options.Resume = None,
    budget: options.Budget = None,
    retry_failed: Annotated[
        bool, options.run_option("--retry-failed", help="With --resume: try failed ones again.")
    ] = False,
    verbose: options.Verbose = None,
    json: options.Json = False,
) -> None:
    """Score every architecture by a proxy: train it there and record how well it does, or apply a formula.

    A condense run brings its data along, and --archs top:RUN:5% the data and space of that run: no --dataset is needed.
    """
    with nap.Talk(verbose=verbose) as talk:
        runs = nap.Runs(runs_dir, progress=talk)
        trials = runs.search(settings=given, name=name, resume=resume, retry_failed=retry_failed, budget=budget)
    run = run_of(trials)
    failed = trials.count(nap.State.FAILED, nap.State.LOST)
    best = trials.best
    result = {
        "run": run.name,
        "num_trials": len(trials),
        "num_failed": failed,
        "num_not_finite": trials.count(nap.State.NOT_FINITE),
        "num_diverged": trials.count(nap.State.DIVERGED),
        "num_at_chance": trials.count(nap.State.AT_CHANCE),
        "ranked_by": trials.info.selection_metric,
        "best": best.arch_id if best else None,
        "best_score": f"{best.selection_score:.6g}" if best else None,
        "trials": str(run.path / "trials.csv"),
    }
    if trials.info.screen:
        result["num_cut"] = trials.count(nap.State.PRUNED)
    if trials.info.sample is not None:
        result["sample"] = trials.info.sample.describe()
    if not json and verbose is not False:
        for sentence in nap.describe_validation([trials], [trials.info.proxy]):
            print(sentence, file=sys.stderr)
    print_result(result, as_json=json, next_step=_next_step(trials, run.name, runs_dir), quiet=verbose is False)
    if failed:
        raise typer.Exit(FAILED_TRIALS)


def _next_step(trials: "nap.Trials", name: str, runs_dir: Path) -> str:
    if trials.best is None:
        return "train longer (--epochs), or on more images: no architecture is better than guessing"
    if trials.info.kind is nap.ProxyKind.FULL_TRAINING:
        proxy = nap.run_of_top(run_of(trials).read_config()["search"]["archs"])
        return command("rank", proxy or "PROXY_RUN", "--truth", name, runs_dir=runs_dir)
    return command("search", "--proxy", "whole", "--archs", trials.name_best(name), runs_dir=runs_dir)
