"""Turns training images into a proxy set by any method."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from nasproxy.condensing.methods import METHODS, Method
from nasproxy.condensing.state import CondenseState, Task
from nasproxy.config import CondenseConfig, CondenseSettings, make_config
from nasproxy.errors import SettingsError, unknown_name
from nasproxy.images import ImageData, ImageSet
from nasproxy.proxyset import ProxySet, make_proxy_set
from nasproxy.talk import Listener, listening


def condense(
    data: ImageData,
    method: str | None = None,
    *,
    settings: CondenseSettings | None = None,
    device: torch.device | None = None,
    resume_from: CondenseState | None = None,
    on_step: Callable[[int, float], None] = lambda step, loss: None,
    on_checkpoint: Callable[[CondenseState], None] = lambda state: None,
    on_engine: Callable[[str, dict[str, float]], None] = lambda name, seconds: None,
    cache_dir: Path | None = None,
    ends: float | None = None,
    progress: bool | Listener = False,
    **overrides: Any,
) -> ProxySet:
    """Condenses `data.train` into a proxy set; validation and test images are not used.

    The same seed and `engine` give the same set. With engine 'auto', a long condensation measures which engine is
    fastest, discards what torch has compiled in this process, and records its choice in the set's settings.

    Args:
        data: the images.
        method: a key of `METHODS`.
        settings: all settings at once, instead of `method` and `overrides`.
        device: where to compute; None: where the images are. Real images are moved there batch by batch.
        resume_from: a state passed to `on_checkpoint` by a run with the same settings; continues bit for bit.
        on_step: called every few steps (selection: every epoch) with the number done and the loss per class.
        on_checkpoint: called with states to keep.
        on_engine: called with the chosen engine and the seconds per step of every engine tried.
        cache_dir: cache for nets trained for selection; None: no cache.
        ends: by `time.monotonic`: no update is begun that would end later; None: never. The set is the one of as many
            steps as were done, and its settings say so.
        progress: whether to show how far it is, on stderr; or who is told.
        overrides: fields of `CondenseSettings`.

    Raises:
        SettingsError: an unknown method or setting, more images than a class has; or `ends` for a method that makes no
            updates, or before the first one would be over.
        DivergedError: the loss is no longer finite, or the images have left image scale.
    """
    given = {key: value for key, value in {"method": method, **overrides}.items() if value is not None}
    if settings is None:
        settings = make_config(CondenseConfig, {"condense": given}).condense
    elif given:
        raise SettingsError(f"{', '.join(given)} given beside settings; put them into the settings")
    settings = complete_settings(settings, data.train)
    started = time.perf_counter()
    recorded = settings.model_dump(mode="json")

    if ends is not None:
        refuse_budget(settings)

    def record_engine(name: str, seconds: dict[str, float]) -> None:
        recorded["engine"] = name
        on_engine(name, seconds)

    def record_pace(step: int, seconds: float) -> None:
        fitting = step + ((ends or 0.0) - time.monotonic()) / seconds
        listener.say(f"about {min(int(fitting), num_steps):,} of {num_steps:,} updates fit into the budget")

    device = device or data.train.device
    spent = [resume_from.seconds] if resume_from else []
    maker = METHODS[settings.method]
    num_steps, begun = maker.num_steps(settings), resume_from.step if resume_from else 0
    with listening(progress) as listener:

        def tell(step: int, loss: float) -> None:
            if settings.steps:
                recorded["steps"] = step
            on_step(step, loss)
            listener.progress("condensing", step, num_steps, f"loss {loss:.4g}")

        listener.progress("condensing", begun, num_steps)
        task = Task(
            data.train, settings, device, resume_from, tell, on_checkpoint, record_engine, cache_dir, spent.append,
            record_pace, ends,
        )  # fmt: skip
        stored = maker.make(task)
    num_items = next(iter(stored.tensors.values())).shape[0] * stored.encoding.tiles
    labels = torch.arange(data.num_classes, device=device).repeat_interleave(num_items // data.num_classes)
    return make_proxy_set(
        stored,
        replace(data.train, labels=labels),
        method=describe_method(settings, data.train),
        images_per_class=settings.images_per_class,
        seed=settings.seed,
        seconds=time.perf_counter() - started + sum(spent),
        dataset=data.name,
        data_hash=data.data_hash,
        split_hash=data.split_hash,
        settings=recorded,
    )


def refuse_budget(settings: CondenseSettings) -> None:
    """Refuses a budget of time for a method that makes no updates.

    Args:
        settings: complete.

    Raises:
        SettingsError: it makes none.
    """
    if not settings.steps:
        raise SettingsError(f"a budget for {settings.method}: it makes no updates that could be fewer; leave it out")


def complete_settings(settings: CondenseSettings, images: ImageSet) -> CondenseSettings:
    """The settings with the method's defaults filled in, checked against each other and the images.

    Raises:
        SettingsError: an unknown method, or settings that do not fit the method, each other or the images.
    """
    method = find_method(settings.method)
    own = method.defaults(settings, images)
    missing = {key: value for key, value in own.items() if getattr(settings, key) is None}
    complete = settings.model_copy(update=missing)
    method.check(complete, images)
    return complete


def describe_method(settings: CondenseSettings, images: ImageSet) -> str:
    """The method's name, followed by the encoding where it is not the method's default, e.g. 'dm+low-rank'."""
    unasked = settings.model_copy(update={"encoding": None})
    own = find_method(settings.method).defaults(unasked, images)["encoding"]
    chosen = settings.encoding or own
    return settings.method if chosen == own else f"{settings.method}+{chosen}"


def find_method(name: str) -> Method:
    """The method of this name.

    Raises:
        SettingsError: no such method (the nearest is named).
    """
    if name not in METHODS:
        raise unknown_name("condensation method", name, METHODS)
    return METHODS[name]
