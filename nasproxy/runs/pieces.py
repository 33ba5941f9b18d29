"""The pieces of work of a comparison: each is an ordinary run, read from an earlier one where there is an equal."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from nasproxy.condensing.condense import complete_settings
from nasproxy.config import (
    RECIPES,
    CommandConfig,
    CompareConfig,
    CondenseConfig,
    RecipeSettings,
    SearchConfig,
    changed_settings,
    make_config,
    read_config,
)
from nasproxy.errors import NasproxyError
from nasproxy.files import read_lines
from nasproxy.images import ImageData
from nasproxy.proxies import PROXIES, default_recipe, default_seeds
from nasproxy.proxyset import ProxySet
from nasproxy.rundir import LAYOUT, RunDir, list_runs
from nasproxy.runs.asked import Asked
from nasproxy.runs.condensing import run_condense
from nasproxy.runs.loading import Task, load_proxy, load_trials
from nasproxy.runs.place import Place
from nasproxy.runs.references import names_table
from nasproxy.runs.searching import SearchInput, hash_trainer, run_search
from nasproxy.scoring import SCORES
from nasproxy.searching.cluster import RaySession
from nasproxy.searching.costing import SpaceCosts, measure_space
from nasproxy.signals import by_signal, join_signal
from nasproxy.space import Arch, SearchSpace
from nasproxy.trials import Signal, Trials

WHOLE = "whole"
BY_CONTENT = {
    "search.proxy": "proxy_set",
    "search.archs": "space",
    "search.sample": "space",
    "search.sample_seed": "space",
    "search.space": "space",
    "images.dataset": "data",
}
"""Settings that name something, such as a run, a file or a draw, and the parent without which the name is all there is:
what counts is what they name, which a run's parents and ids tell."""


@dataclass
class RunIndex:
    """Settings and parents of the runs there are, read once."""

    entries: list[tuple[RunDir, CommandConfig, Mapping[str, str]]]
    """Oldest first: run, settings, role -> hash of what it was made from."""

    @classmethod
    def of(cls, place: Place) -> "RunIndex":
        """All condense runs and searches under the root that this version can read."""
        index = cls([])
        for run in list_runs(place.root):
            index.add(run)
        return index

    def add(self, run: RunDir) -> None:
        """Takes a run up."""
        meta = run.meta
        kinds: dict[str, type[CondenseConfig] | type[SearchConfig]] = {
            kind.command: kind for kind in (CondenseConfig, SearchConfig)
        }
        kind = kinds.get(meta["command"])
        if kind is None or meta.get("layout") != LAYOUT:
            return
        try:
            self.entries.append((run, read_config(kind, run.config_path), meta["parents"]))
        except NasproxyError:  # settings that somebody has edited
            return

    def find_equal(
        self, config: CommandConfig, parents: Mapping[str, str], arch_ids: Sequence[str] | None = None
    ) -> RunDir | None:
        """The newest run with these settings and parents: a finished one, else one that can go on; None: there is none.

        Where it runs ([machine]) makes no difference. A finished search may cover more architectures than asked for.

        Args:
            config: all settings of the work.
            parents: role -> hash of what it is made from, as in `meta.json`.
            arch_ids: of a search: the only architectures to score; None: all of the space.
        """
        equal = [
            run
            for run, stored in self._alike(config, parents)
            if not isinstance(stored, SearchConfig) or _covers(run, stored, config, arch_ids)
        ]
        return next((run for run in equal if run.is_done), next(iter(equal), None))

    def find_part(self, config: SearchConfig, parents: Mapping[str, str], arch_ids: Collection[str]) -> RunDir | None:
        """The search with these settings and parents that was asked for most of these architectures, and for no others;
        None: there is none.
        """
        parts = {
            run: len(part)
            for run, _ in self._alike(config, parents)
            if run.has_study and run.archs_path.is_file() and (part := set(read_lines(run.archs_path))) < set(arch_ids)
        }
        return max(parts, key=lambda run: parts[run], default=None)

    def _alike(self, config: CommandConfig, parents: Mapping[str, str]) -> Iterator[tuple[RunDir, CommandConfig]]:
        """Runs with these settings and parents, the newest first, whatever architectures they were asked for."""
        by_content = {setting for setting, parent in BY_CONTENT.items() if parent in parents}
        for run, stored, made_from in reversed(self.entries):
            is_such = made_from == dict(parents) and type(stored) is type(config)
            if is_such and {change.partition(":")[0] for change in changed_settings(stored, config)} <= by_content:
                yield run, stored


