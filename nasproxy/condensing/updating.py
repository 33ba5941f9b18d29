"""The loop behind every synthetic proxy set: a loss, its gradient, an update with momentum, a checkpoint.

The `Objective` defines the loss and the net it needs; the `Encoding` defines how images are stored. Classes are
processed together or a few at a time; random draws are the same either way.

Notation: K classes (k of them at a time), I stored items per class, J images per class decoded from them, C channels,
H height, W width.
"""

import math
import statistics
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from nasproxy.condensing.engine import Engine, choose_engine, default_engine, timed
from nasproxy.condensing.state import CondenseState, Task
from nasproxy.device import retain_freed_memory, synchronize
from nasproxy.encoding import EncodedImages, Unit
from nasproxy.errors import DivergedError, SettingsError
from nasproxy.images import ImageSet, make_generator

CHECK_EVERY, CHECK_SECONDS = 10, 2.0
"""Steps, or seconds, between checks of loss and images: on a GPU each check waits for the device."""
CHECKPOINT_SECONDS = 300.0
"""Maximum number of seconds between checkpoints, before each of which there is a check."""
WAITED_FOR = 50
"""Updates before the end of a budget from which on each is waited for: a GPU may have as many to do yet."""
MAX_SCALE = 100.0
"""Largest root mean square of the normalised synthetic images. Real ones have 1, low-rank noise sqrt(rank)."""

Number = TypeVar("Number", int, float)
Variables = dict[str, Tensor]
"""Name -> (K, I, ...)."""


class Objective(Protocol):
    """What synthetic images are optimised for."""

    unit: Unit
    """Unit of the decoded variables. Images in pixels are clamped to [0, 1] once an outer loop, and at the end."""
    splittable: bool | None
    """Whether images may pass through the net in chunks; None: there is no net."""

    def use(self, engine: Engine) -> None:
        """Sets the engine: before the first step, and for timing trials."""

    def renew_net(self, step: int) -> None:
        """Called before the update of `step`, not in timing trials: may make the net of an outer loop."""

    def begin_step(self, step: int) -> None:
        """Draws what all classes of a step share."""

    def loss(self, classes: slice, synthetic: Tensor) -> Tensor:
        """Scalar loss of normalised synthetic images (k, J, C, H, W), summed over classes; differentiable."""

    def end_step(self, step: int, synthetic: Callable[[], Tensor]) -> None:
        """Called after the update of `step`: may train the net, e.g. on all normalised images (K, J, C, H, W)."""

    def net_state(self) -> Mapping[str, Tensor]:
        """State of a net that persists across steps; empty where the next step draws a fresh one."""

    def load_net_state(self, state: Mapping[str, Tensor]) -> None:
        """Restores it."""


def update_images(task: Task, objective: Objective) -> EncodedImages:
    """Synthetic images after `settings.steps` updates; tensors are (K * I, ...), ordered by class.

    Raises:
        DivergedError: a loss that is not finite, or images that left image scale; the last good state was passed to
            `task.on_checkpoint`.
        SettingsError: a budget that is over already.
    """
    settings = task.settings
    with retain_freed_memory():
        progress = _Progress(task, objective)
        looked = kept = time.perf_counter()
        good = progress.snapshot()
        try:
            last, clock = _known(settings.steps), _Clock(task)
            while progress.step < last:
                loss = progress.update()
                step, now = progress.step, time.perf_counter()
                if clock.is_over(step):
                    last = step
                keeps = step % settings.checkpoint_every == 0 or now - kept > CHECKPOINT_SECONDS
                if keeps or step % CHECK_EVERY == 0 or step == last or now - looked > CHECK_SECONDS:
                    looked, loss_value = now, float(loss)
                    progress.check(loss_value, good.step)
                    good = progress.snapshot()
                    task.on_step(step, loss_value / task.images.num_classes)
                if keeps:
                    kept = now
                    task.on_checkpoint(good)
        except (DivergedError, KeyboardInterrupt):
            task.on_checkpoint(good)
            raise
    progress.clamp()
    tensors = {name: tensor.flatten(0, 1) for name, tensor in progress.variables.items()}
    return _in_pixels(EncodedImages(task.encoding, tensors, objective.unit), task.images)


