"""Distribution matching (DM): synthetic images whose mean embedding is that of the real ones, class by class.

Source: Zhao & Bilen, "Dataset Condensation with Distribution Matching", eq. 5 and 6, Algorithm 1.

    loss = sum over classes || mean_r embed(augment(real_r)) - mean_i embed(augment(syn_i)) ||^2

with a freshly initialised net at every step, one augmentation a class and step shared by real and synthetic images.

Notation: K classes, R real images a class, I synthetic images a class, C channels, H height, W width, F features.

All classes go through the net together. Norms that work image by image give exactly what class by class would; batch
norm sees the mix of all classes, which is how the paper gets its batch-norm rows.
"""

import math
import time
from collections.abc import Callable

import torch
from torch import Tensor

from nasproxy.augment import augment_classes, parse_strategy
from nasproxy.condensing.coresets import check_selection, select_random
from nasproxy.condensing.state import CondenseState, Task
from nasproxy.config import CondenseSettings
from nasproxy.errors import ArchError, DivergedError, SettingsError
from nasproxy.images import ImageSet, make_generator
from nasproxy.nets.convnet import ConvNet, default_arch, parse_arch
from nasproxy.seeding import derive_seed
from nasproxy.space import Arch, build
from nasproxy.training import make_net

CHECK_EVERY = 10
"""Steps between looks at the loss: on a GPU each look waits for the device."""
REAL_CHUNK = {"cpu": 64, "cuda": 4096}
"""Real images a forward pass, by device type, where the norm works image by image; changes speed, not results."""

Embed = Callable[[Tensor], Tensor]
"""(N, C, H, W) images -> (N, F) features."""


def match_distributions(task: Task) -> Tensor:
    """Synthetic images (K, I, C, H, W), normalised, by `settings.steps` updates of distribution matching.

    Raises:
        DivergedError: a loss that is not finite; the last good state was handed to `task.on_checkpoint`.
        SettingsError: an embedder that does not fit the images.
    """
    settings, real_set = task.settings, task.images
    arch = embedder_arch(settings.embedder, real_set)
    groups = parse_strategy(settings.augmentation, flippable=real_set.flippable)
    state = good = task.resume_from or _first_state(task)
    images = state.images.to(real_set.device).clone().requires_grad_()
    velocity = state.velocity.to(real_set.device).clone()
    lr = settings.image_lr or (10.0 if settings.images_per_class >= 100 else 1.0)
    started, step = time.perf_counter(), state.step

    def snapshot() -> CondenseState:
        seconds = state.seconds + time.perf_counter() - started
        return CondenseState(step, images.detach().clone(), velocity.clone(), seconds)

    try:
        while step < settings.steps:
            generator = make_generator(settings.seed, "dm", step)
            net = _random_embedder(arch, real_set, derive_seed(settings.seed, "embedder", step))
            index = real_set.sample_classes(settings.real_batch_size, generator)
            real = real_set.normalized(index.flatten()).unflatten(0, index.shape)
            real, synthetic = augment_classes((real, images), groups, generator)
            loss = matching_loss(net.embed, real, synthetic, chunk=_real_chunk(arch, real_set.device))
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
        flat = real.flatten(0, 1)
        features = torch.cat([embed(part) for part in flat.split(chunk or len(flat))])
        real_means = features.unflatten(0, real.shape[:2]).mean(dim=1)
    synthetic_means = embed(synthetic.flatten(0, 1)).unflatten(0, synthetic.shape[:2]).mean(dim=1)
    loss: Tensor = (real_means - synthetic_means).square().sum()
    return loss


def check_matching(settings: CondenseSettings, images: ImageSet) -> None:
    """Refuses settings that cannot work on these images.

    Raises:
        SettingsError: an unfit embedder, an unknown augmentation, or more real images to start from than there are.
    """
    embedder_arch(settings.embedder, images)
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


def _random_embedder(arch: Arch, images: ImageSet, seed: int) -> ConvNet:
    net = make_net(arch, images, seed)
    assert isinstance(net, ConvNet)  # parse_arch and default_arch name no others
    return net.requires_grad_(False)


def _first_state(task: Task) -> CondenseState:
    """Random real images, or normal noise, and no momentum."""
    images, settings = task.images, task.settings
    if settings.init == "noise":
        shape = (images.num_classes, settings.images_per_class, *images.image_shape)
        start = torch.randn(shape, generator=make_generator(settings.seed, "noise")).to(images.device)
    else:
        start = select_random(task)
    return CondenseState(step=0, images=start, velocity=torch.zeros_like(start))


def _real_chunk(arch: Arch, device: torch.device) -> int | None:
    return None if arch.factors["norm"] == "batch" else REAL_CHUNK.get(device.type)


def _check_finite(loss: float, images: Tensor, step: int, good_step: int) -> None:
    if not (math.isfinite(loss) and bool(images.isfinite().all())):
        raise DivergedError(
            f"condensing diverged at step {step}: the loss is {loss}; step {good_step} was kept, "
            "start again with a smaller image_lr"
        )
