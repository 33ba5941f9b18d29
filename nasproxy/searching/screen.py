"""Screens: a search in rungs. All architectures by something cheap, the best of them by something dearer, and so on.

The plain one, training for a few updates and keeping the best, loses little to cleverer ones (Egele et al., "The
Unreasonable Effectiveness of Early Discarding After One Epoch", arXiv 2404.04111); several such rungs with more updates
each are successive halving (Jamieson & Talwalkar, "Non-stochastic Best Arm Identification", AISTATS 2016). Ours:
1. Nets of a rung of other updates are trained anew, by a schedule of that length: the rate of a training that is cut
   short has not dropped yet, and its accuracies say less. A rung of the same updates and more seeds keeps the nets
   there are.
2. A rung ends before the next begins: the trials are the same for any number of workers, and after a resume.
3. A rung may rank by several things at once, by the mean of their ranks: what it measures itself, and training-free
   scores of rungs before it.

Notation: K rungs, S nets (seeds of an architecture).
"""

import statistics
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import isfinite, nan
from sys import float_info
from typing import Any

from nasproxy.augment import parse_strategy
from nasproxy.config import RecipeSettings, SearchConfig, Tree, make_config, parse_share
from nasproxy.errors import SettingsError, unknown_name
from nasproxy.proxies import COMPOSITES
from nasproxy.ranking import average_ranks, count_of
from nasproxy.scoring import SCORES
from nasproxy.signals import losses_of
from nasproxy.training import count_steps
from nasproxy.trials import Signal, State, Trial

SCREENS = {
    "top": "steps=10%:10%",
    "halving": "steps=6%:25%,steps=25%:25%",
    "funnel": "naswot:30%,steps=10%:20%",
    "cells": "az-nas:30%,steps=100+batch_size=25+lr_drops=+augmentation=none+tse+az-nas+synflow:10%",
}
"""Screens by name."""
_KEYS = ("steps", "epochs", "seeds", "batch_size", "lr", "lr_drops", "schedule", "augmentation")
_COUNTS = ("steps", "epochs", "seeds", "batch_size")
_SIGNALS = frozenset(signal.value for signal in Signal)
_NAMES = (*SCORES, *COMPOSITES, *(signal.value for signal in Signal))


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
    ranked_by: tuple[str, ...] = (Signal.ACCURACY,)
    """Scores and composites, of this rung or one before it, and signals of the nets trained here."""

    @property
    def scores(self) -> tuple[str, ...]:
        """Training-free scores that are measured in it."""
        return self.scored_by if isinstance(self.scored_by, tuple) else ()

    @property
    def num_rungs(self) -> int:
        """Rungs that it adds to a trial."""
        return len(self.scores) or 1

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
        stage, order = self.stages[number], self.sort(number, trials)
        count, kept, pruned = stage.count_kept(len(order)), [], []
        for place, trial in enumerate(order, start=1):
            if place > count and trial.state is State.WAITING and trial.round == number:
                reason = f"cut after rung {number + 1} of {len(self.stages)}, {stage.text}: {place} of {len(order)}"
                pruned.append(replace(trial, state=State.PRUNED, place=place, reason=reason))
            elif trial.state is not State.PRUNED:
                kept.append(trial)
        return kept, pruned

    def sort(self, number: int, trials: Sequence[Trial]) -> list[Trial]:
        """Those that have all that a rung ranks by, best first, equal ones by id.

        Args:
            number: of the rung, the first one is 0.
            trials: all of the search.
        """
        last = self.first_rung(number + 1)
        measured = [trial for trial in trials if len(trial.rungs) >= last]
        columns = [self._values(number, name, measured) for name in self.stages[number].ranked_by] if measured else []
        pairs = zip(measured, zip(*columns, strict=True), strict=True)
        rows = [(trial, values) for trial, values in pairs if all(map(isfinite, values))]
        if not rows:
            return []
        found = [trial for trial, _ in rows]
        values = _mean_ranks(list(zip(*(values for _, values in rows), strict=True)))
        best_first = sorted(zip(values, found, strict=True), key=lambda pair: (-pair[0], pair[1].arch_id))
        return [trial for _, trial in best_first]

    def _values(self, number: int, name: str, trials: Sequence[Trial]) -> list[float]:
        """What a rung ranks these by, higher is better: a signal of its own nets, or a score that is there by then."""
        if name in _SIGNALS:
            rungs = [trial.rungs[self.first_rung(number)] for trial in trials]
            if name == Signal.ACCURACY:
                return [statistics.fmean(rung.selection_scores) for rung in rungs]
            losses = [statistics.fmean(losses_of(rung, Signal(name))[0]) for rung in rungs]
            return [-loss if isfinite(loss) else -float_info.max for loss in losses]  # diverged: last
        composite = COMPOSITES.get(name)
        places = [self._place_of(number, part) for part in (composite.parts if composite else (name,))]
        scores = [[statistics.fmean(trial.rungs[place].selection_scores) for trial in trials] for place in places]
        if composite is None:
            return scores[0]
        is_finite = [all(map(isfinite, column)) for column in zip(*scores, strict=True)]
        whole = [[score for score, keep in zip(row, is_finite, strict=True) if keep] for row in scores]
        joined = iter(average_ranks(whole, is_log=composite.how == "log-average").tolist() if any(is_finite) else [])
        return [next(joined) if keep else nan for keep in is_finite]

    def _place_of(self, number: int, score: str) -> int:
        """Place among a trial's rungs of a training-free score."""
        for earlier, stage in enumerate(self.stages[: number + 1]):
            if isinstance(stage.scored_by, tuple) and score in stage.scored_by:
                return self.first_rung(earlier) + stage.scored_by.index(score)
        raise AssertionError(score)  # `parse_screen` has looked

    def describe(self, num_archs: int) -> str:
        """For people: '36 by naswot, 8 by steps=40, 2 by steps=400+seeds=5'."""
        counts = self.count_archs(num_archs)
        return ", ".join(
            f"{count:,} by {_name_of(stage.text)}" for count, stage in zip(counts, self.stages, strict=True)
        )


