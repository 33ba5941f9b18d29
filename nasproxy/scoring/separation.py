"""Training-free scores from how well a fresh net separates images: jacob_cov and naswot.

Source: Mellor et al., "Neural Architecture Search without Training": its first version (arXiv 2006.04647v1) for
jacob_cov, as used by Abdelfattah et al., ICLR 2021, section 3.2; ICML 2021 for naswot. For both, higher is predicted to
be better.

Notation: N images, C channels, H height, W width, U activation units.

Every function may modify the net it is given, which is in training mode: norm layers use the batch's statistics.
"""

import math

import torch
from torch import Tensor, nn

from nasproxy.scoring.batch import Batch

OFFSET = 1e-5
"""k of jacob_cov: keeps the logarithm of an eigenvalue finite."""
ACTIVATIONS = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish),
    *(nn.Sigmoid, nn.LogSigmoid, nn.Tanh, nn.Softplus, nn.Softsign),
    *(nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh, nn.Hardshrink, nn.Softshrink, nn.Tanhshrink, nn.Threshold),
)
"""Modules from whose input signs naswot makes its codes."""


def jacob_cov(net: nn.Module, batch: Batch) -> float:
    """-sum_i [log(s_i + k) + 1 / (s_i + k)], s the eigenvalues of the correlation matrix of the images' Jacobians.

    Row n of J (N, C*H*W) is the gradient, with respect to image n, of the sum of all outputs. The matrix (N, N) holds
    Pearson's correlations between rows. The score is high where the gradients distinguish images.

    1. Correlation and eigenvalues are in float64.

    Returns:
        NaN where a Jacobian is not finite, or has the same value at every pixel (no variance, no correlation).
    """
    images = batch.images.requires_grad_()
    (jacobian,) = torch.autograd.grad(net(images.clone()).sum(), images)  # cloned, as a net may work in place
    rows = jacobian.flatten(1).double()
    centred = rows - rows.mean(dim=1, keepdim=True)
    directions = centred / centred.norm(dim=1, keepdim=True)
    correlation = directions @ directions.T
    if not correlation.isfinite().all():
        return math.nan
    shifted = torch.linalg.eigvalsh(correlation) + OFFSET
    return -float((shifted.log() + 1 / shifted).sum())


def naswot(net: nn.Module, batch: Batch) -> float:
    """log |det K|, K_ij = U - hamming(c_i, c_j), c_n being the binary code of image n (Mellor et al., eq. 1 and 2).

    A code has one bit for each of the U units of all activation modules: whether its input is positive.

    1. The paper's units are ReLUs. Those of other activations, such as the sigmoid, have no two linear pieces: the sign
    of their input is used all the same.
    2. K is summed over modules and exact; the determinant is in float64. A K without full rank gives -inf, even where
    rounding would hide it.
    3. Activations are found by module type (`ACTIVATIONS`); functional ones are not seen, and a net without any module
    of these types gives -inf.

    Returns:
        -inf where two images have the same code; NaN where an input of an activation is NaN.
    """
    num_images = len(batch.images)
    kernel = torch.zeros(num_images, num_images, dtype=torch.float64, device=batch.images.device)

    def count_agreements(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        units = inputs[0].reshape(num_images, -1)
        code = (units > 0).float()
        both = (code @ code.T).double()  # bits that are 1 in both codes; on the diagonal, in one
        num_ones = both.diagonal()
        kernel.add_(units.shape[1] - num_ones[:, None] - num_ones + 2 * both)
        if units.amax().isnan():
            kernel.fill_(math.nan)

    for module in net.modules():
        if isinstance(module, ACTIVATIONS):
            module.register_forward_pre_hook(count_agreements)
    with torch.no_grad():
        net(batch.images)
    if kernel.isnan().any():
        return math.nan
    if torch.linalg.matrix_rank(kernel, hermitian=True) < num_images:
        return -math.inf
    return float(torch.linalg.slogdet(kernel).logabsdet)
