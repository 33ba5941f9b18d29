"""Searches with a screen, beside others: what was cut early has no score that can be set beside those of the rest."""

from collections import Counter
from dataclasses import replace

from nasproxy.trials import CUT, Rung, State, Trial, Trials

SCORE_NAME = "place in the screen"
"""What architectures are ranked by where some were cut."""


def by_place(trials: Trials) -> Trials:
    """The same architectures, ranked by how far they got; as they are where none was cut.

    The score is the share of the architectures that are no better (`Trial.order`), equal ones sharing the mean.
    """
    if not any(trial.state in CUT for trial in trials):
        return trials
    ranked = [trial for trial in trials.ranked() if trial.is_ranked]
    scores, better = {}, 0
    for order, count in Counter(trial.order for trial in ranked).items():  # best first
        scores[order] = 1 - (better + (count - 1) / 2) / len(ranked)
        better += count
    items = tuple(_placed(trial, scores[trial.order]) if trial.is_ranked else trial for trial in trials)
    return replace(trials, info=replace(trials.info, score_name=SCORE_NAME, num_seeds=1), items=items)


def to_the_end(trials: Trials) -> Trials:
    """Without what a screen cut."""
    kept = tuple(trial for trial in trials if trial.state not in CUT)
    return trials if len(kept) == len(trials) else replace(trials, items=kept)


def _placed(trial: Trial, score: float) -> Trial:
    state = State.COMPLETE if trial.state in CUT else trial.state
    return replace(trial, state=state, rungs=(Rung((score,), (score,)),))
