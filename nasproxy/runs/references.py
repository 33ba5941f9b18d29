"""What names of runs and proxies mean.

Reads no trials, so that condensing starts without Optuna and pandas, and loads what needs torch only where a
name may mean a proxy.
"""

import re
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from nasproxy.config import CombineConfig, CondenseConfig, SearchConfig, Tree, make_config, read_config
from nasproxy.errors import RunError, RunNotFoundError, SettingsError, format_command
from nasproxy.rundir import KEPT, LAST, RunDir, find_run, list_runs
from nasproxy.signals import join_signal, split_signal
from nasproxy.trials import Signal
from nasproxy.truths import task_of

if TYPE_CHECKING:
    from nasproxy.proxyset import ProxySet

TABLE = "table:"
"""What a reference to a table of scores may begin with; those to published ones do."""
_FILE_COLUMN = re.compile(r"(?P<file>.+\.csv)(?::(?P<column>.+))?", re.DOTALL)
SCORED = ("search", "combine", KEPT)
"""Commands whose runs may hold trials."""


def names_table(reference: str) -> bool:
    """Whether a reference means a table of scores: `table:NAME`, `FILE.csv` or `FILE.csv:COLUMN`."""
    return reference.startswith(TABLE) or _FILE_COLUMN.fullmatch(reference) is not None


def split_table(reference: str) -> tuple[str | None, str | None]:
    """File and column that a reference to a table names; None where it names none."""
    named = _FILE_COLUMN.fullmatch(reference.removeprefix(TABLE))
    return (named["file"], named["column"]) if named else (None, None)


def settings_behind(reference: str, command: str) -> Tree:
    """Images and space of a published table, as settings of a command to start from; none where it names none."""
    if (task := task_of(reference.removeprefix(TABLE))) is None:
        return {}
    space, dataset = task
    return {"images": {"dataset": dataset}, command: {"space": space}}


def find_proxy(reference: str, root: Path) -> "ProxySet | str":
    """What `--proxy` names: a proxy of `PROXIES`, a `.safetensors` file, or a condense run.

    Raises:
        ProxySetError: the proxy set is unreadable.
        RunNotFoundError: no run of that name.
        RunError: a run that is no condense run, or is not finished.
    """
    from nasproxy.proxies import PROXIES
    from nasproxy.proxyset import load_proxy_set

    if reference in PROXIES:
        return reference
    if Path(reference).suffix == ".safetensors":
        return load_proxy_set(Path(reference).expanduser())
    run = find_condense_run(reference, root)
    if run.command == KEPT and not run.proxy_path.is_file():
        raise RunError(f"run {run.name} holds trials, no proxy set; name a condense run")
    if not run.proxy_path.is_file():
        command = format_command("condense", "--resume", run.name)
        raise RunError(f"run {run.name} has no proxy set yet; finish it with {command}")
    return replace(load_proxy_set(run.proxy_path), run=run)


def find_condense_run(reference: str, root: Path) -> RunDir:
    """The run of a proxy set that a name, a path or @last refers to.

    Raises:
        RunNotFoundError: no such run; proxies that need none are named.
        RunError: a run that made none.
    """
    try:
        return find_run(reference, root, "condense", KEPT)
    except RunNotFoundError as error:
        from nasproxy.condensing import METHODS
        from nasproxy.proxies import PROXIES

        if reference in METHODS:
            raise RunNotFoundError(
                f"{reference!r} is a method, and no run has that name: make its set first, with 'nasproxy condense "
                f"--method {reference}', or give it to 'nasproxy compare --proxies {reference}'"
            ) from None
        raise RunNotFoundError(f"{error}; proxies that need no run: {', '.join(PROXIES)}") from None


def find_search_run(reference: str, root: Path) -> RunDir:
    """The run of a proxy's trials that a name, a path or @last refers to, whatever signal of it is named.

    Raises:
        RunNotFoundError: no such run.
        RunError: a run without trials.
    """
    reference, _ = split_signal(reference)
    if reference == LAST:
        runs = [run for run in list_runs(root) if run.command in SCORED and not is_kept_proxy_set(run)]
        reference = str(runs[-1].path) if runs else LAST
    try:
        run = find_run(reference, root, *SCORED)
    except RunNotFoundError as error:
        _, colon, end = reference.rpartition(":")
        if colon and (near := get_close_matches(end, [signal.value for signal in Signal], n=1)):
            raise RunNotFoundError(f"{error}; the signal is called {near[0]!r}") from None
        raise
    if is_kept_proxy_set(run):
        raise RunError(f"run {run.name} holds a proxy set, no trials; name a search")
    return run


