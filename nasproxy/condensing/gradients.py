"""Gradient matching: synthetic images should give the same weight gradients as real images, class by class.

Sources: Zhao, Mopuri & Bilen, "Dataset Condensation with Gradient Matching", ICLR 2021, eq. 7 to 10, Algorithm 1 (DC);
Zhao & Bilen, "Dataset Condensation with Differentiable Siamese Augmentation", ICML 2021, eq. 5 (DSA); Kim et al.,
"Dataset Condensation via Efficient Synthetic-Data Parameterization", ICML 2022 (IDC). With g the gradient of the mean
cross-entropy of a class with respect to the weights of a layer:

    DC, DSA: sum over classes, layers and output rows of 1 - cos(g_real, g_syn)
    IDC:     sum over classes and convolutions of || g_real - g_syn ||^2, or of the absolute differences

A net lives for `outer_loop` steps. After each, it is trained on the synthetic images (DC, DSA: `inner_loop` epochs of
plain SGD) or on `inner_images` real ones (IDC, which may train it for `first_epochs` before the first). Real images are
augmented as in matching, each with its own draws, but without cutout, in whose place they are mixed by cutmix; pixels
are clamped to [0, 1] once an outer loop (public IDC code). Our differences:
1. One gradient step on all classes at once, also in IDC; their images do not depend on one another. (The public code
goes class by class with one optimiser for all, so that momentum carries on through the steps of the other classes: an
image moves by the same sum, but almost all of it within the step.)
2. Batch norm is frozen at every step as in the public DC code, also in IDC: see `freeze_batch_norm`.
3. IDC's net starts each training phase without momentum.
4. IDC's values for a single data set are the user's to ask for: 500 real images between steps on all but CIFAR
(`inner_images`), a ResNetAP-10 at 224 pixels (`embedding_net`), 128 real images and a net's rate of 0.1 on 100 classes
of ImageNet, cutmix of every batch there, a net's rate of 3e-4 and no augmentation on spectrograms, no cutout on MNIST.

One forward and one backward pass serve the synthetic images of all classes; only the products of each layer's inputs
and output gradients are taken per class, and only for the matched weights. Biases and norms get no gradient while
matching. Gradients of real images are not differentiated further: the engine computes them in chunks, compiled and in
its precision, or for all classes at once like the synthetic ones, which stay in float32. The engine also trains the
net.

Notation: K classes (k of them at a time), R real images per class, J synthetic images per class, M images per class of
either, C channels, H height, W width.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_weight

from nasproxy.augment import parse_strategy
from nasproxy.condensing.embedding import EmbeddingNets
from nasproxy.condensing.engine import Engine, Forward
from nasproxy.condensing.pairs import Pairs
from nasproxy.condensing.state import Task
from nasproxy.condensing.updating import update_images
from nasproxy.config import Precision, RecipeSettings
from nasproxy.encoding import EncodedImages, Unit
from nasproxy.images import ImageSet, make_generator
from nasproxy.training import train

EPSILON = 1e-6
"""Added to the product of two norms (public DC code)."""
NORM_IMAGES = 16
"""Real images per class that batch norm is frozen on (public DC code)."""
SYNTHETIC_TRAINING = RecipeSettings(batch_size=256, lr=0.01, lr_drops=(), momentum=0.0, weight_decay=0.0)
"""How DC and DSA train the net, except for epochs and augmentation."""
REAL_TRAINING = RecipeSettings(epochs=1, batch_size=64, lr=0.01, lr_drops=(), cutmix=0.5)
"""How IDC trains the net, except for the augmentation, and for epochs before the first step."""

Gradients = list[Tensor]
"""For each matched parameter, (k, *its shape)."""
Distance = Callable[[Tensor, Tensor], Tensor]
"""(k, *shape) of real and of synthetic images -> scalar, summed over classes."""


def row_cosine_distance(real: Tensor, synthetic: Tensor) -> Tensor:
    """Sum over classes and output rows of 1 - cosine (DC, eq. 10); a convolution's row is C x 3 x 3."""
    real, synthetic = real.flatten(2), synthetic.flatten(2)
    products = (real * synthetic).sum(dim=-1)
    norms = real.norm(dim=-1) * synthetic.norm(dim=-1)
    distance: Tensor = (1 - products / (norms + EPSILON)).sum()
    return distance


