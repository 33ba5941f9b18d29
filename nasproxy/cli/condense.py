"""`nasproxy condense`: a training set becomes a proxy set."""

import nasproxy as nap
from nasproxy.cli import options
from nasproxy.cli.flags import takes_settings
from nasproxy.cli.printing import command, print_result, run_of


@takes_settings(nap.CondenseConfig)
def condense(
    given: nap.Tree,
    name: options.Name = None,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    resume: options.Resume = None,
    budget: options.Budget = None,
    verbose: options.Verbose = None,
    json: options.Json = False,
) -> None:
    """Make a proxy set: a few synthetic (or selected) images per class that stand in for the training set."""
    with nap.Talk(verbose=verbose) as talk:
        proxy = nap.Runs(runs_dir, progress=talk).condense(settings=given, name=name, resume=resume, budget=budget)
    run = run_of(proxy)
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
    print_result(
        result,
        as_json=json,
        next_step=command("search", "--proxy", run.name, runs_dir=runs_dir),
        quiet=verbose is False,
    )
