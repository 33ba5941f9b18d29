"""The work of `nasproxy replay`."""

from collections.abc import Sequence
from dataclasses import replace

from nasproxy.config import ReplayConfig
from nasproxy.errors import SettingsError, unknown_name
from nasproxy.replaying import HALVING, REPLAYED, Fidelity, Replay, Replays, replay
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
        NasproxyError: see `replay`, `create_run`.
    """
    settings = config.replay
    for strategy in settings.strategy:
        if strategy not in REPLAYED:
            raise unknown_name("strategy", strategy, REPLAYED)
    costs = settings.costs or (1.0,) * len(tables)
    if len(costs) != len(tables):
        raise SettingsError(f"{len(costs)} costs for {len(tables)} tables of scores; give one cost for each")
    fidelities = [Fidelity(trials, cost) for trials, cost in zip(tables, costs, strict=True)]
    work = [
        (strategy, used)
        for strategy in settings.strategy
        for used in ([fidelities] if strategy == HALVING else [[fidelity] for fidelity in fidelities])
    ]
    replays = Replays(
        tuple(_replay(place, config, space, strategy, used, truth) for strategy, used in work), settings.cost_unit
    )
    run = place.begin_run(config, {"space": space.content_hash()}, f"{space.name}-replay", name=name)
    with run.running():
        write_table(replay_frame(replays), run.path / "replay.csv")
        write_replay_figure(replays, run.path)
    return replace(replays, run=run)


def _replay(
    place: Place,
    config: ReplayConfig,
    space: SearchSpace,
    strategy: str,
    fidelities: Sequence[Fidelity],
    truth: Trials,
) -> Replay:
    settings = config.replay
    what = f"{strategy} on {', '.join(fidelity.scores.name for fidelity in fidelities)}"
    return replay(
        space,
        fidelities,
        truth,
        strategy,
        num_archs=settings.num_archs,
        repetitions=settings.repetitions,
        round_size=settings.round_size,
        eta=settings.eta,
        seed=settings.seed,
        num_processes=settings.processes,
        on_progress=lambda done, total: place.listener.progress(what, done, total),
    )