def squared_distance(real: Tensor, synthetic: Tensor) -> Tensor:
    """Sum of squared differences (IDC)."""
    distance: Tensor = (real - synthetic).square().sum()
    return distance


def absolute_distance(real: Tensor, synthetic: Tensor) -> Tensor:
    """Sum of absolute differences (IDC on grey images and on large ones)."""
    distance: Tensor = (real - synthetic).abs().sum()
    return distance


DISTANCES: Mapping[str, Distance] = {"squared": squared_distance, "absolute": absolute_distance}
"""Distances that IDC may be asked for, by name."""


@dataclass(frozen=True)
class Matching:
    """A kind of gradient matching."""

    distance: Distance
    layers: tuple[type[nn.Module], ...]
    """Layers whose parameters of more than one dimension are matched."""
    unit: Unit
    trains_on_real: bool
    """Whether the net is trained on real images between steps, or on synthetic ones."""


ROWS = Matching(row_cosine_distance, (nn.Conv2d, nn.Linear, nn.LayerNorm), "normalized", trains_on_real=False)
"""DC and DSA: all layers, the last included; a layer norm has two parameters of three dimensions."""
CONVOLUTIONS = Matching(squared_distance, (nn.Conv2d,), "pixels", trains_on_real=True)
"""IDC: convolutions only; the distance is a setting."""


def match_gradients(task: Task) -> EncodedImages:
    """DC, and with augmentation DSA: see `update_images`."""
    return update_images(task, _GradientMatching(task, ROWS))


def match_convolution_gradients(task: Task) -> EncodedImages:
    """IDC-I, and in the encoding 'multi-formation' IDC: see `update_images`."""
    assert task.settings.distance is not None  # complete settings
    matching = replace(CONVOLUTIONS, distance=DISTANCES[task.settings.distance])
    return update_images(task, _GradientMatching(task, matching))


