"""Coresets: proxy sets made of real images, chosen class by class.

Features and the record of what was forgotten come from one briefly trained net (`selector`). Choices are decided by
the seed, ties by the order of the images; on another device, or with other threads, rounding may decide differently.

Notation: N images, n images of one class, K classes, I images a class to choose, E epochs, F features.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from nasproxy.condensing.selector import train_selector
from nasproxy.condensing.state import Task
from nasproxy.config import CondenseSettings
from nasproxy.errors import SettingsError
from nasproxy.images import ImageSet, make_generator


def check_selection(settings: CondenseSettings, images: ImageSet) -> None:
    """Refuses to take more images than a class has.

    Raises:
        SettingsError: a class has fewer.
    """
    smallest = min(range(images.num_classes), key=lambda k: len(images.class_indices[k]))
    available = len(images.class_indices[smallest])
    if settings.images_per_class > available:
        raise SettingsError(
            f"--ipc {settings.images_per_class} is more than class {images.classes[smallest]!r} has "
            f"({available} training images); ask for {available} or fewer"
        )


def select_random(task: Task) -> Tensor:
    """Indices (K, I) of random images of every class, none twice (main paper, section 3.2, 'Random')."""
    generator = make_generator(task.settings.seed, "select")
    return task.images.sample_classes(task.settings.images_per_class, generator)


def select_herding(task: Task) -> Tensor:
    """Indices (K, I) of the images of every class that `herd` chooses by their features, in its order.

    Raises:
        DivergedError: see `train_selector`.
    """
    return _select_by_features(task, herd)


def select_k_center(task: Task) -> Tensor:
    """Indices (K, I) of the images of every class that `pick_centers` chooses by their features, in its order.

    Raises:
        DivergedError: see `train_selector`.
    """
    return _select_by_features(task, pick_centers)


def select_forgetting(task: Task) -> Tensor:
    """Indices (K, I) of the images of every class that were forgotten most often, the most forgotten first.

    Raises:
        DivergedError: see `train_selector`.
    """
    counts = count_forgetting(train_selector(task).correct).cpu()

    def most_forgotten(members: Tensor) -> Tensor:
        order = counts[members].argsort(descending=True, stable=True)
        return order[: task.settings.images_per_class]

    return _select_by_class(task.images, most_forgotten)


def herd(features: Tensor, count: int) -> Tensor:
    """Herding: each choice brings the mean of what is chosen as near to the mean of all as one image can.

    Source: Welling, "Herding Dynamical Weights to Learn", ICML 2009. Our deviations:
    1. An image is chosen at most once.
    2. Nearness is the distance of the means itself, which Welling's inner product is for features of equal length
    only (as in Rebuffi et al., "iCaRL", CVPR 2017, Algorithm 4).

    Args:
        features: (n, F).
        count: I, at most n.

    Returns:
        (I,) indices in the order of choice.
    """
    centered = _centered(features)
    lengths = centered.square().sum(dim=1)
    total = torch.zeros_like(centered[0])
    chosen: list[Tensor] = []
    for _ in range(count):
        # || total + centered ||^2 without || total ||^2, which all have in common
        best = (lengths + 2 * (centered @ total)).argmin()
        lengths[best] = torch.inf
        total += centered[best]
        chosen.append(best)
    return torch.stack(chosen)


def pick_centers(features: Tensor, count: int) -> Tensor:
    """k-center: the image nearest to the mean, then each time the one farthest from all that are chosen.

    Source: Sener & Savarese, "Active Learning for Convolutional Neural Networks: A Core-Set Approach", ICLR 2018,
    Algorithm 1. Our deviations:
    1. It runs class by class, since a proxy set has as many images of each; theirs runs over all images at once.
    2. It starts from the image nearest to the class mean; theirs goes on from images that have labels already.
    3. Distances are those of the net's features before its linear head.

    Args:
        features: (n, F).
        count: I, at most n.

    Returns:
        (I,) indices in the order of choice.
    """
    centered = _centered(features)
    chosen = [centered.square().sum(dim=1).argmin()]
    distances = torch.full_like(centered[:, 0], torch.inf)
    for _ in range(count - 1):
        distances = torch.minimum(distances, (centered - centered[chosen[-1]]).square().sum(dim=1))
        distances[chosen[-1]] = -1  # even where others have distance 0
        chosen.append(distances.argmax())
    return torch.stack(chosen)


def count_forgetting(correct: Tensor) -> Tensor:
    """How often each image was forgotten: classified correctly after one epoch and wrongly after the next.

    Images that were never classified correctly count as forgotten most: E times, which no other image reaches.

    Source: Toneva et al., "An Empirical Study of Example Forgetting during Deep Neural Network Learning", ICLR 2019,
    section 3. Our deviation: 1. All images are looked at after each epoch, not each in its turn within the epoch.

    Args:
        correct: (E, N) bool, whether an image was classified correctly after an epoch.

    Returns:
        (N,) int64.
    """
    forgotten = (correct[:-1] & ~correct[1:]).sum(dim=0)
    return torch.where(correct.any(dim=0), forgotten, len(correct))


def _select_by_features(task: Task, choose: Callable[[Tensor, int], Tensor]) -> Tensor:
    selector = train_selector(task)
    return _select_by_class(
        task.images, lambda members: choose(selector.embed(task.images, members), task.settings.images_per_class)
    )


def _select_by_class(images: ImageSet, choose: Callable[[Tensor], Tensor]) -> Tensor:
    """(K, I) of a function from the indices (n,) of a class to those of its choices among them (I,)."""
    return torch.stack([members[choose(members).cpu()] for members in images.class_indices]).to(images.device)


def _centered(features: Tensor) -> Tensor:
    """(n, F) float64 with mean zero: distances stay exact enough for ties to be ties."""
    exact = features.double()
    return exact - exact.mean(dim=0)
