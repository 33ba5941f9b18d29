"""Distribution matching (DM): synthetic images whose mean embedding is that of the real ones, class by class.

Source: Zhao & Bilen, "Dataset Condensation with Distribution Matching", eq. 5 and 6, Algorithm 1.

    loss = sum over classes || mean_r embed(augment(real_r)) - mean_i embed(augment(syn_i)) ||^2

with a freshly initialised net at every step, one augmentation a class and step shared by real and synthetic images.

Notation: K classes, R real images a class, I synthetic images a class, C channels, H height, W width, F features.

All classes go through the net together. Norms that work image by image give exactly what class by class would; batch
norm sees the mix of all classes, which is how the paper gets its batch-norm rows. Where a trial finds it faster, nets
embed in bfloat16 (`engine`); class means, loss, gradient and images are float32.
"""

import math
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from nasproxy.augment import augment_classes, parse_strategy
from nasproxy.condensing.coresets import check_selection, select_random
from nasproxy.condensing.engine import Embed, Engine, choose_engine, default_engine, timed
from nasproxy.condensing.state import CondenseState, Task
from nasproxy.config import CondenseSettings
from nasproxy.device import kept_memory
from nasproxy.errors import ArchError, DivergedError, SettingsError
from nasproxy.images import ImageSet, make_generator
from nasproxy.nets.classifier import Classifier
from nasproxy.nets.convnet import default_arch, parse_arch
from nasproxy.seeding import derive_seed
from nasproxy.space import Arch, build
from nasproxy.training import make_net, seeded_torch

CHECK_EVERY = 10
"""Steps between looks at the loss: on a GPU each look waits for the device."""


def match_distributions(task: Task) -> Tensor:
    """Synthetic images (K, I, C, H, W), normalised, by `settings.steps` updates of distribution matching.

    Raises:
        DivergedError: a loss that is not finite; the last good state was handed to `task.on_checkpoint`.
        SettingsError: an embedder that does not fit the images.
    """
    settings, real_set = task.settings, task.images
    arch = embedder_arch(settings.embedder, real_set)
    net = make_embedder(arch, real_set, seed=0)
    groups = parse_strategy(settings.augmentation, flippable=real_set.flippable)
    state = good = task.resume_from or _first_state(task)
    images = state.images.to(real_set.device).clone().requires_grad_()
    velocity = state.velocity.to(real_set.device).clone()
    lr = settings.image_lr or default_image_lr(settings.images_per_class)
    started, step = time.perf_counter(), state.step

    def draw_batch(step: int) -> tuple[Tensor, Tensor]:
        """Of a step: a fresh net, and augmented real (K, R, C, H, W) and synthetic (K, I, C, H, W) images."""
        generator = make_generator(settings.seed, "dm", step)
        initialize(net, derive_seed(settings.seed, "embedder", step), real_set.device)
        index = real_set.sample_classes(settings.real_batch_size, generator)
        real = real_set.normalized(index.flatten()).unflatten(0, index.shape)
        real, synthetic = augment_classes((real, images), groups, generator)
        return real, synthetic

    def snapshot() -> CondenseState:
        seconds = state.seconds + time.perf_counter() - started
        return CondenseState(step, images.detach().clone(), velocity.clone(), engine.name, seconds)

    with kept_memory():
        engine = _find_engine(task, arch, net, draw_batch)
        embed = engine.embedder(net)
        try:
            while step < settings.steps:
                loss = matching_loss(embed, *draw_batch(step), chunk=engine.chunk)
                (gradient,) = torch.autograd.grad(loss, images)
                with torch.no_grad():
                    velocity.mul_(settings.image_momentum).add_(gradient)
                    images.sub_(velocity, alpha=lr)
                step += 1
                if step % CHECK_EVERY == 0 or step == settings.steps:
                    loss_value = float(loss.detach())
                    _check_finite(loss_value, images, step, good.step)
                    good = snapshot()
                    task.on_step(step, loss_value / len(images))
                if step % settings.checkpoint_every == 0:
                    task.on_checkpoint(snapshot())
        except (DivergedError, KeyboardInterrupt):
            task.on_checkpoint(good)
            raise
    return images.detach()


def matching_loss(embed: Embed, real: Tensor, synthetic: Tensor, *, chunk: int | None = None) -> Tensor:
    """Sum over classes of the squared distance between mean embeddings (eq. 5), differentiable in `synthetic`.

    Args:
        embed: maps images to features; called without gradient for the real ones.
        real: (K, R, C, H, W), augmented.
        synthetic: (K, I, C, H, W), augmented.
        chunk: real images a call of `embed`; None: all at once. Only exact for nets without batch norm.

    Returns:
        A scalar.
    """
    with torch.no_grad():
        real_means = _embed_in_chunks(embed, real.flatten(0, 1), chunk).unflatten(0, real.shape[:2]).mean(dim=1)
    synthetic_means = embed(synthetic.flatten(0, 1)).unflatten(0, synthetic.shape[:2]).mean(dim=1)
    loss: Tensor = (real_means - synthetic_means).square().sum()
    return loss