class _GradientMatching:
    """The objective: a net, what it is trained on, and the distance of gradients."""

    def __init__(self, task: Task, matching: Matching) -> None:
        self._task, self._matching = task, matching
        self._pairs, self._embedding = Pairs(task), EmbeddingNets(task)
        self._net = self._embedding.net
        self.unit: Unit = matching.unit
        self.splittable: bool | None = True
        self._norms = [module for module in self._net.modules() if isinstance(module, nn.BatchNorm2d)]
        self._layers = [module for module in self._net.modules() if isinstance(module, matching.layers)]
        strategy = parse_strategy(task.settings.augmentation or "none", flippable=task.images.flippable)
        self._net_augmentation = str(strategy.without("cutout") if matching.trains_on_real else strategy)

    def use(self, engine: Engine) -> None:
        self._engine, self._forward = engine, engine.prepare(self._net)
        self._trained_net = engine.prepare_training(self._net)

    def renew_net(self, step: int) -> None:
        if step % self._outer_loop != 0:
            return
        self._embedding.draw(step)
        if epochs := self._task.settings.first_epochs:
            recipe = REAL_TRAINING.model_copy(update={"epochs": epochs})
            generator = make_generator(self._task.settings.seed, "net", step, "first")
            self._train(self._task.images.to(self._task.device), recipe, generator)

    def begin_step(self, step: int) -> None:
        self._pairs.draw(step)
        self._net.requires_grad_(False).train()
        if self._norms:
            generator = make_generator(self._task.settings.seed, "norm", step)
            index = self._task.images.sample_classes(NORM_IMAGES, generator)
            freeze_batch_norm(self._net, self._norms, self._task.real_images(index.flatten()))
        for parameter in matched_parameters(self._layers):
            parameter.requires_grad_(True)

    def loss(self, classes: slice, synthetic: Tensor) -> Tensor:
        real, synthetic = self._pairs.of(classes, synthetic)
        first = classes.start or 0
        labels = torch.arange(first, first + len(real), device=real.device)
        targets = self._real_gradients(real, labels)
        gradients = class_gradients(self._net, self._layers, synthetic, labels, differentiable=True)
        return torch.stack([self._matching.distance(*pair) for pair in zip(targets, gradients, strict=True)]).sum()

    def end_step(self, step: int, synthetic: Callable[[], Tensor]) -> None:
        if (step + 1) % self._outer_loop == 0:
            return  # the next step draws a fresh net
        settings = self._task.settings
        generator = make_generator(settings.seed, "net", step)
        if self._matching.trains_on_real:
            recipe, images = REAL_TRAINING, self._draw_real(generator)
        else:
            if settings.inner_loop == 0:
                return
            recipe, images = SYNTHETIC_TRAINING, _as_image_set(synthetic().detach(), self._task.images)
            recipe = recipe.model_copy(update={"epochs": settings.inner_loop})
        self._train(images, recipe, generator)

    def _train(self, images: ImageSet, recipe: RecipeSettings, generator: torch.Generator) -> None:
        lr, precision = self._task.settings.net_lr, self._engine.precision
        own = {"lr": lr, "augmentation": self._net_augmentation, "precision": precision}
        self._net.requires_grad_(True)
        # too few updates to be worth capturing
        train([self._trained_net], images, recipe.model_copy(update=own), [generator], cuda_graphs=False)

    def net_state(self) -> Mapping[str, Tensor]:
        return self._net.state_dict()

    def load_net_state(self, state: Mapping[str, Tensor]) -> None:
        self._net.load_state_dict(state)

    def _real_gradients(self, images: Tensor, labels: Tensor) -> Gradients:
        """All classes at once where the engine's chunk holds them all, else class by class in chunks."""
        chunk = self._engine.chunk
        if chunk is None or (chunk >= images.shape[0] * images.shape[1] and not self._engine.compiled):
            return class_gradients(self._net, self._layers, images, labels, self._engine.precision)
        parameters = matched_parameters(self._layers)
        gradients = [
            mean_gradients(self._forward, parameters, *pair, chunk=chunk) for pair in zip(images, labels, strict=True)
        ]
        return [torch.stack(layer) for layer in zip(*gradients, strict=True)]

    @property
    def _outer_loop(self) -> int:
        return self._task.settings.outer_loop or 1

    def _draw_real(self, generator: torch.Generator) -> ImageSet:
        images = self._task.images
        chosen = torch.randperm(len(images), generator=generator)[: self._task.settings.inner_images]
        return images.subset(chosen.to(images.device)).to(self._task.device)


@torch.no_grad()
def freeze_batch_norm(net: nn.Module, norms: Sequence[nn.Module], real: Tensor) -> None:
    """Moves the running statistics towards those of real images, and has batch norm use them until it is trained again.

    As in the public DC code: one pass in training mode over images of all classes, not augmented, which moves the
    running statistics by the layer's own momentum. Images that are compared afterwards do not depend on one another.

    Args:
        net: in training mode.
        norms: its batch norms; they are left in evaluation mode.
        real: (N, C, H, W), in float32 and in one pass, whatever the engine.
    """
    net(real)
    for norm in norms:
        norm.eval()


def class_gradients(
    net: nn.Module,
    layers: Sequence[nn.Module],
    images: Tensor,
    labels: Tensor,
    precision: Precision = "float32",
    *,
    differentiable: bool = False,
) -> Gradients:
    """For each class, the gradient of the mean cross-entropy of its images with respect to the layers' parameters.

    Those of more than one dimension: weights, and the biases of layer norms.

    Args:
        net: its parameters may or may not require gradients.
        layers: convolutions, linear layers and layer norms of the net, each called once in a forward pass.
        images: (k, M, C, H, W), augmented.
        labels: (k,).
        precision: of the forward pass.
        differentiable: keeps the graph, so that the gradients can be differentiated with respect to the images.

    Returns:
        For each of those parameters (k, *its shape), float32.
    """
    num_classes, size = images.shape[:2]
    autocast = torch.autocast(images.device.type, torch.bfloat16, enabled=precision == "bfloat16")
    with _recording(net, layers) as calls, torch.enable_grad(), autocast:
        logits: Tensor = net(images.flatten(0, 1))
    loss = F.cross_entropy(logits.float(), labels.repeat_interleave(size), reduction="sum") / size
    inputs, outputs = zip(*(calls[layer] for layer in layers), strict=True)
    deltas = torch.autograd.grad(loss, outputs, create_graph=differentiable)
    with torch.set_grad_enabled(differentiable):
        return [
            gradient
            for layer, given, delta in zip(layers, inputs, deltas, strict=True)
            for gradient in _gradients_of(layer, *(part.unflatten(0, (num_classes, size)) for part in (given, delta)))
        ]