def _covers(run: RunDir, stored: SearchConfig, config: CommandConfig, arch_ids: Sequence[str] | None) -> bool:
    """Whether a search was asked for these architectures: all of them, and while it is not finished no others, by the
    same draw.
    """
    if not run.archs_path.is_file():
        is_whole = stored.search.archs == "all" and stored.search.sample is None
        return is_whole and (arch_ids is None or run.is_done)
    if arch_ids is None:
        return False
    scored, wanted = set(read_lines(run.archs_path)), set(arch_ids)
    if run.is_done:
        return scored >= wanted
    return scored == wanted and isinstance(config, SearchConfig) and config.search.sample == stored.search.sample


@dataclass(frozen=True)
class Experiment:
    """What all pieces of a comparison share; images, costs and run folders are read once."""

    place: Place
    config: CompareConfig
    data: ImageData
    space: SearchSpace
    index: RunIndex
    asked: Asked = field(default_factory=Asked)
    """The architectures that are compared."""
    loaded: dict[str, ProxySet | Trials] = field(default_factory=dict)
    """Proxy sets and tables of scores in memory, by the name of their run or file."""

    @cached_property
    def archs(self) -> list[Arch]:
        """What is compared."""
        return self.space.archs() if self.asked.arch_ids is None else self.space.pick(self.asked.arch_ids)

    @cached_property
    def costs(self) -> SpaceCosts:
        """Of all architectures that are compared."""
        return measure_space(self.archs, self.data)

    @cached_property
    def space_hash(self) -> str:
        return self.space.content_hash()

    @property
    def num_proxy_images(self) -> int:
        """Images that a proxy set takes the memory of."""
        return self.config.condense.images_per_class * self.data.num_classes

    @property
    def parents(self) -> dict[str, str]:
        """What every piece is made from: role -> hash."""
        return {"data": self.data.data_hash, "split": self.data.split_hash}

    @cached_property
    def task(self) -> Task:
        """What names of tables and truths are read for."""
        return Task.on(self.data, self.space)

    def find_proxy(self, reference: str) -> ProxySet | Trials | str:
        """What a name of a proxy means; a proxy set or table is read once."""
        if reference in self.loaded:
            return self.loaded[reference]
        found = load_proxy(reference, self.place.root, self.task)
        if not isinstance(found, str):
            self.loaded[reference] = found
        return found


class Piece(Protocol):
    """A piece of work."""

    @property
    def what(self) -> str:
        """E.g. 'condense dm'."""

    def find(self) -> RunDir | None:
        """The earlier run that holds it, or that goes on; None: it is to be done."""

    def perform(self, ray: RaySession) -> RunDir:
        """Does it, or what is left of it."""


@dataclass(frozen=True)
class Condensing:
    """Makes a proxy set by a method."""

    experiment: Experiment
    method: str
    number: int = 1
    """Of the set, from 1: its seed is the comparison's for the first one, and one more for each that follows."""

    @property
    def what(self) -> str:
        return f"condense {self.method}{_set_of(self)}"

    @cached_property
    def config(self) -> CondenseConfig:
        """Settings of the run.

        Raises:
            SettingsError: some that the method does not know or take.
        """
        config = self.experiment.config
        shared = {section: getattr(config, section).model_dump() for section in ("images", "condense", "machine")}
        shared["machine"]["threads_per_worker"] = None  # those of a search
        own = {"method": self.method} | config.compare.per_method.get(self.method, {})
        seed = own.get("seed", config.condense.seed) + self.number - 1
        made = make_config(CondenseConfig, shared, {"condense": own | {"seed": seed}})
        return made.model_copy(update={"condense": complete_settings(made.condense, self.experiment.data.train)})

    def find(self) -> RunDir | None:
        return self.experiment.index.find_equal(self.config, self.experiment.parents)

    def perform(self, ray: RaySession) -> RunDir:
        found = self.find()
        if found is not None and found.is_done:
            return found
        proxy = run_condense(self.experiment.place, self.config, data=self.experiment.data, resume=found)
        assert proxy.run is not None
        self.experiment.loaded[proxy.run.name] = proxy
        if found is None:
            self.experiment.index.add(proxy.run)
        return proxy.run


