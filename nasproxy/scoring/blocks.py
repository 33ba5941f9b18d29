"""Training-free scores from the maps between the blocks of a fresh net: the three of AZ-NAS.

Source: Lee & Ham, "AZ-NAS: Assembling Zero-Cost Proxies for Network Architecture Search", CVPR 2024, section 3.2, and
its authors' public code. AZ-NAS itself is these three and FLOPs as one: the mean of the logarithms of their ranks
(section 3.3), see `nasproxy.combining`.

For all three the images are Gaussian noise, the same for every net: no data are looked at. Eigenvalues and singular
values are in float64. Higher is predicted to be better. Our deviations:
1. The paper's primary blocks are those of a few spaces, named one by one. Ours are found in any net: of its modules,
sequences opened, a block is one with modules in it (a cell, a residual block), or a convolution with the plain layers
after it (norm, activation, pooling), up to the next block. Plain layers behind a block of the first kind, or that pool
to a fixed size, belong to none. Where there is one block alone, the images stand for a block before it.
2. The weights of convolutions and linear layers are scaled to the standard deviation of Kaiming's initialisation, not
drawn anew by it; their biases are zero.

Notation: B blocks, N images, C channels of a block's map, H height, W width, X_b the map after block b.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nasproxy.scoring.batch import Batch
from nasproxy.scoring.gradients import CONVOLUTIONS

NUM_IMAGES = 64
"""N of the noise."""
OFFSET = 1e-8
"""Keeps the logarithm of a share finite."""
LEAST = 1e-6
"""Keeps the inverse of a singular value finite."""
_CHAINS = (nn.Sequential, nn.ModuleList)
_FIXED = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.Flatten, nn.Linear)


def az_expressivity(net: nn.Module, batch: Batch) -> float:
    """Sum over blocks of the entropy of the map's principal components (eq. 1 and 2).

    Of the covariance matrix (C, C) of the N*H*W points of X_b, the eigenvalues as shares of their sum; their entropy is
    high where the points fill all channels evenly.

    Returns:
        NaN where a map is not finite or constant.
    """
    return math.fsum(_entropies(net, batch))


def az_progressivity(net: nn.Module, batch: Batch) -> float:
    """The smallest growth of that entropy from a block to the next (eq. 3).

    Returns:
        NaN where a map is not finite or constant, or there is no block.
    """
    entropies = _entropies(net, batch)
    growth = [after - before for before, after in pairwise(entropies)]
    return min(growth) if growth and not any(map(math.isnan, growth)) else math.nan


def az_trainability(net: nn.Module, batch: Batch) -> float:
    """Mean over blocks but the first of 2 - s - 1/s, s the spectral norm of how a block passes gradients on (eq. 4-6).

    Gradients of random signs at X_b give those at X_(b-1); the matrix (C_(b-1), C_b) is the mean of their products over
    all points. A score of 0 is a block that neither shrinks nor blows gradients up. Where a block makes the map
    smaller, the points of the larger map count as channels of the smaller one.

    3. A block that passes gradients on as they are (cells of skips alone) counts as one that loses them: -1e6. The
    public code has minus infinity there.
    4. Where the sides of the maps are no multiples of each other, the larger map is averaged to the smaller one's size.

    Returns:
        NaN where a gradient is not finite, or there is no block.
    """
    maps = _run(net, batch)
    passed = [_pass_on(before, after) for before, after in pairwise(maps)]
    scores = [score for score in passed if score is not None]
    return math.fsum(scores) / len(scores) if scores else math.nan


def _entropies(net: nn.Module, batch: Batch) -> list[float]:
    with torch.no_grad():
        return [_entropy(block) for block in _run(net, batch)]


def _entropy(block: Tensor) -> float:
    points = _points(block).double()
    centred = points - points.mean(dim=0)
    covariance = centred.T @ centred / len(centred)
    if not covariance.isfinite().all():
        return math.nan
    shares = torch.linalg.eigvalsh(covariance).clamp(min=0)
    shares = shares / shares.sum()
    return float(-(shares * (shares + OFFSET).log()).sum())


def _pass_on(before: Tensor, after: Tensor) -> float | None:
    """The score of a block; None where its map does not depend on the one before."""
    signs = torch.randint(0, 2, after.shape, generator=torch.Generator().manual_seed(0)).to(after) * 2 - 1
    (given,) = torch.autograd.grad(after, before, signs, retain_graph=True, allow_unused=True)
    if given is None:
        return None
    if given.shape == signs.shape and torch.equal(given, signs):
        return 2 - 1 / LEAST
    if given.shape[2:] != signs.shape[2:]:
        given = _shrink(given, signs.shape[2:])
    product = _points(given).double().T @ _points(signs).double() / (signs.numel() // signs.shape[1])
    if not product.isfinite().all():
        return math.nan
    norm = float(torch.linalg.matrix_norm(product, 2))
    return 2 - norm - 1 / (norm + LEAST)


def _shrink(maps: Tensor, size: torch.Size) -> Tensor:
    """(N, C, H, W) -> (N, C * factor^2, *size), or (N, C, *size) where the sides are no multiples."""
    factor = maps.shape[2] // size[0]
    if maps.ndim == 4 and factor > 1 and list(maps.shape[2:]) == [factor * side for side in size]:
        return F.pixel_unshuffle(maps, factor)
    return F.interpolate(maps, size=tuple(size), mode="area")


def _points(maps: Tensor) -> Tensor:
    """(N, C, H, W) -> (N*H*W, C)."""
    return maps.movedim(1, -1).reshape(-1, maps.shape[1])


def _run(net: nn.Module, batch: Batch) -> list[Tensor]:
    """The maps after each block, of noise through the net with scaled weights."""
    for module in net.modules():
        if isinstance(module, (*CONVOLUTIONS, nn.Linear)):
            _scale(module)
    shape = (NUM_IMAGES, *batch.images.shape[1:])
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(batch.images).requires_grad_()
    maps: list[Tensor] = []

    def keep(module: nn.Module, inputs: tuple[Tensor, ...], output: object) -> Tensor | None:
        if not isinstance(output, Tensor) or output.ndim < 3:
            return None
        maps.append(output)
        return output.clone()  # later layers may work in place

    hooks = [block.register_forward_hook(keep) for block in _find_blocks(net)]
    net(noise.clone())  # a net may work in place
    for hook in hooks:
        hook.remove()
    return [noise, *maps] if len(maps) == 1 else maps


@torch.no_grad()
def _scale(layer: nn.Module) -> None:
    """To a standard deviation of sqrt(2 / inputs of a unit)."""
    weight, bias = layer.weight, layer.bias
    assert isinstance(weight, Tensor)
    spread = weight.std(correction=0)
    if spread > 0:
        weight.mul_(math.sqrt(2 / weight[0].numel()) / spread)
    if isinstance(bias, Tensor):
        bias.zero_()


@dataclass
class _Block:
    """A block being put together."""

    last: nn.Module
    is_open: bool
    """Whether plain layers after it are part of it."""


def _find_blocks(net: nn.Module) -> list[nn.Module]:
    """The last module of each block, in the order in which they are registered; a lone block is looked into."""
    blocks: list[_Block] = []
    for module in _open(net):
        if isinstance(module, CONVOLUTIONS) or any(module.children()):
            blocks.append(_Block(module, is_open=isinstance(module, CONVOLUTIONS)))
        elif blocks and blocks[-1].is_open and not isinstance(module, _FIXED):
            blocks[-1].last = module
        elif blocks:
            blocks[-1].is_open = False
    found = [block.last for block in blocks]
    return _find_blocks(found[0]) if len(found) == 1 and any(found[0].children()) else found


def _open(net: nn.Module) -> Iterator[nn.Module]:
    """The modules of a net, sequences opened."""
    for module in net.children():
        if isinstance(module, _CHAINS):
            yield from _open(module)
        else:
            yield module
