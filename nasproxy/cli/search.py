"""`nasproxy search`: score architectures by a proxy."""

from typing import Annotated

import typer

from nasproxy.cli import options
from nasproxy.cli.printing import print_result
from nasproxy.cli.talk import Talk
from nasproxy.config import SearchConfig
from nasproxy.rundir import find_run

FAILED_TRIALS = 3


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("search")(search)


def search(
    proxy: Annotated[
        str | None,
        typer.Option(
            metavar="RUN|NAME", help="A condense run, a .safetensors file, or a name of 'nasproxy ls proxies'."
        ),
    ] = None,
    space: options.Space = None,
    strategy: Annotated[str | None, typer.Option(help="grid, random or tpe. [grid]")] = None,
    archs: Annotated[str | None, typer.Option(help="all, a file of ids, top:RUN:5% or top:RUN:36. [all]")] = None,
    num_archs: Annotated[int | None, typer.Option(help="At most so many architectures.")] = None,
    seeds: options.Seeds = None,
    epochs: Annotated[
        int | None, typer.Option(help="[200 on a proxy set, 100 on the whole set; not for training-free proxies]")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Updates instead of epochs. [400 for early-stop]")] = None,
    dataset: options.Dataset = None,
    data_dir: options.DataDir = None,
    image_size: options.ImageSize = None,
    val_fraction: options.ValFraction = None,
    device: options.Device = None,
    workers: options.Workers = None,
    gpus_per_worker: options.GpusPerWorker = None,
    address: options.Address = None,
    storage: options.Storage = None,
    seed: options.Seed = None,
    config: options.Config = None,
    name: options.Name = None,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    resume: options.Resume = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="With --resume: try failed ones again.")] = False,
    json: options.Json = False,
    overrides: options.Overrides = None,
) -> None:
    """Score every architecture by a proxy: train it there and record how well it does, or apply a formula.

    A condense run brings its data along, and --archs top:RUN:5% that run's data and space: no --dataset is needed.
    """
    flags = {
        "images": options.image_flags(dataset, data_dir, image_size, val_fraction),
        "search": {
            "proxy": proxy,
            "space": options.absolute_if_file(space),
            "strategy": strategy,
            "archs": options.absolute_if_file(archs),
            "num_archs": num_archs,
            "seeds": seeds,
            "storage": storage,
            "seed": seed,
        },
        "recipe": {"epochs": epochs, "steps": steps},
        "machine": {"device": device, "workers": workers, "gpus_per_worker": gpus_per_worker, "address": address},
    }
    given = options.given_settings(SearchConfig, file=config, flags=flags, overrides=overrides)
    from nasproxy.runs.references import settings_of_search
    from nasproxy.runs.searching import run_search
    from nasproxy.study import State

    resumed = find_run(resume, runs_dir, "search") if resume else None
    if resumed:
        settings = options.resumed_settings(SearchConfig, resumed, given)
    else:
        settings = settings_of_search(given, runs_dir)
    with Talk() as talk:
        run, trials = run_search(
            settings, root=runs_dir, name=name, resume=resumed, retry_failed=retry_failed, listener=talk
        )
    failed = sum(trial.state is State.FAILED for trial in trials)
    best = trials.ranked()[0]
    result = {
        "run": run.name,
        "num_trials": len(trials),
        "num_failed": failed,
        "num_not_finite": sum(trial.state is State.NOT_FINITE for trial in trials),
        "ranked_by": trials.info.metric,
        "best": best.arch_id,
        "best_score": f"{best.score:.6g}",
        "trials": str(run.path / "trials.csv"),
    }
    next_step = f"nasproxy search --proxy whole --archs top:{run.name}:5%"
    if settings.search.proxy == "whole":
        next_step = f"nasproxy rank PROXY_RUN --truth {run.name}"
    print_result(result, as_json=json, next_step=next_step)
    if failed:
        raise typer.Exit(FAILED_TRIALS)
