"""`python -m benchmarks.recipes`: how, and how long, nets of NAS-Bench-201 are best trained to be ranked by a set.

Architectures of a file are trained with each of a few recipes on random images, and measured on the validation images
after each of a few numbers of updates. Every line says how well they rank by then, against the published truth, and
what it cost. What is chosen here is chosen on these architectures: report it on others.
"""

import argparse
import csv
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch
import torch.nn.functional as F
from rich.console import Console
from scipy import stats

from benchmarks.machine import describe
from nasproxy.condensing import condense
from nasproxy.config import ImageSettings, RecipeSettings, Tree, make_config, parse_overrides
from nasproxy.config.settings import SearchConfig
from nasproxy.device import find_device
from nasproxy.images import ImageData, ImageSet, load_images, make_generator
from nasproxy.seeding import derive_seed
from nasproxy.space import Arch
from nasproxy.spacefile import load_space
from nasproxy.training import count_steps, make_candidate, train
from nasproxy.truths import load_published

RECIPES = "lr=0.01 batch_size=100,lr=0.05 batch_size=100,lr=0.05 batch_size=25"


@dataclass(frozen=True)
class Row:
    """One architecture after some updates with one recipe."""

    recipe: str
    arch_id: str
    steps: int
    accuracy: float
    """On the validation images, as a fraction."""
    cross_entropy: float
    """Mean over the validation images."""
    loss: float
    """Mean over all updates so far."""
    seconds: float
    """Of training until then, without measuring."""
    truth: float


def main() -> None:
    """Trains, writes a row for each measurement, and prints a line for each recipe and number of updates."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recipes", description=__doc__)
    parser.add_argument("--dataset", default="cifar10")
    parser.add_argument("--data-dir", type=Path, default=Path("~/.cache/nasproxy"))
    parser.add_argument("--archs", type=Path, default=Path("runs/published/nasbench201/development.csv"))
    parser.add_argument("--recipes", default=RECIPES, help="separated by commas")
    parser.add_argument("--ipc", type=int, default=10, help="random images per class")
    parser.add_argument("--at", default="5,10,20,40", help="measured after so many passes over the set")
    parser.add_argument("--image-size", type=int, help="side in pixels that images of a folder are resized to")
    parser.add_argument("--val-fraction", type=float, default=0.02)
    parser.add_argument("--csv", type=Path, help="file that rows are added to; what it has is not trained again")
    options = parser.parse_args()
    device = find_device("auto")
    console = Console(highlight=False, soft_wrap=True)
    console.print(", ".join(f"{key} {value}" for key, value in describe(device).items()))
    images = ImageSettings(
        dataset=options.dataset,
        data_dir=options.data_dir,
        image_size=options.image_size,
        val_fraction=options.val_fraction,
    )
    data = load_images(settings=images).to(device)
    chosen = condense(data, "random", images_per_class=options.ipc).images
    space, truth = load_space("nasbench201"), load_published("nasbench201:cifar10").by_id
    arch_ids = [line.strip() for line in options.archs.read_text().splitlines()[1:]]
    archs = {arch.id: arch for arch in space.archs()}
    rows = _read(options.csv) if options.csv and options.csv.exists() else []
    points = tuple(int(point) for point in options.at.split(","))
    for name in options.recipes.split(","):
        given: Tree = {"search": {"proxy": "whole"}, "recipe": {"epochs": max(points), "lr_drops": ()}}
        recipe = make_config(SearchConfig, given, parse_overrides(SearchConfig, name.split())).recipe
        for arch_id in arch_ids:
            if any((row.recipe, row.arch_id) == (name, arch_id) for row in rows):
                continue
            new = follow(archs[arch_id], chosen, data, recipe, points, name, truth[arch_id].evaluation_score)
            rows += new
            if options.csv:
                _append(options.csv, new)
        for line in summarize([row for row in rows if row.recipe == name]):
            console.print(line)


def follow(
    arch: Arch,
    images: ImageSet,
    data: ImageData,
    recipe: RecipeSettings,
    points: Sequence[int],
    name: str,
    truth: float,
) -> list[Row]:
    """Trains one net, and measures it after each of some numbers of epochs."""
    seed = derive_seed("recipes", arch.id)
    net, rows, losses = make_candidate(arch, images, derive_seed(seed, "init")), [], []
    per_epoch = count_steps(recipe, len(images)) // recipe.epochs
    begun, measuring = time.perf_counter(), 0.0

    def measure(epoch_losses: torch.Tensor) -> None:
        nonlocal measuring
        now = time.perf_counter()
        losses.extend(epoch_losses[:, 0].tolist())
        if len(losses) // per_epoch in points:
            accuracy, cross_entropy = evaluate(net, data.val)
            net.train()
            seconds = now - begun - measuring
            rows.append(
                Row(name, arch.id, len(losses), accuracy, cross_entropy, sum(losses) / len(losses), seconds, truth)
            )
        measuring += time.perf_counter() - now

    train([net], images, recipe, [make_generator(seed, "order")], on_epoch=measure)
    return rows


@torch.no_grad()
def evaluate(net: torch.nn.Module, images: ImageSet) -> tuple[float, float]:
    """Accuracy and mean cross-entropy."""
    net.eval()
    logits = torch.cat([net(images.normalized(slice(first, first + 250))) for first in range(0, len(images), 250)])
    return float((logits.argmax(1) == images.labels).float().mean()), float(F.cross_entropy(logits, images.labels))


def summarize(rows: Sequence[Row]) -> list[str]:
    """A line for each number of updates: how they rank by accuracy, by cross-entropy and by training loss."""
    lines = []
    for steps in sorted({row.steps for row in rows}):
        at = [row for row in rows if row.steps == steps]
        truth = [row.truth for row in at]

        def rho(values: Sequence[float], truth: Sequence[float] = truth) -> str:
            return f"{stats.spearmanr(values, truth).statistic:.2f}"

        lines.append(
            f"{at[0].recipe}, {steps} updates: rho by accuracy {rho([row.accuracy for row in at])}, "
            f"by cross-entropy {rho([-row.cross_entropy for row in at])}, "
            f"by training loss {rho([-row.loss for row in at])}, mean accuracy "
            f"{sum(row.accuracy for row in at) / len(at):.3f}, "
            f"{sum(row.seconds for row in at) / len(at):.1f} s a net, n = {len(at)}"
        )
    return lines


def _append(path: Path, rows: Sequence[Row]) -> None:
    is_new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)])
        if is_new:
            writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def _read(path: Path) -> list[Row]:
    with path.open(newline="") as file:
        return [
            Row(
                row["recipe"], row["arch_id"], int(row["steps"]), *(float(row[field.name]) for field in fields(Row)[3:])
            )
            for row in csv.DictReader(file)
        ]


if __name__ == "__main__":
    main()
