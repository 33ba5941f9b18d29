"""Optimisers and learning rates of the training loop.

Notation: T updates in all, t the number of updates done.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nasproxy.config import RecipeSettings
from nasproxy.errors import ArchError

ONE_CYCLE_RISE = 0.3
"""Part of the updates in which the rate of 'one-cycle' rises."""
ONE_CYCLE_START, ONE_CYCLE_END = 1 / 25, 1 / 250_000
"""Of the highest rate: where 'one-cycle' starts and ends, as torch's `OneCycleLR` does."""


def learning_rates(recipe: RecipeSettings, num_steps: int) -> Tensor:
    """(T,) float32, the rate of every update.

    After a warm-up that rises in a straight line to `lr`, over the rest of the updates: 'step' is `lr`, multiplied by
    `lr_factor` after each of `lr_drops`, which are parts of all updates; 'cosine' falls to 0 by half a wave (Loshchilov
    & Hutter, "SGDR", ICLR 2017, eq. 5, without restarts); 'one-cycle' rises from `lr` / 25 in three tenths and falls to
    nearly 0, both by half waves (Smith & Topin, arXiv 1708.07120, as torch's `OneCycleLR` has it).
    """
    warm = round(recipe.warmup * num_steps)
    rates = torch.full((num_steps,), recipe.lr)
    if recipe.schedule == "step":
        for drop in recipe.lr_drops:
            rates[int(drop * num_steps) :] *= recipe.lr_factor
    elif recipe.schedule == "cosine":
        rates[warm:] = _half_wave(recipe.lr, 0.0, num_steps - warm, num_steps - warm)
    else:
        rise = round(ONE_CYCLE_RISE * num_steps)
        rates[:rise] = _half_wave(recipe.lr * ONE_CYCLE_START, recipe.lr, rise, rise)
        rates[rise:] = _half_wave(recipe.lr, recipe.lr * ONE_CYCLE_END, num_steps - rise, max(num_steps - rise - 1, 1))
    rates[:warm] *= (torch.arange(warm) + 1) / max(warm, 1)
    return rates


def _half_wave(start: float, end: float, count: int, period: int) -> Tensor:
    """(count,) from `start` towards `end`, which would be reached after `period` updates."""
    return end + (start - end) * (1 + torch.cos(math.pi * torch.arange(count) / period)) / 2


def make_optimizer(nets: Sequence[nn.Module], recipe: RecipeSettings, lr: Tensor) -> torch.optim.Optimizer:
    """The optimiser of a recipe for all parameters of all nets, with its state made already.

    `lr` is read at every update. Momentum starts at zero, so the first update of 'sgd' is by the plain gradient.

    Raises:
        ArchError: there is no parameter.
    """
    parameters = [parameter for net in nets for parameter in net.parameters()]
    if not parameters:
        raise ArchError("the net has no parameters to train; correct its builder")
    if recipe.optimizer == "adamw":
        on_gpu = lr.device.type == "cuda"
        adamw = torch.optim.AdamW(
            parameters, lr=lr, betas=(recipe.momentum, 0.999), weight_decay=recipe.weight_decay, fused=True,
            capturable=on_gpu,
        )  # fmt: skip
        for parameter in parameters:
            adamw.state[parameter] = {
                "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }
        return adamw
    sgd = torch.optim.SGD(
        parameters,
        lr=lr,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=recipe.nesterov,
        fused=True,
    )
    for parameter in parameters:
        sgd.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return sgd


def state_of(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """All tensors that its updates change, but for the parameters."""
    groups = [group["params"] for group in optimizer.param_groups]
    states = [optimizer.state[parameter] for group in groups for parameter in group]
    return [tensor for state in states for tensor in state.values()]