def parse_screen(text: str, recipe: RecipeSettings, num_seeds: int, num_images: int) -> Screen:
    """The rungs of a screen, the search's own recipe and seeds last.

    Args:
        text: a name of `SCREENS`, or rungs with commas, each `WHAT:SHARE` or `WHAT:COUNT`. WHAT are training-free
            scores and composites of such, or how nets are trained: some of steps=40, steps=10% (of the search's own),
            epochs=5, seeds=2, and of the settings of a recipe that `_KEYS` names (one drop of the rate, or `lr_drops=`
            for none); what is not said is as in the search, but 1 seed. Beside these may stand what the
            rung ranks by, if not by accuracy: signals of its nets, and scores; all is joined by '+', and several are
            ranked by the mean of their ranks. One without a share is the last rung.
        recipe: of the search.
        num_seeds: of the search.
        num_images: that nets are trained on.

    Raises:
        SettingsError: it is written otherwise, a name is unknown, or a rung is no dearer than the one before it.
    """
    items = SCREENS.get(text, text).split(",")
    if len(items) == 1 and ":" not in items[0]:
        raise unknown_name("screen", items[0], SCREENS)
    stages: list[Stage] = []
    for item in items:
        stages += _parse_stage(item.strip(), recipe, num_images, {name for stage in stages for name in stage.scores})
    if stages[-1].keep is not None:
        stages.append(Stage("", recipe, num_seeds))
    for stage in stages[:-1]:
        if stage.keep is None:
            raise SettingsError(f"rung {stage.text!r} does not say how many go on; write {stage.text}:25%")
    last = stages[-1]
    if not isinstance(last.scored_by, RecipeSettings):
        raise SettingsError(f"rung {last.text!r} is the last one and trains nothing; write {last.text}:25%")
    if last.ranked_by != (Signal.ACCURACY,):
        raise SettingsError(
            f"rung {last.text!r} is the last one, and ranks by accuracy; leave {'+'.join(last.ranked_by)} out"
        )
    for before, after in pairwise([stage for stage in stages if isinstance(stage.scored_by, RecipeSettings)]):
        if before.work(num_images) >= after.work(num_images):
            raise SettingsError(
                f"rung {before.text!r} has {before.work(num_images):,} updates an architecture, the next one "
                f"{after.work(num_images):,}: each must be dearer than the one before it; give it fewer"
            )
    name = f"steps={count_steps(last.scored_by, num_images)}+seeds={last.num_seeds}"
    return Screen((*stages[:-1], replace(last, text=name)))


