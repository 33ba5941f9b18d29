"""The work of `nasproxy find`: a search that fits into a budget, then the best few in full, as long as is left.

Half of the budget is for the search at most: as many architectures as fit, drawn at random; all of them, where they
fit. How long the best are then trained is decided by how long they took in the search, and by what is left: the second
estimate mends the first. Both are trained by the same recipe, of other lengths.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from nasproxy.config import RECIPES, RecipeSettings, SearchConfig, Tree, make_config, resumed_config
from nasproxy.errors import InputError, RunError, SettingsError
from nasproxy.formatting import format_duration
from nasproxy.images import ImageData
from nasproxy.rundir import RunDir, find_run
from nasproxy.runs.asked import Asked
from nasproxy.runs.budgets import OVERRUN, RESERVE, START_SECONDS, Pace, images_per_update
from nasproxy.runs.loading import load_trials
from nasproxy.runs.place import Place
from nasproxy.runs.searching import SearchInput, choose_archs, run_search
from nasproxy.screened import to_the_end
from nasproxy.searching.cluster import plan_workforce
from nasproxy.searching.costing import SpaceCosts
from nasproxy.searching.plan import Plan, limits_of, plan_search
from nasproxy.searching.sample import Quantity, draw_part
from nasproxy.searching.screen import Screen
from nasproxy.space import SearchSpace
from nasproxy.spacefile import load_space
from nasproxy.training import count_steps
from nasproxy.trials import Trial, Trials

SEARCH_SHARE = 0.5
"""Of the budget, for the search at most."""
FEWEST_ARCHS = 4
"""A search of fewer is none."""
NUM_DRAWN = 200
"""Architectures of a space that is too large to list, that those are drawn from which fit."""


@dataclass(frozen=True)
class FindPlan:
    """What fits into a budget."""

    num_archs: int
    search_seconds: float
    """Wall time of the search."""
    first_seconds: float
    """Of that, the first rung."""
    top: int
    """Architectures that are trained in full."""
    epochs: int
    """Of that training."""
    train_seconds: float
    """Wall time of that training."""

    def describe(self, num_candidates: int, screen: Screen | None) -> str:
        """For people, in a line."""
        rungs = f" ({screen.describe(self.num_archs)})" if screen else ""
        return (
            f"{self.num_archs:,} of {num_candidates:,} architectures are searched{rungs}, about "
            f"{format_duration(self.search_seconds)}; then the best {self.top} are trained for about {self.epochs} "
            f"epochs, {format_duration(self.train_seconds)}"
        )


@dataclass(frozen=True)
class Work:
    """What nets of an architecture are trained on."""

    last: float
    """Images that the last rung of the search trains on."""
    num_images: int
    """Training images: an epoch."""


def plan_find(pace: Pace, work: Work, *, budget: float, top: int, max_epochs: int) -> FindPlan:
    """What fits.

    Args:
        pace: of the search.
        work: of its last rung, and an epoch.
        budget: seconds of wall time that are left.
        top: architectures that are trained in full, at most: no more than come to the last rung.
        max_epochs: epochs of that, at most; but no fewer than the search trained them.

    Raises:
        SettingsError: it is too short for the least there is; says what would do.
    """
    usable = budget * (1 - RESERVE) - 2 * START_SECONDS
    fewest_epochs = _fewest_epochs(work.last, work.num_images)
    max_epochs = max(max_epochs, fewest_epochs)

    def search_seconds(count: int) -> float:
        return sum(pace.of_rungs(count))

    def per_epoch(count: int) -> float:
        return math.ceil(min(top, pace.count_archs(count)[-1]) / pace.num_workers) * pace.large * work.num_images

    fewest = min(FEWEST_ARCHS, pace.num_archs)
    least = search_seconds(fewest) + fewest_epochs * per_epoch(fewest)
    if usable < least:
        needed = math.ceil((least + 2 * START_SECONDS) / (1 - RESERVE))
        raise SettingsError(
            f"a budget of {budget:.0f}s is too short: to search {fewest} architectures and train the best of them for "
            f"{fewest_epochs} epoch(s) takes {needed}s here; give at least that"
        )
    count = pace.count_fitting(SEARCH_SHARE * usable, fewest)
    while count > fewest and search_seconds(count) + fewest_epochs * per_epoch(count) > usable:
        count -= 1
    rungs, kept = pace.of_rungs(count), min(top, pace.count_archs(count)[-1])
    epochs = min(int((usable - sum(rungs)) / per_epoch(count)), max_epochs)
    return FindPlan(count, sum(rungs), rungs[0], kept, epochs, epochs * per_epoch(count))


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
    fewest = _fewest_epochs(trained, num_images)
    max_epochs = max(max_epochs, fewest)
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

    Started again with the same name and settings, it goes on: a search that is done is read, one that is not goes on
    with the architectures that were drawn; the budget is that of what is left.

    Args:
        place: where runs lie, and who is told about progress.
        given: what is asked for: images, space, screen, limits, recipe, machine, as of a search.
        budget: seconds of wall time.
        top: architectures that are trained in full.
        data: the images, where they are loaded already.
        space: the search space, where it is loaded already.
        name: of the run.

    Returns:
        The trials of the training in full; their run has the model.

    Raises:
        SettingsError: the budget is too short, a setting that is of no use here, or other settings than those that the
            runs of this name were begun with.
        RunError: a run of this name is something else.
        NasproxyError: see `run_search`.
    """
    ends = time.monotonic() + budget
    if top < 1:
        raise SettingsError(f"top={top} leaves nothing to train; give 1 or more")
    config = _search_config(given)
    _check_name(place, name)
    space = space or load_space(config.search.space)
    is_read_here, data = data is None, data or place.load_images(config.images)
    if is_read_here:
        place.tell_images(data)
    found = _search(place, config, data, space, f"{name}-search", top, ends)
    return _train(place, config, given, data, space, found, name, top, ends)