@dataclass(frozen=True)
class Searching:
    """Scores architectures by a proxy."""

    experiment: Experiment
    proxy: str
    """A name of `PROXIES`, a condense run, a proxy set file, or a table of scores."""
    condensing: Condensing | None = None
    """What makes the proxy set, instead."""
    arch_ids: tuple[str, ...] | None = None
    """The only architectures to score; None: all that are compared."""
    archs: str | None = None
    """File of those."""
    signal: Signal = Signal.ACCURACY
    """What of the nets is compared; the search is the same."""
    is_part: bool = False
    """Whether it is searched for a composite alone, and not compared for itself."""
    done: list[Trials] = field(default_factory=list, compare=False)
    """The trials, once they are in memory."""

    @property
    def what(self) -> str:
        if self.proxy == WHOLE:
            return "the truth"
        return f"search by {join_signal(self.proxy, self.signal)}{_set_of(self.condensing) if self.condensing else ''}"

    @property
    def is_at_hand(self) -> bool:
        """Whether scores are counted or looked up, which takes no time."""
        return names_table(self.proxy) or (self.proxy in SCORES and SCORES[self.proxy].is_counted)

    @property
    def recipe(self) -> RecipeSettings:
        """How nets are trained: early stopping gets as many updates as a proxy set (main paper, section 3.6)."""
        config = self.experiment.config
        if self.proxy == WHOLE:
            return config.truth_recipe
        if self.proxy in SCORES or names_table(self.proxy):
            return default_recipe(self.proxy)
        if self.proxy not in PROXIES:
            return config.recipe
        per_epoch = -(-self.experiment.num_proxy_images // config.recipe.batch_size)
        steps = config.recipe.steps or config.recipe.epochs * per_epoch
        early = RECIPES["early-stop"]
        return config.recipe.model_copy(update={"steps": steps, "epochs": early.epochs})

    @property
    def num_seeds(self) -> int:
        """Nets for each architecture."""
        settings = self.experiment.config.compare
        return (self.proxy == WHOLE and settings.truth_seeds) or settings.seeds or default_seeds(self.proxy)

    @property
    def trials(self) -> Trials:
        """What it found out by its signal, after `perform`; an earlier run is read once."""
        return by_signal(self.done[0], self.signal)

    def config(self, proxy: str) -> SearchConfig:
        """Settings of the run, of the proxy set where one is made."""
        settings, machine = self.experiment.config.compare, self.experiment.config.machine
        search = {
            "proxy": proxy,
            "space": settings.space,
            "archs": self.archs or settings.archs,
            "sample": None if self.archs else settings.sample,
            "sample_seed": settings.sample_seed,
            "seeds": self.num_seeds,
            "seed": settings.seed,
            "storage": settings.storage,
        }
        tree = {"images": self.experiment.config.images.model_dump(), "search": search}
        return make_config(SearchConfig, tree, {"recipe": self.recipe.model_dump(), "machine": machine.model_dump()})

    def find(self) -> RunDir | None:
        proxy = self._find_proxy()
        return None if proxy is None else self._find(proxy)

    def perform(self, ray: RaySession) -> RunDir:
        proxy = self._find_proxy() or self.proxy
        found = self._find(proxy)
        if found is not None and found.is_done:
            self.done[:] = [load_trials(found)]
            return found
        if not self.is_at_hand:
            ray.start()
        experiment, chosen = self.experiment, self.experiment.find_proxy(proxy)
        part = None if found else self._find_part(proxy)
        given = SearchInput(
            experiment.data,
            experiment.space,
            chosen,
            asked=self._asked,
            costs=experiment.costs,
            known=None if part is None else load_trials(part),
        )
        trials = run_search(experiment.place, self.config(proxy), given, resume=found)
        assert trials.run is not None
        if found is None:
            experiment.index.add(trials.run)
        self.done[:] = [trials]
        return trials.run

    def check_signal(self) -> None:
        """Refuses a finished search that lacks the signal, before anything is started.

        Raises:
            InputError: it kept no losses.
        """
        found = self.find() if self.signal is not Signal.ACCURACY else None
        if found is not None and found.is_done:
            by_signal(load_trials(found), self.signal)

    @property
    def _asked(self) -> Asked:
        return self.experiment.asked if self.arch_ids is None else Asked(self.arch_ids)

    def _find_proxy(self) -> str | None:
        """What the search is told as its proxy; None while the proxy set is not made."""
        if self.condensing is None:
            return self.proxy
        made = self.condensing.find()
        return made.name if made is not None and made.is_done else None

    def _find(self, proxy: str) -> RunDir | None:
        return self.experiment.index.find_equal(self.config(proxy), self._parents(proxy), self._asked.arch_ids)

    def _find_part(self, proxy: str) -> RunDir | None:
        """An earlier search of some of the architectures: a smaller sample."""
        arch_ids = self._asked.arch_ids or [arch.id for arch in self.experiment.archs]
        return self.experiment.index.find_part(self.config(proxy), self._parents(proxy), arch_ids)

    def _parents(self, proxy: str) -> dict[str, str]:
        parents = self.experiment.parents | {"space": self.experiment.space_hash}
        if isinstance(found := self.experiment.find_proxy(proxy), ProxySet):
            parents |= {"proxy_set": found.content_hash} | hash_trainer(self.recipe)
        elif isinstance(found, Trials):
            parents["table"] = found.content_hash
        elif proxy not in SCORES:
            parents |= hash_trainer(self.recipe)
        return parents


def _set_of(condensing: Condensing) -> str:
    """Which of the sets of its method it makes, where there are several."""
    return f" (set {condensing.number})" if condensing.experiment.config.compare.sets > 1 else ""
