"""The work of `nasproxy combine`, and keeping what was made in memory."""

from collections.abc import Sequence
from dataclasses import replace

from nasproxy.combining import combine_trials
from nasproxy.config import CombineConfig
from nasproxy.images import save_picture_grid
from nasproxy.proxyset import ProxySet
from nasproxy.rundir import KEPT, RunDir, create_run
from nasproxy.runs.place import Place
from nasproxy.runs.writing import write_trials
from nasproxy.store import create_store, sqlite_url
from nasproxy.trials import SearchInfo, Trials


def run_combine(
    place: Place, config: CombineConfig, proxies: Sequence[Trials], truth: Trials | None, *, name: str | None
) -> Trials:
    """Several searches as one proxy, in a run folder like that of a search: `study.db` and `trials.csv`.

    Args:
        place: where runs lie.
        config: all settings; `runs` are the names of the proxies.
        proxies: trials of each.
        truth: for a fitted combination.
        name: of the run; None: after data, space and kind.

    Raises:
        NasproxyError: see `combine_trials`, `create_run`.
    """
    settings = config.combine
    trials = combine_trials(proxies, settings.how, truth, seed=settings.seed)
    default_name = f"{trials.info.dataset}-{trials.info.space}-{settings.how}"
    run = place.begin_run(config, _parents(trials.info), default_name, name=name)
    return _write_trials(run, trials)


def keep_trials(place: Place, trials: Trials, name: str | None = None) -> Trials:
    """Trials that are only in memory, in a run folder, so that they have a name.

    Raises:
        RunError: the name is taken or no plain folder name.
    """
    info = trials.info
    default = f"{info.dataset}-{info.space}-{info.proxy}" if info.dataset else info.name
    run = _create_kept(place, name, default, _parents(info))
    return _write_trials(run, trials)


def keep_proxy_set(place: Place, proxy: ProxySet, name: str | None = None) -> ProxySet:
    """A proxy set that is only in memory, in a run folder, so that it has a name.

    Raises:
        RunError: the name is taken or no plain folder name.
    """
    parents = {"data": proxy.data_hash, "split": proxy.split_hash}
    run = _create_kept(place, name, f"{proxy.dataset}-{proxy.name}", parents)
    with run.running():
        proxy.save(run.proxy_path)
        save_picture_grid(proxy.images, run.picture_path)
    return replace(proxy, run=run)


def _create_kept(place: Place, name: str | None, default_name: str, parents: dict[str, str]) -> RunDir:
    text = f'command = "{KEPT}"\n'
    return create_run(place.root, name, default_name, command=KEPT, config_text=text, parents=parents)


def _write_trials(run: RunDir, trials: Trials) -> Trials:
    with run.running():
        named = replace(trials, info=replace(trials.info, name=run.name), run=run)
        store = create_store(named.info, named.factors, sqlite_url(run.study_path))
        run.update_meta(has_study=True)
        for trial in named:
            store.add(trial)
        write_trials(run, named)
    return named


def _parents(info: SearchInfo) -> dict[str, str]:
    return {"data": info.data_hash, "split": info.split_hash, "space": info.space_hash}
