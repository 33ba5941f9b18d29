"""Ways to train several seeds of one architecture at once, to choose between by measurement.

- *one by one*: each net a step, one after another; what `nasproxy.training` does on a CPU.
- *side by side*: each net on a stream of its own, the whole step replayed as a CUDA graph; what it does on a GPU.
- *vmap*: the weights stacked, the net mapped over them by `torch.func`.
- *grouped*: one grouped convolution a layer, the nets' channels beside each other.
- *unfolded*: the weights stacked, each convolution as unfolded patches times weights, one batched product a layer.

The last two are written for the default kind of net: instance norm, ReLU, average pooling.

Notation: S nets, B images per batch, C channels, H height, W width.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.workload import BATCH_SIZE, random_images
from nasproxy.condensing.engine import timed
from nasproxy.config import RecipeSettings
from nasproxy.cuda_graphs import capture_graph
from nasproxy.device import retain_freed_memory
from nasproxy.nets.convnet import parse_arch
from nasproxy.training import make_net, make_update

Weights = dict[str, Tensor]
"""Name of a parameter -> its S values, stacked."""
Losses = Callable[[nn.Module, Weights, Tensor, Tensor], Tensor]
"""(a net, stacked weights, (S, B, C, H, W) batches, (S, B) labels) -> (S,) losses."""
Way = Callable[[], Tensor]
"""An update of all nets -> (S,) losses."""


def time_all(arch_ids: Sequence[str], num_nets: int, device: torch.device) -> dict[str, dict[str, float]]:
    """Seconds of an update of all nets, by architecture and way.

    Raises:
        AssertionError: two ways do not agree on the losses.
    """
    with retain_freed_memory():
        return {arch_id: _time_arch(arch_id, num_nets, device) for arch_id in arch_ids}


def _time_arch(arch_id: str, num_nets: int, device: torch.device) -> dict[str, float]:
    images = random_images(BATCH_SIZE * num_nets, "stack").to(device)
    batches = images.normalized().unflatten(0, (num_nets, BATCH_SIZE))
    labels = images.labels.unflatten(0, (num_nets, BATCH_SIZE))

    def make_nets() -> list[nn.Module]:
        return [make_net(parse_arch(arch_id), images, seed) for seed in range(num_nets)]

    ways = {"one by one": _one_by_one(make_nets(), batches, labels)}
    if device.type == "cuda":
        ways["side by side"] = _on_streams(make_nets(), batches, labels)
    for name, losses_of in (("vmap", _mapped_losses), ("grouped", _grouped_losses), ("unfolded", _unfolded_losses)):
        ways[name] = _stacked(make_nets(), losses_of, batches, labels)
    expected = ways["one by one"]()
    for name, way in ways.items():
        if name != "one by one":
            torch.testing.assert_close(way(), expected, rtol=1e-3, atol=1e-3, msg=f"{name}: other losses")
    return {name: timed(way, device, repeats=3) for name, way in ways.items()}


def _one_by_one(nets: Sequence[nn.Module], batches: Tensor, labels: Tensor) -> Way:
    updates = [make_update([net], RecipeSettings(), torch.tensor(0.01, device=batches.device))[0] for net in nets]
    return lambda: torch.cat([update(*pair) for update, *pair in zip(updates, batches, labels, strict=True)])


def _on_streams(nets: Sequence[nn.Module], batches: Tensor, labels: Tensor) -> Way:
    update = capture_graph(
        *make_update(nets, RecipeSettings(), torch.tensor(0.01, device=batches.device)), batches.device
    )
    return lambda: update(*batches, *labels)


def _stacked(nets: Sequence[nn.Module], losses_of: Losses, batches: Tensor, labels: Tensor) -> Way:
    weights = {
        name: torch.stack([net.get_parameter(name).detach() for net in nets]).requires_grad_()
        for name, _ in nets[0].named_parameters()
    }
    optimizer = torch.optim.SGD(weights.values(), lr=0.01, momentum=0.9, weight_decay=5e-4, fused=True)

    def way() -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        losses = losses_of(nets[0], weights, batches, labels)
        losses.sum().backward()
        optimizer.step()
        return losses.detach()

    return way


def _mapped_losses(net: nn.Module, weights: Weights, batches: Tensor, labels: Tensor) -> Tensor:
    def loss(mine: Weights, batch: Tensor, label: Tensor) -> Tensor:
        logits: Tensor = torch.func.functional_call(net, mine, (batch,))
        return F.cross_entropy(logits, label)

    losses: Tensor = torch.func.vmap(loss)(weights, batches, labels)
    return losses


def _grouped_losses(net: nn.Module, weights: Weights, batches: Tensor, labels: Tensor) -> Tensor:
    num_nets = len(batches)
    maps = batches.transpose(0, 1).flatten(1, 2)  # (B, S * C, H, W)
    for conv, norm in _blocks(net):
        kernels = weights[f"{conv}.weight"].flatten(0, 1)
        maps = F.conv2d(maps, kernels, weights[f"{conv}.bias"].flatten(), padding=1, groups=num_nets)
        scale, shift = weights[f"{norm}.weight"].flatten(), weights[f"{norm}.bias"].flatten()
        maps = F.avg_pool2d(F.relu(F.group_norm(maps, len(scale), scale, shift)), 2)
    return _head_losses(weights, maps.unflatten(1, (num_nets, -1)).transpose(0, 1), labels)


def _unfolded_losses(net: nn.Module, weights: Weights, batches: Tensor, labels: Tensor) -> Tensor:
    maps = batches  # (S, B, C, H, W)
    for conv, norm in _blocks(net):
        patches = F.unfold(maps.flatten(0, 1), kernel_size=3, padding=1).unflatten(0, maps.shape[:2])
        kernels = weights[f"{conv}.weight"].flatten(2).unsqueeze(1)  # (S, 1, out, in * 9)
        bias, scale, shift = (
            weights[name][:, None, :, None, None] for name in (f"{conv}.bias", f"{norm}.weight", f"{norm}.bias")
        )
        maps = (kernels @ patches).unflatten(3, maps.shape[3:]) + bias
        normed = F.group_norm(maps.flatten(0, 1), maps.shape[2]).unflatten(0, maps.shape[:2])
        maps = F.avg_pool2d(F.relu(normed * scale + shift).flatten(0, 1), 2).unflatten(0, maps.shape[:2])
    return _head_losses(weights, maps, labels)


def _head_losses(weights: Weights, maps: Tensor, labels: Tensor) -> Tensor:
    """(S, B, C, H, W) last maps -> (S,) losses."""
    logits = torch.baddbmm(weights["head.bias"][:, None], maps.flatten(2), weights["head.weight"].transpose(1, 2))
    each = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
    losses: Tensor = each.unflatten(0, labels.shape).mean(dim=1)
    return losses


def _blocks(net: nn.Module) -> list[tuple[str, str]]:
    """Names of the convolution and the norm of each block."""
    convs = [name for name, module in net.named_modules() if isinstance(module, nn.Conv2d)]
    norms = [name for name, module in net.named_modules() if isinstance(module, nn.GroupNorm)]
    return list(zip(convs, norms, strict=True))
