"""`nasproxy compare`: the whole experiment: proxies condensed, searched with, and judged by one truth."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from nasproxy.cli import options
from nasproxy.cli.printing import print_json, print_table
from nasproxy.cli.rank import show_estimate, show_points
from nasproxy.cli.talk import Talk
from nasproxy.config import CompareConfig, Tree, merge_layers
from nasproxy.rundir import find_run

if TYPE_CHECKING:
    from nasproxy.comparing import Comparison
    from nasproxy.runs.comparing import Step

HOUR = 3600.0


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("compare")(compare)


def compare(
    preset: Annotated[
        str | None, typer.Option(help="Settings to start from: table5 (the DM paper's), two-cores, demo.")
    ] = None,
    dataset: options.Dataset = None,
    proxies: Annotated[
        str | None, typer.Option(help="Methods, names of 'ls proxies', runs; with commas. [dm,random,early-stop,...]")
    ] = None,
    space: options.Space = None,
    ipc: Annotated[int | None, typer.Option(help="Images a class of a proxy set, in memory. [50]")] = None,
    seeds: options.Seeds = None,
    epochs: Annotated[int | None, typer.Option(help="On a proxy set. [200]")] = None,
    truth: Annotated[
        str | None, typer.Option(metavar="RUN|CSV", help="A search with --proxy whole, or a CSV. [trained here]")
    ] = None,
    truth_epochs: Annotated[int | None, typer.Option(help="Of full training. [100]")] = None,
    truth_seeds: Annotated[int | None, typer.Option(help="Nets of full training. [as --seeds]")] = None,
    truth_for: Annotated[
        str | None, typer.Option(help="Architectures to train fully: all, top:5% or sample:36. [all]")
    ] = None,
    top: Annotated[str | None, typer.Option(help="Share of the architectures that a proxy selects. [5%]")] = None,
    combine: Annotated[str | None, typer.Option(help="Combined proxies to add: average, fitted; with commas.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan with its times, and stop.")] = False,
    data_dir: options.DataDir = None,
    image_size: options.ImageSize = None,
    val_fraction: options.ValFraction = None,
    device: options.Device = None,
    workers: options.Workers = None,
    gpus_per_worker: options.GpusPerWorker = None,
    address: options.Address = None,
    storage: options.Storage = None,
    seed: options.Seed = None,
    config: options.Config = None,
    name: options.Name = None,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    resume: options.Resume = None,
    json: options.Json = False,
    overrides: options.Overrides = None,
) -> None:
    """Compare proxies: condense, search with each, train the truth, rank, report.

    What earlier runs hold with the same settings and data is read from them. Prints the plan with its times first.
    """
    flags: Tree = {
        "images": options.image_flags(dataset, data_dir, image_size, val_fraction),
        "compare": {
            "proxies": proxies,
            "space": options.absolute_if_file(space),
            "seeds": seeds,
            "truth": options.absolute_if_file(truth),
            "truth_seeds": truth_seeds,
            "truth_for": truth_for,
            "combine": [part.strip() for part in combine.split(",") if part.strip()] if combine is not None else None,
            "storage": storage,
            "seed": seed,
        },
        "condense": {"images_per_class": ipc, "seed": seed},
        "recipe": {"epochs": epochs},
        "truth_recipe": {"epochs": truth_epochs},
        "machine": {"device": device, "workers": workers, "gpus_per_worker": gpus_per_worker, "address": address},
    }
    from nasproxy.runs.comparing import plan_compare, run_compare, settings_of_compare
    from nasproxy.runs.presets import find_preset
    from nasproxy.runs.references import parse_fraction

    if top is not None:
        flags["compare"]["top"] = parse_fraction(top)
    given = options.given_settings(CompareConfig, file=config, flags=flags, overrides=overrides)
    resumed = find_run(resume, runs_dir, "compare") if resume else None
    if resumed:
        settings = options.resumed_settings(CompareConfig, resumed, given)
    else:
        settings = settings_of_compare(merge_layers(find_preset(preset) if preset else {}, given), runs_dir)
    with Talk() as talk:
        if dry_run or resumed is None:
            steps = plan_compare(settings, root=runs_dir, listener=talk)
            if dry_run and json:
                print_json([asdict(step) for step in steps])
            else:
                print_plan(steps, to_stderr=not dry_run)
        if dry_run:
            return
        run, comparison = run_compare(settings, root=runs_dir, name=name, resume=resumed, listener=talk)
    if json:
        from nasproxy.tables import ranking_row

        print_json([ranking_row(ranking) for ranking in comparison.rankings])
        return
    print_comparison(comparison)
    print(f"\nreport: {run.report_path}\ntables: {run.path}/comparison.csv, architectures.csv, table.md, table.tex")
    print(f"dashboard: nasproxy dashboard {run.name}")


def print_comparison(comparison: "Comparison") -> None:
    """One row a proxy, the best first."""
    top = f"{comparison.rankings[0].top_fraction:.0%}".replace("%", " %")
    rows = [
        [
            ranking.label,
            show_estimate(ranking.spearman),
            show_estimate(ranking.top_spearman),
            show_estimate(ranking.precision),
            show_points(ranking.regret),
            show_points(ranking.top_regret),
            f"{ranking.condense_seconds / 60:.1f} + {ranking.search_seconds / 60:.1f}",
            f"{ranking.num_stored_images:,}",
        ]
        for ranking in comparison.rankings
    ]
    columns = [
        "proxy", "rho, all", f"rho, top {top} by proxy", f"precision, top {top}", "regret, first pick",
        f"regret, top {top}", "condense + search, minutes", "stored images",
    ]  # fmt: skip
    print_table(columns, rows)
    print(
        f"Value [95 % interval over architectures], n = {comparison.rankings[0].num_archs}. rho: Spearman, with the\n"
        "test accuracy of full training. Regret: accuracy lost, in points. Minutes are summed over workers.\n"
        f"Highest rho that the seed noise of the truth lets be seen: {show_estimate(comparison.ceiling)}"
    )


def print_plan(steps: "list[Step]", *, to_stderr: bool) -> None:
    """One line a piece of work, and the sum."""
    rows = [
        [
            step.what,
            "done" if step.is_done else "goes on" if step.run else "to do",
            describe_duration(step.seconds),
            step.run or "",
        ]
        for step in steps
    ]
    rows.append(["all", "", describe_duration(sum(step.seconds for step in steps)), ""])
    print_table(["step", "state", "time here", "run"], rows, to_stderr=to_stderr)


def describe_duration(seconds: float) -> str:
    """E.g. '0.4 min', '35 min', '6.2 h', '14 days'."""
    if seconds < 2 * HOUR:
        return f"{seconds / 60:.2g} min" if seconds < 600 else f"{seconds / 60:.0f} min"
    return f"{seconds / HOUR:.1f} h" if seconds < 48 * HOUR else f"{seconds / 24 / HOUR:.0f} days"
