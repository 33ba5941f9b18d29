"""How good a proxy set itself is: test accuracy of nets trained on it (main paper, Table 1)."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass

from nasproxy.config import EvaluateConfig
from nasproxy.device import kept_memory
from nasproxy.images import ImageData
from nasproxy.nets.convnet import default_arch, parse_arch
from nasproxy.proxyset import ProxySet
from nasproxy.training import train_seeds


@dataclass(frozen=True)
class Evaluation:
    """Test accuracies, as fractions, of nets trained on a proxy set from different initialisations."""

    net: str
    test_accuracies: tuple[float, ...]
    train_seconds: float

    @property
    def mean(self) -> float:
        return statistics.fmean(self.test_accuracies)

    @property
    def std(self) -> float | None:
        """Over nets (n - 1); None for one net."""
        return statistics.stdev(self.test_accuracies) if len(self.test_accuracies) > 1 else None


def evaluate(
    proxy: ProxySet, data: ImageData, config: EvaluateConfig, on_net: Callable[[int], None] = lambda done: None
) -> Evaluation:
    """Trains nets on a proxy set and measures them on the test images, after the last epoch.

    Args:
        proxy: what is trained on.
        data: whose test images are used; on the device to train on.
        config: net, number of nets, recipe.
        on_net: told how many nets are done.

    Raises:
        ProxySetError: the proxy set does not belong to the data.
        SettingsError: a net that is no ConvNet id.
        ArchError: a net that does not fit the images.
    """
    proxy.check_fits(data)
    settings = config.evaluate
    arch = default_arch(data.image_shape) if settings.net == "auto" else parse_arch(settings.net)
    with kept_memory():
        scores = train_seeds(
            arch,
            proxy.images.to(data.train.device),
            config.recipe,
            val=None,
            test=data.test,
            num_seeds=settings.num_nets,
            seed=settings.seed,
            cuda_graphs=config.machine.cuda_graphs,
            on_seed=on_net,
        )
    return Evaluation(arch.id, scores.test_accuracies, scores.train_seconds)