def is_kept_proxy_set(run: RunDir) -> bool:
    """Whether a run only keeps a proxy set that was made in memory."""
    return run.command == KEPT and run.proxy_path.is_file()


def reference_of(run: RunDir, root: Path, signal: Signal = Signal.ACCURACY) -> str:
    """How a run is written down: its name where that finds it under the root, else its absolute path; with a signal."""
    found = run.name if run.path.resolve() == (root / run.name).resolve() else str(run.path.resolve())
    return join_signal(found, signal)


def images_of(proxy: str, root: Path) -> Tree:
    """The images of the condense run that `--proxy` names, as settings to start from; none where it names no run."""
    from nasproxy.proxies import PROXIES

    if proxy in PROXIES or Path(proxy).suffix == ".safetensors" or names_table(proxy):
        return {}
    run = find_condense_run(proxy, root)
    if run.command == KEPT:
        return {}
    return {"images": read_config(CondenseConfig, run.config_path).images.model_dump()}


def settings_of_search(given: Tree, root: Path) -> SearchConfig:
    """The settings of a new search, from what was asked for.

    Recipe and seeds are those of the proxy's kind; images and space are those of the run that `--archs top:RUN:AMOUNT`
    names; images are those of the condense run that `--proxy` names; both are those of a published table: all of it
    only where nothing else was asked for. @last is replaced by the run's name, because what is written down must mean
    the same later.

    Raises:
        SettingsError: no proxy, or an unknown or invalid setting.
        RunNotFoundError: no run of a name.
    """
    from nasproxy.proxies import COMPOSITES, default_settings

    asked = given.get("search", {})
    proxy, archs = asked.get("proxy"), str(asked.get("archs", ""))
    if proxy in COMPOSITES:
        composite = COMPOSITES[proxy]
        raise SettingsError(
            f"{proxy!r} is made of {len(composite.parts)} scores: give it to 'nasproxy compare --proxies {proxy}', or "
            f"search by {', '.join(composite.parts)} and join these with 'nasproxy combine --how {composite.how}'"
        )
    if proxy is None:
        raise SettingsError("no proxy: give --proxy a condense run (e.g. @last), or a name of 'nasproxy ls proxies'")
    defaults: Tree = {}
    named: Tree = {"search": {}}
    if proxy == LAST:
        named["search"]["proxy"] = proxy = find_run(LAST, root, "condense").name
    if reference := run_of_top(archs):
        run, amount = find_search_run(reference, root), split_top(archs)[1]
        named["search"]["archs"] = f"top:{name_last_search(reference, root)}:{amount}"
        if config := search_behind(run, root):
            defaults = {"images": config.images.model_dump(), "search": {"space": config.search.space}}
    if proxy.startswith(TABLE):
        defaults |= settings_behind(proxy, "search")
    named["search"]["sample"] = name_last(asked.get("sample"), root)
    return make_config(SearchConfig, defaults, default_settings(proxy), images_of(proxy, root), given, named)


def name_last(sample: str | int | None, root: Path) -> str | int | None:
    """What `--sample` is written down as: N:@last names the run, because that must mean the same later."""
    if not isinstance(sample, str):
        return sample
    count, colon, by = sample.partition(":")
    return f"{count}{colon}{name_last_search(by, root)}"


def name_last_search(reference: str, root: Path) -> str:
    """What a reference to a search is written down as: @last is replaced by the run's name, with its signal."""
    name, signal = split_signal(reference)
    return join_signal(find_search_run(LAST, root).name, signal) if name == LAST else reference


def search_behind(run: RunDir, root: Path) -> SearchConfig | None:
    """Settings of a search; of a combination's first one; None where nobody knows."""
    while run.command == CombineConfig.command:
        run = find_search_run(read_config(CombineConfig, run.config_path).combine.runs[0], root)
    return None if run.command == KEPT else read_config(SearchConfig, run.config_path)


def run_of_top(archs: str) -> str | None:
    """The search whose best architectures `--archs` names, top:RUN:AMOUNT; None: a table's, or other ones.

    Raises:
        SettingsError: top:RUN:AMOUNT of another form.
    """
    if not archs.startswith("top:"):
        return None
    reference, _ = split_top(archs)
    return None if names_table(reference) else reference


def split_top(reference: str) -> tuple[str, str]:
    """RUN and AMOUNT of top:RUN:AMOUNT.

    Raises:
        SettingsError: of another form.
    """
    run, _, amount = reference.removeprefix("top:").rpartition(":")
    if not run or not amount:
        raise SettingsError(f"--archs {reference!r}: write top:RUN:5% or top:RUN:36")
    return run, amount
