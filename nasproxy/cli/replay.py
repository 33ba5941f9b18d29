"""`nasproxy replay`: searches on tables of scores."""

import nasproxy as nap
from nasproxy.cli import options
from nasproxy.cli.flags import takes_settings
from nasproxy.cli.printing import print_json, print_table, run_of


@takes_settings(nap.ReplayConfig)
def replay(
    given: nap.Tree,
    name: options.Name = None,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    verbose: options.Verbose = None,
    json: options.Json = False,
) -> None:
    """Repeat searches on tables of scores: what a strategy loses, by how much it may spend.

    Trains nothing: try it with --space nasbench201 --scores table:nasbench201:12-epochs --truth nasbench201.
    """
    with nap.Talk(verbose=verbose) as talk:
        replays = nap.Runs(runs_dir, progress=talk).replay(settings=given, name=name)
    if json:
        print_json(nap.replay_frame(replays, replays.budgets()).to_dict("records"))
        return
    print_replays(replays)
    run = run_of(replays)
    print(f"\ncurves: {run.path / 'replay.csv'}\nfigure: {run.path / 'regret.svg'}")


def print_replays(replays: "nap.Replays") -> None:
    """One row per strategy and table, one column per budget."""
    budgets = replays.budgets()
    rows = [
        [replay.label, str(replay.num_repetitions), *(_describe(replay, budget) for budget in budgets)]
        for replay in replays
    ]
    heads = [f"{budget:,g} {replays.cost_unit}" for budget in budgets]
    print_table(["search, scores", "repetitions", *heads], rows)
    first = replays[0]
    best = f"{first.best_arch}, {nap.format_percent(first.best_accuracy)}"
    print(
        f"True test accuracy lost, in points, against the best of {first.num_known:,} architectures ({best}):\n"
        "mean over repetitions [5 %, 95 % of them]. A dash: not begun at this cost, or ended before."
    )


def _describe(replay: "nap.Replay", budget: float) -> str:
    place = replay.at(budget)
    if place is None:
        return "–"
    low, high = replay.band()
    band = f" [{100 * low[place]:.2f}, {100 * high[place]:.2f}]" if replay.num_repetitions > 1 else ""
    return f"{100 * replay.mean[place]:.2f}{band}"
