"""Screens: a search in rungs. All architectures by something cheap, the best of them by something dearer, and so on.

The plain one, training for a few updates and keeping the best, loses little to cleverer ones (Egele et al., "The
Unreasonable Effectiveness of Early Discarding After One Epoch", arXiv 2404.04111); several such rungs with more updates
each are successive halving (Jamieson & Talwalkar, "Non-stochastic Best Arm Identification", AISTATS 2016). Ours:
1. Nets of a rung of other updates are trained anew, by a schedule of that length: the rate of a training that is cut
   short has not dropped yet, and its accuracies say less. A rung of the same updates and more seeds keeps the nets
   there are.
2. A rung ends before the next begins: the trials are the same for any number of workers, and after a resume.

Notation: K rungs, S nets (seeds of an architecture).
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from nasproxy.config import RecipeSettings, parse_share
from nasproxy.errors import SettingsError, unknown_name
from nasproxy.proxies import COMPOSITES
from nasproxy.ranking import average_ranks, count_of
from nasproxy.scoring import SCORES
from nasproxy.training import count_steps
from nasproxy.trials import State, Trial

SCREENS = {
    "top": "steps=10%:10%",
    "halving": "steps=6%:25%,steps=25%:25%",
    "funnel": "naswot:30%,steps=10%:20%",
}
"""Screens by name."""
_KEYS = ("steps", "epochs", "seeds")


@dataclass(frozen=True)
class Stage:
    """One rung of a screen: how architectures are measured there, and how many of them go on."""

    text: str
    """As it is written."""
    scored_by: tuple[str, ...] | RecipeSettings
    """Names of training-free scores, several of a composite; or how nets are trained."""
    num_seeds: int
    keep: float | int | None = None
    """A fraction (rounded up) or a number of those with a score; None: all, it is the last one."""

    @property
    def num_rungs(self) -> int:
        """Rungs that it adds to a trial."""
        return len(self.scored_by) if isinstance(self.scored_by, tuple) else 1

    def work(self, num_images: int) -> int:
        """Updates of all nets of an architecture; a training-free score counts as one."""
        if isinstance(self.scored_by, tuple):
            return len(self.scored_by)
        return self.num_seeds * count_steps(self.scored_by, num_images)

    def count_kept(self, num_archs: int) -> int:
        """How many of so many architectures go on."""
        if self.keep is None:
            return num_archs
        return count_of(self.keep, num_archs) if isinstance(self.keep, float) else min(self.keep, num_archs)

    def sort(self, trials: Sequence[Trial], first: int) -> list[Trial]:
        """Best first, equal ones by id.

        Args:
            trials: that have been measured in this rung.
            first: place of what that gave among a trial's rungs.
        """
        places = range(first, first + self.num_rungs)
        scores = [[statistics.fmean(trial.rungs[place].selection_scores) for trial in trials] for place in places]
        values = scores[0]
        if len(scores) > 1 and trials:
            is_log = COMPOSITES[_name_of(self.text)].how == "log-average"
            values = average_ranks(scores, is_log=is_log).tolist()
        best_first = sorted(zip(values, trials, strict=True), key=lambda pair: (-pair[0], pair[1].arch_id))
        return [trial for _, trial in best_first]


@dataclass(frozen=True)
class Screen:
    """All rungs of a search, two or more."""

    stages: tuple[Stage, ...]
    """(K,)"""

    @property
    def texts(self) -> tuple[str, ...]:
        """As they are written."""
        return tuple(stage.text for stage in self.stages)

    def first_rung(self, number: int) -> int:
        """Place among a trial's rungs of the first one of a stage."""
        return sum(stage.num_rungs for stage in self.stages[:number])

    def count_archs(self, num_archs: int) -> list[int]:
        """(K,) how many architectures are measured in each rung, if none fails."""
        counts = [num_archs]
        for stage in self.stages[:-1]:
            counts.append(stage.count_kept(counts[-1]))
        return counts

    def cut(self, number: int, trials: Sequence[Trial]) -> tuple[list[Trial], list[Trial]]:
        """What goes on after a rung, and what is cut there now, as pruned.

        What was cut before stays cut, and what has gone on before stays in, also where a trial that was lost and tried
        again would have changed that.

        Args:
            number: of the rung, the first one is 0.
            trials: all of the search.
        """
        stage, first = self.stages[number], self.first_rung(number)
        order = stage.sort([trial for trial in trials if _is_measured(trial, first, stage.num_rungs)], first)
        count, kept, pruned = stage.count_kept(len(order)), [], []
        for place, trial in enumerate(order, start=1):
            if place > count and trial.state is State.WAITING and trial.round == number:
                reason = f"cut after rung {number + 1} of {len(self.stages)}, {stage.text}: {place} of {len(order)}"
                pruned.append(replace(trial, state=State.PRUNED, place=place, reason=reason))
            elif trial.state is not State.PRUNED:
                kept.append(trial)
        return kept, pruned

    def describe(self, num_archs: int) -> str:
        """For people: '36 by naswot, 8 by steps=40, 2 by steps=400+seeds=5'."""
        counts = self.count_archs(num_archs)
        return ", ".join(
            f"{count:,} by {_name_of(stage.text)}" for count, stage in zip(counts, self.stages, strict=True)
        )


