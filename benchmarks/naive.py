"""Condensing and training as usually written: the baseline of nasproxy's benchmarks and the reference of its tests.

Straight from Algorithm 1 of Zhao & Bilen, "Dataset Condensation with Distribution Matching", from its evaluation
recipe, and from Algorithm 1 of Zhao, Mopuri & Bilen, "Dataset Condensation with Gradient Matching" (DC): one class
after another, one net after another, a data loader, loss and accuracy read back at every step.

Notation: N images, B images per batch, C channels, H height, W width, K classes, R real and I synthetic images per
class.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nasproxy.augment import Strategy, draw_for_classes
from nasproxy.images import ImageSet
from nasproxy.nets.classifier import Classifier

Batches = Iterable[tuple[Tensor, Tensor]]
"""(B, C, H, W) images and (B,) labels, an epoch of them."""
Pairs = Iterable[tuple[Tensor, Tensor]]
"""For each class, augmented real (R, C, H, W) and synthetic (I, C, H, W) images."""


def matching_loss(net: Classifier, real: Iterable[Tensor], synthetic: Iterable[Tensor]) -> Tensor:
    """Equation 5 for K pairs of (R, C, H, W) and (I, C, H, W): the squared distance of two mean embeddings, summed."""
    loss = torch.zeros(())
    for real_images, synthetic_images in zip(real, synthetic, strict=True):
        mean_real = net.embed(real_images).detach().mean(dim=0)
        mean_synthetic = net.embed(synthetic_images).mean(dim=0)
        loss = loss.to(mean_real.device) + ((mean_real - mean_synthetic) ** 2).sum()
    return loss


def condense(
    synthetic: Tensor, make_net: Callable[[], Classifier], draw_pairs: Callable[[Tensor], Pairs], *, lr: float
) -> Iterator[float]:
    """Algorithm 1: updates `synthetic` (K, I, C, H, W) in place, and yields the loss of each step, without end.

    Args:
        synthetic: the images.
        make_net: a fresh random net.
        draw_pairs: of the synthetic images, what is compared at a step, class by class.
        lr: learning rate of the images; their momentum is 0.5.
    """
    synthetic.requires_grad_()
    optimizer = torch.optim.SGD([synthetic], lr=lr, momentum=0.5)
    while True:
        net = make_net().requires_grad_(False)
        real, augmented = zip(*draw_pairs(synthetic), strict=True)
        loss = matching_loss(net, real, augmented)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield loss.item()


def gradient_loss(net: Classifier, real: Iterable[Tensor], synthetic: Iterable[Tensor], *, rows: bool = True) -> Tensor:
    """Distance of gradients, summed over K pairs of (R, C, H, W) and (I, C, H, W), the classes 0 to K - 1.

    With `rows` that of DC, eq. 9 and 10: one minus the cosine for each output row of each parameter of more than one
    dimension; without, that of IDC: squared differences of the convolutions' weights.
    """
    parameters = [parameter for parameter in net.parameters() if parameter.ndim > 1]
    if not rows:
        parameters = [parameter for parameter in parameters if parameter.ndim == 4]
    loss = torch.zeros(())
    for label, (real_images, synthetic_images) in enumerate(zip(real, synthetic, strict=True)):
        target = torch.full((len(real_images),), label, device=real_images.device)
        wanted = torch.autograd.grad(F.cross_entropy(net(real_images), target), parameters)
        target = torch.full((len(synthetic_images),), label, device=real_images.device)
        found = torch.autograd.grad(F.cross_entropy(net(synthetic_images), target), parameters, create_graph=True)
        for mine, theirs in zip(found, wanted, strict=True):
            if rows:
                mine, theirs = mine.reshape(len(mine), -1), theirs.reshape(len(theirs), -1)  # noqa: PLW2901
                cosine = (mine * theirs).sum(-1) / (mine.norm(dim=-1) * theirs.norm(dim=-1) + 1e-6)
                distance = (1 - cosine).sum()
            else:
                distance = ((mine - theirs) ** 2).sum()
            loss = loss.to(distance.device) + distance
    return loss


def condense_by_gradients(
    synthetic: Tensor,
    like: ImageSet,
    make_net: Callable[[], Classifier],
    draw_pairs: Callable[[Tensor], Pairs],
    augment: Callable[[Tensor], Tensor],
    *,
    lr: float,
    outer_loop: int,
    inner_loop: int,
    freeze: Callable[[Classifier], None] = lambda net: None,
) -> Iterator[float]:
    """DC, Algorithm 1: updates `synthetic` (K, I, C, H, W) in place, and yields the loss of each step, without end.

    Args:
        synthetic: the images, normalised.
        like: the real ones, for mean and standard deviation.
        make_net: a fresh random net.
        draw_pairs: of the synthetic images, what is compared at a step, class by class.
        augment: (B, C, H, W) -> (B, C, H, W), for training.
        lr: learning rate of the images; their momentum is 0.5.
        outer_loop: steps of a net.
        inner_loop: epochs that it is trained on the images after each.
        freeze: what is done to the net before each step, with batch norm.
    """
    synthetic.requires_grad_()
    optimizer = torch.optim.SGD([synthetic], lr=lr, momentum=0.5)
    labels = torch.arange(len(synthetic)).repeat_interleave(synthetic.shape[1])
    while True:
        net = make_net()
        for _ in range(outer_loop):
            freeze(net)
            real, augmented = zip(*draw_pairs(synthetic), strict=True)
            loss = gradient_loss(net, real, augmented)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            pixels = like.pixels_from_normalized(synthetic.detach().flatten(0, 1))
            batches = loader(replace(like, images=pixels, labels=labels), 256, shuffle=True)
            for _ in train(net, [batches] * inner_loop, augment, momentum=0.0, weight_decay=0.0):
                pass
            yield loss.item()


def augment_classes(batches: tuple[Tensor, ...], strategy: Strategy, generator: torch.Generator) -> tuple[Tensor, ...]:
    """Siamese augmentation of batches (K, M, C, H, W), whose M may differ: each class is augmented alike in all."""
    height, width = batches[0].shape[-2:]
    draws = draw_for_classes(len(batches[0]), (height, width), strategy, generator)
    return tuple(draws.apply(images) for images in batches)


def pair_drawer(
    images: ImageSet, real_batch_size: int, strategy: Strategy, generator: torch.Generator
) -> Callable[[Tensor], Pairs]:
    """For `condense`: random real images of each class and its synthetic ones, augmented alike."""
    normalized = images.normalized()
    members = [torch.nonzero(images.labels == k).flatten() for k in range(images.num_classes)]

    def draw_pairs(synthetic: Tensor) -> Pairs:
        for k, index in enumerate(members):
            chosen = index[torch.randperm(len(index), generator=generator)[:real_batch_size].to(index.device)]
            real, augmented = augment_classes((normalized[chosen][None], synthetic[k][None]), strategy, generator)
            yield real[0], augmented[0]

    return draw_pairs


def train(
    net: nn.Module,
    epochs: Iterable[Batches],
    augment: Callable[[Tensor], Tensor],
    *,
    lr: float = 0.01,
    drop_at: int | None = None,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
) -> Iterator[tuple[float, float]]:
    """SGD: yields loss and accuracy of each step.

    Args:
        net: trained in place.
        epochs: the batches of each epoch, on the device of the net or not.
        augment: (B, C, H, W) -> (B, C, H, W).
        lr: learning rate.
        drop_at: step from which on it is a tenth of that.
        momentum: of SGD.
        weight_decay: of SGD.
    """
    optimizer = torch.optim.SGD(net.parameters(), lr=lr, momentum=momentum, weight_decay=weight_decay)
    device = next(net.parameters()).device
    net.train()
    step = 0
    for batches in epochs:
        for images, labels in batches:
            if step == drop_at:
                optimizer.param_groups[0]["lr"] = lr * 0.1
            batch, target = augment(images.to(device)), labels.to(device)
            logits = net(batch)
            loss = F.cross_entropy(logits, target)
            right = (logits.argmax(dim=1).cpu() == target.cpu()).sum().item()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
            yield loss.item(), right / len(target)


@torch.no_grad()
def accuracy(net: nn.Module, batches: Batches) -> float:
    """Fraction classified correctly."""
    device = next(net.parameters()).device
    net.eval()
    right, total = 0, 0
    for images, labels in batches:
        right += int((net(images.to(device)).argmax(dim=1).cpu() == labels).sum().item())
        total += len(labels)
    return right / total


def loader(images: ImageSet, batch_size: int, *, shuffle: bool) -> Sequence[tuple[Tensor, Tensor]]:
    """A data loader of normalised images, in memory."""
    dataset = torch.utils.data.TensorDataset(images.normalized().cpu(), images.labels.cpu())
    batches: Sequence[tuple[Tensor, Tensor]] = torch.utils.data.DataLoader(dataset, batch_size, shuffle=shuffle)  # type: ignore[assignment]
    return batches
