"""`python -m benchmarks.accuracy`: the accuracy cost of speed, naive against ours with the same budget.

Condensing: a set made by a literal Algorithm 1 and one made by nasproxy, each judged by nets of the default kind
trained on it; one set each, so the interval speaks of these two sets. Training: architectures trained on the same set
naively, by nasproxy, and by nasproxy in bfloat16.
"""

import argparse
import itertools
import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console
from scipy import stats

from benchmarks import naive
from benchmarks.machine import describe
from nasproxy.augment import augment_batch, parse_strategy
from nasproxy.condensing import condense
from nasproxy.condensing.embedding import make_embedding_net
from nasproxy.config import ImageSettings, RecipeSettings
from nasproxy.device import find_device, retain_freed_memory
from nasproxy.images import ImageData, ImageSet, load_images, make_generator
from nasproxy.nets.classifier import Classifier
from nasproxy.nets.convnet import default_arch, parse_arch
from nasproxy.seeding import derive_seed
from nasproxy.training import count_steps, make_net, train_seeds

ARCHS = (
    "w32-d1-none-sigmoid-max",
    "w32-d3-layer-relu-none",
    "w64-d2-group-leakyrelu-avg",
    "w64-d3-batch-relu-max",
    "w128-d3-instance-relu-avg",
)
"""Trained naively and by nasproxy."""


def main() -> None:
    """Condenses, trains, and prints a line for each comparison."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description=__doc__)
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--data-dir", type=Path, default=Path("~/.cache/nasproxy"))
    parser.add_argument("--ipc", type=int, default=10, help="images per class")
    parser.add_argument("--steps", type=int, default=150, help="of condensing")
    parser.add_argument("--engine", default="compiled-bfloat16-64", help="of nasproxy's condensing")
    parser.add_argument("--nets", type=int, default=5, help="trained for each accuracy")
    parser.add_argument("--epochs", type=int, default=200, help="of each net")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    device = find_device(options.device)
    console = Console(highlight=False, soft_wrap=True)
    console.print(", ".join(f"{key} {value}" for key, value in describe(device).items()))
    data = load_images(settings=ImageSettings(dataset=options.dataset, data_dir=options.data_dir)).to(device)
    console.print(f"{data.name}, {options.ipc} images per class, test accuracy, n = {options.nets} nets")
    recipe = RecipeSettings(epochs=options.epochs)

    slow = condense_naively(data, options.ipc, options.steps)
    ours = condense(data, "dm", images_per_class=options.ipc, steps=options.steps, engine=options.engine)
    start = condense(data, "dm", images_per_class=options.ipc, steps=0)
    arch_id = default_arch(data.image_shape).id
    label = f"{options.steps} steps of condensing, by {arch_id}"
    scores = [train_ours(arch_id, made, data, recipe, options.nets) for made in (slow, ours.images, start.images)]
    console.print(f"{label}: {compare(scores[0], scores[1], str(ours.settings['engine']))}; before: {show(scores[2])}")

    for arch_id in ARCHS:
        naive_scores = train_naively(arch_id, ours.images, data, recipe, options.nets)
        for precision in ("float32", "bfloat16"):
            own = recipe.model_copy(update={"precision": precision})
            own_scores = train_ours(arch_id, ours.images, data, own, options.nets)
            console.print(f"training {arch_id}: {compare(naive_scores, own_scores, precision)}")


def condense_naively(data: ImageData, images_per_class: int, steps: int) -> ImageSet:
    """Distribution matching by Algorithm 1 as it stands, from real images."""
    images = data.train
    begun = condense(data, "dm", images_per_class=images_per_class, steps=0)
    start, settings = begun.images, begun.settings
    synthetic = start.normalized().unflatten(0, (images.num_classes, images_per_class)).clone()
    arch, seeds = default_arch(images.image_shape), itertools.count()

    def make_fresh() -> Classifier:
        return make_embedding_net(arch, images, derive_seed("naive", next(seeds)))

    strategy = parse_strategy("auto", flippable=images.flippable)
    pairs = naive.pair_drawer(images, settings["real_batch_size"], strategy, make_generator("naive"))
    updates = naive.condense(synthetic, make_fresh, pairs, lr=settings["image_lr"])
    for _ in itertools.islice(updates, steps):
        pass
    return replace(start, images=images.pixels_from_normalized(synthetic.detach().flatten(0, 1)))


def train_naively(
    arch_id: str, images: ImageSet, data: ImageData, recipe: RecipeSettings, num_nets: int
) -> list[float]:
    """Test accuracies of nets trained one after another with a data loader."""
    strategy, generator = parse_strategy("auto", flippable=images.flippable), make_generator("naive")
    torch.manual_seed(0)  # of the loader's order
    batches = naive.loader(images, recipe.batch_size, shuffle=True)
    test = naive.loader(data.test, recipe.batch_size, shuffle=False)
    num_steps = count_steps(recipe, len(images))
    accuracies = []
    for repeat in range(num_nets):
        net = make_net(parse_arch(arch_id), images, derive_seed("naive", arch_id, repeat))
        augment: Callable[[torch.Tensor], torch.Tensor] = lambda batch: augment_batch(batch, strategy, generator)  # noqa: E731
        fit = naive.train(net, itertools.repeat(batches), augment, lr=recipe.lr, drop_at=num_steps // 2)
        for _ in itertools.islice(fit, num_steps):
            pass
        accuracies.append(naive.accuracy(net, test))
    return accuracies


def train_ours(arch_id: str, images: ImageSet, data: ImageData, recipe: RecipeSettings, num_nets: int) -> list[float]:
    """Test accuracies of as many nets trained by nasproxy."""
    with retain_freed_memory():
        scores = train_seeds(parse_arch(arch_id), images, recipe, val=None, test=data.test, num_seeds=num_nets, seed=0)
    return list(scores.test_accuracies)


def compare(slow: Sequence[float], fast: Sequence[float], name: str) -> str:
    """Both, and their difference with its 95 % interval (Welch)."""
    test = stats.ttest_ind(fast, slow, equal_var=False)
    interval = test.confidence_interval(0.95)
    difference = statistics.fmean(fast) - statistics.fmean(slow)
    return (
        f"naive {show(slow)}, {name} {show(fast)}, difference {100 * difference:+.2f} "
        f"[{100 * interval.low:+.2f}, {100 * interval.high:+.2f}] points"
    )


def show(accuracies: Sequence[float]) -> str:
    """Mean ± standard deviation, in percent."""
    return f"{100 * statistics.fmean(accuracies):.2f} ± {100 * statistics.stdev(accuracies):.2f} %"


if __name__ == "__main__":
    main()
