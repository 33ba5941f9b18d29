"""`nasproxy rank`: how far each proxy's ranking can be trusted."""

from typing import TYPE_CHECKING, Annotated

import typer

from nasproxy.cli import options
from nasproxy.cli.printing import print_json, print_table
from nasproxy.errors import SettingsError

if TYPE_CHECKING:
    from nasproxy.comparing import Ranking
    from nasproxy.ranking import Estimate


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("rank")(rank)


def rank(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Searches with proxies.")],
    truth: options.Truth = None,
    top: options.Top = "5%",
    seed: options.Seed = None,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    json: options.Json = False,
) -> None:
    """Compare rankings with full training: Spearman and Kendall with 95 % intervals (Table 5 of the DM paper).

    Writes ranking.csv into each proxy's run folder.
    """
    if truth is None:
        raise SettingsError("no truth to compare with: give --truth a search made with --proxy whole, or a CSV")
    from nasproxy.comparing import rank as judge
    from nasproxy.runs.references import find_search_run, load_trials, load_truth, parse_fraction
    from nasproxy.tables import ranking_row, rankings_frame, write_table

    fraction = parse_fraction(top)
    true = load_truth(truth, runs_dir)
    rankings: list[Ranking] = []
    for reference in runs:
        run = find_search_run(reference, runs_dir)
        ranking = judge(load_trials(run), true, top=fraction, seed=seed or 0)
        write_table(rankings_frame([ranking]), run.path / "ranking.csv")
        rankings.append(ranking)
    if json:
        print_json([ranking_row(ranking) for ranking in rankings])
        return
    print_rankings(rankings)


def print_rankings(rankings: "list[Ranking]") -> None:
    """The rows of Table 5, one column a proxy, and what they are based on."""
    first = rankings[0]
    top = f"{first.top_fraction:.0%}".replace("%", " %")
    rows = {
        "selected net": [ranking.selected or "–" for ranking in rankings],
        "  its accuracy, fully trained (%)": [_percent(ranking.selected_truth_accuracy) for ranking in rankings],
        "  best accuracy with a truth (%)": [_percent(ranking.best_truth_accuracy) for ranking in rankings],
        "  lost by training it alone (points)": [show_points(ranking.regret) for ranking in rankings],
        f"  lost by training the top {top} (points)": [show_points(ranking.top_regret) for ranking in rankings],
        "correlated with the truth by": [ranking.by for ranking in rankings],
        "Spearman rho, all with a truth": [_counted(ranking.spearman) for ranking in rankings],
        "  the same, other seeds": [_interval(ranking.spearman_of_seeds) for ranking in rankings],
        "  without seed noise": [_counted(ranking.corrected_spearman) for ranking in rankings],
        "  of all that the proxy scored": [_counted(ranking.space_spearman) for ranking in rankings],
        "Kendall tau-b, all with a truth": [_counted(ranking.kendall) for ranking in rankings],
        f"Spearman rho, top {top} by proxy": [_counted(ranking.top_spearman) for ranking in rankings],
        f"Kendall tau-b, top {top} by proxy": [_counted(ranking.top_kendall) for ranking in rankings],
        f"Spearman rho, top {top} by truth": [_counted(ranking.true_top_spearman) for ranking in rankings],
        f"share of its top {top} in the true one": [_counted(ranking.precision) for ranking in rankings],
        "search, minutes": [f"{ranking.search_seconds / 60:.1f}" for ranking in rankings],
        "condensing, minutes": [f"{ranking.condense_seconds / 60:.1f}" for ranking in rankings],
        "stored images": [f"{ranking.num_stored_images:,}" for ranking in rankings],
        "  stored numbers": [f"{ranking.num_stored_numbers:,}" for ranking in rankings],
        "  decoded images": [f"{ranking.num_images:,}" for ranking in rankings],
        "trials failed / not finite / flagged": [
            f"{ranking.num_failed} / {ranking.num_not_finite} / {ranking.num_flagged}" for ranking in rankings
        ],
    }
    print_table(
        ["", *(f"{ranking.name} ({ranking.proxy})" for ranking in rankings)],
        [[label, *values] for label, values in rows.items()],
    )
    print(
        "Correlations: value [95 % interval] over n architectures, means over seeds, with the truth's test accuracy.\n"
        "Intervals are over architectures, those of 'other seeds' over seeds. Trials that failed or are not finite\n"
        f"are left out. {_truth_note(first)} Minutes of a search are summed over workers."
    )


def _truth_note(ranking: "Ranking") -> str:
    seeds = f"{ranking.truth_num_seeds} seed(s) an architecture."
    if ranking.truth_epochs:
        return f"Truth: {ranking.truth_epochs} epochs on the whole training set, {seeds}"
    return f"Truth: {seeds}"


def _percent(fraction: float | None) -> str:
    return "–" if fraction is None else f"{100 * fraction:.2f}"


def show_points(estimate: "Estimate") -> str:
    """An accuracy in percentage points with its interval, or why there is none."""
    if estimate.value is None:
        return f"– ({estimate.note})"
    return f"{100 * estimate.value:.2f}{_range(estimate, 100)}"


def _counted(estimate: "Estimate") -> str:
    return show_estimate(estimate) + (f" n={estimate.num_archs}" if estimate.value is not None else "")


def show_estimate(estimate: "Estimate") -> str:
    """Value and interval, or why there is none."""
    if estimate.value is None:
        return f"– ({estimate.note})"
    return f"{estimate.value:.2f}{_range(estimate)}"


def _interval(estimate: "Estimate") -> str:
    return _range(estimate).strip() or f"– ({estimate.note})"


def _range(estimate: "Estimate", factor: float = 1) -> str:
    if estimate.low is None or estimate.high is None:
        return ""
    return f" [{factor * estimate.low:.2f}, {factor * estimate.high:.2f}]"