def parse_screen(text: str, recipe: RecipeSettings, num_seeds: int, num_images: int) -> Screen:
    """The rungs of a screen, the search's own recipe and seeds last.

    Args:
        text: a name of `SCREENS`, or rungs with commas, each `WHAT:SHARE` or `WHAT:COUNT`. WHAT is a training-free
            score, a composite of such, or some of steps=40, steps=10% (of the search's own), epochs=5 and seeds=2,
            joined by '+'; what is not said is as in the search, but 1 seed. One without a share is the last rung.
        recipe: of the search.
        num_seeds: of the search.
        num_images: that nets are trained on.

    Raises:
        SettingsError: it is written otherwise, a name is unknown, or a rung is no dearer than the one before it.
    """
    items = SCREENS.get(text, text).split(",")
    if len(items) == 1 and ":" not in items[0]:
        raise unknown_name("screen", items[0], SCREENS)
    stages = [_parse_stage(item.strip(), recipe, num_images) for item in items]
    if stages[-1].keep is not None:
        stages.append(Stage("", recipe, num_seeds))
    for stage in stages[:-1]:
        if stage.keep is None:
            raise SettingsError(f"rung {stage.text!r} does not say how many go on; write {stage.text}:25%")
    last = stages[-1]
    if not isinstance(last.scored_by, RecipeSettings):
        raise SettingsError(f"rung {last.text!r} is the last one and trains nothing; write {last.text}:25%")
    for before, after in pairwise(stages):
        if isinstance(before.scored_by, RecipeSettings) and before.work(num_images) >= after.work(num_images):
            raise SettingsError(
                f"rung {before.text!r} has {before.work(num_images):,} updates an architecture, the next one "
                f"{after.work(num_images):,}: each must be dearer than the one before it; give it fewer"
            )
    name = f"steps={count_steps(last.scored_by, num_images)}+seeds={last.num_seeds}"
    return Screen((*stages[:-1], replace(last, text=name)))


def _parse_stage(text: str, recipe: RecipeSettings, num_images: int) -> Stage:
    what, colon, amount = text.partition(":")
    keep = _parse_amount(text, amount) if colon else None
    if what in COMPOSITES:
        return Stage(text, COMPOSITES[what].parts, 1, keep)
    if what in SCORES:
        return Stage(text, (what,), 1, keep)
    if "=" not in what:
        raise unknown_name("score to cut by (or steps=40, epochs=5, seeds=2)", what, [*SCORES, *COMPOSITES])
    given: dict[str, int] = {}
    for item in what.split("+"):
        key, _, value = item.partition("=")
        if key in given:
            raise SettingsError(f"rung {text!r} has {key} twice; give it once")
        if key not in _KEYS:
            raise unknown_name(f"setting of rung {text!r}", key, _KEYS)
        if key == "steps" and value.endswith("%"):
            given[key] = max(round(parse_share(value) * count_steps(recipe, num_images)), 1)
        elif value.isdecimal() and int(value) > 0:
            given[key] = int(value)
        else:
            raise SettingsError(f"{key}={value!r} of rung {text!r}: write a whole number above 0")
    if {"steps", "epochs"} <= given.keys():
        raise SettingsError(f"rung {text!r} has both steps and epochs; leave one of them out")
    length = {key: value for key, value in given.items() if key != "seeds"}
    if "epochs" in length:
        length = {"steps": count_steps(recipe.model_copy(update={"steps": None, **length}), num_images)}
    return Stage(text, recipe.model_copy(update=length), given.get("seeds", 1), keep)


def _parse_amount(text: str, amount: str) -> float | int:
    if amount.isdecimal() and int(amount) > 0:
        return int(amount)
    try:
        return parse_share(amount)
    except SettingsError as error:
        raise SettingsError(f"rung {text!r}: {error}, or a number of architectures like 36") from None


def _name_of(text: str) -> str:
    return text.partition(":")[0]


def _is_measured(trial: Trial, first: int, num_rungs: int) -> bool:
    """Whether a trial has finite scores of these rungs."""
    rungs = trial.rungs[first : first + num_rungs]
    return len(rungs) == num_rungs and all(math.isfinite(score) for rung in rungs for score in rung.selection_scores)
