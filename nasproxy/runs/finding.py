"""The work of `nasproxy find`: a search that fits into a budget, then the best few in full, as long as is left.

Half of the budget is for the search at most: as many architectures as fit, drawn at random; all of them, where they
fit. How long the best are then trained is decided by how long they took in the search, and by what is left: the second
estimate mends the first. Both are trained by the same recipe, of other lengths.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from nasproxy.config import RECIPES, SearchConfig, Tree, make_config, read_config
from nasproxy.errors import InputError, SettingsError
from nasproxy.formatting import format_duration
from nasproxy.images import ImageData
from nasproxy.rundir import RunDir, find_run
from nasproxy.runs.estimating import FORWARD_SHARE, Speed
from nasproxy.runs.loading import load_trials
from nasproxy.runs.place import Place
from nasproxy.runs.searching import SearchInput, run_search
from nasproxy.scoring import SCORES
from nasproxy.screened import to_the_end
from nasproxy.searching.cluster import plan_workforce
from nasproxy.searching.plan import Plan, plan_search
from nasproxy.searching.screen import Screen
from nasproxy.space import SearchSpace, load_space
from nasproxy.training import count_steps
from nasproxy.trials import Trial, Trials

SEARCH_SHARE = 0.5
"""Of the budget, for the search at most."""
START_SECONDS = 12.0
"""Until workers train, for each of the two parts."""
RESERVE = 0.04
"""Of the budget, for what is not training."""
FEWEST_ARCHS = 4
"""A search of fewer is none."""
OVERRUN = 1.1
"""Of the time that the first rung of the search was planned for: architectures not begun by then are left out."""
LARGE = 0.9
"""Quantile of the architectures by time that the best are taken to be like, before they are known."""


@dataclass(frozen=True)
class FindPlan:
    """What fits into a budget."""

    num_archs: int
    search_seconds: float
    """Wall time of the search."""
    epochs: int
    """Of the training in full."""
    train_seconds: float
    """Wall time of that."""

    def describe(self, size: int, top: int, screen: Screen | None) -> str:
        """For people, in a line."""
        rungs = f" ({screen.describe(self.num_archs)})" if screen else ""
        return (
            f"{self.num_archs:,} of {size:,} architectures are searched{rungs}, about "
            f"{format_duration(self.search_seconds)}; then the best {top} are trained for about {self.epochs} epochs, "
            f"{format_duration(self.train_seconds)}"
        )


def plan_find(
    seconds: Sequence[float],
    *,
    budget: float,
    num_workers: int,
    shares: Sequence[tuple[float, float]],
    num_images: int,
    num_measured: int,
    top: int,
    max_epochs: int,
) -> FindPlan:
    """What fits.

    Args:
        seconds: of each architecture, of a worker that trains one image once.
        budget: seconds of wall time that are left.
        num_workers: workers.
        shares: of each rung of the search the share of the architectures that come to it, and images that nets of one
            are trained on there.
        num_images: training images.
        num_measured: validation and test images, which each net of each rung is measured on.
        top: architectures that are trained in full.
        max_epochs: epochs of that, at most.

    Raises:
        SettingsError: it is too short for the least there is; says what would do.
    """
    usable = budget * (1 - RESERVE) - 2 * START_SECONDS
    mean, large = sum(seconds) / len(seconds), sorted(seconds)[round(LARGE * (len(seconds) - 1))]
    per_arch = mean * sum(share * (images + FORWARD_SHARE * num_measured) for share, images in shares) / num_workers
    per_epoch = math.ceil(top / num_workers) * large * num_images
    fewest_epochs = _fewest_epochs(shares[-1][1], num_images)
    least = FEWEST_ARCHS * per_arch + fewest_epochs * per_epoch
    if usable < least:
        needed = (least + 2 * START_SECONDS) / (1 - RESERVE)
        raise SettingsError(
            f"a budget of {format_duration(budget)} is too short: to search {FEWEST_ARCHS} architectures and train the "
            f"best {top} for {fewest_epochs} epoch(s) takes {format_duration(needed)} here; give at least that"
        )
    for_search = min(max(SEARCH_SHARE * usable, FEWEST_ARCHS * per_arch), usable - fewest_epochs * per_epoch)
    count = min(len(seconds), int(for_search / per_arch))
    left = usable - count * per_arch
    epochs = min(int(left / per_epoch), max_epochs)
    return FindPlan(count, count * per_arch, epochs, epochs * per_epoch)


def _fewest_epochs(search_images: float, num_images: int) -> int:
    """As long as the search has trained the best: less would make worse nets of them."""
    return math.ceil(search_images / num_images)


def plan_training(
    trials: Sequence[Trial], *, budget: float, num_workers: int, num_images: int, batch_size: float, max_epochs: int
) -> tuple[int, int]:
    """How many of these architectures are trained, and for how many epochs, by how long the search took.

    No fewer epochs than the search trained them: where that does not fit, fewer architectures, one at least.

    Args:
        trials: of the search, the best first.
        budget: seconds of wall time that are left.
        num_workers: workers.
        num_images: training images.
        batch_size: images an update in the search, on average.
        max_epochs: at most.
    """
    trained = max(trial.rungs[-1].num_steps or 1 for trial in trials) * batch_size
    fewest = min(_fewest_epochs(trained, num_images), max_epochs)
    for count in range(len(trials), 0, -1):
        slowest = max(_seconds_per_image(trial, batch_size) for trial in trials[:count])
        per_epoch = math.ceil(count / num_workers) * slowest * num_images
        epochs = min(int((budget - START_SECONDS) / per_epoch), max_epochs)
        if epochs >= fewest:
            return count, epochs
    return 1, fewest


def _seconds_per_image(trial: Trial, batch_size: float) -> float:
    trained = sum((rung.num_steps or 0) * rung.num_seeds for rung in trial.rungs)
    return (trial.train_seconds or 0.0) / (trained * batch_size)


def run_find(
    place: Place,
    given: Tree,
    *,
    budget: float,
    top: int,
    data: ImageData | None = None,
    space: SearchSpace | None = None,
    name: str,
) -> Trials:
    """Searches in a run NAME-search, trains the best in a run NAME, which hands out a network.

    Started again with the same name, it goes on: a search that is done is read, one that is not is resumed as it was
    planned; the budget is that of what is left.

    Args:
        place: where runs lie, and who is told about progress.
        given: what is asked for: images, space, proxy, screen, recipe, machine, as of a search.
        budget: seconds of wall time.
        top: architectures that are trained in full.
        data: the images, where they are loaded already.
        space: the search space, where it is loaded already.
        name: of the run.

    Returns:
        The trials of the training in full; their run has the model.

    Raises:
        SettingsError: the budget is too short, or a proxy set or table as the proxy.
        NasproxyError: see `run_search`.
    """
    ends = time.monotonic() + budget
    config = _search_config(given)
    space = space or load_space(config.search.space)
    is_read_here, data = data is None, data or place.load_images(config.images)
    if is_read_here:
        place.tell_images(data)
    found = _search(place, config, SearchInput(data, space), f"{name}-search", top, ends)
    return _train(place, config, given, SearchInput(data, space), found, name, top, ends)


def _search_config(given: Tree) -> SearchConfig:
    """Settings of the search: by early stopping, by the recipe of the training in full but for its length.

    Raises:
        SettingsError: another proxy; or an unknown or invalid setting.
    """
    recipe = RECIPES["early-stop"].model_dump()
    defaults = {"search": {"proxy": "early-stop", "seeds": 1, "screen": "top"}, "recipe": recipe}
    config = make_config(SearchConfig, defaults, given)
    if config.search.proxy != "early-stop":
        raise SettingsError(
            f"proxy={config.search.proxy!r}: find searches by early-stop; for another one use 'nasproxy search', then "
            "'nasproxy train'"
        )
    return config


def _search(place: Place, config: SearchConfig, given: SearchInput, name: str, top: int, ends: float) -> Trials:
    if (run := _existing(place, name)) is not None:
        if run.is_done:
            return load_trials(run)
        half = time.monotonic() + SEARCH_SHARE * (ends - time.monotonic())
        stored = read_config(SearchConfig, run.config_path)
        return run_search(place, stored, given, resume=run, first_round_ends=half)
    assert given.data is not None
    assert given.space is not None
    plan = plan_search(given.space, "early-stop", given.data, config)
    sizes = {arch: plan.size_of(arch) for arch in plan.archs}
    if any(map(math.isinf, sizes.values())):
        raise SettingsError(
            f"FLOPs of {given.space.name} cannot be counted, so nothing can be planned; use search, train"
        )
    place.listener.say("timing some steps of training for the plan")
    train, workforce = given.data.train, plan.workforce
    speed = Speed.measure(sizes, train, config.recipe, num_threads=workforce.threads_per_worker)
    shares = _shares(plan)
    found = plan_find(
        [speed.seconds_per_image(flops) for flops in sizes.values()],
        budget=ends - time.monotonic(),
        num_workers=workforce.num_workers or 1,
        shares=shares,
        num_images=len(train),
        num_measured=len(given.data.val) + len(given.data.test),
        top=top,
        max_epochs=RECIPES["whole"].epochs,
    )
    place.listener.say(found.describe(len(sizes), top, plan.screen))
    drawn = {} if found.num_archs >= len(sizes) else {"sample": str(found.num_archs)}
    config = config.model_copy(update={"search": config.search.model_copy(update=drawn)})
    first_share = shares[0][1] / sum(share * images for share, images in shares)
    return run_search(
        place, config, given, name=name,
        first_round_ends=time.monotonic() + START_SECONDS + first_share * found.search_seconds * OVERRUN,
    )  # fmt: skip


def _shares(plan: Plan) -> list[tuple[float, float]]:
    """Of each rung the share of the architectures that come to it, and images that nets of one are trained on there."""
    num_images, recipe = plan.num_images, plan.config.recipe
    per_update = num_images / math.ceil(num_images / recipe.batch_size)
    if plan.screen is None:
        return [(1.0, count_steps(recipe, num_images) * per_update)]
    counts = plan.screen.count_archs(len(plan.archs))
    return [
        (
            count / len(plan.archs),
            sum(SCORES[name].batch_size * max(SCORES[name].num_batches, 1) for name in stage.scored_by)
            if isinstance(stage.scored_by, tuple)
            else stage.work(num_images) * per_update,
        )
        for count, stage in zip(counts, plan.screen.stages, strict=True)
    ]


def _train(
    place: Place,
    config: SearchConfig,
    asked: Tree,
    given: SearchInput,
    found: Trials,
    name: str,
    top: int,
    ends: float,
) -> Trials:
    if (run := _existing(place, name)) is not None:
        if run.is_done:
            return load_trials(run)
        return run_search(place, read_config(SearchConfig, run.config_path), given, resume=run)
    assert given.data is not None
    assert found.run is not None
    best = [found.by_id[arch_id] for arch_id in to_the_end(found).top(top)]
    if not best:
        raise InputError(f"run {found.name} has no architecture with a score: {_first_reason(found)}")
    num_images = len(given.data.train)
    count, epochs = plan_training(
        best,
        budget=ends - time.monotonic(),
        num_workers=plan_workforce(config.machine).num_workers or 1,
        num_images=num_images,
        batch_size=num_images / math.ceil(num_images / config.recipe.batch_size),
        max_epochs=RECIPES["whole"].epochs,
    )
    place.listener.say(f"training the best {count} for {epochs} epoch(s)")
    search = {
        "proxy": "whole", "space": config.search.space, "archs": f"top:{found.run.name}:{count}", "seeds": 1,
        "seed": config.search.seed, "keep_nets": True,
    }  # fmt: skip
    recipe = {**RECIPES["whole"].model_dump(), **asked.get("recipe", {}), "epochs": epochs, "steps": None}
    tree = {"images": config.images.model_dump(), "search": search, "machine": config.machine.model_dump()}
    return run_search(place, make_config(SearchConfig, tree, {"recipe": recipe}), given, name=name)


def _existing(place: Place, name: str) -> RunDir | None:
    """The run of this name, which goes on.

    Raises:
        RunError: it is no search.
    """
    return find_run(name, place.root, "search") if (place.root / name).exists() else None


def _first_reason(trials: Trials) -> str:
    return next((f"{trial.arch_id}: {trial.reason}" for trial in trials if trial.reason), "none was searched")
