"""What each factor of the space does to a score."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from nasproxy.factors import FactorValue
from nasproxy.ranking.estimate import CONFIDENCE, Estimate
from nasproxy.ranking.scores import Array, check_scores, mean_over_seeds

TOLERANCE = 1e-8
"""Of an effect's distance from what the architectures determine."""


def factor_effects(
    factors: Mapping[str, Sequence[FactorValue]], scores: ArrayLike
) -> dict[str, dict[FactorValue, Estimate]]:
    """Main effects of an additive linear model of the scores, with 95 % t intervals.

    score = mean + the effect of each factor's level + residual, by least squares; the effects of a factor's levels sum
    to zero. In a full factorial the effect of a level is its mean score minus the mean of all. Interactions of factors
    are part of the residual. An effect that these architectures do not determine has no value and a note; one without
    a residual to judge it by has no interval.

    Args:
        factors: for each factor the (A,) levels of the architectures.
        scores: (A,) or (A, S), finite; their unit is that of the effects.

    Returns:
        For each factor one estimate per level, in order of first appearance; factors with a single level are left out.

    Raises:
        ValueError: a score is not finite, or a factor does not have A levels.
    """
    y = mean_over_seeds(check_scores(scores, "the"))
    for name, column in factors.items():
        if len(column) != len(y):
            raise ValueError(f"factor {name} has {len(column)} levels for {len(y)} scores; give one per architecture")
    levels = {name: list(dict.fromkeys(column)) for name, column in factors.items() if len(set(column)) > 1}
    design = np.hstack([np.ones((len(y), 1)), *(_code(factors[name], known) for name, known in levels.items())])
    model, effects, start = _fit(design, y), {}, 1
    for name, known in levels.items():
        contrasts = np.zeros((len(known), design.shape[1]))
        contrasts[:, start : start + len(known) - 1] = _code(known, known)
        start += len(known) - 1
        effects[name] = {level: _estimate(model, contrast) for level, contrast in zip(known, contrasts, strict=True)}
    return effects


def _code(column: Sequence[FactorValue], levels: Sequence[FactorValue]) -> Array:
    """(A, L - 1) sum-to-zero coding: one column per level except the last level, which is -1 in all of them."""
    number = {level: index for index, level in enumerate(levels)}
    rows = np.eye(len(levels))[:, :-1]
    rows[-1] = -1
    return rows[[number[level] for level in column]]


@dataclass(frozen=True)
class _Model:
    """Least squares of (A,) scores on a design (A, B)."""

    moments: Array
    """(B, B): the design's transpose times itself."""
    inverse: Array
    """Its pseudo-inverse."""
    coefficients: Array
    num_archs: int
    num_spare: int
    """Degrees of freedom of the residual."""
    residual_variance: float


def _fit(design: Array, scores: Array) -> _Model:
    moments = design.T @ design
    inverse: Array = np.linalg.pinv(moments, hermitian=True).astype(float)
    coefficients = inverse @ design.T @ scores
    num_spare = len(scores) - int(np.linalg.matrix_rank(design))
    residual = float(((scores - design @ coefficients) ** 2).sum())
    return _Model(moments, inverse, coefficients, len(scores), num_spare, residual / max(num_spare, 1))


def _estimate(model: _Model, contrast: Array) -> Estimate:
    """An effect: a (B,) contrast of coefficients, determined where the design spans it."""
    if np.abs(contrast - contrast @ model.inverse @ model.moments).max() > TOLERANCE:
        return Estimate(None, None, None, model.num_archs, note="not determined by these architectures")
    value = float(contrast @ model.coefficients)
    if not model.num_spare:
        return Estimate(value, None, None, model.num_archs, note="no architecture to spare for an interval")
    error = np.sqrt(model.residual_variance * float(contrast @ model.inverse @ contrast))
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, model.num_spare) * error)
    return Estimate(value, value - half, value + half, model.num_archs)
