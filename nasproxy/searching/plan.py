"""What a search will do, decided and checked before anything is started or written."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nasproxy.augment import parse_strategy
from nasproxy.config import MachineSettings, RecipeSettings, SearchConfig, make_config
from nasproxy.errors import ArchError, NasproxyError, SettingsError, unknown_name
from nasproxy.images import ImageData
from nasproxy.proxies import Proxy, default_recipe, make_proxy
from nasproxy.proxyset import ProxySet
from nasproxy.scoring import SCORES, Costs, measure_costs
from nasproxy.searching.cluster import Workforce, plan_workforce
from nasproxy.searching.schedule import STRATEGIES
from nasproxy.space import Arch, SearchSpace
from nasproxy.study import ACCURACY, StudyInfo


@dataclass(frozen=True)
class Plan:
    """Everything that a search depends on."""

    space: SearchSpace
    proxy: Proxy
    data: ImageData
    config: SearchConfig
    archs: tuple[Arch, ...]
    """Those that fit the images: in the order of the space, or as they were named."""
    costs: dict[str, Costs | None]
    """By architecture id; None where the builder does not run on the meta device."""
    left_out: dict[str, str]
    """Id -> reason, of architectures that do not fit the images."""
    num_trials: int
    """How many of `archs` the strategy will try."""
    workforce: Workforce

    def size_of(self, arch: Arch) -> float:
        """FLOPs of a forward pass of one image; infinite where nobody knows."""
        costs = self.costs[arch.id]
        return costs.flops if costs else math.inf

    def describe(self, name: str) -> StudyInfo:
        """What a study of this name says about all its trials."""
        recipe, metric = self.config.recipe.model_dump(mode="json"), ACCURACY
        if isinstance(self.proxy.scored_by, str):
            score = SCORES[self.proxy.scored_by]
            recipe, metric = {"batch_size": score.batch_size, "num_batches": score.num_batches}, self.proxy.scored_by
        return StudyInfo(
            name=name,
            space=self.space.name,
            space_hash=self.space.content_hash(),
            proxy=self.proxy.name,
            dataset=self.data.name,
            data_hash=self.data.data_hash,
            split_hash=self.data.split_hash,
            num_images=len(self.proxy.images),
            num_stored_images=self.proxy.num_stored_images,
            num_stored_numbers=self.proxy.num_stored_numbers,
            condense_seconds=self.proxy.condense_seconds,
            num_seeds=self.config.search.seeds,
            recipe=recipe,
            metric=metric,
            device=self.workforce.device_name,
        )


def plan_search(
    space: SearchSpace, proxy: ProxySet | str, data: ImageData, config: SearchConfig, archs: Sequence[str] | None = None
) -> Plan:
    """Decides what a search is about, and leaves out architectures that do not fit the images.

    Args:
        space: the search space.
        proxy: a proxy set, or a name of `PROXIES`.
        data: the images.
        config: all settings.
        archs: ids of the only architectures to score; None: the whole space.

    Raises:
        SettingsError: an unknown strategy, augmentation or architecture, no validation images, no architecture that
            fits the images, a recipe for a proxy that trains nothing, or more than this machine has.
        ProxySetError: a proxy set of other data.
        DeviceError: a device that is not there.
    """
    settings = config.search
    if settings.strategy not in STRATEGIES:
        raise unknown_name("strategy", settings.strategy, STRATEGIES)
    if len(data.val) == 0:
        raise SettingsError("there are no validation images to select by; load the data with a val_fraction above 0")
    parse_strategy(config.recipe.augmentation, flippable=data.train.flippable)
    workforce = plan_workforce(config.machine)
    chosen = make_proxy(proxy, data, config)
    wanted = space.archs() if archs is None else space.pick(archs)
    costs, left_out = _measure(wanted, data)
    fitting = tuple(arch for arch in wanted if arch.id in costs)
    if not fitting:
        raise SettingsError(f"no architecture of {space.name} fits these images: {next(iter(left_out.values()))}")
    limit = settings.num_archs or (math.ceil(len(fitting) / 10) if settings.strategy == "tpe" else len(fitting))
    return Plan(space, chosen, data, config, fitting, costs, left_out, min(limit, len(fitting)), workforce)


def config_from_overrides(proxy: ProxySet | str, overrides: dict[str, Any]) -> SearchConfig:
    """Settings of a search from flat keyword arguments, over the recipe of the proxy's kind.

    Raises:
        SettingsError: an unknown or invalid setting.
    """
    name = proxy if isinstance(proxy, str) else proxy.name
    tree: dict[str, dict[str, Any]] = {"search": {"proxy": name}, "recipe": {}, "machine": {}}
    for key, value in overrides.items():
        home = next(
            (
                section
                for section, settings in (("recipe", RecipeSettings), ("machine", MachineSettings))
                if key in settings.model_fields
            ),
            "search",
        )
        tree[home][key] = value
    return make_config(SearchConfig, {"recipe": default_recipe(proxy).model_dump()}, tree)


def _measure(archs: Sequence[Arch], data: ImageData) -> tuple[dict[str, Costs | None], dict[str, str]]:
    """Costs of the architectures that fit the images, and the reasons of those that do not."""
    costs: dict[str, Costs | None] = {}
    left_out: dict[str, str] = {}
    for arch in archs:
        try:
            costs[arch.id] = measure_costs(arch, data.image_shape, data.num_classes)
        except ArchError as error:
            left_out[arch.id] = str(error)
        except NasproxyError:
            raise
        except Exception:  # a user's builder: if it is broken, its trials will say so
            costs[arch.id] = None
    return costs, left_out
