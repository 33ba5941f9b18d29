"""What a trained net is ranked by: its accuracy, or something finer that was measured at no further cost.

Accuracies of a short training on few images are nearly equal and coarse: of 1,000 validation images, a step is a tenth
of a point. Losses of the same nets tell them apart.

A reference to a search may end in a signal: `RUN:cross-entropy`. Its trials are then those of the search, ranked and
correlated by that signal; higher is better, so losses are negated.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace

from nasproxy.errors import InputError
from nasproxy.trials import CUT, Rung, Signal, State, Trial, Trials


def split_signal(reference: str) -> tuple[str, Signal]:
    """'RUN:cross-entropy' -> RUN and the signal; accuracy where none is named."""
    name, colon, signal = reference.rpartition(":")
    if colon and signal in _NAMES:
        return name, Signal(signal)
    return reference, Signal.ACCURACY


def join_signal(reference: str, signal: Signal) -> str:
    """The inverse of `split_signal`: accuracy is not named."""
    return reference if signal is Signal.ACCURACY else f"{reference}:{signal}"


def by_signal(trials: Trials, signal: Signal) -> Trials:
    """The same nets, ranked and correlated by a signal.

    An architecture whose signal is infinite or NaN for one of its nets has no rank.

    Raises:
        InputError: the search trained no nets, cut some in a screen, or kept no losses of some; or these are by another
            signal already.
    """
    if signal is trials.info.signal:
        return trials
    info = trials.info
    if not info.kind.is_trained or not info.has_accuracies:
        raise InputError(f"{trials.name} cannot be ranked by {signal}: it has {info.selection_metric} scores alone")
    if any(trial.state in CUT for trial in trials):
        raise InputError(f"{trials.name} cannot be ranked by {signal}: a screen has cut some early; search without one")
    if lacking := sum(trial.is_ranked and _values_of(trial, signal) is None for trial in trials):
        raise InputError(
            f"{trials.name} cannot be ranked by {signal}: {lacking} of {len(trials)} trials are of an earlier version, "
            "which kept no losses; remove the run and search again"
        )
    named = replace(
        info,
        name=join_signal(info.name, signal),
        proxy=f"{info.proxy} by {signal}",
        score_name=f"negative {signal.replace('-', ' ')}",
        signal=signal,
    )
    return replace(trials, info=named, items=tuple(_by_signal(trial, signal) for trial in trials))


_NAMES = frozenset(signal.value for signal in Signal)


def _by_signal(trial: Trial, signal: Signal) -> Trial:
    if (values := _values_of(trial, signal)) is None:
        return trial
    lost = [str(value) for value in (*values.selection_scores, *values.evaluation_scores) if not math.isfinite(value)]
    if not lost:
        return replace(trial, rungs=(values,))
    return replace(trial, state=State.NOT_FINITE, rungs=(values,), reason=f"{signal} not finite: {', '.join(lost)}")


def _values_of(trial: Trial, signal: Signal) -> Rung | None:
    """A rung with the signal as its scores; None where the trial has none."""
    rung = trial.rungs[-1] if trial.rungs else None
    if rung is None:
        return None
    selection, evaluation = losses_of(rung, signal)
    if not evaluation and signal is not Signal.CROSS_ENTROPY and trial.loss_curve:  # an earlier version kept no others
        curve = [loss for _, loss in sorted(trial.loss_curve.items())]  # of as many updates each
        selection = evaluation = (statistics.fmean(curve[len(curve) // 2 :] if signal is not Signal.TSE else curve),)
    return _with_scores(rung, selection, evaluation) if evaluation else None


def losses_of(rung: Rung, signal: Signal) -> tuple[Sequence[float], Sequence[float]]:
    """The losses behind a signal that is no accuracy, to select and to judge by: (S,) each, or empty."""
    if signal is Signal.CROSS_ENTROPY:
        return rung.selection_losses, rung.evaluation_losses
    losses = rung.training_losses if signal is Signal.TSE else rung.late_training_losses
    return losses, losses


def _with_scores(rung: Rung, selection_losses: Sequence[float], evaluation_losses: Sequence[float]) -> Rung:
    return replace(
        rung,
        selection_scores=tuple(-loss for loss in selection_losses),
        evaluation_scores=tuple(-loss for loss in evaluation_losses),
    )
