"""A sample of the architectures of a space: which they are, and how many each one stands for.

The draw depends on ids, a seed of its own, and what strata are of: on no proxy, no order, and no other seed. It is
nested: the first k of a larger sample of the same kind are the sample of k.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from nasproxy.config import parse_sample
from nasproxy.definebyrun import FunctionSpace
from nasproxy.errors import SettingsError
from nasproxy.ranking import sample_stratified
from nasproxy.screened import by_place
from nasproxy.seeding import derive_seed
from nasproxy.space import Arch, SearchSpace
from nasproxy.talk import SILENCE, Listener
from nasproxy.trials import SampleInfo, Trials

COSTS = ("params", "flops")
"""Costs of architectures that strata can be of."""
MOST = 10**300
"""Combinations that an architecture can stand for."""


@dataclass(frozen=True)
class Sample:
    """Some architectures that stand for all."""

    weights: Mapping[str, float]
    """Id -> architectures that it stands for, itself included; in the order of the draw."""
    by: str | None
    """What the strata are of; None: drawn from all alike."""

    @property
    def info(self) -> SampleInfo | None:
        """How it was drawn; None where each architecture stands for itself."""
        return SampleInfo.of(self.weights.values(), self.by)


@dataclass(frozen=True)
class Quantity:
    """A number of each architecture, whose fifths are strata."""

    values: Mapping[str, float]
    """Id -> number, higher is better; architectures without one are in no stratum."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """Id -> architectures that each one stands for already, where they are a sample themselves; 1 for others."""

    @classmethod
    def of(cls, trials: Trials) -> "Quantity":
        """The selection scores of a search; of one with a screen, places."""
        ranked = [trial for trial in by_place(trials) if trial.is_ranked]
        return cls(
            {trial.arch_id: trial.selection_score for trial in ranked},
            {trial.arch_id: trial.weight for trial in ranked},
        )


Quantities = Callable[[str], Quantity]
"""What strata are of, by name."""


def draw_sample(arch_ids: Collection[str], asked: str, seed: int, quantity_of: Quantities) -> Sample:
    """Draws architectures.

    Uniformly: each id has a random number derived from the seed and itself, and the smallest are taken; each stands for
    A/N. By strata: see `sample_stratified`. From A on, all are taken.

    Args:
        arch_ids: of what is drawn from.
        asked: 'N', or 'N:BY' for strata.
        seed: of the draw.
        quantity_of: what BY names.

    Raises:
        SettingsError: there is no architecture, or none that has what BY names.
        NasproxyError: what `quantity_of` raises.
    """
    count, by = parse_sample(asked)
    if not arch_ids:
        raise SettingsError(f"sample={asked!r} of no architecture: archs is empty; leave it out to draw from the space")
    if by is None:
        order = sorted(arch_ids, key=lambda arch_id: derive_seed(seed, "sample", arch_id))[:count]
        return Sample(dict.fromkeys(order, len(arch_ids) / len(order)), by)
    quantity = quantity_of(by)
    known = sorted(arch_id for arch_id in arch_ids if arch_id in quantity.values)
    if not known:
        raise SettingsError(
            f"sample={asked!r}: {by} has no score of any of these architectures; name another search, or params"
        )
    indices, weights = sample_stratified([quantity.values[arch_id] for arch_id in known], count, seed=seed)
    drawn = [(known[index], weight) for index, weight in zip(indices.tolist(), weights.tolist(), strict=True)]
    return Sample({arch_id: weight * quantity.weights.get(arch_id, 1.0) for arch_id, weight in drawn}, by)


def draw_from_large(
    space: SearchSpace, asked: str, seed: int, admits: Callable[[Arch], bool], listener: Listener = SILENCE
) -> Sample:
    """Draws architectures of a space that is not listed, uniformly.

    Each stands for as many combinations as were looked at for one that is admitted, of all there are; for itself, where
    nobody knows how many there are.

    Args:
        space: that is drawn from.
        asked: 'N'.
        seed: of the draw.
        admits: whether an architecture may be in the sample.
        listener: told where fewer were found.

    Raises:
        SettingsError: strata, which need all architectures counted; or none was found.
    """
    count, by = parse_sample(asked)
    if by is not None:
        raise SettingsError(
            f"sample={asked!r}: strata by {by} need that of all architectures, and {space.name} has "
            f"{space.describe_size()}; give sample={count}"
        )
    archs, looked_at = draw_some(space, count, derive_seed(seed, "sample"), admits, listener)
    weight = 1.0 if isinstance(space, FunctionSpace) else float(min(space.grid.size, MOST)) / looked_at
    return Sample(dict.fromkeys((arch.id for arch in archs), weight), by)


def draw_some(
    space: SearchSpace, count: int, seed: int, admits: Callable[[Arch], bool], listener: Listener = SILENCE
) -> tuple[list[Arch], int]:
    """As `SearchSpace.draw`, but it says where it finds fewer than asked for.

    Raises:
        SettingsError: it finds none.
    """
    archs, looked_at = space.draw(count, seed, admits)
    if not archs:
        raise SettingsError(
            f"none of {looked_at:,} architectures of {space.name} that were drawn fits the images and the limits; "
            "raise max_params, max_flops or max_latency"
        )
    if len(archs) < count:
        listener.warn(
            f"{len(archs)} architectures instead of {count}: so few of {looked_at:,} that were drawn fit the images "
            "and the limits"
        )
    return archs, looked_at


def draw_part(sample: Sample | None, arch_ids: Sequence[str], asked: str, seed: int, quantity_of: Quantities) -> Sample:
    """A sample of architectures that may be one already: each stands for what it stood for, and what was left out."""
    part = draw_sample(arch_ids, asked, seed, quantity_of)
    if sample is None:
        return part
    return Sample({arch_id: weight * sample.weights[arch_id] for arch_id, weight in part.weights.items()}, part.by)
