"""`nasproxy evaluate`: test accuracy of nets trained on a proxy set."""

from typing import Annotated

import nasproxy as nap
from nasproxy.cli import options
from nasproxy.cli.flags import takes_settings
from nasproxy.cli.printing import print_json, print_table


@takes_settings(nap.EvaluateConfig)
def evaluate(
    given: nap.Tree,
    run: Annotated[str, options.run_argument("A condense run or a .safetensors file.")],
    recipe: Annotated[
        str | None,
        options.run_option(metavar="dm|idc", help="How nets are trained; idc has cutmix. Default: dm."),
    ] = None,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    verbose: options.Verbose = None,
    json: options.Json = False,
) -> None:
    """Train nets on a proxy set and report their test accuracy, mean and standard deviation over nets."""
    given["evaluate"]["proxy"] = run
    if recipe is not None:
        given["recipe"] = nap.evaluation_recipe(recipe) | given["recipe"]
    with nap.Talk(verbose=verbose) as talk:
        results = nap.Runs(runs_dir, progress=talk).evaluate(settings=given)
    if json:
        print_json([{**vars(result), "mean": result.mean, "std": result.std} for result in results])
        return
    print_table(["net", "test accuracy (%)", "n", "training"], [_row(result) for result in results])


def _row(result: "nap.Evaluation") -> list[str]:
    spread = "" if result.std is None else f" ± {100 * result.std:.2f}"
    return [
        result.net,
        f"{100 * result.mean:.2f}{spread}",
        str(len(result.test_accuracies)),
        nap.format_duration(result.train_seconds),
    ]
