"""`nasproxy train`: the networks that a search has found, trained in full, and the best one handed out."""

from pathlib import Path
from typing import Annotated

import typer

import nasproxy as nap
from nasproxy.cli import options
from nasproxy.cli.flags import takes_settings
from nasproxy.cli.printing import command, print_result
from nasproxy.cli.search import FAILED_TRIALS

_FLAGS = {"dataset", "data-dir", "image-size", "skip-broken", "val-fraction", "space", "seeds", "seed", "storage"}
_FLAGS |= {"epochs", "steps", "device", "workers", "gpus-per-worker", "address"}


@takes_settings(nap.SearchConfig, only=_FLAGS, takes_recipe=True)
def train(
    given: nap.Tree,
    run: Annotated[str | None, options.run_argument("A search, a combination, or a table of scores.")] = None,
    top: Annotated[
        str | None, options.run_option(metavar="N|SHARE", help="How many of its best to train: 3 or 5%. Default: 3.")
    ] = None,
    name: options.Name = None,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    resume: options.Resume = None,
    verbose: options.Verbose = None,
    json: options.Json = False,
) -> None:
    """Train the best networks of a search on all images, and hand out the best: model.safetensors and model.json.

    It is chosen by validation images; its accuracy on the test images is reported once. 'nasproxy predict' uses it. By
    default: images and space of the search, one seed, 100 epochs.
    """
    with nap.Talk(verbose=verbose) as talk:
        model = nap.Runs(runs_dir, progress=talk).train(run, top=top, name=name, resume=resume, settings=given)
    print_model(model, runs_dir, as_json=json, quiet=verbose is False)


def print_model(model: "nap.Model", runs_dir: Path, *, as_json: bool, quiet: bool) -> None:
    """What is handed out, and how to use it; ends with another exit code where some were not trained."""
    about, folder = model.about, model.path.parent
    chosen, accuracies = about["chosen"], about["accuracies"]
    result = {
        "run": folder.name,
        "network": model.arch_id,
        "num_params": about["num_params"],
        "validation_accuracy": f"{accuracies['validation']:.4f}",
        "test_accuracy": f"{accuracies['test']:.4f}",
        "num_test": accuracies["num_test"],
        "chosen_of": chosen["num_archs"],
        "num_failed": chosen["num_failed"],
        "model": str(model.path),
    }
    print_result(
        result, as_json=as_json, quiet=quiet, next_step=command("predict", folder.name, "IMAGE...", runs_dir=runs_dir)
    )
    if chosen["num_failed"]:
        raise typer.Exit(FAILED_TRIALS)
