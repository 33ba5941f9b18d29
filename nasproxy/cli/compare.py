"""`nasproxy compare`: the whole experiment: proxies condensed, searched with, and judged by one truth."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import nasproxy as nap
from nasproxy.cli import options
from nasproxy.cli.completion import complete_preset
from nasproxy.cli.flags import takes_settings
from nasproxy.cli.printing import command, print_choice, print_json, print_table, run_of


@takes_settings(nap.CompareConfig)
def compare(
    given: nap.Tree,
    preset: Annotated[
        str | None,
        options.run_option(
            metavar="NAME", help="Settings to start from, see 'nasproxy ls presets'.", complete=complete_preset
        ),
    ] = None,
    dry_run: Annotated[bool, options.run_option("--dry-run", help="Print the plan with its times, and stop.")] = False,
    name: options.Name = None,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    resume: options.Resume = None,
    verbose: options.Verbose = None,
    json: options.Json = False,
) -> None:
    """Compare proxies: condense, search with each, train the truth, rank, report.

    What earlier runs hold with the same settings and data is read from them. Prints the plan with its times first.
    """
    with nap.Talk(verbose=verbose) as talk:
        plan = nap.Runs(runs_dir, progress=talk).plan(settings=given, preset=preset, resume=resume)
        steps = plan.steps() if dry_run or (resume is None and verbose is not False) else []
        if steps and not dry_run:
            print_plan(steps, to_stderr=True)
        comparison = None if dry_run else plan.perform(name)
    if comparison is None and json:
        print_json([asdict(step) for step in steps])
    elif comparison is None:
        print_plan(steps, to_stderr=False)
    elif json:
        print_json([nap.ranking_row(ranking) for ranking in comparison.rankings])
    else:
        print_comparison(comparison, runs_dir)
        _print_files(run_of(comparison), runs_dir)


def _print_files(run: "nap.RunDir", runs_dir: Path) -> None:
    print(f"\nreport: {run.report_path}\ntables: {run.path}/comparison.csv, architectures.csv, table.md, table.tex")
    print(f"dashboard: {command('dashboard', run.name, runs_dir=runs_dir)}")


def print_comparison(comparison: "nap.Comparison", runs_dir: Path) -> None:
    """Which network to use; then one row per proxy, the best first."""
    print_choice(comparison, runs_dir)
    top = nap.format_percent(comparison.rankings[0].top_fraction)
    rows = [
        [
            ranking.label,
            nap.format_estimate(ranking.spearman),
            nap.format_estimate(ranking.top_spearman),
            nap.format_estimate(ranking.precision),
            nap.format_estimate(ranking.regret, scale=100),
            nap.format_estimate(ranking.top_regret, scale=100),
            " + ".join(map(nap.format_duration, (ranking.cost.condense_seconds, ranking.cost.search_seconds))),
            nap.format_count(ranking.num_stored_images),
        ]
        for ranking in comparison.rankings
    ]
    columns = [
        "proxy", "rho, all", f"rho, top {top} by proxy", f"precision, top {top}", "regret, first pick",
        f"regret, top {top}", "condense + search", "stored images",
    ]  # fmt: skip
    print_table(columns, rows)
    if few := nap.describe_top(comparison):
        print(few)
    if (sample := comparison.alignment.sample) is not None:
        print(f"What is compared is {sample.describe()}; regret is that of the sample.")
    print(
        f"Value [95 % interval over architectures], n = {comparison.rankings[0].num_archs}. rho: Spearman, with the\n"
        "test accuracy of full training. Regret: accuracy lost, in points. Times are summed over workers.\n"
        f"Highest rho that the seed noise of the truth lets be seen: {nap.format_estimate(comparison.ceiling)}"
    )


def print_plan(steps: "Sequence[nap.PlanStep]", *, to_stderr: bool) -> None:
    """One line a piece of work, and the sum."""
    rows = [
        [
            step.what,
            "done" if step.is_done else "goes on" if step.run else "to do",
            nap.format_duration(step.seconds),
            step.run or "",
        ]
        for step in steps
    ]
    rows.append(["all", "", nap.format_duration(sum(step.seconds for step in steps)), ""])
    print_table(["step", "state", "time here", "run"], rows, to_stderr=to_stderr)
