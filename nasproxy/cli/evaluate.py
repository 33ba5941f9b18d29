"""`nasproxy evaluate`: test accuracy of nets trained on a proxy set."""

from typing import TYPE_CHECKING, Annotated

import typer

from nasproxy.cli import options
from nasproxy.cli.printing import print_json, print_table
from nasproxy.cli.talk import Talk
from nasproxy.config import EVALUATION_RECIPES, EvaluateConfig, make_config
from nasproxy.errors import unknown_name
from nasproxy.rundir import LAST, find_run

if TYPE_CHECKING:
    from nasproxy.evaluating import Evaluation


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("evaluate")(evaluate)


def evaluate(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A condense run or a .safetensors file.")],
    nets: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,...", help="Nets to train, e.g. auto,vgg11-batch (see 'ls nets'), or all; default: auto."
        ),
    ] = None,
    num_nets: Annotated[int | None, typer.Option(help="Nets of each, from different initialisations. [20]")] = None,
    recipe: Annotated[str | None, typer.Option(help="How nets are trained: dm, or idc with cutmix. [dm]")] = None,
    epochs: Annotated[int | None, typer.Option(help="[1000]")] = None,
    dataset: options.Dataset = None,
    data_dir: options.DataDir = None,
    image_size: options.ImageSize = None,
    val_fraction: options.ValFraction = None,
    device: options.Device = None,
    seed: options.Seed = None,
    config: options.Config = None,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    json: options.Json = False,
    overrides: options.Overrides = None,
) -> None:
    """Train nets on a proxy set and report their test accuracy, mean and standard deviation over nets."""
    from nasproxy.runs.evaluating import run_evaluate
    from nasproxy.runs.references import proxy_defaults

    if run == LAST:
        run = find_run(run, runs_dir, "condense").name
    flags = {
        "images": options.image_flags(dataset, data_dir, image_size, val_fraction),
        "evaluate": {"proxy": run, "nets": nets, "num_nets": num_nets, "seed": seed},
        "recipe": {"epochs": epochs},
        "machine": {"device": device},
    }
    given = options.given_settings(EvaluateConfig, file=config, flags=flags, overrides=overrides)
    if recipe is not None and recipe not in EVALUATION_RECIPES:
        raise unknown_name("recipe", recipe, EVALUATION_RECIPES)
    defaults = {"recipe": EVALUATION_RECIPES[recipe or "dm"].model_dump()} | proxy_defaults(run, runs_dir)
    settings = make_config(EvaluateConfig, defaults, given)
    with Talk() as talk:
        results = run_evaluate(settings, root=runs_dir, listener=talk)
    if json:
        print_json([{**vars(result), "mean": result.mean, "std": result.std} for result in results])
        return
    print_table(["net", "test accuracy (%)", "n", "training seconds"], [_row(result) for result in results])


def _row(result: "Evaluation") -> list[str]:
    spread = "" if result.std is None else f" ± {100 * result.std:.2f}"
    return [
        result.net,
        f"{100 * result.mean:.2f}{spread}",
        str(len(result.test_accuracies)),
        f"{result.train_seconds:.1f}",
    ]
