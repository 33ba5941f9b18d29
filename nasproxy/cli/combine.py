"""`nasproxy combine`: several proxies as one."""

from typing import Annotated

import typer

from nasproxy.cli import options
from nasproxy.cli.printing import print_result
from nasproxy.config import CombineConfig, make_config


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("combine")(combine)


def combine(
    runs: Annotated[list[str], typer.Argument(metavar="RUN RUN...", help="Searches of the same space and data.")],
    how: Annotated[str, typer.Option(help="average (of ranks) or fitted (to a truth of some, cross-validated).")] = (
        "average"
    ),
    truth: options.Truth = None,
    seed: options.Seed = None,
    name: options.Name = None,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    json: options.Json = False,
) -> None:
    """Make one proxy of several: it is ranked, exported and reported like any search."""
    settings = {"runs": runs, "how": how, "truth": options.absolute_if_file(truth), "seed": seed}
    config = make_config(CombineConfig, {"combine": settings})
    from nasproxy.runs.combining import run_combine

    run, trials = run_combine(config, root=runs_dir, name=name)
    best = trials.ranked()[0]
    result = {"run": run.name, "num_trials": len(trials), "best": best.arch_id, "best_score": f"{best.score:.6g}"}
    print_result(result, as_json=json, next_step=f"nasproxy rank {run.name} --truth TRUTH_RUN")
