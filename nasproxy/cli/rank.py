"""`nasproxy rank`: how far each proxy's ranking can be trusted."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import nasproxy as nap
from nasproxy.cli import options
from nasproxy.cli.flags import takes_settings
from nasproxy.cli.printing import print_choice, print_json, print_table


@takes_settings(nap.RankConfig, takes_any=False)
def rank(
    given: nap.Tree,
    runs: Annotated[list[str], options.run_argument("Searches with proxies.")],
    runs_dir: options.RunsDir = options.RUNS_DIR,
    verbose: options.Verbose = None,
    json: options.Json = False,
) -> None:
    """Compare rankings with full training: Spearman and Kendall with 95 % intervals (Table 5 of the DM paper).

    Writes ranking.csv (ranking-SIGNAL.csv) into each proxy's run folder.
    """
    with nap.Talk(verbose=verbose) as talk:
        comparison = nap.Runs(runs_dir, progress=talk).rank(runs, settings=given)
    if json:
        print_json([nap.ranking_row(ranking) for ranking in comparison.rankings])
        return
    print_rankings(comparison, runs_dir)


def print_rankings(comparison: "nap.Comparison", runs_dir: Path) -> None:
    """Which network to use; then the rows of Table 5, one column per proxy, and what they are based on."""
    print_choice(comparison, runs_dir)
    top = nap.format_percent(comparison.rankings[0].top_fraction)
    rows: dict[str, Callable[[nap.Ranking], str]] = {
        "search": lambda ranking: ranking.name,
        "selected net": lambda ranking: ranking.selected + (" (at chance)" if ranking.is_selected_at_chance else ""),
        "  its accuracy, fully trained": lambda ranking: nap.format_percent(ranking.selected_truth_accuracy),
        "  best accuracy with a truth": lambda ranking: nap.format_percent(ranking.best_truth_accuracy),
        "  lost by training it alone (points)": lambda ranking: nap.format_estimate(ranking.regret, scale=100),
        f"  lost by training the top {top} (points)": lambda ranking: nap.format_estimate(
            ranking.top_regret, scale=100
        ),
        "correlated with the truth by": lambda ranking: ranking.metric,
        "Spearman rho, all with a truth": lambda ranking: _counted(ranking.spearman),
        "Kendall tau-b, all with a truth": lambda ranking: _counted(ranking.kendall),
        f"Spearman rho, top {top} by proxy": lambda ranking: _counted(ranking.top_spearman),
        f"Kendall tau-b, top {top} by proxy": lambda ranking: _counted(ranking.top_kendall),
        f"Spearman rho, top {top} by truth": lambda ranking: _counted(ranking.true_top_spearman),
        f"share of its top {top} in the true one": lambda ranking: _counted(ranking.precision),
        "time of the search": lambda ranking: nap.format_duration(ranking.cost.search_seconds),
        "time of condensing": lambda ranking: nap.format_duration(ranking.cost.condense_seconds),
        "stored images": lambda ranking: nap.format_count(ranking.num_stored_images),
        "  stored numbers": lambda ranking: f"{ranking.cost.num_stored_numbers:,}",
        "  decoded images": lambda ranking: f"{ranking.cost.num_images:,}",
        "trials failed / not finite / flagged": lambda ranking: " / ".join(
            map(str, (ranking.num_failed, ranking.num_not_finite, ranking.num_flagged))
        ),
    }
    print_table(
        ["", *(ranking.label for ranking in comparison.rankings)],
        [[label, *map(show, comparison.rankings)] for label, show in rows.items()],
    )
    if few := nap.describe_top(comparison):
        print(few)
    print(
        "Correlations: value [95 % interval over architectures] over n architectures, means over seeds, with the\n"
        "truth's test accuracy. Trials that failed or are not finite are left out.\n"
        f"{_describe_truth(comparison)} The time of a search is summed over workers."
    )


def _describe_truth(comparison: "nap.Comparison") -> str:
    info = comparison.truth.info
    seeds = f"{info.num_seeds} seed(s) per architecture."
    if info.recipe.get("epochs") and not info.recipe.get("steps"):
        return f"Truth: {info.recipe['epochs']} epochs on the whole training set, {seeds}"
    return f"Truth: {seeds}"


def _counted(estimate: "nap.Estimate") -> str:
    return nap.format_estimate(estimate) + (f" n={estimate.num_archs}" if estimate.value is not None else "")
