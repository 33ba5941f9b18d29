"""`nasproxy rank`: how far each proxy's ranking can be trusted."""

from typing import TYPE_CHECKING, Annotated

import typer

from nasproxy.cli import options
from nasproxy.cli.printing import print_json, print_table
from nasproxy.errors import SettingsError
from nasproxy.rundir import find_run

if TYPE_CHECKING:
    from nasproxy.ranking import Correlation
    from nasproxy.tables import Ranking


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("rank")(rank)


def rank(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Searches with proxies.")],
    truth: options.Truth = None,
    top: Annotated[str, typer.Option(help="Share of the architectures that the proxy selects.")] = "5%",
    seed: options.Seed = None,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    json: options.Json = False,
) -> None:
    """Compare rankings with full training: Spearman and Kendall with 95 % intervals (Table 5 of the DM paper).

    Writes ranking.csv into each proxy's run folder.
    """
    if truth is None:
        raise SettingsError("no truth to compare with: give --truth a search made with --proxy whole")
    from nasproxy.jobs.references import load_trials, parse_fraction
    from nasproxy.tables import rank as judge
    from nasproxy.tables import ranking_row, rankings_frame, write_table

    fraction = parse_fraction(top)
    true = load_trials(find_run(truth, runs_dir, command="search"))
    rankings: list[Ranking] = []
    for reference in runs:
        run = find_run(reference, runs_dir, command="search")
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
        "correlated with the truth by": [ranking.by for ranking in rankings],
        f"Spearman rho, top {top} by proxy": [_correlation(ranking.top_spearman) for ranking in rankings],
        f"Kendall tau-b, top {top} by proxy": [_correlation(ranking.top_kendall) for ranking in rankings],
        "Spearman rho, all with a truth": [_correlation(ranking.spearman) for ranking in rankings],
        "Kendall tau-b, all with a truth": [_correlation(ranking.kendall) for ranking in rankings],
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
    length = f"{first.truth_epochs} epochs" if first.truth_epochs else "a fixed number of updates"
    print(
        "Correlations: value [95 % bootstrap interval] over n architectures, means over seeds, with the truth's\n"
        "test accuracy. Trials that failed or are not finite are left out.\n"
        f"Truth: {length} on the whole training set, {first.truth_num_seeds} seed(s) an architecture. "
        "Minutes of a search are summed over workers."
    )


def _percent(fraction: float | None) -> str:
    return "–" if fraction is None else f"{100 * fraction:.2f}"


def _correlation(correlation: "Correlation") -> str:
    if correlation.value is None:
        return f"– ({correlation.note})"
    return f"{correlation.value:.2f} [{correlation.low:.2f}, {correlation.high:.2f}] n={correlation.num_archs}"
