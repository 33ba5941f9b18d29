"""Parts for other tools: our evaluation as an Optuna objective or a Ray Trainable, our strategies as ask and tell."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import optuna
import torch
from ray import tune

from nasproxy.device import find_device
from nasproxy.errors import SettingsError
from nasproxy.factors import FactorValue
from nasproxy.images import ImageData
from nasproxy.proxyset import ProxySet
from nasproxy.searching.costing import Limits, SpaceCosts
from nasproxy.searching.plan import config_from_overrides, plan_search
from nasproxy.searching.schedule import LEARNING, Signal, make_schedule
from nasproxy.searching.scorer import ArchScorer, look_up, numbers_of
from nasproxy.space import Arch, SearchSpace
from nasproxy.trials import Rung, State, Trial, Trials


class Evaluator:
    """Scores architectures in this process, one at a time: for a study, a scheduler, or a loop of one's own.

    Scores are those of a search with the same settings. What has been scored is not scored again.

        evaluator = nap.Evaluator(space, proxy, data, seeds=1, epochs=20)
        print(evaluator.score("w32-d2-instance-relu-avg").selection_score)
        study.optimize(evaluator, n_trials=20)                      # an Optuna objective
        tune.Tuner(evaluator.as_trainable(), param_space={"width": tune.choice([32, 64]), ...}).fit()
    """

    def __init__(self, space: SearchSpace, proxy: ProxySet | Trials | str, data: ImageData, **overrides: Any) -> None:
        """Takes what `nap.search` takes.

        Raises:
            NasproxyError: see `plan_search`.
        """
        self.space = space
        self.trials: dict[str, Trial] = {}
        """Id -> what was scored, in this order."""
        costs = SpaceCosts()
        first, _ = space.draw(1, 0, lambda arch: Limits().admits(arch, costs, data))
        if not first:
            raise SettingsError(f"no architecture of {space.name} that was tried fits the images; check its builder")
        config = config_from_overrides(proxy, overrides)
        self._plan = plan_search(space, proxy, data, config, [first[0].id])
        if self._plan.screen is not None:
            raise SettingsError("screen: an evaluator scores one architecture at a time, to the end; leave it out")
        self._scorer: ArchScorer | None = None

    def score(self, arch: Arch | str | Mapping[str, FactorValue]) -> Trial:
        """Scores an architecture: its id, its factors, or itself. One that fails has the reason in its trial.

        Raises:
            SettingsError: it is not in the space.
        """
        if isinstance(arch, Mapping):
            arch = self.space.arch(arch)
        found = self.space.find(arch if isinstance(arch, str) else arch.id)
        if found.id not in self.trials:
            self.trials[found.id] = self._score(found)
        return self.trials[found.id]

    def __call__(self, trial: optuna.Trial) -> float:
        """The objective of an Optuna study, to be maximised.

        Raises:
            optuna.TrialPruned: the factors are no architecture of the space, or it has no score; says why.
        """
        arch = self.space.standing_for(self.space.suggest(trial).id)
        if arch is None:
            raise optuna.TrialPruned("this combination of factors is not in the space")
        scored = self.score(arch)
        known = {"num_params": scored.num_params, "flops": scored.flops, "evaluation_score": scored.evaluation_score}
        for name, value in {"arch_id": arch.id, "state": scored.state.value, **known}.items():
            if value is not None and not (isinstance(value, float) and math.isnan(value)):
                trial.set_user_attr(name, value)
        if not scored.is_ranked:
            raise optuna.TrialPruned(scored.reason or scored.state.value)
        return scored.selection_score

    def as_trainable(self) -> Callable[[dict[str, Any]], Any]:
        """A Ray Tune trainable, whose configuration is the factors of an architecture; it reports 'score' and more.

        Each trial scores in a worker of its own, on the device that Ray gives it.
        """
        trainable: Callable[[dict[str, Any]], Any] = tune.with_parameters(_score_on_ray, evaluator=self)
        return trainable

    def __getstate__(self) -> dict[str, Any]:
        """Without what is on a device."""
        return {**self.__dict__, "_scorer": None}

    def _score(self, arch: Arch) -> Trial:
        plan = self._plan
        plan.costs.count(arch, plan.data)
        if arch.id in plan.costs.left_out:
            return Trial(arch.id, arch.factors, State.FAILED, reason=plan.costs.left_out[arch.id])
        assignment = plan.assign(arch, 0)
        if isinstance(plan.proxy.scored_by, Trials):
            return look_up(plan.proxy.scored_by, assignment)[0]
        if self._scorer is None:
            self._scorer = ArchScorer.on(find_device(plan.config.machine.device), plan.make_job())
        return self._scorer.score(assignment)[0]


def _score_on_ray(config: dict[str, Any], evaluator: Evaluator) -> None:
    torch.set_num_threads(evaluator._plan.workforce.threads_per_worker)
    scored = evaluator.score({name: config[name] for name in evaluator.space.factors if name in config})
    tune.report(numbers_of(scored))


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
        archs = space.archs() if space.is_listed or num_archs is None else []
        if not archs and strategy not in LEARNING:
            archs, _ = space.draw(num_archs or 0, seed)
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
            costs: `num_params`, `flops` or `latency`, where the strategy is to keep one small.

        Raises:
            SettingsError: it was not asked for, or the score is not finite.
        """
        arch_id = arch if isinstance(arch, str) else arch.id
        if arch_id not in self._asked:
            raise SettingsError(f"{arch_id!r} was not asked for; tell what `ask` gave")
        if score is not None and not math.isfinite(score):
            raise SettingsError(f"score {score} of {arch_id} is not finite; tell None where it failed")
        given = self._asked.pop(arch_id)
        rungs = () if score is None else (Rung((score,), (score,)),)
        state = State.FAILED if score is None else State.COMPLETE
        numbers: dict[str, Any] = dict(costs)
        self._schedule.finish(Trial(arch_id, given.factors, state, rungs, round=self._schedule.round, **numbers))