_OF_NO_USE = {
    "search": ("proxy", "strategy", "sample", "num_archs", "seeds", "keep_nets"),
    "recipe": ("epochs",),
}
"""Settings that are decided here."""


def _search_config(given: Tree) -> SearchConfig:
    """Settings of the search: by early stopping, by the recipe of the training in full but for its length.

    Raises:
        SettingsError: a setting that is of no use here; or an unknown or invalid one.
    """
    for section, keys in _OF_NO_USE.items():
        for key in keys:
            if given.get(section, {}).get(key) is not None:
                raise SettingsError(
                    f"{key}={given[section][key]}: find decides that by itself, for a search by early-stop; leave it "
                    "out, or use 'nasproxy search', then 'nasproxy train'"
                )
    recipe = RECIPES["early-stop"].model_dump()
    search = {"proxy": "early-stop", "strategy": "random", "seeds": 1, "screen": "top"}
    config = make_config(SearchConfig, {"search": search, "recipe": recipe}, given)
    if config.machine.address is not None and config.machine.workers is None:
        raise SettingsError("--address without --workers: how much fits depends on them; give --workers")
    return config


def _check_name(place: Place, name: str) -> None:
    """Refuses a name that could not be used after the search.

    Raises:
        RunError: it is no plain folder name, means a proxy, or is that of a run that is no training of such a search.
    """
    place.check_name(name, SearchConfig.command)
    if not (place.root / name).exists():
        return
    run = find_run(name, place.root)
    archs = str(run.read_config().get("search", {}).get("archs", ""))
    if run.command != SearchConfig.command or not archs.startswith(f"top:{name}-search:"):
        raise RunError(f"run {name} is something else than what find makes; choose another --name")


def _existing(place: Place, name: str, data: ImageData, space: SearchSpace, given: Tree) -> tuple[RunDir, SearchConfig]:
    """The run of this name, and its settings, with where it goes on as asked now.

    Raises:
        SettingsError: other settings.
        RunError: other images or another space.
    """
    run = find_run(name, place.root, SearchConfig.command)
    config = resumed_config(SearchConfig, run.config_path, given)
    run.check_parents({"data": data.data_hash, "split": data.split_hash, "space": space.content_hash()})
    return run, config


