"""The one training loop, for proxy sets, early stopping and full training alike.

Source: main paper, section 3.6 and appendix A.3, and its authors' public code (`RecipeSettings` says which number is
from where). Our deviations:
1. An epoch is split into ceil(N / batch_size) batches of nearly equal size, so that none is tiny; for 500 or 45,000
images in batches of 250 this equals the paper's.
2. With 'step', the learning rate drops after exactly the given fraction of all updates, also where these, not epochs,
are counted.

Notation: N images, B images per batch, C channels, H height, W width, K classes, S nets (seeds of an architecture).
"""

import contextlib
import itertools
import math
import re
import time
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nasproxy.augment import Strategy, augment_batch, cutmix, parse_strategy
from nasproxy.checkpoint import SAVE_EVERY_SECONDS, Checkpoint
from nasproxy.config import Precision, RecipeSettings
from nasproxy.cuda_graphs import Step, capture_graph, run_on_streams
from nasproxy.device import lay_out, synchronize
from nasproxy.errors import ArchError, SettingsError
from nasproxy.images import ImageSet, make_generator
from nasproxy.optimizing import learning_rates, make_optimizer, state_of
from nasproxy.seeding import derive_seed
from nasproxy.space import Arch, build, load_function
from nasproxy.tensorfile import write_tensor_file

EVAL_BATCH_SIZE = {"cpu": 250, "cuda": 1000}
"""Images a forward pass of `measure`, by device type; changes speed, not results."""
LOOK_EVERY = 100
"""Minimum number of updates between checks of the losses: on a GPU each check waits for the device."""
CURVE_POINTS = 10
"""Maximum number of points of a recorded loss curve."""


@dataclass(frozen=True, eq=False)
class Fit:
    """Result of training one net."""

    losses: Tensor
    """(steps,) cross-entropy of every update's batch, on the CPU."""

    @property
    def steps(self) -> int:
        return len(self.losses)

    @property
    def diverged(self) -> bool:
        """Whether a loss became infinite or NaN."""
        return not bool(self.losses.isfinite().all())


@dataclass(frozen=True)
class SeedScores:
    """What S nets of one architecture are worth, each with its own initialisation."""

    val: tuple["Measure", ...]
    """S values; empty where there are no validation images."""
    test: tuple["Measure", ...]
    train_seconds: float
    """Training time of all S nets, without evaluation."""
    loss_curve: Mapping[int, float]
    """See `mean_losses`: not finite in the end where a net diverged."""
    training_losses: tuple[float, ...]
    """(S,) mean training loss over all updates."""
    late_training_losses: tuple[float, ...]
    """(S,) mean training loss over the second half of the updates."""

    @property
    def val_accuracies(self) -> tuple[float, ...]:
        return tuple(measure.accuracy for measure in self.val)

    @property
    def test_accuracies(self) -> tuple[float, ...]:
        return tuple(measure.accuracy for measure in self.test)


def mean_losses(fits: Sequence[Fit]) -> dict[int, float]:
    """Training loss in up to `CURVE_POINTS` equal parts: updates done at the end of a part -> mean over part and nets.

    Ends where the first net stopped; NaN where a loss is NaN.
    """
    num_steps = min(fit.steps for fit in fits)
    losses = torch.stack([fit.losses[:num_steps] for fit in fits]).mean(dim=0)
    parts = losses.tensor_split(min(CURVE_POINTS, num_steps))
    ends = itertools.accumulate(len(part) for part in parts)
    return {end: float(part.mean()) for end, part in zip(ends, parts, strict=True)}


