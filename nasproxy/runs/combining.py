"""The work of `nasproxy combine`."""

from dataclasses import replace
from pathlib import Path

from nasproxy.combining import combine_trials
from nasproxy.config import CombineConfig, dump_config
from nasproxy.files import write_text
from nasproxy.rundir import RunDir, create_run
from nasproxy.runs.references import find_search_run, load_trials, load_truth, search_behind
from nasproxy.space import load_space
from nasproxy.study import Trials, create_store, sqlite_url
from nasproxy.tables import csv_text, trials_frame


def run_combine(config: CombineConfig, *, root: Path, name: str | None) -> tuple[RunDir, Trials]:
    """Several searches as one proxy, in a run folder like that of a search: `study.db` and `trials.csv`.

    Raises:
        NasproxyError: see `find_search_run`, `load_truth`, `combine_trials`, `create_run`.
    """
    settings = config.combine
    runs = [find_search_run(reference, root) for reference in settings.runs]
    proxies = [load_trials(run) for run in runs]
    truth = load_truth(settings.truth, root) if settings.truth else None
    space = load_space(search_behind(runs[0], root).search.space)
    trials = combine_trials(proxies, settings.how, truth, seed=settings.seed)
    named = settings.model_copy(update={"runs": tuple(run.name for run in runs)})
    parents = {"data": trials.info.data_hash, "split": trials.info.split_hash, "space": trials.info.space_hash}
    run = create_run(
        root,
        name,
        f"{trials.info.dataset}-{trials.info.space}-{settings.how}",
        command=config.command,
        config_text=dump_config(config.model_copy(update={"combine": named})),
        parents=parents,
    )
    with run.running():
        trials = Trials(replace(trials.info, name=run.name), trials.items)
        store = create_store(trials.info, sqlite_url(run.study_path))
        for trial in trials:
            store.add(trial, space)
        write_text(run.path / "trials.csv", csv_text(trials_frame(trials)))
    return run, trials
