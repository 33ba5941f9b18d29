"""The pieces of work of a comparison: each is an ordinary run, read from an earlier one where there is an equal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol, TypeGuard

from nasproxy.condensing.condense import complete_settings
from nasproxy.config import (
    RECIPES,
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
from nasproxy.proxies import PROXIES, default_recipe
from nasproxy.proxyset import ProxySet
from nasproxy.rundir import RunDir, list_runs
from nasproxy.runs.condensing import run_condense
from nasproxy.runs.listener import Listener
from nasproxy.runs.references import find_proxy
from nasproxy.runs.searching import run_search
from nasproxy.scoring import SCORES
from nasproxy.space import Arch, SearchSpace

WHOLE = "whole"
BY_CONTENT = {"search.proxy": "proxy_set", "search.archs": "space"}
"""Settings that name a run or file, and the parent without which the name is all there is: what counts is what they
name, which a run's parents and ids tell."""


@dataclass(frozen=True)
class Task:
    """What all pieces of a comparison share."""

    config: CompareConfig
    data: ImageData
    space: SearchSpace
    root: Path
    """Folder of all runs."""
    arch_ids: tuple[str, ...] | None = None
    """The only architectures that are compared; None: the whole space."""

    @property
    def archs(self) -> list[Arch]:
        """What is compared."""
        return self.space.archs() if self.arch_ids is None else self.space.pick(self.arch_ids)

    @property
    def num_proxy_images(self) -> int:
        """Images that a proxy set takes the memory of."""
        return self.config.condense.images_per_class * self.data.num_classes

    @property
    def parents(self) -> dict[str, str]:
        """What every piece is made from: role -> hash."""
        return {"data": self.data.data_hash, "split": self.data.split_hash}


class Piece(Protocol):
    """A piece of work."""

    @property
    def what(self) -> str:
        """E.g. 'condense dm'."""

    def find(self) -> RunDir | None:
        """The earlier run that holds it, or that goes on; None: it is to be done."""

    def perform(self, listener: Listener) -> RunDir:
        """Does it, or what is left of it."""


@dataclass(frozen=True)
class Condensing:
    """Makes a proxy set by a method."""

    task: Task
    method: str

    @property
    def what(self) -> str:
        return f"condense {self.method}"

    @cached_property
    def config(self) -> CondenseConfig:
        """Settings of the run.

        Raises:
            SettingsError: some that the method does not know or take.
        """
        config = self.task.config
        shared = {section: getattr(config, section).model_dump() for section in ("images", "condense", "machine")}
        own = {"method": self.method} | config.compare.per_method.get(self.method, {})
        made = make_config(CondenseConfig, shared, {"condense": own})
        return made.model_copy(update={"condense": complete_settings(made.condense, self.task.data.train)})

    def find(self) -> RunDir | None:
        return find_equal_run(self.config, self.task.parents, self.task.root)

    def perform(self, listener: Listener) -> RunDir:
        found = self.find()
        if is_done(found):
            return found
        return run_condense(self.config, root=self.task.root, name=None, resume=found, listener=listener)[0]


