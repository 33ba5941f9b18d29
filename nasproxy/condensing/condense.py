"""From training images to a proxy set, by any method."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nasproxy.condensing.coresets import (
    check_selection,
    select_forgetting,
    select_herding,
    select_k_center,
    select_random,
)
from nasproxy.condensing.matching import check_matching, match_distributions
from nasproxy.condensing.state import CondenseState, Task
from nasproxy.config import CondenseConfig, CondenseSettings, make_config
from nasproxy.errors import SettingsError, unknown_name
from nasproxy.images import ImageData, ImageSet
from nasproxy.proxyset import ProxySet


@dataclass(frozen=True)
class Method:
    """A way to make a proxy set."""

    make: Callable[[Task], Tensor]
    """Task -> images (K, I, C, H, W), normalised."""
    check: Callable[[CondenseSettings, ImageSet], None]
    """Raises SettingsError for settings that cannot work on these images."""
    summary: str
    num_steps: Callable[[CondenseSettings], int]
    """What `Task.on_step` counts up to."""


def _coreset(select: Callable[[Task], Tensor], summary: str, *, trains_a_net: bool = True) -> Method:
    """The method of a selector: `Task -> indices (K, I)` into the training images."""
    return Method(
        make=lambda task: task.images.normalized(select(task)),
        check=check_selection,
        summary=summary,
        num_steps=lambda settings: settings.selection_epochs if trains_a_net else 0,
    )


METHODS: dict[str, Method] = {
    "dm": Method(
        match_distributions,
        check_matching,
        "distribution matching (Zhao & Bilen, WACV 2023)",
        lambda settings: settings.steps,
    ),
    "random": _coreset(select_random, "random training images, the same number of each class", trains_a_net=False),
    "herding": _coreset(select_herding, "training images whose mean feature is that of the class (Welling, ICML 2009)"),
    "forgetting": _coreset(
        select_forgetting, "training images forgotten most while training (Toneva et al., ICLR 2019)"
    ),
    "k-center": _coreset(select_k_center, "training images far from each other (Sener & Savarese, ICLR 2018)"),
}
"""Condensation methods by name. To add one: a function `Task -> Tensor` and a line here."""


def condense(
    data: ImageData,
    method: str | None = None,
    *,
    settings: CondenseSettings | None = None,
    resume_from: CondenseState | None = None,
    on_step: Callable[[int, float], None] = lambda step, loss: None,
    on_checkpoint: Callable[[CondenseState], None] = lambda state: None,
    on_engine: Callable[[str, dict[str, float]], None] = lambda name, seconds: None,
    cache_dir: Path | None = None,
    **overrides: Any,
) -> ProxySet:
    """Makes a proxy set of `data.train`; validation and test images are not looked at.

    The same seed gives the same set with the same `engine`; with 'auto' a long condensation measures which one is the
    fastest, drops what torch has compiled in this process before, and names its choice in the set's settings.

    Args:
        data: images on the device to work on.
        method: a key of `METHODS`.
        settings: all settings at once, instead of `method` and `overrides`.
        resume_from: a state handed to `on_checkpoint` earlier, with the same settings: continues bit for bit.
        on_step: told every so many steps (selecting: epochs) the number of them done and the loss (dm: a class).
        on_checkpoint: given states to keep.
        on_engine: told which engine was chosen, and the seconds of a step with each that was tried.
        cache_dir: where nets that selecting trains are kept for the next time; None: nowhere.
        overrides: fields of `CondenseSettings`.

    Raises:
        SettingsError: an unknown method or setting, or more images than a class has.
        DivergedError: the loss is not finite any more.
    """
    given = {key: value for key, value in {"method": method, **overrides}.items() if value is not None}
    if settings is None:
        settings = make_config(CondenseConfig, {"condense": given}).condense
    elif given:
        raise SettingsError(f"{', '.join(given)} given beside settings; put them into the settings")
    check_settings(settings, data.train)
    started = time.perf_counter()
    recorded = settings.model_dump(mode="json")

    def record_engine(name: str, seconds: dict[str, float]) -> None:
        recorded["engine"] = name
        on_engine(name, seconds)

    spent = [resume_from.seconds] if resume_from else []
    task = Task(data.train, settings, resume_from, on_step, on_checkpoint, record_engine, cache_dir, spent.append)
    normalized = METHODS[settings.method].make(task)
    return ProxySet(
        images=_as_image_set(normalized, data.train),
        method=settings.method,
        images_per_class=settings.images_per_class,
        seed=settings.seed,
        seconds=time.perf_counter() - started + sum(spent),
        dataset=data.name,
        data_hash=data.data_hash,
        split_hash=data.split_hash,
        settings=recorded,
    )


def check_settings(settings: CondenseSettings, images: ImageSet) -> None:
    """Refuses what cannot work before any work is done.

    Raises:
        SettingsError: an unknown method, or settings that its `check` refuses.
    """
    if settings.method not in METHODS:
        raise unknown_name("condensation method", settings.method, METHODS)
    METHODS[settings.method].check(settings, images)


def _as_image_set(normalized: Tensor, like: ImageSet) -> ImageSet:
    """(K, I, C, H, W) normalised images as a set of K * I, ordered by class."""
    num_classes, per_class = normalized.shape[:2]
    labels = torch.arange(num_classes, device=normalized.device).repeat_interleave(per_class)
    return replace(like, images=like.pixels_from_normalized(normalized.flatten(0, 1)), labels=labels)