def _embed_in_chunks(embed: Embed, images: Tensor, chunk: int | None) -> Tensor:
    """(N, C, H, W) -> (N, F), all calls of the same size, for which a compiled net was made: the last is filled up."""
    if chunk is None or chunk >= len(images):
        return embed(images)
    missing = -len(images) % chunk
    parts = [embed(part) for part in torch.cat([images, images[:missing]]).split(chunk)]
    return torch.cat(parts)[: len(images)]


def default_image_lr(images_per_class: int) -> float:
    """Learning rate of the images (main paper, section 3.1)."""
    return 10.0 if images_per_class >= 100 else 1.0


def check_matching(settings: CondenseSettings, images: ImageSet) -> None:
    """Refuses settings that cannot work on these images.

    Raises:
        SettingsError: an unfit embedder or engine, an unknown augmentation, or too few real images to start from.
    """
    arch = embedder_arch(settings.embedder, images)
    if settings.engine != "auto":
        engine = Engine.parse(settings.engine)
        if engine.chunk is not None and not _splittable(arch):
            raise SettingsError(f"engine {engine.name!r}: batch norm sees all classes at once; let it end in '-all'")
    parse_strategy(settings.augmentation, flippable=images.flippable)
    if settings.init == "real":
        check_selection(settings, images)


def embedder_arch(name: str, images: ImageSet) -> Arch:
    """The ConvNet called `name` ('auto': the default one), checked to fit the images.

    Raises:
        SettingsError: no ConvNet id, or too deep for the images.
    """
    arch = default_arch(images.image_shape) if name == "auto" else parse_arch(name)
    try:
        with torch.device("meta"):
            build(arch, images.image_shape, images.num_classes)
    except ArchError as error:
        raise SettingsError(f"embedder {error}") from None
    return arch


def make_embedder(arch: Arch, images: ImageSet, seed: int) -> Classifier:
    """A net to embed with, of an architecture from `embedder_arch`: its weights take no gradient."""
    net = make_net(arch, images, seed)
    assert isinstance(net, Classifier)  # parse_arch and default_arch name no others
    return net.requires_grad_(False)


def initialize(net: Classifier, seed: int, device: torch.device) -> None:
    """Fresh weights in place, drawn on the device; on a CPU those of a net built after the same seed."""
    with seeded_torch(seed, device):
        for module in net.body.modules():
            if isinstance(module, nn.Conv2d | nn.Linear | nn.GroupNorm | nn.LayerNorm | nn.BatchNorm2d):
                module.reset_parameters()


def _splittable(arch: Arch) -> bool:
    """Whether images can be embedded in parts: not under batch norm."""
    return arch.factors["norm"] != "batch"


def _find_engine(task: Task, arch: Arch, net: Classifier, draw_batch: Callable[[int], tuple[Tensor, Tensor]]) -> Engine:
    """The engine that was asked for, or that the run was begun with, or else the fastest for the steps to come."""
    settings = task.settings
    name = settings.engine if settings.engine != "auto" else task.resume_from and task.resume_from.engine
    if name:
        task.on_engine(name, {})
        return Engine.parse(name)

    def time_step(engine: Engine) -> float:
        embed, (real, synthetic) = engine.embedder(net), draw_batch(0)
        synthetic = synthetic.detach().requires_grad_()

        def step() -> Tensor:
            loss = matching_loss(embed, real, synthetic, chunk=engine.chunk)
            return torch.autograd.grad(loss, synthetic)[0]

        return timed(step, task.images.device)

    default = default_engine(task.images.device, splittable=_splittable(arch))
    engine, seconds = choose_engine(default, time_step, settings.steps, task.images.device)
    task.on_engine(engine.name, seconds)
    return engine


def _first_state(task: Task) -> CondenseState:
    """Random real images, or normal noise, and no momentum."""
    images, settings = task.images, task.settings
    if settings.init == "noise":
        shape = (images.num_classes, settings.images_per_class, *images.image_shape)
        start = torch.randn(shape, generator=make_generator(settings.seed, "noise")).to(images.device)
    else:
        start = images.normalized(select_random(task))
    return CondenseState(step=0, images=start, velocity=torch.zeros_like(start), engine="")


def _check_finite(loss: float, images: Tensor, step: int, good_step: int) -> None:
    if not (math.isfinite(loss) and bool(images.isfinite().all())):
        raise DivergedError(
            f"condensing diverged at step {step}: the loss is {loss}; step {good_step} was kept, "
            "start again with a smaller image_lr"
        )
