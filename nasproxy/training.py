"""The one training loop, for proxy sets, early stopping and full training alike.

Source: main paper, section 3.6 and appendix A.3 (`RecipeSettings` has the numbers). Our deviations:
1. An epoch is cut into ceil(N / batch_size) batches of nearly equal size, so that none is tiny; for 500 or 45,000
images in batches of 250 this is the paper's own.
2. The learning rate drops when exactly half of all updates are done, also where updates, not epochs, are counted.

Notation: N images, C channels, H height, W width, K classes, S seeds.
"""

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nasproxy.augment import augment_batch, parse_strategy
from nasproxy.config import RecipeSettings
from nasproxy.images import ImageSet, make_generator
from nasproxy.seeding import derive_seed
from nasproxy.space import Arch, build

EVAL_BATCH_SIZE = 250
"""Images a forward pass of `measure_accuracy`; changes speed, not results."""


@dataclass(frozen=True)
class Fit:
    """What one training run ended with."""

    steps: int
    loss: float
    """Mean cross-entropy over the last epoch; not finite where the net diverged."""

    @property
    def diverged(self) -> bool:
        return not math.isfinite(self.loss)


@dataclass(frozen=True)
class SeedScores:
    """Accuracies of S nets of one architecture, each from its own initialisation, as fractions."""

    val_accuracies: tuple[float, ...]
    """S values; none where there are no validation images."""
    test_accuracies: tuple[float, ...]
    num_diverged: int
    train_seconds: float
    """Time of all S trainings, without evaluation."""


def train(net: nn.Module, images: ImageSet, recipe: RecipeSettings, generator: torch.Generator) -> Fit:
    """Trains a net in place with SGD and cross-entropy.

    Args:
        net: on the images' device; left in training mode.
        images: the training images.
        recipe: epochs or steps, batch size, learning rate, augmentation.
        generator: source of the order and of the augmentation.

    Returns:
        The steps done and the last epoch's loss. Training stops at the end of an epoch whose loss is not finite.
    """
    groups = parse_strategy(recipe.augmentation, flippable=images.flippable)
    num_steps = count_steps(recipe, len(images))
    optimizer = torch.optim.SGD(
        net.parameters(), lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay
    )
    net.train()
    step, loss = 0, 0.0
    for epoch in _epochs(images, recipe.batch_size, num_steps, generator):
        losses = []
        for index in epoch:
            if step == num_steps // 2:
                optimizer.param_groups[0]["lr"] = recipe.lr * 0.1
            batch = augment_batch(images.normalized(index), groups, generator)
            batch_loss = F.cross_entropy(net(batch), images.labels[index])
            optimizer.zero_grad(set_to_none=True)
            batch_loss.backward()
            optimizer.step()
            losses.append(batch_loss.detach())
            step += 1
        loss = float(torch.stack(losses).mean())
        if not math.isfinite(loss):
            break
    return Fit(steps=step, loss=loss)


@torch.no_grad()
def measure_accuracy(net: nn.Module, images: ImageSet) -> float:
    """Fraction of the images that the net, put in evaluation mode, classifies rightly; NaN outputs are wrong."""
    net.eval()
    correct = torch.zeros((), dtype=torch.long, device=images.device)
    for start in range(0, len(images), EVAL_BATCH_SIZE):
        part = slice(start, start + EVAL_BATCH_SIZE)
        logits: Tensor = net(images.normalized(part))
        right = (logits.argmax(dim=1) == images.labels[part]) & logits.isfinite().all(dim=1)
        correct += right.sum()
    return int(correct) / len(images)


@contextlib.contextmanager
def seeded_torch(seed: int, device: torch.device) -> Iterator[None]:
    """Seeds torch's global generators for what cannot be handed one (initialisation, dropout), and restores them."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


def make_net(arch: Arch, images: ImageSet, seed: int) -> nn.Module:
    """A net initialised from a seed alone, the same on every device, on the device of the images it is for.

    Raises:
        ArchError: the architecture does not fit the images.
    """
    with seeded_torch(seed, torch.device("cpu")):
        net = build(arch, images.image_shape, images.num_classes)
    return net.to(images.device)


def train_seeds(
    arch: Arch,
    images: ImageSet,
    recipe: RecipeSettings,
    *,
    val: ImageSet | None,
    test: ImageSet,
    num_seeds: int,
    seed: int,
    on_seed: Callable[[int], None] = lambda _: None,
) -> SeedScores:
    """Trains S nets of an architecture and measures each once, after its last epoch.

    Args:
        arch: what is trained.
        images: what it is trained on: a proxy set, or a whole training set.
        recipe: how it is trained.
        val: what architectures are selected by; None to measure on `test` only.
        test: what is reported.
        num_seeds: S.
        seed: every draw derives from (seed, arch.id, number of the net).
        on_seed: called after each net with how many are done.

    Raises:
        ArchError: the architecture does not fit the images.
    """
    val_accuracies, test_accuracies, num_diverged, seconds = [], [], 0, 0.0
    for repeat in range(num_seeds):
        net = make_net(arch, images, derive_seed(seed, arch.id, repeat, "init"))
        _synchronize(images.device)
        started = time.perf_counter()
        with seeded_torch(derive_seed(seed, arch.id, repeat, "torch"), images.device):
            fit = train(net, images, recipe, make_generator(seed, arch.id, repeat, "train"))
        _synchronize(images.device)
        seconds += time.perf_counter() - started
        num_diverged += fit.diverged
        if val is not None:
            val_accuracies.append(measure_accuracy(net, val))
        test_accuracies.append(measure_accuracy(net, test))
        on_seed(repeat + 1)
    return SeedScores(tuple(val_accuracies), tuple(test_accuracies), num_diverged, seconds)


def count_steps(recipe: RecipeSettings, num_images: int) -> int:
    """Updates that a recipe asks for on so many images."""
    return recipe.steps or recipe.epochs * math.ceil(num_images / recipe.batch_size)


def _epochs(images: ImageSet, batch_size: int, num_steps: int, generator: torch.Generator) -> Iterator[list[Tensor]]:
    """Lists of index batches on the images' device, a fresh order each, until `num_steps` batches are given out."""
    num_batches = math.ceil(len(images) / batch_size)
    left = num_steps
    while left > 0:
        order = torch.randperm(len(images), generator=generator).to(images.device)
        epoch = list(order.tensor_split(num_batches))[:left]
        left -= len(epoch)
        yield epoch


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
