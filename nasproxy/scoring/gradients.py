"""Training-free scores from gradients of a fresh net: grad_norm, snip, grasp, synflow, fisher, zico.

Source: Abdelfattah et al., "Zero-Cost Proxies for Lightweight NAS", ICLR 2021, section 3.2, which takes saliencies of
parameters from the pruning literature and sums them over a net; ZiCo: Li et al., "ZiCo: Zero-shot NAS via Inverse
Coefficient of Variation on Gradients", ICLR 2023. For all of them, higher is predicted to be better.

Notation: N images, K classes, theta the weights, L the mean cross-entropy over a batch, g = dL/dtheta.

Our deviations, for all but synflow:
1. theta are the weights (`_weights`) that the loss depends on. The equations sum over all parameters; the published
measurements take the weights of convolutions and linear layers, and so do we. Biases and the affine parameters of norm
layers are left out.
2. Sums over parameters are taken in float64.

Every function may modify the net it is given, which is in training mode: norm layers use the batch's statistics.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nasproxy.scoring.batch import Batch

NORMS = (
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm),
    *(nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d),
    *(nn.GroupNorm, nn.LayerNorm, nn.RMSNorm, nn.LocalResponseNorm),
)
"""Layers that normalise."""
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def grad_norm(net: nn.Module, batch: Batch) -> float:
    """Sum over weight tensors of the Euclidean norm of g (Abdelfattah et al., section 3.2)."""
    return sum(float(gradient.double().norm()) for _, gradient in _gradients(net, batch))


def snip(net: nn.Module, batch: Batch) -> float:
    """Sum of |g * theta| (Abdelfattah et al., eq. 1; Lee et al., "SNIP", ICLR 2019)."""
    return sum(_sum((gradient * weight).abs()) for weight, gradient in _gradients(net, batch))


def grasp(net: nn.Module, batch: Batch) -> float:
    """Sum of -(H g) * theta, H being the Hessian of L (Abdelfattah et al., eq. 1; Wang et al., "GraSP", ICLR 2020).

    The sign is that of the equation. theta . H g is half the slope of |g|^2 as all weights grow together, so a high
    score means gradients that would grow if the weights shrank: the gradient flow does not depend on their scale.
    That higher is better is what the literature assumes and measures, not a theorem.

    3. H g is exact, by differentiating g . g' with g' held fixed; one batch, no temperature.
    """
    pairs = _gradients(net, batch, create_graph=True)
    weights = [weight for weight, _ in pairs]
    product = torch.stack([(gradient * gradient.detach()).sum() for _, gradient in pairs]).sum()
    hessian_gradients = torch.autograd.grad(product, weights, allow_unused=True, materialize_grads=True)
    return -sum(_sum(weight * curved) for weight, curved in zip(weights, hessian_gradients, strict=True))


def fisher(net: nn.Module, batch: Batch) -> float:
    """Sum over channels of (1 / 2N) sum_n (sum_xy z dL/dz)^2, z being a channel of a layer's output.

    Source: Turner et al., "BlockSwap", ICLR 2020, after Theis et al., arXiv 1801.05787: a channel has one value, and a
    net the sum of them. Channels are those of all outputs of convolutions and linear layers, the logits included.

    3. The definition, not the published measurements (Abdelfattah et al., eq. 3 and Table 1): their code gives every
    weight the value of its channel and sums over weights, so that a layer counts in proportion to its fan-in. Nets
    whose layers all have the same fan-in are ranked alike by both; others are not, so our rank correlations are not
    to be compared with those.
    """
    outputs: list[tuple[int, Tensor]] = []

    def keep(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        outputs.append((1 if isinstance(module, CONVOLUTIONS) else -1, output))
        return output.clone()  # later layers may work in place

    for module in net.modules():
        if isinstance(module, (*CONVOLUTIONS, nn.Linear)):
            module.register_forward_hook(keep)
    loss = _loss(net, batch)
    gradients = torch.autograd.grad(loss, [z for _, z in outputs], allow_unused=True, materialize_grads=True)
    total, num_images = 0.0, len(batch.images)
    for (channel_dim, z), gradient in zip(outputs, gradients, strict=True):
        terms = (z.detach() * gradient).movedim(channel_dim, 1)
        effects = terms.reshape(num_images, terms.shape[1], -1).sum(dim=2)  # (N, channels)
        total += _sum(effects.double() ** 2) / (2 * num_images)
    return total


def zico(net: nn.Module, batches: Sequence[Batch]) -> float:
    """Sum over layers of log sum_w E[|g_w|] / sqrt(Var(|g_w|)), mean and variance over batches (Li et al., 2023).

    3. A layer is a weight tensor. The variance divides by the number of batches.
    4. Weights whose |g| is the same in all batches, mostly dead ones, have no ratio and are left out. A layer without
    any other weights makes the score -inf; the authors' program leaves such a layer out.
    5. The variance is of |g|, as in the equation; the authors' program uses that of g.

    Raises:
        ValueError: fewer than two batches.
    """
    if len(batches) < 2:
        raise ValueError(f"{len(batches)} batch(es): a variance takes at least 2")
    per_batch = [[gradient.double().abs() for _, gradient in _gradients(net, batch)] for batch in batches]
    total = 0.0
    for layer in zip(*per_batch, strict=True):
        sizes = torch.stack(layer)
        mean = sizes.mean(dim=0)
        deviation = (sizes - mean).square().mean(dim=0).sqrt()  # torch's own std is slow along the first dimension
        varies = (sizes != sizes[0]).any(dim=0)
        ratio = _sum(torch.where(varies, mean / deviation, 0.0))
        total += math.log(ratio) if ratio > 0 else -math.inf if ratio == 0 else math.nan
    return total


def synflow(net: nn.Module, batch: Batch) -> float:
    """log of the sum over all parameters of |theta * dR/dtheta|, R = sum of the outputs for an image of ones.

    Source: Abdelfattah et al., eq. 1; Tanaka et al., "Pruning Neural Networks without any Data by Iteratively
    Conserving Synaptic Flow", NeurIPS 2020, algorithm 1: theta are replaced by their absolute values. Only the shape of
    the images matters.

    1. Everything is in float64 and the log is reported: the sum grows like a power of the width in the depth, and
    overflows float32.
    2. Norm layers of every kind are left out. Group and layer norm are not linear and undo the scale to be
    measured; batch norm at initialisation is the identity. So synflow cannot distinguish norms.
    3. Sigmoids and other activations that are not piecewise linear are kept: R is then not a sum over paths.
    4. All parameters count, including biases.
    """
    _leave_norms_out(net)
    net.double().eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.abs_()
    parameters = [parameter for parameter in net.parameters() if parameter.requires_grad]
    flow = net(torch.ones_like(batch.images[:1], dtype=torch.float64)).sum()
    gradients = torch.autograd.grad(flow, parameters, allow_unused=True, materialize_grads=True)
    total = sum(_sum((p * gradient).abs()) for p, gradient in zip(parameters, gradients, strict=True))
    return math.log(total) if total > 0 else -math.inf if total == 0 else math.nan


def _loss(net: nn.Module, batch: Batch) -> Tensor:
    return F.cross_entropy(net(batch.images), batch.labels)


def _gradients(net: nn.Module, batch: Batch, *, create_graph: bool = False) -> list[tuple[Tensor, Tensor]]:
    """(weight, its gradient) for the weights that the loss depends on."""
    weights = _weights(net)
    gradients = torch.autograd.grad(_loss(net, batch), weights, create_graph=create_graph, allow_unused=True)
    return [pair for pair in zip(weights, gradients, strict=True) if pair[1] is not None]


def _weights(net: nn.Module) -> list[nn.Parameter]:
    """Trainable parameters with two or more dimensions, except those of norm layers.

    These are the weights of convolutions and linear layers, and their equivalents in custom layers.
    """
    affine = {id(p) for module in net.modules() if isinstance(module, NORMS) for p in module.parameters()}
    return [p for p in net.parameters() if p.ndim >= 2 and p.requires_grad and id(p) not in affine]


def _leave_norms_out(net: nn.Module) -> None:
    for parent in list(net.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, NORMS):
                setattr(parent, name, nn.Identity())


def _sum(values: Tensor) -> float:
    return float(values.detach().sum(dtype=torch.float64))