def _search(
    place: Place, config: SearchConfig, data: ImageData, space: SearchSpace, name: str, top: int, ends: float
) -> Trials:
    if (place.root / name).exists():
        run, config = _existing(place, name, data, space, config.model_dump())
        if run.is_done:
            return load_trials(run)
        half = time.monotonic() + SEARCH_SHARE * (ends - time.monotonic())
        return run_search(place, config, SearchInput(data, space), resume=run, begin_until=half)
    among = config.search if space.is_listed else config.search.model_copy(update={"sample": str(NUM_DRAWN)})
    costs, limits = SpaceCosts(), limits_of(config)
    asked = choose_archs(among, space, data, place, costs=costs, limits=limits)
    plan = plan_search(space, "early-stop", data, config, asked.arch_ids, costs, asked.sample, listener=place.listener)
    place.listener.say("timing some steps of training for the plan")
    found = plan_find(
        Pace.measure(plan),
        _work_of(plan),
        budget=ends - time.monotonic(),
        top=top,
        max_epochs=RECIPES["whole"].epochs,
    )
    place.listener.say(found.describe(len(plan.archs), plan.screen))
    arch_ids = [arch.id for arch in plan.archs]
    sample = draw_part(plan.sample, arch_ids, str(found.num_archs), config.search.sample_seed, _no_quantity)
    return run_search(
        place,
        config,
        SearchInput(data, space, asked=Asked(tuple(sample.weights), sample), costs=plan.costs),
        name=name,
        begin_until=time.monotonic() + START_SECONDS + found.first_seconds * OVERRUN,
    )


def _no_quantity(name: str) -> Quantity:
    raise AssertionError(name)  # a uniform sample asks for none


def _work_of(plan: Plan) -> Work:
    recipe = plan.config.recipe
    if plan.screen is not None and isinstance(last := plan.screen.stages[-1].scored_by, RecipeSettings):
        recipe = last
    steps = count_steps(recipe, plan.num_images)
    return Work(steps * images_per_update(recipe, plan.num_images), plan.num_images)


def _train(
    place: Place,
    config: SearchConfig,
    given: Tree,
    data: ImageData,
    space: SearchSpace,
    found: Trials,
    name: str,
    top: int,
    ends: float,
) -> Trials:
    recipe = {key: value for key, value in given.get("recipe", {}).items() if key != "steps"}
    shared = {"images": config.images.model_dump(), "machine": config.machine.model_dump(), "recipe": recipe}
    search = {"seed": config.search.seed, "space": config.search.space, "storage": config.search.storage}
    if (place.root / name).exists():
        run, stored = _existing(place, name, data, space, {**shared, "search": search})
        if run.is_done:
            return load_trials(run)
        return run_search(place, stored, SearchInput(data, space), resume=run)
    assert found.run is not None
    best = [found.by_id[arch_id] for arch_id in to_the_end(found).top(top)]
    if not best:
        raise InputError(f"run {found.name} has no architecture with a score: {_first_reason(found)}")
    num_images = len(data.train)
    count, epochs = plan_training(
        best,
        budget=ends - time.monotonic(),
        num_workers=plan_workforce(config.machine).num_workers or 1,
        num_images=num_images,
        batch_size=num_images / math.ceil(num_images / config.recipe.batch_size),
        max_epochs=RECIPES["whole"].epochs,
    )
    place.listener.say(f"training the best {count} for {epochs} epoch(s)")
    search |= {"proxy": "whole", "archs": f"top:{found.run.name}:{count}", "seeds": 1, "keep_nets": True}
    whole = RECIPES["whole"].model_dump() | {"epochs": epochs}
    config = make_config(SearchConfig, {"recipe": whole}, {**shared, "search": search})
    return run_search(place, config, SearchInput(data, space), name=name)


def _first_reason(trials: Trials) -> str:
    return next((f"{trial.arch_id}: {trial.reason}" for trial in trials if trial.reason), "none was searched")