def train(
    nets: Sequence[nn.Module],
    images: ImageSet,
    recipe: RecipeSettings,
    generators: Sequence[torch.Generator],
    *,
    cuda_graphs: bool = True,
    on_epoch: Callable[[Tensor], None] = lambda losses: None,
    checkpoint: Checkpoint | None = None,
    halts_at: Container[int] = (),
    on_halt: Callable[[int], bool] = lambda step: True,
) -> list[Fit]:
    """Trains S nets in place, in parallel, with cross-entropy; each exactly as if trained alone.

    Args:
        nets: on the images' device; left in training mode. If there are several, none may draw random numbers.
        images: the training images.
        recipe: epochs or steps, batch size, optimiser, learning rate, augmentation, precision.
        generators: one per net, for its batch order and augmentation.
        cuda_graphs: replays the updates as a CUDA graph, on a GPU.
        on_epoch: called after every epoch with its losses (steps, S), on the device; may evaluate the nets but must
            leave them in training mode.
        checkpoint: where the training is kept now and then, and goes on from; None: nowhere.
        halts_at: updates after which the training halts.
        on_halt: called then, with the number of updates; says whether it goes on. It may evaluate the nets.

    Returns:
        One fit per net. Training stops early, at the end of an epoch, once all nets have diverged.
    """
    strategy = parse_strategy(recipe.augmentation, flippable=images.flippable)
    num_steps = count_steps(recipe, len(images))
    rates = learning_rates(recipe, num_steps).to(images.device)
    lr = rates[0].clone()
    update, state = make_update(nets, recipe, lr)
    losses = torch.zeros(num_steps, len(nets), device=images.device)
    kept, at = [*state, losses], checkpoint or Checkpoint(Path(), {})
    if checkpoint is not None:
        checkpoint.restore(kept, generators)
    if cuda_graphs:
        update = capture_graph(update, state, images.device)
    left, is_halted = 0 if at.is_over else num_steps - at.step, False
    orders = [_epochs(images, recipe.batch_size, left, generator) for generator in generators]
    for epoch in zip(*orders, strict=True):
        first = at.step
        for indices in zip(*epoch, strict=True):
            lr.copy_(rates[at.step])
            pairs = [
                _draw_batch(images, index, recipe.cutmix, strategy, generator)
                for index, generator in zip(indices, generators, strict=True)
            ]
            batches, targets = zip(*pairs, strict=True)
            losses[at.step] = update(*batches, *targets)
            at.step += 1
            if at.step in halts_at and at.step < num_steps:
                if is_halted := not on_halt(at.step):
                    break
                for net in nets:
                    net.train()
        on_epoch(losses[first : at.step])
        at.is_over = is_halted or at.step == num_steps
        if at.step - at.looked >= LOOK_EVERY:
            at.looked = at.step
            at.is_over = at.is_over or not bool(losses[: at.step].isfinite().all(dim=0).any())
        if checkpoint is not None:
            checkpoint.save(kept, generators)
        if at.is_over:
            break
    return [Fit(column) for column in losses[: at.step].cpu().unbind(dim=1)]


def train_by(recipe: RecipeSettings, net: nn.Module, images: ImageSet, seed: int) -> Fit:
    """Trains a net in place by the recipe's own `trainer`: (net, images, recipe, seed) -> losses of all updates.

    Raises:
        SpaceError: it cannot be imported.
        SettingsError: it returns no losses.
    """
    assert recipe.trainer is not None
    losses = load_function("trainer", recipe.trainer)(net.train(), images, recipe, seed)
    try:
        found = torch.tensor([float(loss.detach() if isinstance(loss, Tensor) else loss) for loss in losses])
    except (TypeError, ValueError, RuntimeError):
        found = torch.empty(0)
    if not len(found):
        raise SettingsError(
            f"trainer {recipe.trainer} returned {type(losses).__name__}; return the training loss of every update, "
            "a list of one number or more"
        )
    return Fit(found)


