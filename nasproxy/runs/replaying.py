"""The work of `nasproxy replay`."""

from collections.abc import Sequence

from nasproxy.config import ReplayConfig
from nasproxy.errors import SettingsError
from nasproxy.replaying import HALVING, Fidelity, Replay, ReplayPlan, Replays, plan_replay
from nasproxy.reporting import write_replay_figure
from nasproxy.runs.place import Place
from nasproxy.space import SearchSpace
from nasproxy.tables import replay_frame, write_table
from nasproxy.trials import Trials


def run_replay(
    place: Place, config: ReplayConfig, space: SearchSpace, tables: Sequence[Trials], truth: Trials, *, name: str | None
) -> Replays:
    """Strategies on tables of scores, in a run folder: `replay.csv`, `regret.png`, `.svg` and `.pdf`.

    Args:
        place: where runs lie.
        config: all settings; `scores` are the names of the tables.
        space: what is searched.
        tables: scores, the cheapest first.
        truth: what picks are judged by.
        name: of the run; None: after the space.

    Raises:
        NasproxyError: see `plan_replay`, `create_run`.
    """
    settings = config.replay
    costs = settings.costs or (1.0,) * len(tables)
    if len(costs) != len(tables):
        raise SettingsError(f"{len(costs)} costs for {len(tables)} tables of scores; give one cost for each")
    fidelities = [Fidelity(trials, cost) for trials, cost in zip(tables, costs, strict=True)]
    work = [
        (strategy, used)
        for strategy in settings.strategy
        for used in ([fidelities] if strategy == HALVING else [[fidelity] for fidelity in fidelities])
    ]
    plans = [
        plan_replay(
            space, used, truth, strategy,
            num_archs=settings.num_archs, repetitions=settings.repetitions, round_size=settings.round_size,
            eta=settings.eta, seed=settings.seed,
        )
        for strategy, used in work
    ]  # fmt: skip
    run = place.begin_run(config, {"space": space.content_hash()}, f"{space.name}-replay", name=name)
    with run.running():
        replays = Replays(tuple(_perform(plan, place, settings.processes) for plan in plans), settings.cost_unit, run)
        write_table(replay_frame(replays), run.path / "replay.csv")
        write_replay_figure(replays, run.path)
    return replays


def _perform(plan: ReplayPlan, place: Place, num_processes: int) -> Replay:
    what = f"{plan.strategy} on {', '.join(table.name for table in plan.tables)}"
    return plan.perform(num_processes, lambda done, total: place.listener.progress(what, done, total))
