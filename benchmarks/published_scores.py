"""`python -m benchmarks.published_scores`: training-free scores of NAS-Bench-201 beside those that others published.

Searches are ranked against the benchmark's accuracies on its three data sets. We count equal networks once and leave
out what has no path to the output; others counted every one of the 15,625 cells. So that both can be compared:

    python -m benchmarks.published_scores --cells 500 --write-archs cells.csv     # networks of 500 cells, drawn
    nasproxy search --proxy grad_norm --space nasbench201 archs=cells.csv ...
    python -m benchmarks.published_scores RUN --cells 500 --csv cells-scores.csv

Published: Abdelfattah et al., "Zero-Cost Proxies for Lightweight NAS", ICLR 2021, Table 2 (Spearman, absolute values);
Li et al., "ZiCo", ICLR 2023 (Kendall). They score on images of the data set that they rank on; we on those of the
search.
"""

import argparse
import csv
from collections import Counter
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from random import Random

from scipy import stats

import nasproxy as nap
from nasproxy.errors import ArchError
from nasproxy.nets.cells import FACTORS, OPERATIONS, canonical
from nasproxy.trials import ProxyKind

DATASETS = ("cifar10", "cifar100", "imagenet16-120")
SPEARMAN = {
    "grad_norm": (0.594, 0.637, 0.578),
    "snip": (0.596, 0.637, 0.578),
    "grasp": (0.514, 0.547, 0.549),
    "fisher": (0.360, 0.385, 0.327),
    "synflow": (0.737, 0.763, 0.751),
    "jacob_cov": (0.731, 0.704, 0.701),
}
KENDALL = {"naswot": (0.57, 0.61, 0.55), "zico": (0.607, 0.614, 0.587)}
BEST = 0.1
"""Share of the sample, the best by the truth, that scores are judged on as well."""
CHANCE = {"cifar10": 1 / 10, "cifar100": 1 / 100, "imagenet16-120": 1 / 120}
"""Accuracy of a cell without a path."""


def main() -> None:
    """Writes networks to score, or a row for each search and data set, and prints these."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.published_scores", description=__doc__)
    parser.add_argument("searches", nargs="*", metavar="RUN")
    parser.add_argument("--runs-dir", type=Path, default=Path("runs"))
    parser.add_argument("--cells", type=int, help="draw so many of all cells, instead of taking each network once")
    parser.add_argument("--write-archs", type=Path, help="write their networks, and stop")
    parser.add_argument("--csv", type=Path, help="file for the rows")
    options = parser.parse_args()
    drawn = draw_cells(options.cells) if options.cells else None
    if options.write_archs and drawn:
        options.write_archs.write_text("\n".join(["arch_id", *sorted(filter(None, drawn))]) + "\n")
        return
    runs = nap.Runs(options.runs_dir)
    rows = [row for dataset in DATASETS for row in judge(runs, options.searches, dataset, drawn)]
    for row in rows:
        print("  ".join(f"{key} {value}" for key, value in row.items()))
    if options.csv:
        with options.csv.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


def draw_cells(count: int) -> Counter[str]:
    """How often each network occurs among cells drawn at random; '' stands for those without a path."""
    forms = {canonical(arch.factors): arch.id for arch in nap.load_space("nasbench201").archs()}
    drawn: Counter[str] = Counter()
    for values in Random(0).sample(sorted(product(OPERATIONS, repeat=len(FACTORS))), count):
        try:
            drawn[forms[canonical(dict(zip(FACTORS, values, strict=True)))]] += 1
        except ArchError:
            drawn[""] += 1
    return drawn


def judge(
    runs: nap.Runs, searches: Sequence[str], dataset: str, drawn: Counter[str] | None
) -> list[dict[str, str | int | float]]:
    """A row for each search, against the accuracies on one data set."""
    comparison = runs.rank(searches, f"nasbench201:{dataset}", top=BEST)
    truth = {trial.arch_id: trial.evaluation_score for trial in comparison.truth}
    rows = []
    for ranking, trials in zip(comparison.rankings, comparison.proxies, strict=True):
        is_combined = trials.info.kind is ProxyKind.COMBINATION
        name, place = trials.name if is_combined else trials.info.proxy, DATASETS.index(dataset)
        row: dict[str, str | int | float] = {"proxy": name, "truth": dataset}
        published = {"spearman": SPEARMAN, "kendall": KENDALL}
        if drawn is None:
            row["n"] = ranking.num_archs
            for what, estimate in (
                ("spearman", ranking.spearman),
                ("kendall", ranking.kendall),
                ("spearman_best_tenth", ranking.true_top_spearman),
            ):
                row |= {what: _round(estimate.value), f"{what}_low": _round(estimate.low)}
                row[f"{what}_high"] = _round(estimate.high)
        else:
            scores = {trial.arch_id: trial.selection_score for trial in trials if trial.is_ranked}
            pairs = [(scores[arch], truth[arch]) for arch in drawn.elements() if arch in scores]
            lowest = min(scores.values()) - 1  # without a path nothing depends on the weights
            pairs += [(lowest, CHANCE[dataset])] * drawn[""]
            row["n"] = len(pairs)
            ours, theirs = zip(*pairs, strict=True)
            row["spearman"] = _round(stats.spearmanr(ours, theirs).statistic)
            row["kendall"] = _round(stats.kendalltau(ours, theirs).statistic)
        row |= {f"{what}_published": values[name][place] for what, values in published.items() if name in values}
        for what in published:
            row.setdefault(f"{what}_published", "")
        row["not_finite"] = ranking.num_not_finite
        seconds = trials.cost.search_seconds
        row["seconds_per_arch"] = _round(None if seconds is None else seconds / len(trials))
        rows.append(row)
    return [{key: row[key] for key in rows[0]} for row in rows]


def _round(value: float | None) -> float | str:
    return "" if value is None else round(float(value), 3)


if __name__ == "__main__":
    main()