def _parse_stage(text: str, recipe: RecipeSettings, num_images: int, known: Collection[str]) -> list[Stage]:
    """A rung, and one before it that measures scores it ranks by which none has measured (`known`), if it trains."""
    what, colon, amount = text.partition(":")
    keep = _parse_amount(text, amount) if colon else None
    items = what.split("+")
    names = tuple(dict.fromkeys(item for item in items if "=" not in item))
    for name in names:
        if name not in _NAMES:
            raise unknown_name("score to cut by (or steps=40, epochs=5, seeds=2)", name, _NAMES)
    fresh = {name: _parts_of(name) for name in names if name not in _SIGNALS and not set(_parts_of(name)) <= set(known)}
    measured = tuple(dict.fromkeys(part for parts in fresh.values() for part in parts if part not in known))
    if len(names) == len(items) and not _SIGNALS & set(names):
        if not measured and keep is not None:
            raise SettingsError(f"rung {text!r} measures nothing that no rung before it has; leave it out")
        return [Stage(text, measured, 1, keep, names)]
    settings = _parse_training(text, [item for item in items if "=" in item], recipe, num_images)
    before = [Stage(f"{'+'.join(fresh)}:100%", measured, 1, 1.0, tuple(fresh))] if fresh else []
    return [*before, Stage(text, settings[0], settings[1], keep, names or (Signal.ACCURACY,))]


def _parts_of(name: str) -> tuple[str, ...]:
    return COMPOSITES[name].parts if name in COMPOSITES else (name,)


def _parse_training(
    text: str, items: Sequence[str], recipe: RecipeSettings, num_images: int
) -> tuple[RecipeSettings, int]:
    """How nets of a rung are trained, and how many of an architecture."""
    given: dict[str, int | str] = {}
    for item in items:
        key, _, value = item.partition("=")
        if key in given:
            raise SettingsError(f"rung {text!r} has {key} twice; give it once")
        if key not in _KEYS:
            raise unknown_name(f"setting of rung {text!r}", key, _KEYS)
        if key not in _COUNTS:
            given[key] = value
        elif key == "steps" and value.endswith("%"):
            given[key] = max(round(parse_share(value) * count_steps(recipe, num_images)), 1)
        elif value.isdecimal() and int(value) > 0:
            given[key] = int(value)
        else:
            raise SettingsError(f"{key}={value!r} of rung {text!r}: write a whole number above 0")
    if {"steps", "epochs"} <= given.keys():
        raise SettingsError(f"rung {text!r} has both steps and epochs; leave one of them out")
    changes: dict[str, Any] = {key: value for key, value in given.items() if key != "seeds"}
    if "epochs" in changes:
        changes["steps"] = None
    tree: Tree = {"search": {"proxy": "any"}, "recipe": recipe.model_dump() | changes}
    try:
        changed = make_config(SearchConfig, tree).recipe
    except SettingsError as error:
        raise SettingsError(f"rung {text!r}: {error}") from None
    parse_strategy(changed.augmentation, flippable=True)
    if "epochs" in changes:
        changed = changed.model_copy(update={"steps": count_steps(changed, num_images), "epochs": recipe.epochs})
    return changed, int(given.get("seeds", 1))


def _parse_amount(text: str, amount: str) -> float | int:
    if amount.isdecimal() and int(amount) > 0:
        return int(amount)
    try:
        return parse_share(amount)
    except SettingsError as error:
        raise SettingsError(f"rung {text!r}: {error}, or a number of architectures like 36") from None


def _name_of(text: str) -> str:
    return text.partition(":")[0]


def _mean_ranks(columns: Sequence[Sequence[float]]) -> Sequence[float]:
    """(P, A) -> (A,): the values themselves where there is one column."""
    if len(columns) == 1:
        return columns[0]
    means: list[float] = average_ranks(columns).tolist()
    return means
