"""The basis of coreset selection: a briefly trained net, and which images it classified correctly after each epoch.

One training run serves herding and k-center, a longer one forgetting. It depends only on images, net, seed and recipe,
not on the order of the images, and is cached in `Task.cache_dir` under a hash of these.

Notation: N images, E epochs, F features.
"""

import contextlib
import math
import time
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import torch
from torch import Tensor

from nasproxy.condensing.embedding import find_embedding_arch, make_embedding_net
from nasproxy.condensing.state import Task
from nasproxy.config import RECIPES, RecipeSettings
from nasproxy.device import retain_freed_memory
from nasproxy.errors import DivergedError, TensorFileError
from nasproxy.images import ImageSet, make_generator
from nasproxy.nets.classifier import Classifier
from nasproxy.seeding import derive_seed
from nasproxy.tensorfile import read_tensor_file, write_tensor_file
from nasproxy.training import EVAL_BATCH_SIZE, correct_mask, train

_UNREADABLE = (TensorFileError, KeyError, RuntimeError)
"""Raised when the cached file is missing, damaged or from another net."""


@dataclass(frozen=True, eq=False)
class Selector:
    """A net trained on all training images, and its training history."""

    net: Classifier
    correct: Tensor
    """(E, N) bool: whether the net classified an image correctly after an epoch."""
    seconds: float
    """Wall time of the training."""

    @torch.no_grad()
    def embed(self, images: ImageSet, index: Tensor) -> Tensor:
        """(n, F) features of n images given by index."""
        self.net.eval()
        parts = index.to(images.device).split(EVAL_BATCH_SIZE[images.device.type])
        return torch.cat([self.net.embed(images.normalized(part)) for part in parts])


def train_selector(task: Task) -> Selector:
    """The net `embedding_net`, trained by the recipe 'whole' for `selection_epochs` epochs, or its cached copy.

    Raises:
        DivergedError: a loss that is not finite.
    """
    assert task.settings.selection_epochs is not None  # complete settings
    recipe = RECIPES["whole"].model_copy(update={"epochs": task.settings.selection_epochs})
    path = task.cache_dir and task.cache_dir / f"{_key(task, recipe)}.safetensors"
    if path is not None:
        with contextlib.suppress(*_UNREADABLE):
            kept = _load(path, _fresh_net(task))
            task.on_kept(kept.seconds)
            return kept
    with retain_freed_memory():
        selector = _train(task, recipe)
    if path is not None:
        _save(selector, path)
    return selector


def _train(task: Task, recipe: RecipeSettings) -> Selector:
    net, started = _fresh_net(task), time.perf_counter()
    order = task.images.content_order().to(task.images.device)
    images = task.images.subset(order)
    correct: list[Tensor] = []

    def look(losses: Tensor) -> None:
        mean_loss = float(losses.mean())
        if not math.isfinite(mean_loss):
            raise DivergedError(
                f"the net that images are selected by diverged in epoch {len(correct) + 1}: its loss is {mean_loss}; "
                "look at the images' mean and std, or take another seed"
            )
        correct.append(correct_mask(net, images))
        net.train()
        task.on_step(len(correct), mean_loss)

    train([net], images, recipe, [make_generator(task.settings.seed, "selector", "train")], on_epoch=look)
    history = torch.stack(correct)
    return Selector(net, torch.empty_like(history).index_copy_(1, order, history), time.perf_counter() - started)


def _fresh_net(task: Task) -> Classifier:
    arch = find_embedding_arch(task.settings.embedding_net, task.images)
    return make_embedding_net(arch, task.images, derive_seed(task.settings.seed, "selector", "init")).requires_grad_(
        True
    )


def _key(task: Task, recipe: RecipeSettings) -> str:
    """32 hex digits that depend on everything the training depends on."""
    images = task.images
    arch = find_embedding_arch(task.settings.embedding_net, images)
    parts = (images.content_hash(), images.mean, images.std, arch.id, recipe.model_dump_json(), task.settings.seed)
    return blake2b(repr(parts).encode(), digest_size=16).hexdigest()


def _save(selector: Selector, path: Path) -> None:
    weights = {f"net.{name}": value for name, value in selector.net.state_dict().items()}
    write_tensor_file(path, weights | {"correct": selector.correct}, {"seconds": selector.seconds})


def _load(path: Path, net: Classifier) -> Selector:
    """Reads a selector from a file; loads its weights into `net`."""
    tensors, header = read_tensor_file(path)
    net.load_state_dict({name: tensors[f"net.{name}"] for name in net.state_dict()})
    return Selector(net, tensors["correct"].to(next(net.parameters()).device), header["seconds"])
