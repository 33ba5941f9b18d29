"""What architectures cost, and which of them are within the limits of a search: counted, or timed, once for each."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch

from nasproxy.config import SearchSettings
from nasproxy.errors import ArchError, NasproxyError, unknown_name
from nasproxy.images import ImageData
from nasproxy.scoring import Costs, measure_costs, measure_latency
from nasproxy.searching.sample import COSTS, Quantity
from nasproxy.space import Arch
from nasproxy.talk import SILENCE, Listener


@dataclass(frozen=True)
class SpaceCosts:
    """What architectures cost on images of one shape, counted once for all searches of a comparison."""

    of: dict[str, Costs | None] = field(default_factory=dict)
    """By architecture id, of those that fit the images; None where the builder does not run on the meta device."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Id -> reason, of architectures that do not fit the images."""

    @property
    def latencies(self) -> dict[str, float]:
        """Id -> seconds of a forward pass, of those that were timed."""
        return {
            arch_id: costs.latency
            for arch_id, costs in self.of.items()
            if costs is not None and costs.latency is not None
        }

    def count(self, arch: Arch, data: ImageData) -> None:
        """Counts those of one more architecture, if they are not known."""
        if arch.id in self.of or arch.id in self.left_out:
            return
        try:
            self.of[arch.id] = measure_costs(arch, data.image_shape, data.num_classes)
        except ArchError as error:
            self.left_out[arch.id] = str(error)
        except NasproxyError:
            raise
        except Exception:  # a user's builder: if it is broken, its trials will say so
            self.of[arch.id] = None


@dataclass(frozen=True)
class Limits:
    """What architectures of a search may cost at most, and whether a forward pass of each is timed."""

    num_params: int | None = None
    flops: int | None = None
    latency: float | None = None
    """Seconds."""
    is_timed: bool = False
    batch_size: int = 1
    """Images of a pass that is timed."""
    device: str = "cpu"
    num_threads: int = 1
    known: Mapping[str, float] = field(default_factory=dict)
    """Id -> seconds, of architectures that an earlier part of the search has timed: what it decided stays so."""

    @classmethod
    def of(
        cls,
        settings: SearchSettings,
        device: str = "cpu",
        num_threads: int = 1,
        known: Mapping[str, float] | None = None,
    ) -> "Limits":
        """Those that a search is asked for."""
        is_timed = settings.latency or settings.max_latency is not None or settings.against == "latency"
        return cls(
            settings.max_params, settings.max_flops, settings.max_latency, is_timed, settings.latency_batch_size,
            device, num_threads, known or {},
        )  # fmt: skip

    def admits(self, arch: Arch, costs: SpaceCosts, data: ImageData) -> bool:
        """Whether an architecture fits the images and is within the limits; counts and times what is not known."""
        costs.count(arch, data)
        return arch.id in costs.of and self.find_excess(arch, costs, data) is None

    def find_excess(self, arch: Arch, costs: SpaceCosts, data: ImageData) -> str | None:
        """What of an architecture that fits the images is beyond a limit; None: nothing.

        Where nobody knows what it has, it is beyond. One that is within the other limits is timed, if asked for.
        """
        found = costs.of[arch.id]
        for what, limit, cost in (
            ("parameters", self.num_params, None if found is None else found.num_params),
            ("FLOPs", self.flops, None if found is None else found.flops),
        ):
            if limit is not None and cost is None:
                return f"{what} that cannot be counted, and at most {limit:,} are asked for"
            if limit is not None and cost is not None and cost > limit:
                return f"{cost:,} {what}, and at most {limit:,} are asked for"
        if self.is_timed and found is not None and found.latency is None:
            found = costs.of[arch.id] = replace(found, latency=self._time(arch, data))
        if self.latency is not None and (found is None or found.latency is None):
            return "a forward pass that cannot be timed"
        if self.latency is not None and found is not None and (found.latency or 0) > self.latency:
            return f"a forward pass of {_ms(found.latency)}, and at most {_ms(self.latency)} are asked for"
        return None

    def _time(self, arch: Arch, data: ImageData) -> float | None:
        if arch.id in self.known:
            return self.known[arch.id]
        try:
            return measure_latency(
                arch, data.image_shape, data.num_classes,
                device=torch.device(self.device), batch_size=self.batch_size, num_threads=self.num_threads,
            )  # fmt: skip
        except Exception:  # a user's builder: if it is broken, its trials will say so
            return None


def find_too_large(
    archs: Sequence[Arch], costs: SpaceCosts, data: ImageData, limits: Limits, listener: Listener = SILENCE
) -> dict[str, str]:
    """Id -> reason, of architectures that fit the images and are beyond a limit."""
    too_large = {}
    for number, arch in enumerate(archs, start=1):
        if (excess := limits.find_excess(arch, costs, data)) is not None:
            too_large[arch.id] = excess
        if limits.is_timed:
            listener.progress("timing", number, len(archs))
    return too_large


def describe_smallest(too_large: Mapping[str, str], costs: SpaceCosts) -> str:
    """What is least beyond the limits."""

    def size(arch_id: str) -> tuple[float, ...]:
        found = costs.of[arch_id]
        return (found.latency or 0.0, found.num_params, found.flops) if found else (math.inf,)

    smallest = min(too_large, key=size)
    return f"the smallest is {smallest} with {too_large[smallest]}; raise the limit"


def measure_quantity(name: str, archs: Sequence[Arch], data: ImageData) -> Quantity:
    """A cost of the architectures that fit the images.

    Raises:
        SettingsError: none of `COSTS`.
    """
    if name not in COSTS:
        raise unknown_name("quantity to sample by", name, COSTS)
    measured = measure_space(archs, data).of
    return Quantity(
        {
            arch_id: float(costs.num_params if name == "params" else costs.flops)
            for arch_id, costs in measured.items()
            if costs is not None
        }
    )


def measure_space(archs: Sequence[Arch], data: ImageData) -> SpaceCosts:
    """Costs of the architectures that fit the images, and the reasons of those that do not."""
    costs = SpaceCosts()
    for arch in archs:
        costs.count(arch, data)
    return costs


def _ms(seconds: float | None) -> str:
    return f"{1000 * (seconds or 0):.3g} ms"
