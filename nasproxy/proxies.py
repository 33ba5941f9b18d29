"""Proxies: what architectures are scored on, and how.

A proxy set (condensed or selected) that nets are trained on is one; so are the whole training set, which is the truth,
the whole training set cut short, the formulas that train nothing, and tables of what was measured elsewhere. One search
serves them all.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from nasproxy.config import DEFAULT_SEEDS, RECIPES, RecipeSettings, SearchConfig, Tree
from nasproxy.errors import SettingsError, unknown_name
from nasproxy.images import ImageData, ImageSet
from nasproxy.proxyset import ProxySet
from nasproxy.scoring import SCORES
from nasproxy.seeding import derive_seed
from nasproxy.trials import ProxyCost, ProxyKind, Trials


@dataclass(frozen=True)
class Proxy:
    """Something that gives every architecture a score."""

    name: str
    kind: ProxyKind
    images: ImageSet | None
    """What nets are trained on, or what a training-free score looks at; None for a table."""
    scored_by: RecipeSettings | str | Trials
    """How nets are trained; or the name of a training-free score, of `SCORES`; or the table that scores stand in."""
    cost: ProxyCost
    """Before the search."""
    method: Mapping[str, Any] = field(default_factory=dict)
    """As in `SearchInfo`."""
    set_seed: int | None = None
    """As in `SearchInfo`."""

    @property
    def identity(self) -> str:
        """What tells it from every other proxy: two sets of one method differ by their images."""
        if self.kind is not ProxyKind.PROXY_SET or self.images is None:
            return self.name
        return f"{self.name}/{self.images.content_hash()}"

    @property
    def score_name(self) -> str | None:
        """As in `SearchInfo`."""
        if isinstance(self.scored_by, Trials):
            return self.scored_by.info.score_name
        return self.scored_by if isinstance(self.scored_by, str) else None

    @property
    def is_at_hand(self) -> bool:
        """Whether scores are counted or looked up: no worker is needed for that."""
        return isinstance(self.scored_by, Trials) or (
            isinstance(self.scored_by, str) and SCORES[self.scored_by].is_counted
        )

    def seed_for(self, seed: int) -> int:
        """The seed of its nets and their batches, from that of a search.

        No two proxies share them, nor does one with the truth: given the architecture their seed noise is independent,
        as it is for whoever trains the chosen architecture anew.
        """
        return derive_seed(seed, "proxy", self.identity)


@dataclass(frozen=True)
class NamedProxy:
    """A proxy that needs nothing but the data."""

    make: Callable[[ImageData, SearchConfig], Proxy]
    summary: str


def _make_whole(name: str, kind: ProxyKind, data: ImageData, config: SearchConfig) -> Proxy:
    return Proxy(name, kind, data.train, config.recipe, _cost_of(data.train))


def make_training_free(name: str, data: ImageData, num_seeds: int, seed: int) -> Proxy:
    """The training-free score of a name on these data.

    Args:
        name: a key of `SCORES`.
        data: the images.
        num_seeds: nets scored of each architecture.
        seed: of the images that it looks at.
    """
    images = SCORES[name].draw_images(data.train, num_seeds, seed)
    return Proxy(name, ProxyKind.FORMULA, images, name, _cost_of(images))


def _make_training_free(name: str, data: ImageData, config: SearchConfig) -> Proxy:
    _refuse_recipe(name, config)
    return make_training_free(name, data, config.search.seeds, config.search.seed)


def _make_looked_up(table: Trials, config: SearchConfig) -> Proxy:
    _refuse_recipe(table.info.proxy, config)
    return Proxy(table.info.proxy, ProxyKind.TABLE, None, table, ProxyCost())


def _refuse_recipe(proxy: str, config: SearchConfig) -> None:
    default = default_recipe(proxy)
    ignored = [f"recipe.{key}={value}" for key, value in config.recipe if value != getattr(default, key)]
    if ignored:
        raise SettingsError(f"{', '.join(ignored)}: proxy {proxy!r} trains nothing; leave it out")


def _cost_of(images: ImageSet) -> ProxyCost:
    """Of images that are kept as they are."""
    return ProxyCost(len(images), len(images), images.images.numel())


PROXIES: dict[str, NamedProxy] = {
    "whole": NamedProxy(
        partial(_make_whole, "whole", ProxyKind.FULL_TRAINING), "the whole training set, 100 epochs: the truth"
    ),
    "early-stop": NamedProxy(
        partial(_make_whole, "early-stop", ProxyKind.EARLY_STOPPING),
        "the whole training set, as many updates as a proxy set gets (400)",
    ),
    **{
        name: NamedProxy(
            partial(_make_training_free, name), f"training-free, higher is better: {score.summary} ({score.paper})"
        )
        for name, score in SCORES.items()
    },
}
"""Proxies by name; every proxy set is a proxy too.

To add one that trains: a line here, and its recipe in `config.RECIPES`; one that does not: a line in `SCORES`.
"""


@dataclass(frozen=True)
class Composite:
    """Several proxies as one."""

    parts: tuple[str, ...]
    """Names of `PROXIES`."""
    how: str
    """How their scores become one: a key of `nasproxy.combining.COMBINATIONS` that needs no truth."""
    summary: str


COMPOSITES: dict[str, Composite] = {
    "az-nas": Composite(
        ("az_expressivity", "az_progressivity", "az_trainability", "flops"),
        "log-average",
        "training-free, AZ-NAS: the three az scores and flops as one (Lee & Ham, CVPR 2024)",
    ),
}
"""What a comparison takes as one proxy and a search does not: ranks are among the architectures that are compared."""


_NOT_OF_METHOD = ("seed", "engine", "classes_per_step", "checkpoint_every")
"""Settings of condensing that tell two sets of one method apart, or change nothing but speed."""


def default_recipe(proxy: str | ProxySet | Trials) -> RecipeSettings:
    """The recipe for this kind of proxy, see `RECIPES`."""
    return RECIPES[proxy if isinstance(proxy, str) and proxy in RECIPES else "proxy-set"]


def default_seeds(proxy: str | ProxySet | Trials) -> int:
    """Nets of each architecture: five that are trained, as in the main paper (section 3.6), one that is scored."""
    return 1 if isinstance(proxy, str) and proxy in SCORES else DEFAULT_SEEDS


def default_settings(proxy: str | ProxySet | Trials) -> Tree:
    """What a search by this proxy starts from."""
    return {"recipe": default_recipe(proxy).model_dump(), "search": {"seeds": default_seeds(proxy)}}


def make_proxy(proxy: str | ProxySet | Trials, data: ImageData, config: SearchConfig) -> Proxy:
    """The proxy of a name, a proxy set, or a table of scores, on these data.

    Raises:
        SettingsError: an unknown name (the nearest is named), or a recipe for a proxy that trains nothing.
        ProxySetError: a proxy set of other data.
    """
    if isinstance(proxy, ProxySet):
        proxy.check_fits(data)
        return Proxy(
            proxy.name,
            ProxyKind.PROXY_SET,
            proxy.images.to(data.train.device),
            config.recipe,
            proxy.cost,
            method={key: value for key, value in proxy.settings.items() if key not in _NOT_OF_METHOD},
            set_seed=proxy.seed,
        )
    if isinstance(proxy, Trials):
        return _make_looked_up(proxy, config)
    if proxy not in PROXIES:
        raise unknown_name("proxy (and no condense run or file of that name)", proxy, PROXIES)
    return PROXIES[proxy].make(data, config)
