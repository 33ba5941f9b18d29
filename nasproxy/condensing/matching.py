"""Mean matching: the mean of the synthetic images, embedded or in pixels, should equal that of the real ones per class.

Sources: Zhao & Bilen, "Dataset Condensation with Distribution Matching" (DM), eq. 5 and 6, Algorithm 1; its appendix
B.2 for the maximum mean discrepancy with a linear kernel in pixel space (MMD).

    DM:  sum over classes || mean_r embed(augment(real_r)) - mean_j embed(augment(syn_j)) ||^2, a fresh net every step
    MMD: sum over classes || mean_r real_r - mean_j syn_j ||^2

Real and synthetic images share one augmentation per class and step.

Notation: K classes (k of them at a time), R real images per class, J synthetic images per class, C channels, H height,
W width, F features.

All classes pass through the net together. Norms that work image by image give the same result as class by class; batch
norm sees a mix of all classes, as in the paper's batch-norm rows. Nets embed in bfloat16 where a trial finds that
faster (`engine`); class means, loss, gradient and images are float32.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from nasproxy.condensing.embedding import EmbeddingNets, is_splittable
from nasproxy.condensing.engine import Engine, Forward
from nasproxy.condensing.pairs import Pairs
from nasproxy.condensing.state import Task
from nasproxy.condensing.updating import update_images
from nasproxy.encoding import EncodedImages, Unit


def match_distributions(task: Task) -> EncodedImages:
    """DM: see `update_images`.

    Raises:
        SettingsError: nets that do not reach the accuracy asked for.
    """
    return update_images(task, _DistributionMatching(task))


def match_pixels(task: Task) -> EncodedImages:
    """MMD: see `update_images`."""
    return update_images(task, _PixelMatching(task))


class _MeanMatching:
    """Common to both objectives: no net persists across steps."""

    unit: Unit = "normalized"
    splittable: bool | None = None

    def __init__(self, task: Task) -> None:
        self._pairs = Pairs(task)

    def use(self, engine: Engine) -> None:
        """No net to run."""

    def renew_net(self, step: int) -> None:
        """No net persists."""

    def begin_step(self, step: int) -> None:
        self._pairs.draw(step)

    def end_step(self, step: int, synthetic: Callable[[], Tensor]) -> None:
        """No net persists."""

    def net_state(self) -> Mapping[str, Tensor]:
        return {}

    def load_net_state(self, state: Mapping[str, Tensor]) -> None:
        """No net persists."""


class _PixelMatching(_MeanMatching):
    def loss(self, classes: slice, synthetic: Tensor) -> Tensor:
        return matching_loss(lambda images: images.flatten(1), *self._pairs.of(classes, synthetic))


class _DistributionMatching(_MeanMatching):
    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self._embedding = EmbeddingNets(task)
        self.splittable = is_splittable(self._embedding.net)

    def use(self, engine: Engine) -> None:
        self._embed, self._chunk = engine.prepare(self._embedding.net.embed), engine.chunk

    def begin_step(self, step: int) -> None:
        super().begin_step(step)
        self._embedding.draw(step)

    def loss(self, classes: slice, synthetic: Tensor) -> Tensor:
        return matching_loss(self._embed, *self._pairs.of(classes, synthetic), chunk=self._chunk)


def matching_loss(embed: Forward, real: Tensor, synthetic: Tensor, *, chunk: int | None = None) -> Tensor:
    """Sum over classes of the squared distance between mean embeddings (DM, eq. 5), differentiable in `synthetic`.

    Args:
        embed: maps images to features; called without gradient for real images.
        real: (k, R, C, H, W), augmented.
        synthetic: (k, J, C, H, W), augmented.
        chunk: real images per call of `embed`; None: all at once. Only exact for nets without batch norm.

    Returns:
        A scalar.
    """
    with torch.no_grad():
        real_means = _embed_in_chunks(embed, real.flatten(0, 1), chunk).unflatten(0, real.shape[:2]).mean(dim=1)
    synthetic_means = embed(synthetic.flatten(0, 1)).unflatten(0, synthetic.shape[:2]).mean(dim=1)
    loss: Tensor = (real_means - synthetic_means).square().sum()
    return loss


def _embed_in_chunks(embed: Forward, images: Tensor, chunk: int | None) -> Tensor:
    """(N, C, H, W) -> (N, F) in calls of equal size, as a compiled net expects: the last one is padded."""
    if chunk is None or chunk >= len(images):
        return embed(images)
    missing = -len(images) % chunk
    parts = [embed(part) for part in torch.cat([images, images[:missing]]).split(chunk)]
    return torch.cat(parts)[: len(images)]
