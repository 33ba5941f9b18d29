"""Parts for other tools: our evaluation as an Optuna objective or a Ray Trainable, our strategies as ask and tell."""

import math
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from statistics import mean
from typing import Any

import optuna
import ray
import torch
from ray import tune

from nasproxy.config import RecipeSettings, SearchConfig, SearchSettings
from nasproxy.device import find_device
from nasproxy.errors import SettingsError, unknown_name
from nasproxy.factors import FactorValue
from nasproxy.images import ImageData
from nasproxy.proxyset import ProxySet
from nasproxy.searching.asha import HaltedTraining
from nasproxy.searching.costing import SpaceCosts
from nasproxy.searching.plan import config_from_overrides, limits_of, plan_search
from nasproxy.searching.sample import draw_some
from nasproxy.searching.schedule import LEARNING, Signal, make_schedule
from nasproxy.searching.scorer import ArchScorer, look_up, numbers_of
from nasproxy.space import Arch, SearchSpace
from nasproxy.trials import COST_FIELDS, Rung, State, Trial, Trials


class Evaluator:
    """Scores architectures in this process, one at a time: for a study, a scheduler, or a loop of one's own.

    Scores are those of a search with the same settings. What has been scored is not scored again.

        evaluator = nap.Evaluator(space, proxy, data, seeds=1, epochs=20)
        print(evaluator.score("w32-d2-instance-relu-avg").selection_score)
        study.optimize(evaluator, n_trials=20)                      # an Optuna objective
        tune.Tuner(evaluator.as_trainable(), param_space={"width": tune.choice([32, 64]), ...}).fit()
    """

    def __init__(
        self,
        space: SearchSpace,
        proxy: ProxySet | Trials | str,
        data: ImageData,
        *,
        rungs: Collection[int] = (),
        **overrides: Any,
    ) -> None:
        """Takes what `nap.search` takes, but which architectures.

        Args:
            space: the search space.
            proxy: what scores its architectures.
            data: the images.
            rungs: updates after which an Optuna trial is told the validation accuracy, and its study's pruner may end
                the training; only with one seed.
            overrides: see `nap.search`.

        Raises:
            SettingsError: a setting that says which, or one that is of no use here, or rungs of what is not trained.
            NasproxyError: see `plan_search`.
        """
        self.space = space
        self.trials: dict[str, Trial] = {}
        """Id -> what was scored, in this order."""
        config = config_from_overrides(proxy, overrides)
        for name in _OF_NO_USE:
            if getattr(config.search, name) != SearchSettings.model_fields[name].default:
                raise SettingsError(f"{name}: an evaluator scores one architecture at a time, to the end; leave it out")
        self._plan = plan_search(space, proxy, data, config, [_find_one(space, proxy, config, data).id])
        self._rungs = sorted(rungs)
        self._check_rungs()
        self._scorer: ArchScorer | None = None
        self._lock = threading.Lock()

    def score(self, arch: Arch | str | Mapping[str, FactorValue]) -> Trial:
        """Scores an architecture: its id, its factors (others that are not there beside them are passed over), or
        itself. One that fails, is beyond a limit or in no row of the table has the reason in its trial.

        Raises:
            SettingsError: it is not in the space.
        """
        if isinstance(arch, Mapping):
            arch = self.space.arch(self.space.grid.keep_those_there(arch) if self.space.conditions else arch)
        return self._score_once(self.space.find(arch if isinstance(arch, str) else arch.id))

    def __call__(self, trial: optuna.Trial) -> float:
        """The objective of an Optuna study, to be maximised.

        Raises:
            optuna.TrialPruned: the factors are no architecture of the space, it has no score, or the study's pruner
                has ended its training; says why.
        """
        arch = self.space.standing_for(self.space.suggest(trial).id)
        if arch is None:
            raise optuna.TrialPruned("this combination of factors is not in the space")
        scored = self._score_once(arch, trial)
        known = {"num_params": scored.num_params, "flops": scored.flops, "evaluation_score": scored.evaluation_score}
        for name, value in {"arch_id": arch.id, "state": scored.state.value, **known}.items():
            if value is not None and not (isinstance(value, float) and math.isnan(value)):
                trial.set_user_attr(name, value)
        if not scored.is_ranked or scored.state is State.PRUNED:
            raise optuna.TrialPruned(scored.reason or scored.state.value)
        return scored.selection_score

    def as_trainable(self) -> Callable[[dict[str, Any]], Any]:
        """A Ray Tune trainable, whose configuration is the factors of an architecture; it reports 'score' and more.

        Each trial scores in a process of its own, on the GPU that Ray gives it, else on the CPU. A combination that is
        not in the space has the score NaN, and the reason.
        """
        trainable: Callable[[dict[str, Any]], Any] = tune.with_parameters(_score_on_ray, evaluator=self)
        return trainable

    def use(self, device: torch.device) -> None:
        """Scores on this device from now on."""
        self._scorer = ArchScorer.on(device, self._plan.make_job())

    def __getstate__(self) -> dict[str, Any]:
        """Without what is on a device."""
        plan = self._plan
        images = None if plan.proxy.images is None else plan.proxy.images.to("cpu")
        plan = replace(plan, data=plan.data.to("cpu"), proxy=replace(plan.proxy, images=images))
        return {**self.__dict__, "_plan": plan, "_scorer": None, "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= {**state, "_lock": threading.Lock()}

    def _check_rungs(self) -> None:
        scored_by = self._plan.proxy.scored_by
        if not self._rungs:
            return
        if not isinstance(scored_by, RecipeSettings) or scored_by.trainer is not None:
            raise SettingsError(
                f"rungs: proxy {self._plan.proxy.name!r} has no training of ours to halt; leave them out"
            )
        if self._plan.config.search.seeds != 1:
            raise SettingsError("rungs: one training is halted at a time; give seeds=1")
        if self._rungs[0] < 1:
            raise SettingsError(f"rungs: {self._rungs[0]} is no number of updates; give whole numbers above 0")

    def _score_once(self, arch: Arch, asker: optuna.Trial | None = None) -> Trial:
        with self._lock:  # nets are initialised by torch's global random state
            if arch.id not in self.trials or self.trials[arch.id].state is State.PRUNED:
                self.trials[arch.id] = self._score(arch, asker)
            return self.trials[arch.id]

    def _score(self, arch: Arch, asker: optuna.Trial | None) -> Trial:
        plan, table = self._plan, self._plan.proxy.scored_by
        plan.costs.count(arch, plan.data)
        reason = plan.costs.left_out.get(arch.id)
        if reason is None:
            reason = plan.limits.find_excess(arch, plan.costs, plan.data)
        if reason is None and isinstance(table, Trials) and arch.id not in table.by_id:
            reason = f"{table.info.proxy} has no row for it"
        if reason is not None:
            return Trial(arch.id, arch.factors, State.FAILED, reason=reason)
        assignment = plan.assign(arch, 0)
        if isinstance(table, Trials):
            return look_up(table, assignment)[0]
        if self._scorer is None:
            self.use(find_device(plan.config.machine.device))
        assert self._scorer is not None
        if not self._rungs or asker is None:
            return self._scorer.score(assignment)[0]
        return _train_while_wanted(HaltedTraining(self._scorer, assignment, self._rungs, "the study's pruner"), asker)


def _train_while_wanted(training: HaltedTraining, asker: optuna.Trial) -> Trial:
    try:
        while True:
            trial, _, is_over = training.next()
            if is_over:
                return trial
            rung = trial.rungs[-1]
            asker.report(mean(rung.selection_scores), rung.num_steps or 0)
            if asker.should_prune():
                return trial
    finally:
        training.stop()


_OF_NO_USE = ("archs", "sample", "screen", "num_archs", "strategy", "keep_nets", "storage", "loggers", "against")
"""Settings of a search that an evaluator has no use for."""


def _find_one(space: SearchSpace, proxy: ProxySet | Trials | str, config: SearchConfig, data: ImageData) -> Arch:
    """An architecture that can be scored."""
    if isinstance(proxy, Trials):
        known = [arch for trial in proxy if (arch := space.standing_for(trial.arch_id)) is not None]
        if not known:
            raise SettingsError(f"{proxy.info.proxy} has no row for an architecture of {space.name}")
        return known[0]
    limits, costs = limits_of(config), SpaceCosts()
    return draw_some(space, 1, 0, lambda arch: limits.admits(arch, costs, data))[0][0]


def _score_on_ray(config: dict[str, Any], evaluator: Evaluator) -> None:
    torch.set_num_threads(evaluator._plan.workforce.threads_per_worker)
    if not isinstance(evaluator._plan.proxy.scored_by, Trials):
        evaluator.use(torch.device("cuda", 0) if ray.get_gpu_ids() else torch.device("cpu"))
    factors = {name: config[name] for name in evaluator.space.factors if name in config}
    try:
        scored = evaluator.score(factors)
    except SettingsError as error:
        tune.report({"score": math.nan, "state": State.FAILED.value, "reason": str(error)})
        return
    tune.report(numbers_of(scored) | {"reason": scored.reason or ""})


class Asker:
    """A strategy without a search: asks for architectures, and is told what they scored.

        asker = nap.Asker(space, "tpe", num_archs=40)
        while (arch := asker.ask()) is not None:
            asker.tell(arch, my_score(arch))

    Several may be asked for before any is told; None while a round of those that learn is not over, and at the end.
    """

    def __init__(
        self,
        space: SearchSpace,
        strategy: str = "tpe",
        *,
        num_archs: int | None = None,
        seed: int = 0,
        round_size: int = 8,
        against: str | None = None,
    ) -> None:
        """Begins.

        Args:
            space: the search space.
            strategy: a key of `STRATEGIES`.
            num_archs: how many at most; None: all of a space that is listed.
            seed: of the strategy.
            round_size: architectures a round of 'tpe' and 'nsga2'.
            against: a cost to be small, for these; its value is told with the score.

        Raises:
            SettingsError: an unknown strategy, or all architectures of a space that is too large.
        """
        if against is not None and (against not in COST_FIELDS or strategy not in LEARNING):
            raise SettingsError(
                f"against={against!r} with {strategy}: write one of {', '.join(COST_FIELDS)}, with "
                f"{' or '.join(LEARNING)}"
            )
        archs = space.archs() if space.is_listed or num_archs is None else []
        if not archs and strategy not in LEARNING:
            archs, _ = draw_some(space, num_archs or 0, seed, lambda arch: True)
        self._cost = None if against is None else COST_FIELDS[against]
        self._schedule = make_schedule(
            strategy,
            space,
            archs or (lambda arch: True),
            num_archs=len(archs) if num_archs is None else num_archs,
            size_of=lambda arch: 0.0,
            seed=seed,
            round_size=round_size,
            against=against,
        )
        self._asked: dict[str, Arch] = {}
        self.is_over = False
        """Whether there will be no more."""

    def ask(self) -> Arch | None:
        """The next architecture; None: none now, see `is_over`."""
        answer = self._schedule.next()
        if isinstance(answer, Arch):
            self._asked[answer.id] = answer
            return answer
        self.is_over = answer is Signal.END
        return None

    def tell(self, arch: Arch | str, score: float | None, **costs: float) -> None:
        """What an architecture that was asked for has scored, higher is better; None: it failed.

        Args:
            arch: itself, or its id.
            score: finite.
            costs: `num_params`, `flops` or `latency`: the one that the strategy is to keep small must be told.

        Raises:
            SettingsError: it was not asked for, the score is not finite, a cost of another name, or without the one.
        """
        arch_id = arch if isinstance(arch, str) else arch.id
        if arch_id not in self._asked:
            raise SettingsError(f"{arch_id!r} was not asked for; tell what `ask` gave")
        if score is not None and not math.isfinite(score):
            raise SettingsError(f"score {score} of {arch_id} is not finite; tell None where it failed")
        if strange := costs.keys() - set(COST_FIELDS.values()):
            raise unknown_name("cost", min(strange), COST_FIELDS.values())
        if score is not None and self._cost is not None and self._cost not in costs:
            raise SettingsError(f"{arch_id} without its {self._cost}, which is to be small; tell {self._cost}=...")
        given = self._asked.pop(arch_id)
        rungs = () if score is None else (Rung((score,), (score,)),)
        state = State.FAILED if score is None else State.COMPLETE
        numbers: dict[str, Any] = dict(costs)
        self._schedule.finish(Trial(arch_id, given.factors, state, rungs, round=self._schedule.round, **numbers))
