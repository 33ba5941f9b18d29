"""The nets that embed images for comparison: which architecture, and which weights at each step.

Source: Zhao & Bilen, "Dataset Condensation with Distribution Matching", sections 2.3 (random weights) and 3.4 (weights
from training, sorted by accuracy). Our differences from 3.4:
1. A pool of `num_embedding_nets` nets, not 1,000; each is snapshotted once, the first time its accuracy is measured in
range.
2. Accuracy is measured on a held-out tenth of the training images: validation images are reserved for choosing
architectures.
"""

import torch
from torch import Tensor, nn

from nasproxy.condensing.state import Task
from nasproxy.config import RecipeSettings
from nasproxy.errors import ArchError, SettingsError
from nasproxy.images import ImageSet, make_generator
from nasproxy.nets.classifier import Classifier
from nasproxy.nets.zoo import parse_net
from nasproxy.seeding import derive_seed
from nasproxy.space import Arch, build
from nasproxy.training import make_net, measure, seeded_torch, train

LOOKS = 60
"""Accuracy measurements of a net in training before giving up on it."""
FIRST_LOOK, LOOK_GROWTH = 5, 1.15
"""Updates before the first measurement, and growth factor between measurements: about 160,000 updates in all."""


class EmbeddingNets:
    """One net on the device, loaded with the weights of any step."""

    def __init__(self, task: Task) -> None:
        """Raises SettingsError: nets that do not reach the requested accuracy."""
        self._task = task
        self.net = make_embedding_net(find_embedding_arch(task.settings.embedding_net, task.images), task.images, 0).to(
            task.device
        )
        self._pool: list[dict[str, Tensor]] = []
        if (wanted := parse_embedding_weights(task.settings.embedding_weights)) is not None:
            split = _hold_out_tenth(task)
            numbers = range(task.settings.num_embedding_nets)
            self._pool = [_train_into(wanted, task, self.net, split, number) for number in numbers]

    def draw(self, step: int) -> None:
        """Loads the weights of a step into the net."""
        seed = derive_seed(self._task.settings.seed, "embedder", step)
        if self._pool:
            self.net.load_state_dict(self._pool[seed % len(self._pool)])
        else:
            initialize(self.net, seed, self._task.device)


def find_embedding_arch(name: str, images: ImageSet) -> Arch:
    """The net called `name` ('auto': the default one), checked to fit the images.

    Raises:
        SettingsError: no such net, or it does not fit the images.
    """
    arch = parse_net(name, images.image_shape)
    outline_embedding_net(arch, images)
    return arch


def outline_embedding_net(arch: Arch, images: ImageSet) -> nn.Module:
    """The net on the meta device: nothing is drawn or computed.

    Raises:
        SettingsError: it does not fit the images.
    """
    try:
        with torch.device("meta"):
            return build(arch, images.image_shape, images.num_classes)
    except ArchError as error:
        raise SettingsError(f"embedding_net {error}") from None


def make_embedding_net(arch: Arch, images: ImageSet, seed: int) -> Classifier:
    """An embedding net with an architecture from `find_embedding_arch`; its weights do not require gradients."""
    net = make_net(arch, images, seed)
    assert isinstance(net, Classifier)  # all that parse_net returns
    return net.requires_grad_(False)


def initialize(net: Classifier, seed: int, device: torch.device) -> None:
    """Draws fresh weights in place, on the device; on a CPU they equal those of a net built after the same seed."""
    with seeded_torch(seed, device):
        for module in net.modules():
            if isinstance(module, nn.Conv2d | nn.Linear | nn.GroupNorm | nn.LayerNorm | nn.BatchNorm2d):
                module.reset_parameters()


def is_splittable(net: nn.Module) -> bool:
    """Whether images may pass through in chunks: not with batch norm."""
    return not any(isinstance(module, nn.BatchNorm2d) for module in net.modules())


def parse_embedding_weights(text: str) -> tuple[float, float] | None:
    """None for 'random', fractions (low, high) for 'trained:LOW-HIGH' in percent.

    Raises:
        SettingsError: any other form.
    """
    if text == "random":
        return None
    kind, _, span = text.partition(":")
    low, _, high = span.partition("-")
    try:
        wanted = float(low) / 100, float(high) / 100
    except ValueError:
        wanted = 1.0, 0.0
    if kind != "trained" or not 0 <= wanted[0] < wanted[1] <= 1:
        raise SettingsError(
            f"embedding_weights {text!r}: write 'random' or 'trained:LOW-HIGH' in percent, e.g. trained:40-50"
        )
    return wanted


def _hold_out_tenth(task: Task) -> tuple[ImageSet, ImageSet]:
    """A tenth of the training images and the rest, both on the device."""
    images, generator = task.images, make_generator(task.settings.seed, "embedder", "held out")
    order = torch.randperm(len(images), generator=generator).to(images.device)
    held, kept = (images.subset(part).to(task.device) for part in order.tensor_split([len(order) // 10]))
    return held, kept


def _train_into(
    wanted: tuple[float, float], task: Task, net: Classifier, split: tuple[ImageSet, ImageSet], number: int
) -> dict[str, Tensor]:
    """Weights of a net trained until its accuracy on the held-out images of the split is in the range."""
    (low, high), (held, kept), seed = wanted, split, task.settings.seed
    initialize(net, derive_seed(seed, "embedder", "trained", number), task.device)
    generator, accuracy, steps = make_generator(seed, "embedder", "train", number), 0.0, float(FIRST_LOOK)
    net.requires_grad_(True)
    for _ in range(LOOKS):
        recipe = RecipeSettings(steps=int(steps), augmentation="none", lr_drops=())
        train([net], kept, recipe, [generator], cuda_graphs=False)
        accuracy, steps = measure(net, held).accuracy, steps * LOOK_GROWTH
        if low <= accuracy < high:
            net.requires_grad_(False).train()
            return {name: value.clone() for name, value in net.state_dict().items()}
        if accuracy >= high:
            break
    raise SettingsError(
        f"embedding_weights={task.settings.embedding_weights}: net {number + 1} was never measured in that range, "
        f"last at {accuracy:.1%}; choose another range or a wider one"
    )