class _Clock:
    """When a budget is over: before an update that would end too late, as long as the last few were.

    The first one of a session does not count: it may compile, or train a net.
    """

    def __init__(self, task: Task) -> None:
        if task.ends is not None and time.monotonic() >= task.ends:
            raise SettingsError("the budget is over before the first update; give a longer one")
        self._task, self._num_updates, self._then = task, 0, 0.0
        self._seconds: deque[float] = deque(maxlen=5)

    def is_over(self, step: int) -> bool:
        """Called after each update."""
        if (ends := self._task.ends) is None:
            return False
        seconds = statistics.median(self._seconds) if self._seconds else 0.0
        if ends - time.monotonic() < WAITED_FOR * seconds:
            synchronize(self._task.device)
        now = time.monotonic()
        if self._num_updates:
            self._seconds.append(now - self._then)
        self._num_updates, self._then = self._num_updates + 1, now
        if self._num_updates == self._seconds.maxlen:
            self._task.on_pace(step, statistics.median(self._seconds))
        return now + (statistics.median(self._seconds) if self._seconds else 0.0) > ends


class _Progress:
    """Synthetic images and the state of their optimisation."""

    def __init__(self, task: Task, objective: Objective) -> None:
        self._task, self._objective = task, objective
        state = task.resume_from or _first_state(task, objective.unit)
        self.step = state.step
        self.variables, self._velocities = (
            {name: tensor.to(task.device).clone(memory_format=torch.contiguous_format) for name, tensor in part.items()}
            for part in (state.variables, state.velocities)
        )
        self._lr = _known(task.settings.image_lr)
        self._engine_name = self._choose_engine(state.engine)
        if state.net:
            objective.load_net_state(state.net)
        self._seconds_before, self._started = state.seconds, time.perf_counter()

    def update(self) -> Tensor:
        """Performs one step and returns its loss."""
        settings = self._task.settings
        self._objective.renew_net(self.step)
        loss, gradients = self._gradients()
        for name, gradient in gradients.items():
            variable, velocity = self.variables[name], self._velocities[name]
            velocity.mul_(settings.image_momentum).add_(gradient)
            variable.sub_(velocity, alpha=self._lr)
        done = self.step + 1
        if done % (settings.outer_loop or 1) == 0 or done == settings.steps:
            self.clamp()
        self._objective.end_step(self.step, lambda: self._decode(self.variables))
        self.step += 1
        return loss

    def clamp(self) -> None:
        """Puts images in pixels into [0, 1]."""
        if self._objective.unit == "pixels":
            for name in self.variables.keys() & {"images"}:  # low-rank factors are no images
                self.variables[name].clamp_(0, 1)

    def snapshot(self) -> CondenseState:
        """A copy of the state that later updates do not change."""
        variables, velocities, net = (
            {name: tensor.detach().clone() for name, tensor in part.items()}
            for part in (self.variables, self._velocities, self._objective.net_state())
        )
        seconds = self._seconds_before + time.perf_counter() - self._started
        return CondenseState(self.step, variables, velocities, self._engine_name, net, seconds)

    def check(self, loss: float, good_step: int) -> None:
        """Raises DivergedError if loss or images are not finite, or if the images have left image scale."""
        if not (math.isfinite(loss) and all(bool(tensor.isfinite().all()) for tensor in self.variables.values())):
            raise DivergedError(
                f"condensing diverged at step {self.step}: the loss is {loss}; step {good_step} was kept, "
                "start again with a smaller image_lr"
            )
        if not (scale := self._measure_scale()) <= MAX_SCALE:
            remedy = "a smaller image_lr or init=real" if self._task.settings.init == "noise" else "a smaller image_lr"
            raise DivergedError(
                f"condensing diverged at step {self.step}: the images' root mean square is {scale:.3g} standard "
                f"deviations of the training images, the limit is {MAX_SCALE:g}; step {good_step} was kept, "
                f"start again with {remedy}"
            )

    @torch.no_grad()
    def _measure_scale(self) -> float:
        """Root mean square of all synthetic images, decoded and normalised."""
        squares, count, size = [], 0, self._classes_per_step
        for first in range(0, self._task.images.num_classes, size):
            images = self._decode({name: tensor[first : first + size] for name, tensor in self.variables.items()})
            squares.append(images.square().sum())
            count += images.numel()
        return math.sqrt(float(torch.stack(squares).sum()) / count)

    def _gradients(self) -> tuple[Tensor, Variables]:
        """Loss and gradients of a step, `classes_per_step` classes at a time."""
        self._objective.begin_step(self.step)
        size = self._classes_per_step
        losses, parts = [], []
        for first in range(0, self._task.images.num_classes, size):
            classes = slice(first, first + size)
            part = {name: tensor[classes].detach().requires_grad_() for name, tensor in self.variables.items()}
            loss = self._objective.loss(classes, self._decode(part))
            parts.append(torch.autograd.grad(loss, list(part.values())))
            losses.append(loss.detach())
        gradients = [torch.cat(pieces) for pieces in zip(*parts, strict=True)]
        return torch.stack(losses).sum(), dict(zip(self.variables, gradients, strict=True))

    @property
    def _classes_per_step(self) -> int:
        return self._task.settings.classes_per_step or self._task.images.num_classes

    def _decode(self, variables: Variables) -> Tensor:
        """(k, I, ...) -> normalised images (k, J, C, H, W)."""
        num_classes = len(next(iter(variables.values())))
        decoded = self._task.encoding.decode({name: tensor.flatten(0, 1) for name, tensor in variables.items()})
        if self._objective.unit == "pixels":
            decoded = self._task.images.normalized_from_pixels(decoded)
        images: Tensor = decoded.unflatten(0, (num_classes, -1))
        return images

    def _choose_engine(self, begun_with: str) -> str:
        """Name of the engine in the settings, else of the one the run started with, else of the fastest."""
        task, objective = self._task, self._objective
        if objective.splittable is None:
            return ""
        name = task.settings.engine if task.settings.engine != "auto" else begun_with
        if name:
            engine = Engine.parse(name)
            seconds: dict[str, float] = {}
        else:
            default = default_engine(task.device, splittable=objective.splittable)
            engine, seconds = choose_engine(
                default, self._time_step, _known(task.settings.steps), task.device, self._seconds_left
            )
        objective.use(engine)
        task.on_engine(engine.name, seconds)
        return engine.name

    def _seconds_left(self) -> float:
        return math.inf if self._task.ends is None else self._task.ends - time.monotonic()

    def _time_step(self, engine: Engine) -> float:
        self._objective.use(engine)
        return timed(lambda: self._gradients()[0], self._task.device)


