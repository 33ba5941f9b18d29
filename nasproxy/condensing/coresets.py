"""Coresets: proxy sets made of real images, chosen class by class.

Features and forgetting counts come from one trained net (`selector`). The seed determines the choice; on another
device, or with another number of threads, rounding may change it. Features tie between equal images only, of which the
earlier is taken; forgetting counts tie often, and a draw decides that does not depend on the order of the images.

Notation: N images, n images of one class, K classes, I images per class to choose, E epochs, F features.
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
    """Refuses to select more images than a class has.

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
    """Indices (K, I) of random images per class, without replacement (main paper, section 3.2, 'Random')."""
    generator = make_generator(task.settings.seed, "select")
    return task.images.sample_classes(task.settings.images_per_class, generator)


def select_herding(task: Task) -> Tensor:
    """Indices (K, I) of the images that `herd` chooses per class by their features, in order of choice.

    Raises:
        DivergedError: see `train_selector`.
    """
    return _select_by_features(task, herd)


def select_k_center(task: Task) -> Tensor:
    """Indices (K, I) of the images that `pick_centers` chooses per class by their features, in order of choice.

    Raises:
        DivergedError: see `train_selector`.
    """
    return _select_by_features(task, pick_centers)


def select_forgetting(task: Task) -> Tensor:
    """Indices (K, I) of the most often forgotten images per class, the most forgotten first; ties by a seeded draw.

    Raises:
        DivergedError: see `train_selector`.
    """
    counts, draws = count_forgetting(train_selector(task).correct).cpu(), torch.empty(len(task.images))
    generator = make_generator(task.settings.seed, "select")
    draws[task.images.content_order()] = torch.rand(len(task.images), generator=generator)

    def most_forgotten(members: Tensor) -> Tensor:
        drawn = draws[members].argsort()
        order = drawn[counts[members][drawn].argsort(descending=True, stable=True)]
        return order[: task.settings.images_per_class]

    return _select_by_class(task.images, most_forgotten)


def herd(features: Tensor, count: int) -> Tensor:
    """Herding: each choice moves the mean of the chosen images as close as possible to the mean of all.

    Source: Welling, "Herding Dynamical Weights to Learn", ICML 2009. Our deviations:
    1. Each image is chosen at most once.
    2. Closeness is the distance between the means; Welling's inner product is equivalent only for features of equal
    length (as in Rebuffi et al., "iCaRL", CVPR 2017, Algorithm 4).

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
        # || total + centered ||^2 without || total ||^2, which is the same for all
        best = (lengths + 2 * (centered @ total)).argmin()
        lengths[best] = torch.inf
        total += centered[best]
        chosen.append(best)
    return torch.stack(chosen)


def pick_centers(features: Tensor, count: int) -> Tensor:
    """k-center: first the image nearest to the mean, then repeatedly the one farthest from all chosen images.

    Source: Sener & Savarese, "Active Learning for Convolutional Neural Networks: A Core-Set Approach", ICLR 2018,
    Algorithm 1. Our deviations:
    1. It runs class by class, since a proxy set is balanced; theirs runs over all images at once.
    2. It starts from the image nearest to the class mean; theirs extends a set of images that are already labelled.
    3. Distances are between features before the net's linear head.

    What is far from everything is unusual: a few images per class are outliers, and nets trained on them are worse than
    on random images (CIFAR-10, 10 a class: 14 % against 28 %; the literature has the same order). It covers a class
    with many.

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
        distances[chosen[-1]] = -1  # never again, even where all others have distance 0
        chosen.append(distances.argmax())
    return torch.stack(chosen)


def count_forgetting(correct: Tensor) -> Tensor:
    """How often each image was forgotten: classified correctly after one epoch and wrongly after the next.

    Source: Toneva et al., "An Empirical Study of Example Forgetting during Deep Neural Network Learning", ICLR 2019,
    section 3. Our deviations:
    1. All images are evaluated after each epoch, not when their batch is trained on.
    2. An image that was never classified correctly was never forgotten, and counts as 0; theirs counts as forgotten
    infinitely often. Theirs are the images that no net learns: nets trained on 10 a class of them are at chance (11 and
    12 % after 10 and 40 epochs; with 0, 22 and 20 %; random images 22 %; CIFAR-10, chosen from 200 a class, narrow
    nets, n = 2).
    3. 100 epochs with the recipe of full training by default; theirs are 200.

    Args:
        correct: (E, N) bool, whether an image was classified correctly after an epoch.

    Returns:
        (N,) int64.
    """
    return (correct[:-1] & ~correct[1:]).sum(dim=0)


def _select_by_features(task: Task, choose: Callable[[Tensor, int], Tensor]) -> Tensor:
    selector = train_selector(task)
    return _select_by_class(
        task.images, lambda members: choose(selector.embed(task.images, members), task.settings.images_per_class)
    )


def _select_by_class(images: ImageSet, choose: Callable[[Tensor], Tensor]) -> Tensor:
    """(K, I) from a function that maps the indices (n,) of a class to the positions (I,) of its choices among them."""
    return torch.stack([members[choose(members).cpu()] for members in images.class_indices]).to(images.device)


def _centered(features: Tensor) -> Tensor:
    """(n, F) float64 with mean zero: exact enough that ties remain ties."""
    exact = features.double()
    return exact - exact.mean(dim=0)
