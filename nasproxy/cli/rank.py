"""`nasproxy rank`: how far each proxy's ranking can be trusted."""

from typing import Annotated

import typer

import nasproxy as nap
from nasproxy.cli import options
from nasproxy.cli.flags import takes_settings
from nasproxy.cli.printing import print_json, print_table
from nasproxy.cli.talk import Talk


@takes_settings(nap.RankConfig, takes_any=False)
def rank(
    given: nap.Tree,
    runs: Annotated[list[str], typer.Argument(metavar="RUN", help="Searches with proxies.")],
    runs_dir: options.RunsDir = options.RUNS_DIR,
    json: options.Json = False,
) -> None:
    """Compare rankings with full training: Spearman and Kendall with 95 % intervals (Table 5 of the DM paper).

    Writes ranking.csv into each proxy's run folder.
    """
    with Talk() as talk:
        comparison = nap.Runs(runs_dir, listener=talk).rank(runs, given)
    if json:
        print_json([nap.ranking_row(ranking) for ranking in comparison.rankings])
        return
    print_rankings(comparison)


def print_rankings(comparison: "nap.Comparison") -> None:
    """The rows of Table 5, one column a proxy, and what they are based on."""
    rankings = comparison.rankings
    top = nap.format_percent(rankings[0].top_fraction)
    rows = {
        "selected net": [ranking.selected or "–" for ranking in rankings],
        "  its accuracy, fully trained": [_percent(ranking.selected_truth_accuracy) for ranking in rankings],
        "  best accuracy with a truth": [_percent(ranking.best_truth_accuracy) for ranking in rankings],
        "  lost by training it alone (points)": [
            nap.format_estimate(ranking.regret, scale=100) for ranking in rankings
        ],
        f"  lost by training the top {top} (points)": [
            nap.format_estimate(ranking.top_regret, scale=100) for ranking in rankings
        ],
        "correlated with the truth by": [ranking.metric for ranking in rankings],
        "Spearman rho, all with a truth": [_counted(ranking.spearman) for ranking in rankings],
        "Kendall tau-b, all with a truth": [_counted(ranking.kendall) for ranking in rankings],
        f"Spearman rho, top {top} by proxy": [_counted(ranking.top_spearman) for ranking in rankings],
        f"Kendall tau-b, top {top} by proxy": [_counted(ranking.top_kendall) for ranking in rankings],
        f"Spearman rho, top {top} by truth": [_counted(ranking.true_top_spearman) for ranking in rankings],
        f"share of its top {top} in the true one": [_counted(ranking.precision) for ranking in rankings],
        "time of the search": [nap.format_duration(ranking.cost.search_seconds) for ranking in rankings],
        "time of condensing": [nap.format_duration(ranking.cost.condense_seconds) for ranking in rankings],
        "stored images": [f"{ranking.cost.num_stored_images:,}" for ranking in rankings],
        "  stored numbers": [f"{ranking.cost.num_stored_numbers:,}" for ranking in rankings],
        "  decoded images": [f"{ranking.cost.num_images:,}" for ranking in rankings],
        "trials failed / not finite / flagged": [
            f"{ranking.num_failed} / {ranking.num_not_finite} / {ranking.num_flagged}" for ranking in rankings
        ],
    }
    print_table(
        ["", *(ranking.name + f" ({ranking.label})" * (ranking.label != ranking.name) for ranking in rankings)],
        [[label, *values] for label, values in rows.items()],
    )
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


def _percent(fraction: float | None) -> str:
    return "–" if fraction is None else nap.format_percent(fraction)


def _counted(estimate: "nap.Estimate") -> str:
    return nap.format_estimate(estimate) + (f" n={estimate.num_archs}" if estimate.value is not None else "")
