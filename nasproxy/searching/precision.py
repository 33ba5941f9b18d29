"""Which arithmetic a search trains in, where that is left to a trial on its largest architectures."""

import math
import statistics
from collections.abc import Callable, Sequence

import torch

from nasproxy.config import Precision, RecipeSettings, SearchConfig
from nasproxy.device import computing_with
from nasproxy.images import ImageSet
from nasproxy.searching.plan import Plan
from nasproxy.space import Arch
from nasproxy.talk import Listener
from nasproxy.training import train_seeds

NUM_TRIED = 3
"""Architectures: the largest by FLOPs."""
ROUNDS, STEPS = 3, 3
"""Trainings of each in each precision, in turn, and updates of each; the fastest counts."""
WORTH = 1.2
"""Times as fast that bfloat16 must be, at the median of these architectures."""


def choose_precision(
    archs: Sequence[Arch],
    size_of: Callable[[Arch], float],
    images: ImageSet,
    recipe: RecipeSettings,
    *,
    num_threads: int,
    time_training: Callable[[Arch, RecipeSettings], float] | None = None,
) -> tuple[Precision, float | None]:
    """bfloat16 where the device has it and trains the largest architectures so much faster; else float32.

    Args:
        archs: of the search.
        size_of: FLOPs.
        images: that nets are trained on, on the device.
        recipe: how; its batches are those that are timed.
        num_threads: CPU threads of a worker.
        time_training: seconds of a short training; None: it is timed here.

    Returns:
        The choice, and how many times as fast bfloat16 is; None: it was not tried.
    """
    if images.device.type == "cuda" and not torch.cuda.is_bf16_supported():
        return "float32", None
    by_size = sorted(archs, key=lambda arch: (math.isinf(size_of(arch)), -size_of(arch), arch.id))
    part = images.subset(torch.arange(min(recipe.batch_size, len(images)), device=images.device))

    def time_here(arch: Arch, given: RecipeSettings) -> float:
        return train_seeds(arch, part, given, val=None, test=part, num_seeds=1, seed=0).train_seconds

    time_one = time_training or time_here
    ratios: list[float] = []
    with computing_with(num_threads):
        for arch in by_size:
            if len(ratios) == NUM_TRIED:
                break
            try:
                ratios.append(_ratio(arch, recipe, time_one))
            except Exception:  # a user's builder, or too large a net: if it is broken, its trial will say so
                if images.device.type == "cuda":
                    torch.cuda.empty_cache()
    if not ratios:
        return "float32", None
    ratio = statistics.median(ratios)
    return ("bfloat16" if ratio >= WORTH else "float32"), ratio


def _ratio(arch: Arch, recipe: RecipeSettings, time_one: Callable[[Arch, RecipeSettings], float]) -> float:
    seconds: dict[str, list[float]] = {"float32": [], "bfloat16": []}
    for _ in range(ROUNDS + 1):
        for precision, times in seconds.items():
            times.append(time_one(arch, recipe.model_copy(update={"precision": precision, "steps": STEPS})))
    fastest = {precision: min(times[1:]) for precision, times in seconds.items()}  # the first ones are warm-up
    return fastest["float32"] / fastest["bfloat16"]


def settle_precision(plan: Plan, listener: Listener) -> SearchConfig:
    """The settings of a search, with its arithmetic decided where that was left open: one for all its architectures."""
    config, recipe = plan.config, plan.proxy.scored_by
    if not isinstance(recipe, RecipeSettings) or recipe.precision != "auto" or recipe.trainer is not None:
        return config
    assert plan.proxy.images is not None
    images = plan.proxy.images.to(plan.limits.device)
    precision, ratio = choose_precision(
        plan.examples, plan.size_of, images, recipe, num_threads=plan.workforce.threads_per_worker
    )
    found = "bfloat16 cannot be tried" if ratio is None else f"bfloat16 is {ratio:.2f} times as fast"
    listener.say(f"precision={precision}: {found} on the largest architectures")
    return config.model_copy(update={"recipe": config.recipe.model_copy(update={"precision": precision})})
