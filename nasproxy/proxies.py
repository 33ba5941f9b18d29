"""Proxies: what nets are trained on, and how, to score their architecture.

A proxy set (condensed or selected) is one; so are the whole training set, which is the truth, and the whole training
set cut short. One search serves them all.
"""

from collections.abc import Callable
from dataclasses import dataclass

from nasproxy.config import RECIPES, RecipeSettings
from nasproxy.errors import unknown_name
from nasproxy.images import ImageData, ImageSet
from nasproxy.proxyset import ProxySet


@dataclass(frozen=True)
class Proxy:
    """Something that gives every architecture a score."""

    name: str
    images: ImageSet
    """What nets are trained on."""
    recipe: RecipeSettings
    condense_seconds: float = 0.0

    @property
    def num_stored_images(self) -> int:
        """Images that have to be kept for it."""
        return len(self.images)


@dataclass(frozen=True)
class ProxyKind:
    """A proxy that needs nothing but the data."""

    make: Callable[[ImageData, RecipeSettings], Proxy]
    summary: str


PROXIES: dict[str, ProxyKind] = {
    "whole": ProxyKind(
        lambda data, recipe: Proxy("whole", data.train, recipe),
        "the whole training set, 100 epochs: the truth",
    ),
    "early-stop": ProxyKind(
        lambda data, recipe: Proxy("early-stop", data.train, recipe),
        "the whole training set, as many updates as a proxy set gets (400)",
    ),
}
"""Proxies by name; every proxy set is a proxy too. To add one: a line here, and its recipe in `config.RECIPES`."""


def default_recipe(proxy: str | ProxySet) -> RecipeSettings:
    """The recipe of the main paper for this kind of proxy."""
    return RECIPES[proxy if isinstance(proxy, str) and proxy in RECIPES else "proxy-set"]


def make_proxy(proxy: str | ProxySet, data: ImageData, recipe: RecipeSettings) -> Proxy:
    """The proxy of a name or a proxy set, on these data.

    Raises:
        SettingsError: an unknown name (the nearest is named).
        ProxySetError: a proxy set of other data.
    """
    if isinstance(proxy, ProxySet):
        proxy.check_fits(data)
        images = proxy.images.to(data.train.device)
        return Proxy(f"{proxy.method}-{proxy.images_per_class}", images, recipe, proxy.seconds)
    if proxy not in PROXIES:
        raise unknown_name("proxy (and no condense run or file of that name)", proxy, PROXIES)
    return PROXIES[proxy].make(data, recipe)