def mean_gradients(
    forward: Forward, parameters: Sequence[Tensor], images: Tensor, label: Tensor, *, chunk: int
) -> Gradients:
    """The gradient of the mean cross-entropy of one class's images (M, C, H, W), `chunk` images at a time.

    Returns:
        One float32 tensor per parameter, of its shape; without a graph.
    """
    total = [torch.zeros_like(parameter) for parameter in parameters]
    for part in images.split(chunk):
        loss = F.cross_entropy(forward(part), label.expand(len(part)), reduction="sum") / len(images)
        for mine, more in zip(total, torch.autograd.grad(loss, parameters), strict=True):
            mine.add_(more)
    return [gradient.detach() for gradient in total]


def matched_parameters(layers: Sequence[nn.Module]) -> list[nn.Parameter]:
    """The layers' own parameters of more than one dimension, in the order of `class_gradients`."""
    return [parameter for layer in layers for parameter in layer.parameters(recurse=False) if parameter.ndim > 1]


@contextlib.contextmanager
def _recording(net: nn.Module, layers: Sequence[nn.Module]) -> Iterator[dict[nn.Module, tuple[Tensor, Tensor]]]:
    """Records inputs and outputs of the layers as they are called, with in-place modules disabled meanwhile."""
    calls: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    def record(layer: nn.Module, given: tuple[Tensor], output: Tensor) -> None:
        calls[layer] = given[0], output if output.requires_grad else output.requires_grad_()

    hooks = [layer.register_forward_hook(record) for layer in layers]
    overwriting = [module for module in net.modules() if getattr(module, "inplace", False)]
    for module in overwriting:
        setattr(module, "inplace", False)  # noqa: B010  # not every module has it
    try:
        yield calls
    finally:
        for module in overwriting:
            setattr(module, "inplace", True)  # noqa: B010
        for hook in hooks:
            hook.remove()


def _gradients_of(layer: nn.Module, given: Tensor, delta: Tensor) -> Gradients:
    """From a layer's inputs (k, M, ...) and the gradient of the loss with respect to its outputs (k, M, ...)."""
    if isinstance(layer, nn.Linear):
        return [torch.einsum("kmo,kmi->koi", delta.float(), given.float())]
    if isinstance(layer, nn.LayerNorm):
        normed = F.layer_norm(given.float(), layer.normalized_shape, eps=layer.eps)
        return [(delta.float() * normed).sum(dim=1), delta.float().sum(dim=1)]
    assert isinstance(layer, nn.Conv2d)
    return [_convolution_gradient(layer, given, delta)]


def _convolution_gradient(layer: nn.Conv2d, given: Tensor, delta: Tensor) -> Tensor:
    return torch.stack(
        [
            conv2d_weight(
                some.to(one.dtype), layer.weight.shape, one, layer.stride, layer.padding, layer.dilation, layer.groups
            ).float()
            for some, one in zip(given, delta, strict=True)
        ]
    )


def _as_image_set(synthetic: Tensor, like: ImageSet) -> ImageSet:
    """(K, J, C, H, W) normalised images as a set to train on."""
    labels = torch.arange(len(synthetic), device=synthetic.device).repeat_interleave(synthetic.shape[1])
    return replace(like, images=like.pixels_from_normalized(synthetic.flatten(0, 1)), labels=labels)