@dataclass(frozen=True)
class Searching:
    """Scores architectures by a proxy."""

    task: Task
    proxy: str
    """A name of `PROXIES`, a condense run, or a proxy set file."""
    condensing: Condensing | None = None
    """What makes the proxy set, instead."""
    arch_ids: tuple[str, ...] | None = None
    """The only architectures to score; None: all that are compared."""
    archs: str | None = None
    """File of those."""

    @property
    def what(self) -> str:
        return "the truth" if self.proxy == WHOLE else f"search by {self.proxy}"

    @property
    def recipe(self) -> RecipeSettings:
        """How nets are trained: early stopping gets as many updates as a proxy set (main paper, section 3.6)."""
        config = self.task.config
        if self.proxy == WHOLE:
            return config.truth_recipe
        if self.proxy in SCORES:
            return default_recipe(self.proxy)
        if self.proxy not in PROXIES:
            return config.recipe
        per_epoch = -(-self.task.num_proxy_images // config.recipe.batch_size)
        steps = config.recipe.steps or config.recipe.epochs * per_epoch
        early = RECIPES["early-stop"]
        return config.recipe.model_copy(update={"steps": steps, "epochs": early.epochs})

    def config(self, proxy: str) -> SearchConfig:
        """Settings of the run, of the proxy set where one is made."""
        settings, machine = self.task.config.compare, self.task.config.machine
        is_truth = self.proxy == WHOLE
        search = {
            "proxy": proxy,
            "space": settings.space,
            "archs": self.archs or settings.archs,
            "seeds": (is_truth and settings.truth_seeds) or settings.seeds,
            "seed": settings.seed,
            "storage": settings.storage,
        }
        tree = {"images": self.task.config.images.model_dump(), "search": search}
        return make_config(SearchConfig, tree, {"recipe": self.recipe.model_dump(), "machine": machine.model_dump()})

    def find(self) -> RunDir | None:
        proxy = self._find_proxy()
        return None if proxy is None else self._find(proxy)

    def perform(self, listener: Listener) -> RunDir:
        proxy = self._find_proxy() or self.proxy
        found = self._find(proxy)
        if is_done(found):
            return found
        config = self.config(proxy)
        run, _ = run_search(config, root=self.task.root, name=None, resume=found, retry_failed=False, listener=listener)
        return run

    def _find_proxy(self) -> str | None:
        """What the search is told as its proxy; None while the proxy set is not made."""
        if self.condensing is None:
            return self.proxy
        made = self.condensing.find()
        return made.name if is_done(made) else None

    def _find(self, proxy: str) -> RunDir | None:
        parents = self.task.parents | {"space": self.task.space.content_hash()}
        if isinstance(found := find_proxy(proxy, self.task.root), ProxySet):
            parents["proxy_set"] = found.images.content_hash()
        return find_equal_run(self.config(proxy), parents, self.task.root, arch_ids=self.arch_ids or self.task.arch_ids)


def is_done(run: RunDir | None) -> TypeGuard[RunDir]:
    """Whether there is a run and it is finished."""
    return run is not None and run.meta["status"] == "done"


def find_equal_run(
    config: CondenseConfig | SearchConfig,
    parents: Mapping[str, str],
    root: Path,
    *,
    arch_ids: Sequence[str] | None = None,
) -> RunDir | None:
    """The newest run with these settings and parents: a finished one, else one that can go on; None: there is none.

    Where it runs ([machine]) makes no difference. A finished search may cover more architectures than asked for.

    Args:
        config: all settings of the work.
        parents: role -> hash of what it is made from, as in `meta.json`.
        root: folder of all runs.
        arch_ids: of a search: the only architectures to score; None: all of the space.
    """
    equal = [run for run in reversed(list_runs(root)) if _is_equal(run, config, parents, arch_ids)]
    return next((run for run in equal if is_done(run)), next(iter(equal), None))


def _is_equal(
    run: RunDir, config: CondenseConfig | SearchConfig, parents: Mapping[str, str], arch_ids: Sequence[str] | None
) -> bool:
    if run.meta["command"] != config.command or run.meta["parents"] != dict(parents):
        return False
    try:
        stored = read_config(type(config), run.config_path)
    except NasproxyError:  # written by a version with other settings
        return False
    changed = {change.partition(":")[0] for change in changed_settings(stored, config)}
    by_content = {setting for setting, parent in BY_CONTENT.items() if parent in parents}
    return changed <= by_content and (isinstance(stored, CondenseConfig) or _covers(run, stored, arch_ids))


def _covers(run: RunDir, stored: SearchConfig, arch_ids: Sequence[str] | None) -> bool:
    """Whether a search was asked for these architectures: all of them, and while it is not finished no others."""
    if not run.archs_path.is_file():
        return stored.search.archs == "all" and (arch_ids is None or is_done(run))
    if arch_ids is None:
        return False
    scored, wanted = set(read_lines(run.archs_path)), set(arch_ids)
    return scored == wanted or (scored > wanted and is_done(run))
