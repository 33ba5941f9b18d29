"""What a search will do, decided and checked before anything is started or written."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from nasproxy.augment import parse_strategy
from nasproxy.config import RecipeSettings, SearchConfig, SearchSettings, make_config, nest_settings
from nasproxy.device import find_device
from nasproxy.errors import SettingsError, unknown_name
from nasproxy.images import ImageData
from nasproxy.proxies import Proxy, default_settings, make_proxy, make_training_free
from nasproxy.proxyset import ProxySet
from nasproxy.scoring import SCORES, Costs
from nasproxy.searching.asha import ASHA, find_rungs
from nasproxy.searching.cluster import Workforce, plan_workforce
from nasproxy.searching.costing import (
    Limits,
    SpaceCosts,
    describe_smallest,
    find_too_large,
    measure_quantity,
)
from nasproxy.searching.sample import Sample, draw_from_large, draw_sample, draw_some
from nasproxy.searching.schedule import LEARNING, STRATEGIES
from nasproxy.searching.scorer import Assignment, Job, Measurement
from nasproxy.searching.screen import Screen, parse_screen
from nasproxy.space import Arch, SearchSpace, load_function
from nasproxy.talk import SILENCE, Listener
from nasproxy.training import NetFolder, count_steps
from nasproxy.trials import DataInfo, SearchInfo, Trial, Trials

NUM_EXAMPLES = 30
"""Architectures that are looked at where any of a large space may be proposed."""


@dataclass(frozen=True)
class Plan:
    """Everything that a search depends on."""

    space: SearchSpace
    proxy: Proxy
    data: ImageData
    config: SearchConfig
    archs: tuple[Arch, ...]
    """Those that fit the images: in the order of the space, or as they were named; none where `is_open`."""
    costs: SpaceCosts
    num_trials: int
    """How many of `archs` the strategy will try."""
    workforce: Workforce
    limits: Limits
    """What `archs` cost at most."""
    screen: Screen | None = None
    """The rungs, where architectures are cut; None: each is scored once, to the end."""
    sample: Sample | None = None
    """What `archs` are of; None: each architecture stands for itself."""

    @property
    def is_open(self) -> bool:
        """Whether any architecture of a space that is not listed may be proposed."""
        return not self.archs

    @property
    def examples(self) -> Sequence[Arch]:
        """Its architectures; some that are drawn, where any may be proposed."""
        return self.archs or self.space.draw(NUM_EXAMPLES, 0, self.admits)[0]

    def admits(self, arch: Arch) -> bool:
        """Whether an architecture fits the images and the limits; counts what it costs."""
        return self.limits.admits(arch, self.costs, self.data)

    @property
    def num_images(self) -> int:
        """Images that nets are trained on, or that a score looks at; 0 for a table."""
        return len(self.proxy.images) if self.proxy.images is not None else 0

    @property
    def num_measurements(self) -> int:
        """Architectures of all rungs together, if none fails."""
        return sum(self.screen.count_archs(self.num_trials)) if self.screen else self.num_trials

    def costs_of(self, arch: Arch) -> Costs | None:
        """What an architecture costs; counted, where it is not known yet. None: nobody knows."""
        self.costs.count(arch, self.data)
        return self.costs.of.get(arch.id)

    def size_of(self, arch: Arch) -> float:
        """FLOPs of a forward pass of one image; infinite where nobody knows."""
        costs = self.costs_of(arch)
        return costs.flops if costs else math.inf

    def assign(self, arch: Arch, round_number: int, earlier: Trial | None = None) -> Assignment:
        """An architecture as work, in a round of proposals or a rung.

        Args:
            arch: the architecture.
            round_number: of the round, or of the rung.
            earlier: what the rungs before have measured of it.
        """
        assignment = Assignment(arch, self.costs_of(arch), round_number, self.weight_of(arch.id))
        if self.screen is None:
            return assignment
        is_last = round_number == len(self.screen.stages) - 1
        return replace(assignment, stage=round_number, is_last=is_last, earlier=earlier)

    def make_job(self, keep: NetFolder | None = None) -> Job:
        """What its workers share.

        A rung that trains nothing scores an architecture as a search by that score would, with this seed.

        Args:
            keep: where trained nets are kept; None: nowhere.
        """
        assert self.proxy.images is not None
        assert not isinstance(self.proxy.scored_by, Trials)
        settings, images = self.config.search, self.proxy.images.to("cpu")
        seed = self.proxy.seed_for(settings.seed)
        stages: list[tuple[Measurement, ...]] = [(Measurement(images, self.proxy.scored_by, settings.seeds, seed),)]
        if self.screen is not None:
            stages, before = [], None
            for stage in self.screen.stages:
                if isinstance(stage.scored_by, tuple):
                    stages.append(tuple(self._measure_by_formula(name, stage.num_seeds) for name in stage.scored_by))
                else:
                    there = before.num_seeds if before and before.scored_by == stage.scored_by else 0
                    is_kept = stage.scored_by == self.screen.stages[-1].scored_by
                    stages.append((Measurement(images, stage.scored_by, stage.num_seeds, seed, there, is_kept),))
                before = stage
        return Job(
            stages=tuple(stages),
            val=self.data.val.to("cpu"),
            test=self.data.test.to("cpu"),
            num_threads=self.workforce.threads_per_worker,
            cuda_graphs=self.config.machine.cuda_graphs,
            keep=keep,
            rungs=self.rungs,
        )

    @property
    def rungs(self) -> tuple[int, ...]:
        """Updates after which ASHA may stop a training; none by other strategies."""
        recipe, settings = self.proxy.scored_by, self.config.search
        if settings.strategy != ASHA or not isinstance(recipe, RecipeSettings):
            return ()
        return find_rungs(count_steps(recipe, self.num_images), settings)

    def _measure_by_formula(self, name: str, num_seeds: int) -> Measurement:
        proxy = make_training_free(name, self.data, num_seeds, self.config.search.seed)
        assert proxy.images is not None
        return Measurement(proxy.images.to("cpu"), name, num_seeds, proxy.seed_for(self.config.search.seed))

    def weight_of(self, arch_id: str) -> float:
        """Architectures of the space that one stands for."""
        return self.sample.weights[arch_id] if self.sample else 1.0

    def describe(self, name: str) -> SearchInfo:
        """What all trials of a search of this name have in common."""
        scored_by, num_seeds, has_validation = self.proxy.scored_by, self.config.search.seeds, True
        if isinstance(scored_by, Trials):
            recipe, num_seeds = dict(scored_by.info.recipe), scored_by.info.num_seeds
            has_validation = scored_by.info.has_validation
        elif isinstance(scored_by, str):
            score = SCORES[scored_by]
            recipe = {"batch_size": score.batch_size, "num_batches": score.num_batches}
        else:
            recipe = scored_by.model_dump(mode="json")
        if self.screen is not None and isinstance(last := self.screen.stages[-1].scored_by, RecipeSettings):
            recipe, num_seeds = last.model_dump(mode="json"), self.screen.stages[-1].num_seeds
        return SearchInfo(
            name=name,
            proxy=self.proxy.name,
            kind=self.proxy.kind,
            space=self.space.name,
            space_hash=self.space.content_hash(),
            dataset=self.data.name,
            data_hash=self.data.data_hash,
            split_hash=self.data.split_hash,
            data=DataInfo(len(self.data.train), len(self.data.val), len(self.data.test), self.data.test.largest_share),
            score_name=self.proxy.score_name,
            has_validation=has_validation,
            cost=self.proxy.cost,
            num_seeds=num_seeds,
            recipe=recipe,
            method=self.proxy.method,
            set_seed=self.proxy.set_seed,
            sample=self.sample.info if self.sample else None,
            screen=self.screen.texts if self.screen else tuple(f"steps={rung}" for rung in self.rungs),
            device=self.workforce.device_name,
        )


def plan_search(
    space: SearchSpace,
    proxy: ProxySet | Trials | str,
    data: ImageData,
    config: SearchConfig,
    archs: Sequence[str] | None = None,
    costs: SpaceCosts | None = None,
    sample: Sample | None = None,
    *,
    latency: Mapping[str, float] | None = None,
    listener: Listener = SILENCE,
) -> Plan:
    """Decides what a search is about, and leaves out architectures that do not fit the images or stand in no table.

    A sample may hold some of those, too; the others stand for as many as before. Where a strategy tries a part of a
    sample only, each architecture stands for itself: which they are is not left to chance.

    Args:
        space: the search space.
        proxy: a proxy set, a name of `PROXIES`, or a table of scores.
        data: the images.
        config: all settings.
        archs: ids of the only architectures to score; None: the whole space.
        costs: of all these architectures on such images; None: they are counted here.
        sample: what was drawn of them already; None: it is drawn here, if settings ask for one.
        latency: id -> seconds of a forward pass, as an earlier part of the search has measured them.
        listener: told how far timing is.

    Raises:
        SettingsError: an unknown strategy, augmentation or architecture, no validation images, no architecture that
            fits the images, a recipe or a screen for a proxy that trains nothing, or more than this machine has.
        ProxySetError: a proxy set of other data.
        DeviceError: a device that is not there.
    """
    settings = config.search
    if settings.strategy not in STRATEGIES:
        raise unknown_name("strategy", settings.strategy, STRATEGIES)
    if len(data.val) == 0:
        raise SettingsError("there are no validation images to select by; load the data with a val_fraction above 0")
    if settings.against is not None and settings.strategy not in LEARNING:
        raise SettingsError(
            f"against={settings.against}: {settings.strategy} does not look at scores; use --strategy tpe or nsga2, or "
            "leave it out (the front is in every table)"
        )
    parse_strategy(config.recipe.augmentation, flippable=data.train.flippable)
    workforce = plan_workforce(config.machine)
    chosen = make_proxy(proxy, data, config)
    if settings.keep_nets and not isinstance(chosen.scored_by, RecipeSettings):
        raise SettingsError(f"keep_nets: proxy {chosen.name!r} trains no nets; leave it out")
    screen = None if settings.screen is None else _plan_screen(settings.screen, chosen, config)
    if isinstance(chosen.scored_by, RecipeSettings) and chosen.scored_by.trainer is not None:
        load_function("trainer", chosen.scored_by.trainer)  # workers would find out one by one
    if settings.strategy == ASHA:
        _check_asha(chosen, settings)
    limits, known = limits_of(config, latency), costs or SpaceCosts()
    if archs is None and not space.is_listed:
        wanted, sample = _draw(space, proxy, settings, lambda arch: limits.admits(arch, known, data), listener)
        if wanted is None:
            limit = settings.num_archs or 0
            return Plan(space, chosen, data, config, (), known, limit, workforce, limits, screen)
    else:
        wanted = space.archs() if archs is None else space.pick(archs)
    if not wanted:
        raise SettingsError(f"no architecture of {space.name} is named: archs is empty; leave it out for all of them")
    if sample is None and settings.sample is not None:
        candidates = wanted
        sample = draw_sample(
            [arch.id for arch in candidates],
            settings.sample,
            settings.sample_seed,
            lambda by: measure_quantity(by, candidates, data),
        )
    if sample is not None:
        wanted = space.pick(sample.weights)
    unscored = _find_unscored(wanted, proxy) if isinstance(proxy, Trials) else {}
    for arch in wanted:
        if arch.id not in unscored:
            known.count(arch, data)
    costs = known
    left_out = {arch.id: costs.left_out[arch.id] for arch in wanted if arch.id in costs.left_out} | unscored
    too_large = find_too_large([arch for arch in wanted if arch.id not in left_out], costs, data, limits, listener)
    left_out |= too_large
    fitting = tuple(arch for arch in wanted if arch.id not in left_out)
    if not fitting:
        reason = describe_smallest(too_large, costs) if too_large else next(iter(left_out.values()))
        raise SettingsError(f"no architecture of {space.name} can be scored: {reason}")
    limit = settings.num_archs or (math.ceil(len(fitting) / 10) if settings.strategy in LEARNING else len(fitting))
    return Plan(
        space,
        chosen,
        data,
        config,
        fitting,
        SpaceCosts(costs.of, left_out),
        min(limit, len(fitting)),
        workforce,
        limits,
        screen,
        sample if limit >= len(fitting) else None,
    )


def limits_of(config: SearchConfig, latency: Mapping[str, float] | None = None) -> Limits:
    """What architectures of a search may cost, on the device and with the threads that it trains with.

    Args:
        config: all settings.
        latency: id -> seconds of a forward pass that are known.
    """
    workforce = plan_workforce(config.machine)
    device = find_device("cpu" if workforce.device == "cpu" else config.machine.device)
    return Limits.of(config.search, str(device), workforce.threads_per_worker, latency)


def _draw(
    space: SearchSpace,
    proxy: ProxySet | Trials | str,
    settings: SearchSettings,
    admits: Callable[[Arch], bool],
    listener: Listener,
) -> tuple[list[Arch] | None, Sample | None]:
    """What a search of a space that is not listed tries: what stands in its table, a sample, or a random draw.

    Returns:
        Architectures (None: whatever is proposed), and the sample that they are.

    Raises:
        SettingsError: neither of these is asked for.
    """
    if isinstance(proxy, Trials):
        return [arch for trial in proxy if (arch := space.standing_for(trial.arch_id)) is not None], None
    if settings.sample is not None:
        sample = draw_from_large(space, settings.sample, settings.sample_seed, admits, listener)
        return space.pick(sample.weights), sample
    if settings.num_archs is None or settings.strategy == "grid":
        return space.archs(), None  # says what to ask for
    if settings.strategy in LEARNING:
        draw_some(space, 1, settings.seed, admits, listener)  # says so, if there is none
        return None, None
    return draw_some(space, settings.num_archs, settings.seed, admits, listener)[0], None


def _check_asha(proxy: Proxy, settings: SearchSettings) -> None:
    """Refuses what cannot be stopped half way.

    Raises:
        SettingsError: a proxy that trains nothing, several seeds, a screen, or nets that are kept.
    """
    if not isinstance(proxy.scored_by, RecipeSettings):
        raise SettingsError(f"--strategy asha: proxy {proxy.name!r} trains nothing that could be stopped; use another")
    if proxy.scored_by.trainer is not None:
        raise SettingsError("--strategy asha halts our own loop; leave --trainer out")
    if settings.seeds != 1 or settings.screen is not None or settings.keep_nets:
        raise SettingsError(
            "--strategy asha trains one net an architecture and keeps none: give --seeds 1, and neither --screen nor "
            "keep_nets"
        )


def _plan_screen(text: str, proxy: Proxy, config: SearchConfig) -> Screen:
    """The rungs of a search.

    Raises:
        SettingsError: its proxy trains nothing, or see `parse_screen`.
    """
    if not isinstance(proxy.scored_by, RecipeSettings) or proxy.images is None:
        raise SettingsError(
            f"--screen {text}: proxy {proxy.name!r} trains nothing that could be cut short; leave it out"
        )
    return parse_screen(text, proxy.scored_by, config.search.seeds, len(proxy.images))


def _find_unscored(archs: Sequence[Arch], table: Trials) -> dict[str, str]:
    """Id -> reason, of architectures that a table has no row for."""
    reason = f"{table.info.proxy} has no row for it, e.g. one for {table[0].arch_id}"
    return {arch.id: reason for arch in archs if arch.id not in table.by_id}


def config_from_overrides(proxy: ProxySet | Trials | str, overrides: dict[str, Any]) -> SearchConfig:
    """Settings of a search from flat keyword arguments, over those that the proxy's kind starts from.

    Raises:
        SettingsError: an unknown or invalid setting.
    """
    name = proxy if isinstance(proxy, str) else proxy.name
    given = nest_settings(SearchConfig, {"proxy": name, **overrides})
    return make_config(SearchConfig, default_settings(proxy), given)
