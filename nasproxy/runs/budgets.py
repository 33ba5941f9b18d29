"""Budgets: how many architectures can be scored within a wall time, by timing a few steps of training here.

Notation: K rungs (of a search without a screen: one).
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import torch

from nasproxy.config import RecipeSettings, SearchSettings, parse_sample
from nasproxy.device import find_device
from nasproxy.errors import SettingsError
from nasproxy.formatting import format_duration
from nasproxy.runs.asked import Asked
from nasproxy.runs.speed import FORWARD_SHARE, PROBE_BATCH, Speed
from nasproxy.scoring import SCORES
from nasproxy.searching.costing import measure_quantity
from nasproxy.searching.plan import Plan
from nasproxy.searching.sample import Quantity, draw_part
from nasproxy.searching.schedule import LEARNING
from nasproxy.training import count_steps

START_SECONDS = 12.0
"""Until workers train."""
RESERVE = 0.04
"""Of a budget, for what is not training."""
LARGE = 0.9
"""Quantile of the architectures by time, that one is taken to be like before it is known."""
OVERRUN = 1.1
"""Of the time that the first rung of a screen was planned for: architectures not begun by then are left out."""
MANY = 10**6
"""Architectures that can begin where nobody says how many, of a space that is too large to list."""


@dataclass(frozen=True)
class Pace:
    """How fast the workers of a search score its architectures."""

    seconds: tuple[float, ...]
    """Of a worker that trains one image once, of each architecture, or of some where any may be proposed."""
    images: tuple[float, ...]
    """(K,) images that the nets of an architecture are trained on; measuring one counts as a part of training it."""
    count_archs: Callable[[int], Sequence[int]]
    """Of so many architectures that begin, how many come to each rung."""
    num_archs: int
    """Architectures that can begin."""
    num_workers: int

    @classmethod
    def measure(cls, plan: Plan) -> Self:
        """Trains a small, a middling and a large architecture of a plan for two steps.

        Raises:
            SettingsError: an architecture whose FLOPs cannot be counted.
        """
        sizes = {arch: plan.size_of(arch) for arch in plan.examples}
        if any(map(math.isinf, sizes.values())):
            raise SettingsError(
                f"FLOPs of {plan.space.name} cannot be counted, so no budget can be planned; search without one"
            )
        train = plan.proxy.images if plan.proxy.images is not None else plan.data.train
        few = train.subset(torch.arange(min(len(train), PROBE_BATCH)))
        few = few.to(find_device(plan.config.machine.device))
        speed = Speed.measure(sizes, few, plan.config.recipe, num_threads=plan.workforce.threads_per_worker)
        return cls(
            tuple(speed.seconds_per_image(flops) for flops in sizes.values()),
            images_of_rungs(plan),
            plan.screen.count_archs if plan.screen else lambda count: [count],
            plan.num_trials,
            plan.workforce.num_workers or 1,
        )

    @property
    def mean(self) -> float:
        """Seconds of a worker that trains an architecture on one image once, on average."""
        return sum(self.seconds) / len(self.seconds)

    @property
    def large(self) -> float:
        """Seconds of a worker that trains a large architecture on one image once."""
        return sorted(self.seconds)[round(LARGE * (len(self.seconds) - 1))]

    def of_rungs(self, num_archs: int) -> list[float]:
        """(K,) wall seconds of each rung, where so many architectures begin."""
        counts = self.count_archs(num_archs)
        return [
            self.mean * max(count / self.num_workers, 1.0) * images
            for count, images in zip(counts, self.images, strict=True)
        ]

    def count_fitting(self, budget: float, fewest: int = 1) -> int:
        """How many architectures fit into so many seconds; `fewest` if fewer do."""
        counts = range(fewest, self.num_archs + 1)
        fits = bisect_right(counts, budget, key=lambda count: sum(self.of_rungs(count)))
        return counts[max(fits - 1, 0)]


def images_per_update(recipe: RecipeSettings, num_images: int) -> float:
    """Images of an update, on average over an epoch."""
    return num_images / math.ceil(num_images / recipe.batch_size)


def images_of_rungs(plan: Plan) -> tuple[float, ...]:
    """(K,) images that the nets of an architecture are trained on in each rung, and its measurements as such."""
    measured = FORWARD_SHARE * (len(plan.data.val) + len(plan.data.test))

    def of_scores(names: Sequence[str]) -> float:
        return sum(SCORES[name].batch_size * max(SCORES[name].num_batches, 1) for name in names)

    if plan.screen is None:
        scored_by, num_seeds = plan.proxy.scored_by, plan.config.search.seeds
        if isinstance(scored_by, str):
            return (num_seeds * of_scores([scored_by]),)
        recipe, num_images = plan.config.recipe, plan.num_images
        return (num_seeds * (count_steps(recipe, num_images) * images_per_update(recipe, num_images) + measured),)
    return tuple(
        of_scores(stage.scored_by)
        if isinstance(stage.scored_by, tuple)
        else stage.work(plan.num_images) * images_per_update(stage.scored_by, plan.num_images)
        + stage.num_seeds * measured
        for stage in plan.screen.stages
    )


@dataclass(frozen=True)
class Fit:
    """What a budget has room for."""

    num_archs: int
    seconds: float
    """Wall seconds that they take."""
    begin_seconds: float
    """From now on after which no architecture is begun; of a screen, the others go on."""

    def describe(self, num_candidates: int | None) -> str:
        """For people, in a line; None: nobody has counted those that could be searched."""
        some = f"all {num_candidates:,}" if self.num_archs == num_candidates else f"{self.num_archs:,}"
        of = f" of {num_candidates:,}" if self.num_archs != num_candidates and num_candidates is not None else ""
        return f"{some}{of} architectures fit into the budget, about {format_duration(self.seconds)}"

    def cut(self, plan: Plan, asked: Asked) -> tuple[SearchSettings, Asked]:
        """The search that fits: fewer of what a strategy tries or another search names, else a sample of those planned.

        In a random order, so that architectures which the end of the budget leaves out are no special ones.

        Returns:
            Its settings, and its architectures.
        """
        settings = plan.config.search
        update: dict[str, Any] = {"strategy": "random"} if settings.strategy == "grid" else {}
        if self.num_archs >= plan.num_trials and not plan.is_open:
            return settings.model_copy(update=update if settings.num_archs is None else {}), asked
        if settings.num_archs is not None or settings.strategy in LEARNING:
            return settings.model_copy(update={"num_archs": self.num_archs}), asked
        if settings.sample is None and settings.archs.startswith("top:"):
            best, _, _ = settings.archs.rpartition(":")
            named = Asked(tuple(arch.id for arch in plan.archs[: self.num_archs]))
            return settings.model_copy(update=update | {"archs": f"{best}:{self.num_archs}"}), named
        by = None if settings.sample is None else parse_sample(settings.sample)[1]
        text = f"{self.num_archs}:{by}" if by else str(self.num_archs)

        def quantity_of(name: str) -> Quantity:
            return measure_quantity(name, plan.archs, plan.data)

        arch_ids = [arch.id for arch in plan.archs]
        sample = draw_part(plan.sample, arch_ids, text, settings.sample_seed, quantity_of)
        return settings.model_copy(update=update | {"sample": text}), Asked(tuple(sample.weights), sample)


def fit_search(plan: Plan, budget: float, *, is_endless: bool = False) -> Fit:
    """How many architectures of a plan fit into so many seconds of wall time that are left.

    Args:
        plan: of the search.
        budget: seconds.
        is_endless: whether its architectures stand for any number of others.

    Raises:
        SettingsError: not even one; says what would do. Or see `Pace.measure`.
    """
    recipe = plan.proxy.scored_by
    if isinstance(recipe, RecipeSettings) and recipe.trainer is not None:
        raise SettingsError(f"how long {recipe.trainer} trains is its own affair: give --sample instead of --budget")
    pace = Pace.measure(plan)
    pace = replace(pace, num_archs=MANY) if is_endless else pace
    usable = budget * (1 - RESERVE) - START_SECONDS
    last = pace.large * max(pace.images)  # what is begun last may be a large one
    if usable < last:
        needed = math.ceil((last + START_SECONDS) / (1 - RESERVE))
        raise SettingsError(
            f"a budget of {max(budget, 0):.0f}s is too short: one architecture takes {needed}s here; give at least that"
        )
    count = pace.count_fitting(usable - (pace.large - pace.mean) * max(pace.images))
    rungs = pace.of_rungs(count)
    first = START_SECONDS + OVERRUN * rungs[0] if len(rungs) > 1 else budget - last
    return Fit(count, START_SECONDS + sum(rungs), min(first, budget - last))
