"""What names mean: runs, proxies, truths, architectures, amounts."""

from dataclasses import replace
from pathlib import Path

from nasproxy.config import CombineConfig, CondenseConfig, SearchConfig, Tree, make_config, parse_share, read_config
from nasproxy.errors import InputError, RunError, RunNotFoundError, SettingsError, StudyNotFoundError
from nasproxy.proxies import PROXIES, default_recipe
from nasproxy.proxyset import ProxySet, load_proxy_set
from nasproxy.rundir import LAST, RunDir, find_run
from nasproxy.store import open_store, sqlite_url
from nasproxy.tables import read_truth
from nasproxy.trials import Trials

KEPT = "keep"
"""Command of a run that only keeps what was made in memory."""
SCORED = ("search", "combine", KEPT)
"""Commands whose runs may hold trials."""


def find_proxy(reference: str, root: Path) -> ProxySet | str:
    """What `--proxy` names: a proxy of `PROXIES`, a `.safetensors` file, or a condense run.

    Raises:
        ProxySetError: the proxy set is unreadable.
        RunNotFoundError: no run of that name.
        RunError: a run that is no condense run, or is not finished.
    """
    if reference in PROXIES:
        return reference
    if Path(reference).suffix == ".safetensors":
        return load_proxy_set(Path(reference).expanduser())
    run = find_condense_run(reference, root)
    if not run.proxy_path.is_file():
        raise RunError(f"run {run.name} has no proxy set yet; finish it with 'nasproxy condense --resume {run.name}'")
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
        raise RunNotFoundError(f"{error}; proxies that need no run: {', '.join(PROXIES)}") from None


def find_search_run(reference: str, root: Path) -> RunDir:
    """The run of a proxy's trials that a name, a path or @last refers to.

    Raises:
        RunNotFoundError: no such run.
        RunError: a run without trials.
    """
    return find_run(reference, root, *SCORED)


def images_of(proxy: str, root: Path) -> Tree:
    """The images of the condense run that `--proxy` names, as settings to start from; none where it names no run."""
    if proxy in PROXIES or Path(proxy).suffix == ".safetensors":
        return {}
    run = find_condense_run(proxy, root)
    if run.command == KEPT:
        return {}
    return {"images": read_config(CondenseConfig, run.config_path).images.model_dump()}


def settings_of_search(given: Tree, root: Path) -> SearchConfig:
    """The settings of a new search, from what was asked for.

    The recipe is that of the proxy's kind; images and space are those of the run that `--archs top:RUN:AMOUNT` names;
    images are those of the condense run that `--proxy` names: all of it only where nothing else was asked for. @last is
    replaced by the run's name, because what is written down must mean the same later.

    Raises:
        SettingsError: no proxy, or an unknown or invalid setting.
        RunNotFoundError: no run of a name.
    """
    asked = given.get("search", {})
    proxy, archs = asked.get("proxy"), str(asked.get("archs", ""))
    if proxy is None:
        raise SettingsError("no proxy: give --proxy a condense run (e.g. @last), or a name of 'nasproxy ls proxies'")
    defaults: Tree = {}
    named: Tree = {"search": {}}
    if proxy == LAST:
        named["search"]["proxy"] = proxy = find_run(LAST, root, "condense").name
    if archs.startswith("top:"):
        reference, amount = _split_top(archs)
        run = find_search_run(reference, root)
        named["search"]["archs"] = f"top:{run.name if reference == LAST else reference}:{amount}"
        if config := search_behind(run, root):
            defaults = {"images": config.images.model_dump(), "search": {"space": config.search.space}}
    defaults |= {"recipe": default_recipe(proxy).model_dump()} | images_of(proxy, root)
    return make_config(SearchConfig, defaults, given, named)


def search_behind(run: RunDir, root: Path) -> SearchConfig | None:
    """Settings of a search; of a combination's first one; None where nobody knows."""
    while run.command == CombineConfig.command:
        run = find_search_run(read_config(CombineConfig, run.config_path).combine.runs[0], root)
    return None if run.command == KEPT else read_config(SearchConfig, run.config_path)


def read_arch_ids(reference: str, root: Path) -> list[str] | None:
    """Ids that `--archs` names: None for 'all', the best of a search for top:RUN:5% or top:RUN:36, else a file's.

    A file has one id per line, or is a CSV with a column `arch_id`.

    Raises:
        SettingsError: top:RUN:AMOUNT of another form.
        InputError: the file or the run cannot be read.
    """
    if reference == "all":
        return None
    if reference.startswith("top:"):
        name, amount = _split_top(reference)
        ids = load_trials(find_search_run(name, root)).top(parse_amount(amount))
    else:
        try:
            lines = Path(reference).expanduser().read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(
                f"--archs {reference!r}: no such file of architecture ids ({error}); or give top:RUN:5%"
            ) from None
        rows = [line.split(",") for line in lines if line.strip() and not line.startswith("#")]
        column = rows[0].index("arch_id") if rows and "arch_id" in rows[0] else 0
        ids = [row[column].strip() for row in rows if row[column].strip() != "arch_id"]
    if not ids:
        raise InputError(f"--archs {reference!r} names no architecture; check it")
    return ids


def _split_top(reference: str) -> tuple[str, str]:
    """RUN and AMOUNT of top:RUN:AMOUNT."""
    run, _, amount = reference.removeprefix("top:").rpartition(":")
    if not run or not amount:
        raise SettingsError(f"--archs {reference!r}: write top:RUN:5% or top:RUN:36")
    return run, amount


def parse_amount(text: str) -> int | float:
    """'5%' -> 0.05, '36' -> 36.

    Raises:
        SettingsError: neither a percentage in (0, 100] nor a whole number above 0.
    """
    if text.endswith("%"):
        return parse_share(text)
    if not text.isdigit() or int(text) == 0:
        raise SettingsError(f"{text!r} is no amount; write a percentage like 5% or a whole number like 36")
    return int(text)


def load_trials(run: RunDir) -> Trials:
    """All trials of a search or combination, finished or not.

    Raises:
        InputError: the study cannot be read.
    """
    trials = open_store(run.study_name, storage_url(run)).trials()
    return replace(trials, info=replace(trials.info, name=run.name), run=run)


def load_truth(reference: str, root: Path) -> Trials:
    """The truth that `--truth` names: a search by 'whole', or a CSV file of true accuracies.

    Raises:
        RunNotFoundError: no such run.
        RunError: a run without trials.
        InputError: the study or file cannot be read.
    """
    if Path(reference).suffix == ".csv":
        return read_truth(Path(reference).expanduser())
    return load_trials(find_search_run(reference, root))


def storage_url(run: RunDir) -> str:
    """The Optuna storage of a run with trials.

    Raises:
        StudyNotFoundError: the run keeps its study in a file that is not there.
    """
    is_search = run.command == SearchConfig.command
    url = read_config(SearchConfig, run.config_path).search.storage if is_search else None
    if url is None and not run.study_path.is_file():
        raise StudyNotFoundError(f"run {run.name} has no {run.study_path.name}: {_why_no_study(run)}")
    return url or sqlite_url(run.study_path)


def _why_no_study(run: RunDir) -> str:
    if run.has_study:
        return "put the file back, or search again under another --name"
    return f"it has not begun; continue it with --resume {run.name}"
