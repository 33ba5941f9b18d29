"""Quality of a proxy set: test accuracy of nets trained on it (main paper, Tables 1 to 3)."""

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from nasproxy.config import EvaluateConfig
from nasproxy.device import retain_freed_memory
from nasproxy.errors import ArchError, SettingsError
from nasproxy.images import ImageData, ImageSet
from nasproxy.nets.zoo import parse_nets
from nasproxy.proxyset import ProxySet
from nasproxy.scoring import measure_costs
from nasproxy.space import Arch
from nasproxy.training import train_seeds

OnProgress = Callable[[str, int, int, float], None]
"""Called with the net being trained, nets done, nets in all, and the fraction of all work done."""


@dataclass(frozen=True)
class Evaluation:
    """Test accuracies, as fractions, of nets of one architecture, each trained from its own initialisation."""

    net: str
    test_accuracies: tuple[float, ...]
    train_seconds: float

    @property
    def mean(self) -> float:
        return statistics.fmean(self.test_accuracies)

    @property
    def std(self) -> float | None:
        """Sample standard deviation over nets (n - 1); None for one net."""
        return statistics.stdev(self.test_accuracies) if len(self.test_accuracies) > 1 else None


def evaluate(
    proxy: ProxySet,
    data: ImageData,
    config: EvaluateConfig,
    *,
    on_progress: OnProgress = lambda net, done, total, work: None,
    on_evaluation: Callable[[Evaluation], None] = lambda evaluation: None,
    on_left_out: Callable[[list[str]], None] = lambda reasons: None,
) -> list[Evaluation]:
    """Trains nets on a proxy set and evaluates them on the test images after the last epoch.

    Args:
        proxy: the proxy set.
        data: provides the test images; on the device to train on.
        config: nets, number per architecture, recipe.
        on_progress: called before the first net of each architecture and after every net.
        on_evaluation: called with each evaluation as soon as it is complete.
        on_left_out: called before any training with the reasons why some architectures do not fit the images.

    Returns:
        One evaluation per architecture that fits the images, in the order of the configured names.

    Raises:
        ProxySetError: the proxy set does not belong to the data.
        SettingsError: an unknown net, or none that fits the images.
    """
    proxy.check_fits(data)
    sizes, reasons = _measure(parse_nets(config.evaluate.nets, data.image_shape), data)
    if not sizes:
        raise SettingsError(f"no net fits these images: {reasons[0]}")
    if reasons:
        on_left_out(reasons)
    archs, num_nets = list(sizes), config.evaluate.num_nets

    def report(position: int, done: int) -> None:
        work = sum(sizes[arch] for arch in archs[:position]) + sizes[archs[position]] * done / num_nets
        total = len(archs) * num_nets
        on_progress(archs[position].id, position * num_nets + done, total, work / sum(sizes.values()))

    train_set = proxy.images.to(data.train.device)
    evaluations: list[Evaluation] = []
    with retain_freed_memory():
        for position, arch in enumerate(archs):
            report(position, 0)
            evaluations.append(_evaluate_arch(arch, train_set, data.test, config, partial(report, position)))
            on_evaluation(evaluations[-1])
    return evaluations


def _measure(archs: Iterable[Arch], data: ImageData) -> tuple[dict[Arch, int], list[str]]:
    """FLOPs of the nets that fit the images, and why the others do not."""
    sizes: dict[Arch, int] = {}
    reasons: list[str] = []
    for arch in archs:
        try:
            sizes[arch] = measure_costs(arch, data.image_shape, data.num_classes).flops
        except ArchError as error:
            reasons.append(str(error))
    return sizes, reasons


def _evaluate_arch(
    arch: Arch, train_set: ImageSet, test: ImageSet, config: EvaluateConfig, on_seed: Callable[[int], None]
) -> Evaluation:
    scores = train_seeds(
        arch,
        train_set,
        config.recipe,
        val=None,
        test=test,
        num_seeds=config.evaluate.num_nets,
        seed=config.evaluate.seed,
        cuda_graphs=config.machine.cuda_graphs,
        on_seed=on_seed,
    )
    return Evaluation(arch.id, scores.test_accuracies, scores.train_seconds)