def _first_state(task: Task, unit: Unit) -> CondenseState:
    """Random real images or normal noise, with zero momentum."""
    settings, images, encoding = task.settings, task.images, task.encoding
    num_items = encoding.items_for(settings.images_per_class, images.image_shape)
    if settings.init == "noise":
        generator = make_generator(settings.seed, "noise")
        first = encoding.draw(images.num_classes * num_items, images.image_shape, generator)
        if unit == "pixels" and "images" in first:
            first["images"] = images.pixels_from_normalized(first["images"]).clamp(0, 1)
    else:
        index = images.sample_classes(num_items * encoding.tiles, make_generator(settings.seed, "select"))
        real = images.normalized(index.flatten())
        first = encoding.encode(images.pixels_from_normalized(real) if unit == "pixels" else real)
    variables = {name: tensor.unflatten(0, (images.num_classes, num_items)) for name, tensor in first.items()}
    return CondenseState(0, variables, {name: torch.zeros_like(tensor) for name, tensor in variables.items()}, "")


def _in_pixels(stored: EncodedImages, like: ImageSet) -> EncodedImages:
    """The same images in pixels where the encoding allows it: images and mosaics do, low-rank factors do not."""
    if stored.unit == "pixels" or "images" not in stored.tensors:
        return stored
    return replace(stored, tensors={"images": like.pixels_from_normalized(stored.tensors["images"])}, unit="pixels")


def _known(value: Number | None) -> Number:
    """A setting that `complete_settings` has filled in."""
    assert value is not None
    return value
