"""Which architectures next, by Optuna's TPE on the scores so far."""

from collections.abc import Iterable, Sequence

import optuna

from nasproxy.seeding import derive_seed
from nasproxy.space import Arch, SearchSpace
from nasproxy.store import make_distributions, to_optuna
from nasproxy.trials import Trial


def propose_tpe(
    space: SearchSpace, candidates: Sequence[Arch], history: Iterable[Trial], count: int, seed: int
) -> list[Arch]:
    """Up to `count` architectures to try next, by Optuna's TPE on what is known; none that was tried.

    Deterministic in its arguments: trials enter in the order of their ids, whatever order they ended in.

    Args:
        space: gives the factors.
        candidates: what may be proposed.
        history: trials so far.
        count: how many to propose at once.
        seed: of the sampler.
    """
    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=derive_seed(seed) % 2**32, constant_liar=True), direction="maximize"
    )
    past = sorted(history, key=lambda trial: trial.arch_id)
    study.add_trials([to_optuna(trial, space.factors) for trial in past])
    tried = {trial.arch_id for trial in past}
    open_archs = {arch.id: arch for arch in candidates if arch.id not in tried}
    proposed: list[Arch] = []
    for _ in range(20 * count):
        if len(proposed) == count or not open_archs:
            break
        asked = study.ask(make_distributions(space.factors))
        standing = space.standing_for(space.arch(asked.params).id)
        arch = open_archs.pop(standing.id, None) if standing else None
        if arch is not None:
            proposed.append(arch)
    return proposed + list(open_archs.values())[: count - len(proposed)]
