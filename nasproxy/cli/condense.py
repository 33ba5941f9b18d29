"""`nasproxy condense`: a training set becomes a proxy set."""

from typing import Annotated

import typer

from nasproxy.cli import options
from nasproxy.cli.printing import print_result
from nasproxy.cli.talk import Talk
from nasproxy.config import CondenseConfig, make_config
from nasproxy.rundir import find_run


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("condense")(condense)


def condense(
    dataset: options.Dataset = None,
    method: Annotated[str | None, typer.Option(help="See 'nasproxy ls methods'. [dm]")] = None,
    ipc: Annotated[int | None, typer.Option(help="Images a class, in memory. [50]")] = None,
    encoding: Annotated[
        str | None, typer.Option(help="pixels, multi-formation or low-rank. [the method's own]")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Updates of the synthetic images. [as in the paper]")] = None,
    init: Annotated[str | None, typer.Option(help="Start from real images or noise. [the method's own]")] = None,
    embedding_net: Annotated[
        str | None, typer.Option(help="Net to compare images by, e.g. w128-d3-batch-relu-avg. [auto]")
    ] = None,
    embedding_weights: Annotated[
        str | None, typer.Option(help="Its weights: random, or trained:LOW-HIGH, accuracy in percent. [random]")
    ] = None,
    classes_per_step: Annotated[
        int | None, typer.Option(help="Classes worked on at a time, where memory is short. [all]")
    ] = None,
    data_dir: options.DataDir = None,
    image_size: options.ImageSize = None,
    val_fraction: options.ValFraction = None,
    device: options.Device = None,
    seed: options.Seed = None,
    config: options.Config = None,
    name: options.Name = None,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    resume: options.Resume = None,
    json: options.Json = False,
    overrides: options.Overrides = None,
) -> None:
    """Make a proxy set: a few synthetic (or selected) images a class that stand in for the training set."""
    flags = {
        "images": options.image_flags(dataset, data_dir, image_size, val_fraction),
        "condense": {
            "method": method,
            "images_per_class": ipc,
            "encoding": encoding,
            "steps": steps,
            "init": init,
            "embedding_net": embedding_net,
            "embedding_weights": embedding_weights,
            "classes_per_step": classes_per_step,
            "seed": seed,
        },
        "machine": {"device": device},
    }
    resumed = find_run(resume, runs_dir, "condense") if resume else None
    given = options.given_settings(CondenseConfig, file=config, flags=flags, overrides=overrides)
    settings = (
        options.resumed_settings(CondenseConfig, resumed, given) if resumed else make_config(CondenseConfig, given)
    )
    from nasproxy.runs.condensing import run_condense

    with Talk() as talk:
        run, proxy = run_condense(settings, root=runs_dir, name=name, resume=resumed, listener=talk)
    result = {
        "run": run.name,
        "proxy_set": str(run.proxy_path),
        "picture": str(run.picture_path),
        "method": proxy.method,
        "images_per_class": proxy.images_per_class,
        "num_images": len(proxy.images),
        "num_stored_images": proxy.num_stored_images,
        "num_stored_numbers": proxy.num_stored_numbers,
        "seconds": proxy.seconds,
    }
    print_result(result, as_json=json, next_step=f"nasproxy search --proxy {run.name}")