def _draw_batch(
    images: ImageSet, index: Tensor, cutmix_probability: float, strategy: Strategy, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Augmented images (B, C, H, W) of an index, and their labels (B,); with cutmix, probabilities (B, K)."""
    batch, labels = augment_batch(images.normalized(index), strategy, generator), images.labels[index]
    if cutmix_probability == 0:
        return batch, labels
    targets = F.one_hot(labels, images.num_classes).to(batch.dtype)
    return cutmix(batch, targets, cutmix_probability, generator)


def make_update(nets: Sequence[nn.Module], recipe: RecipeSettings, lr: Tensor) -> tuple[Step, list[Tensor]]:
    """One update of all nets, S batches (B, C, H, W) and S labels (B,) or (B, K) -> losses (S,); and its state.

    `lr` is read at every update.
    """
    optimizer = make_optimizer(nets, recipe, lr)
    for net in nets:
        net.train()

    def update(*inputs: Tensor) -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        works = [
            partial(_loss_and_gradient, *work, precision_of(recipe), recipe.label_smoothing)
            for work in zip(nets, inputs[: len(nets)], inputs[len(nets) :], strict=True)
        ]
        losses = torch.stack(run_on_streams(works, lr.device))
        optimizer.step()
        return losses

    tensors = [tensor for net in nets for tensor in (*net.parameters(), *net.buffers())]
    return update, [*tensors, *state_of(optimizer)]


def _loss_and_gradient(
    net: nn.Module, batch: Tensor, labels: Tensor, precision: Precision, label_smoothing: float
) -> Tensor:
    with torch.autocast(batch.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        logits: Tensor = net(batch)
    loss = F.cross_entropy(logits.float(), labels, label_smoothing=label_smoothing)
    loss.backward()
    return loss.detach()


class Measure(NamedTuple):
    """What a net is worth on some images."""

    accuracy: float
    """Fraction of images classified correctly, see `correct_mask`."""
    loss: float
    """Mean cross-entropy in nats; infinite or NaN where an output is."""


@torch.no_grad()
def measure(net: nn.Module, images: ImageSet) -> Measure:
    """Accuracy and cross-entropy of a net, which is put in evaluation mode."""
    logits = predict_logits(net, images)
    accuracy = int(_is_correct(logits, images).sum()) / len(images)
    return Measure(accuracy, float(F.cross_entropy(logits.double(), images.labels)))


@torch.no_grad()
def correct_mask(net: nn.Module, images: ImageSet) -> Tensor:
    """(N,) bool: whether the net, put in evaluation mode, classifies an image correctly; NaN outputs are wrong."""
    return _is_correct(predict_logits(net, images), images)


def predict_logits(net: nn.Module, images: ImageSet) -> Tensor:
    """Logits (N, K) of all images in single precision, by a net that is put in evaluation mode."""
    net.eval()
    size = EVAL_BATCH_SIZE[images.device.type]
    parts = (slice(start, start + size) for start in range(0, len(images), size))
    return torch.cat([net(images.normalized(part)).float() for part in parts])


def _is_correct(logits: Tensor, images: ImageSet) -> Tensor:
    return (logits.argmax(dim=1) == images.labels) & logits.isfinite().all(dim=1)


@contextlib.contextmanager
def seeded_torch(seed: int, device: torch.device) -> Iterator[None]:
    """Seeds torch's global generators for code that takes no generator (initialisation, dropout), and restores them."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


def make_net(arch: Arch, images: ImageSet, seed: int) -> nn.Module:
    """A net initialised from a seed, identically on every device, and moved to the images' device.

    Raises:
        ArchError: the architecture does not fit the images.
    """
    with seeded_torch(seed, torch.device("cpu")):
        net = build(arch, images.image_shape, images.num_classes)
    return net.to(images.device)


def make_candidate(arch: Arch, images: ImageSet, seed: int, *, while_training: bool = True) -> nn.Module:
    """The net of `make_net` as a search trains or scores it: fast on its device, and refused if it returns no logits.

    Args:
        arch: the architecture.
        images: what it is for.
        seed: of its initialisation.
        while_training: whether it must return logits in training mode as well: our own loop reads them.

    Raises:
        ArchError: the architecture does not fit the images; or, when the net is called, see `refuse_other_outputs`.
    """
    net = make_net(arch, images, seed)
    refuse_other_outputs(net, arch.id, images.num_classes, while_training=while_training)
    lay_out(net, images.device)
    return net


def refuse_other_outputs(net: nn.Module, arch_id: str, num_classes: int, *, while_training: bool = True) -> None:
    """Makes a net raise `ArchError` as soon as it returns anything but logits (N, K) for images (N, C, H, W)."""

    def check(_: nn.Module, inputs: tuple[Tensor, ...], output: object) -> None:
        if net.training and not while_training:
            return
        num_images = len(inputs[0])
        if isinstance(output, Tensor) and output.shape == (num_images, num_classes):
            return
        raise ArchError(
            f"{arch_id}: for {num_images} images of {num_classes} classes the net returns {_describe_output(output)}; "
            f"let it return one tensor ({num_images}, {num_classes}), a score for each class"
        )

    net.register_forward_hook(check)


def _describe_output(output: object) -> str:
    if isinstance(output, Tensor):
        return f"a tensor ({', '.join(map(str, output.shape))})"
    if isinstance(output, tuple | list):
        return f"a {type(output).__name__} of {len(output)}"
    return f"a {type(output).__name__}"


@dataclass(frozen=True)
class NetFolder:
    """Where trained nets are kept, and trainings that are not over."""

    path: Path
    """On a cluster a folder that all nodes share."""
    every: float = SAVE_EVERY_SECONDS
    """See `Checkpoint`."""

    def weights_path(self, arch_id: str, repeat: int) -> Path:
        """The weights of a net, by the number of its seed."""
        return self.path / f"{quote(arch_id, safe='')}-{repeat}.safetensors"

    def checkpoint_path(self, arch_id: str, first: int) -> Path:
        """The training of nets from this number on."""
        return self.path / f"{quote(arch_id, safe='')}-{first}.checkpoint.safetensors"

    def forget_trainings(self, arch_id: str) -> None:
        """Removes the checkpoints of an architecture: its trial is recorded."""
        name = re.compile(rf"{re.escape(quote(arch_id, safe=''))}-\d+\.checkpoint\.safetensors")
        for path in self.path.iterdir() if self.path.is_dir() else ():
            if name.fullmatch(path.name):
                path.unlink(missing_ok=True)


@dataclass(frozen=True)
class Halt:
    """Where a training halts, and is told whether to go on."""

    at: frozenset[int]
    """Updates done."""
    ask: Callable[[int, Measure, Measure], bool]
    """Updates done, and what the net is worth on validation and test images -> whether to go on."""


def train_seeds(
    arch: Arch,
    images: ImageSet,
    recipe: RecipeSettings,
    *,
    val: ImageSet | None,
    test: ImageSet,
    num_seeds: int,
    first_seed: int = 0,
    seed: int,
    cuda_graphs: bool = True,
    keep: NetFolder | None = None,
    on_seed: Callable[[int], None] = lambda _: None,
    halt: Halt | None = None,
) -> SeedScores:
    """Trains S nets of an architecture and evaluates each once, after its last epoch.

    Args:
        arch: the architecture.
        images: the training images: a proxy set, or a whole training set.
        recipe: how to train.
        val: images to select architectures by; None to evaluate on `test` only.
        test: images for what is reported.
        num_seeds: S, those before `first_seed` included.
        first_seed: number of the first net to train: the ones before it are there already.
        seed: every draw derives from (seed, arch.id, number of the net).
        cuda_graphs: see `train`.
        keep: where weights are kept, and trainings that were cut short go on from; None: nowhere. Checkpoints stay
            there until `NetFolder.forget_trainings`: a trial that is not recorded does not train all again.
        on_seed: called after each net with the number of nets done.
        halt: where the training of one net halts; None: nowhere.

    Raises:
        ArchError: the architecture does not fit the images, or its net returns anything but logits (N, K).
    """
    by_val: list[Measure] = []
    by_test: list[Measure] = []
    fits: list[Fit] = []
    seconds = 0.0
    is_ours = recipe.trainer is None
    size = _count_parallel_nets(arch, images, recipe, num_seeds - first_seed) if is_ours else 1
    for first in range(first_seed, num_seeds, size):
        repeats = range(first, min(first + size, num_seeds))
        nets = [
            make_candidate(arch, images, derive_seed(seed, arch.id, repeat, "init"), while_training=is_ours)
            for repeat in repeats
        ]
        generators = [make_generator(seed, arch.id, repeat, "train") for repeat in repeats]
        checkpoint = None
        if keep is not None:
            about = {
                "arch": arch.id,
                "seed": seed,
                "nets": len(nets),
                "images": len(images),
                **recipe.model_dump(mode="json"),
            }
            checkpoint = Checkpoint(keep.checkpoint_path(arch.id, first), about, keep.every)
        synchronize(images.device)
        started = time.perf_counter()
        with seeded_torch(derive_seed(seed, arch.id, first, "torch"), images.device):
            if recipe.trainer is not None:
                seeds = [derive_seed(seed, arch.id, repeat, "train") for repeat in repeats]
                fits += [train_by(recipe, net, images, own) for net, own in zip(nets, seeds, strict=True)]
            else:
                fits += train(
                    nets,
                    images,
                    recipe,
                    generators,
                    cuda_graphs=cuda_graphs,
                    checkpoint=checkpoint,
                    halts_at=halt.at if halt else (),
                    on_halt=partial(_ask, halt, nets[0], val, test) if halt else lambda step: True,
                )
        synchronize(images.device)
        seconds += checkpoint.seconds if checkpoint else time.perf_counter() - started
        for repeat, net in zip(repeats, nets, strict=True):
            if val is not None:
                by_val.append(measure(net, val))
            by_test.append(measure(net, test))
            if keep is not None:
                write_net(net, keep.weights_path(arch.id, repeat))
            on_seed(len(by_test))
    return SeedScores(
        tuple(by_val),
        tuple(by_test),
        seconds,
        mean_losses(fits),
        tuple(float(fit.losses.mean()) for fit in fits),
        tuple(float(fit.losses[fit.steps // 2 :].mean()) for fit in fits),
    )


def _ask(halt: Halt, net: nn.Module, val: ImageSet | None, test: ImageSet, step: int) -> bool:
    return halt.ask(step, measure(net, val if val is not None else test), measure(net, test))


def write_net(net: nn.Module, path: Path) -> None:
    """Writes the weights of a net (its `state_dict`) as one `.safetensors` file, whole or not at all."""
    weights = {name: tensor.detach().clone() for name, tensor in net.state_dict().items()}  # nets may share some
    write_tensor_file(path, weights, {})


def _count_parallel_nets(arch: Arch, images: ImageSet, recipe: RecipeSettings, num_seeds: int) -> int:
    """How many such nets to train at once: on a CPU one, on a GPU as many as fit into half of the memory we may use.

    A net that draws random numbers (dropout) is trained alone: its draws must not depend on its neighbours.
    """
    device = images.device
    if device.type != "cuda" or num_seeds == 1:
        return 1
    net, index = make_candidate(arch, images, 0).train(), slice(min(recipe.batch_size, len(images)))
    drawn = torch.cuda.get_rng_state(device)
    for _ in range(2):  # the first call benchmarks algorithms, which takes memory
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        _loss_and_gradient(
            net, images.normalized(index), images.labels[index], precision_of(recipe), recipe.label_smoothing
        )
        used = torch.cuda.max_memory_allocated(device) - before
    if not torch.equal(torch.cuda.get_rng_state(device), drawn):
        torch.cuda.set_rng_state(drawn, device)
        return 1
    total = torch.cuda.get_device_properties(device).total_memory
    ours = total * torch.cuda.get_per_process_memory_fraction(device)
    return max(int(ours / 2 / used), 1)


def precision_of(recipe: RecipeSettings) -> Precision:
    """The arithmetic of a recipe; where it is left to a search, float32 until that has decided."""
    return "float32" if recipe.precision == "auto" else recipe.precision


def count_steps(recipe: RecipeSettings, num_images: int) -> int:
    """Number of updates of a recipe on `num_images` images."""
    return recipe.steps or recipe.epochs * math.ceil(num_images / recipe.batch_size)


def _epochs(images: ImageSet, batch_size: int, num_steps: int, generator: torch.Generator) -> Iterator[list[Tensor]]:
    """Lists of index batches on the images' device, one per epoch in a new order; `num_steps` batches in all."""
    num_batches = math.ceil(len(images) / batch_size)
    left = num_steps
    while left > 0:
        order = torch.randperm(len(images), generator=generator).to(images.device, non_blocking=True)
        epoch = list(order.tensor_split(num_batches))[:left]
        left -= len(epoch)
        yield epoch
