"""`nasproxy find`: the best network of a space for one's images, within a budget."""

from typing import Annotated

import typer

import nasproxy as nap
from nasproxy.cli import options
from nasproxy.cli.flags import takes_settings
from nasproxy.cli.train import print_model

_FLAGS = {"dataset", "data-dir", "image-size", "skip-broken", "val-fraction", "space", "screen", "max-params"}
_FLAGS |= {"max-flops", "max-latency", "steps", "seed", "device", "workers", "gpus-per-worker", "address"}


@takes_settings(nap.SearchConfig, only=_FLAGS, takes_recipe=True)
def find(
    given: nap.Tree,
    budget: Annotated[str, options.run_option("--budget", metavar="TIME", help="Wall time: 90s, 30m, 2h or 1d.")],
    top: Annotated[int, typer.Option(min=1, help="How many of the best are trained in full.")] = 3,
    name: options.Name = None,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    verbose: options.Verbose = None,
    json: options.Json = False,
) -> None:
    """Find the best network for your images within a budget, and hand it out: a search, then the best few in full.

    As many architectures as fit into half of it are drawn at random and searched by early stopping with a screen (by
    default: top). The best are trained as long as is left. The same command again goes on where it was.
    """
    with nap.Talk(verbose=verbose) as talk:
        runs = nap.Runs(runs_dir, progress=talk)
        model = runs.find_network(budget=budget, top=top, name=name, settings=given)
    print_model(model, runs_dir, as_json=json, quiet=verbose is False)
