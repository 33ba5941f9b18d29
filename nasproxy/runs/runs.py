"""`Runs`: everything that nasproxy does, each piece of work in a run folder that can be resumed, shown and compared."""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar, cast

from nasproxy.config import (
    EVALUATION_RECIPES,
    CombineConfig,
    CommandConfig,
    CompareConfig,
    CondenseConfig,
    EvaluateConfig,
    RankConfig,
    ReplayConfig,
    SearchConfig,
    Tree,
    make_config,
    merge_layers,
    nest_settings,
    parse_duration,
    read_config,
    resumed_config,
)
from nasproxy.errors import InputError, SettingsError
from nasproxy.rundir import LAST, RunDir, find_run, list_runs
from nasproxy.runs.place import Place
from nasproxy.runs.references import (
    SCORED,
    find_search_run,
    images_of,
    names_table,
    reference_of,
    settings_of_search,
    split_table,
)
from nasproxy.signals import join_signal, split_signal
from nasproxy.space import SearchSpace
from nasproxy.talk import SILENCE, Listener, listening
from nasproxy.trials import Signal, Trials

# Each job is imported by the method that needs it: condensing starts without Ray, Optuna and pandas, and what shows a
# search without torch.
if TYPE_CHECKING:
    from nasproxy.comparing import Comparison
    from nasproxy.dashboard import Dashboard
    from nasproxy.evaluating import Evaluation
    from nasproxy.images import ImageData
    from nasproxy.model import Model
    from nasproxy.proxyset import ProxySet
    from nasproxy.replaying import Replays
    from nasproxy.runs.comparing import ComparisonPlan
    from nasproxy.runs.reporting import Parts
    from nasproxy.tables import Frame

Job = TypeVar("Job", bound=Callable[..., Any])
COMPARE = CompareConfig.command
_OWN_TRUTH = "{name} is a comparison with its own proxies and truth; name nothing beside it"

Run = str | Path | RunDir
"""A run: its name under the root, a path, or '@last'."""
Scored = Run | Trials
"""A run with trials, or trials in memory."""


def _shown(job: Job) -> Job:
    """Tells who is to be told how far a job is. A job that is part of another one tells the same."""

    @functools.wraps(job)
    def shown(runs: "Runs", *args: Any, **kwargs: Any) -> Any:
        before = runs._place
        if before.listener is not SILENCE:
            return job(runs, *args, **kwargs)
        with listening(runs._progress) as listener:
            runs._place = replace(before, listener=listener)
            try:
                return job(runs, *args, **kwargs)
            finally:
                runs._place = before

    return cast(Job, shown)


class Runs:
    """The run folders under a root, and the work that makes them.

    Arguments that name something take a name, a path, or the object itself where it is in memory. Settings are given as
    keywords, under the names that flags have (`epochs=20, device="cpu"`), or as a tree {section: {key: value}}. What a
    method returns has its run folder as `.run`.

        runs = nap.Runs("runs")
        proxy = runs.condense("digits", "dm", images_per_class=10)
        trials = runs.search("convnet-mini", proxy, seeds=2)
        truth = runs.search("convnet-mini", "whole", epochs=20, seeds=2)
        print(runs.rank([trials], truth).rankings[0].spearman)
    """

    def __init__(self, root: str | Path = "runs", *, progress: bool | Listener = False) -> None:
        """Keeps runs under `root`, which is made when the first one is.

        `progress` is whether to show on stderr how far the work is; or who is told.
        """
        self._place, self._progress = Place(Path(root), SILENCE), progress

    def __repr__(self) -> str:
        return f"Runs({str(self.root)!r})"

    @property
    def root(self) -> Path:
        """Folder of all runs."""
        return self._place.root

    def all(self) -> list[RunDir]:
        """All runs, oldest first."""
        return list_runs(self.root)

    def find(self, run: Run = LAST, *commands: str) -> RunDir:
        """A run, made by one of `commands` where any are given.

        Raises:
            RunNotFoundError: no such run.
            RunError: it was made by another command, or by a version whose folders this one cannot read.
        """
        return run if isinstance(run, RunDir) else find_run(str(run), self.root, *commands)

    def remove(self, run: Run, *, force: bool = False) -> None:
        """Removes a run's folder, and its study where that is kept in a storage beside others.

        Args:
            run: any run.
            force: also where other runs name it. They keep their own results, but no report of it can be made again.

        Raises:
            RunNotFoundError: no such run.
            RunError: a live process works in the folder; or other runs name it, and `force` is not given.
            InputError: its settings or its storage cannot be read; nothing is removed.
        """
        from nasproxy.runs.removing import plan_removal, remove_runs

        remove_runs(plan_removal([self.find(run)], self.root, force=force))

    @_shown
    def condense(
        self,
        data: "str | Path | ImageData | None" = None,
        method: str | None = None,
        *,
        name: str | None = None,
        resume: Run | None = None,
        budget: str | float | None = None,
        settings: Tree | None = None,
        **overrides: Any,
    ) -> "ProxySet":
        """Makes a proxy set: `proxy.safetensors`, `proxy.png`, `metrics.jsonl`.

        Args:
            data: a data set by name, an image folder, or loaded images.
            method: a key of `METHODS`.
            name: of the run; None: after data and method.
            resume: the run to go on with.
            budget: wall time, seconds or a text like '30m': no update is begun that would end later. The run's settings
                then say how many there were, and the set is the one of so many.
            settings: what is asked for, as a tree.
            overrides: what is asked for, as keywords.

        Raises:
            NasproxyError: a wrong setting, images that cannot be read, a loss that is not finite.
        """
        from nasproxy.runs.condensing import run_condense

        given = self._ask(CondenseConfig, settings, {"method": method, **overrides}, data=data)
        run = self._resumed(resume, "condense")
        config = resumed_config(CondenseConfig, run.config_path, given) if run else make_config(CondenseConfig, given)
        seconds = None if budget is None else _seconds_of(budget)
        return run_condense(self._place, config, data=_loaded(data), name=name, resume=run, budget=seconds)

    @_shown
    def evaluate(
        self,
        proxy: "Run | ProxySet | None" = None,
        data: "str | Path | ImageData | None" = None,
        *,
        settings: Tree | None = None,
        **overrides: Any,
    ) -> "list[Evaluation]":
        """Test accuracy of nets trained on a proxy set; its run keeps the figures in `evaluations.jsonl`.

        Args:
            proxy: a condense run, a `.safetensors` file, or a proxy set.
            data: as for `condense`; None: that of the condense run.
            settings: as for `condense`.
            overrides: as for `condense`.

        Raises:
            NasproxyError: as for `condense`.
        """
        from nasproxy.runs.evaluating import run_evaluate

        kept = self._keep_proxy(proxy)
        given = self._ask(EvaluateConfig, settings, {"proxy": self._name_of(kept), **overrides}, data=data)
        asked = given["evaluate"].get("proxy")
        if asked is None:
            raise SettingsError("no proxy set: name a condense run (e.g. @last) or a .safetensors file")
        if asked == LAST:
            asked = given["evaluate"]["proxy"] = self.find(LAST, "condense").name
        defaults = {"recipe": EVALUATION_RECIPES["dm"].model_dump()} | images_of(asked, self.root)
        config = make_config(EvaluateConfig, defaults, given)
        in_memory = kept if _is_proxy_set(kept) else None
        return run_evaluate(self._place, config, proxy=in_memory, data=_loaded(data))

    @_shown
    def search(
        self,
        space: str | Path | SearchSpace | None = None,
        proxy: "Run | ProxySet | None" = None,
        data: "str | Path | ImageData | None" = None,
        *,
        archs: str | Path | Sequence[str] | None = None,
        name: str | None = None,
        resume: Run | None = None,
        retry_failed: bool = False,
        budget: str | float | None = None,
        settings: Tree | None = None,
        **overrides: Any,
    ) -> Trials:
        """Scores architectures by a proxy: `study.db` (or the storage asked for) and `trials.csv`.

        Args:
            space: a space by name, its TOML file, or a loaded one.
            proxy: a condense run, a `.safetensors` file, a proxy set, a name of `PROXIES`, or scores from elsewhere
                ('table:NAME', 'FILE.csv:COLUMN').
            data: as for `condense`; None: that of the condense run.
            archs: ids of the only architectures to score, a file of them, or top:RUN:5%; None: the whole space.
            name: of the run and of its study; None: after data, space and proxy.
            resume: the run to go on with: what its study holds is not scored again, but for architectures that were
                lost with their process.
            retry_failed: architectures that failed are tried again as well.
            budget: wall time, seconds or a text like '30m': what fits is planned by timing some steps here, and drawn
                at random where that is not all. A run that goes on has none: it does what was planned.
            settings: as for `condense`.
            overrides: as for `condense`.

        Raises:
            NasproxyError: a wrong setting, something that cannot be read, a storage that cannot be written.
        """
        from nasproxy.runs.searching import SearchInput, run_search

        kept = self._keep_proxy(proxy)
        ids = None if archs is None or isinstance(archs, str | Path) else list(archs)
        named = {
            "proxy": self._name_of(kept),
            "archs": str(archs) if archs is not None and ids is None else None,
            **overrides,
        }
        given = self._ask(SearchConfig, settings, named, data=data, space=space)
        run = self._resumed(resume, "search")
        config = resumed_config(SearchConfig, run.config_path, given) if run else settings_of_search(given, self.root)
        in_memory = SearchInput(
            _loaded(data),
            space if isinstance(space, SearchSpace) else None,
            kept if _is_proxy_set(kept) else None,
            ids,
        )
        if run is not None and budget is not None:
            raise SettingsError(f"--budget {budget}: run {run.name} goes on with what was planned; leave it out")
        seconds = None if budget is None else _seconds_of(budget)
        return run_search(
            self._place, config, in_memory, name=name, resume=run, retry_failed=retry_failed, budget=seconds
        )

    @_shown
    def train(
        self,
        search: Scored | None = None,
        *,
        top: int | str | None = None,
        data: "str | Path | ImageData | None" = None,
        space: str | Path | SearchSpace | None = None,
        name: str | None = None,
        resume: Run | None = None,
        settings: Tree | None = None,
        **overrides: Any,
    ) -> "Model":
        """Trains the best architectures of a search on all images, and hands out the best net.

        That is a search by 'whole' which keeps its nets: its run has all of them, `model.safetensors` and `model.json`.
        Nets are chosen by validation accuracy; the test accuracy of the one that was chosen says how good it is.

        Args:
            search: what architectures were scored by: a search, a combination, or a table ('table:NAME').
            top: how many of its best: a number or a share like '5%'; None: 3.
            data: as for `condense`; None: that of the search.
            space: as for `search`; None: that of the search.
            name: of the run; None: after data and space.
            resume: the run to go on with, from the last epoch of each net.
            settings: as for `condense`.
            overrides: as for `condense`.

        Raises:
            SettingsError: neither a search nor a run to go on with, or both.
            InputError: no architecture is better than guessing.
            NasproxyError: as for `search`.
        """
        kept = self._keep(search) if search is not None else None
        if (kept is None) == (resume is None):
            raise SettingsError("name a search to train the best of (e.g. @last), or --resume a run, and not both")
        named: dict[str, Any] = {}
        if kept is not None:
            archs = f"top:{self._name_of(kept)}:{3 if top is None else top}"
            named = {"proxy": "whole", "archs": archs, "keep_nets": True}
            if not (settings or {}).get("search", {}).get("seeds"):
                named["seeds"] = 1
        else:
            goes_on = self._resumed(resume, "search")
            if goes_on is not None and not read_config(SearchConfig, goes_on.config_path).search.keep_nets:
                raise SettingsError(
                    f"run {goes_on.name} is a search that keeps no nets; train the best of it: 'nasproxy train "
                    f"{goes_on.name}'"
                )
            if top is not None:
                raise SettingsError(f"--top {top}: the run that goes on knows what it trains; leave it out")
        trials = self.search(space, data=data, name=name, resume=resume, settings=settings, **{**named, **overrides})
        return self._hand_out(trials)

    @_shown
    def find_network(
        self,
        data: "str | Path | ImageData | None" = None,
        space: str | Path | SearchSpace | None = None,
        *,
        budget: str | float,
        top: int = 3,
        name: str | None = None,
        settings: Tree | None = None,
        **overrides: Any,
    ) -> "Model":
        """The best network of a space for these images that a budget finds: a search, then the best few in full.

        What fits is planned by timing some steps here: how many architectures, drawn at random, are searched by early
        stopping with a screen, and for how many epochs the best are trained after that. The search is a run
        NAME-search, the training a run NAME. Called again with the same name it goes on.

        Args:
            data: as for `condense`.
            space: as for `search`.
            budget: wall time: seconds, or a text like '30m' or '2h'.
            top: how many of the best are trained in full.
            name: of the run; None: after data and space.
            settings: as for `search`; the recipe is that of the search and of the training, but for their lengths.
            overrides: as for `search`, e.g. `screen`, `max_params`; `steps` are those of the search (400).

        Raises:
            SettingsError: a budget that is too short; it says what would do.
            InputError: no architecture is better than guessing.
            NasproxyError: as for `search`.
        """
        from nasproxy.runs.finding import run_find

        given = self._ask(SearchConfig, settings, overrides, data=data, space=space)
        seconds = _seconds_of(budget)
        named = Path(str(given["images"].get("dataset", "digits"))).name
        asked = Path(str(given["search"].get("space", "convnet720"))).stem
        trials = run_find(
            self._place,
            given,
            budget=seconds,
            top=top,
            data=_loaded(data),
            space=space if isinstance(space, SearchSpace) else None,
            name=name or f"{named}-{asked}-best",
        )
        return self._hand_out(trials)

    def _hand_out(self, trials: Trials) -> "Model":
        assert trials.run is not None
        if trials.best is None:
            raise InputError(f"run {trials.run.name} hands out no network: {_why_none(trials)}")
        return self.model(trials.run)

    def model(self, run: Run, device: str = "cpu") -> "Model":
        """The trained net that a run hands out.

        Args:
            run: a run of `train`, or of `search` with `keep_nets=True`; or a `model.json`.
            device: where the net is put.

        Raises:
            RunNotFoundError: no such run.
            InputError: it has none, or it cannot be read.
        """
        from nasproxy.model import load_model

        if isinstance(run, str | Path) and Path(run).suffix == ".json":
            return load_model(run, device)
        return load_model(self.find(run).path, device)

    def export_onnx(self, run: Run, path: str | Path) -> None:
        """The trained net that a run hands out as an ONNX file: pixels in, probabilities out.

        Args:
            run: as for `model`.
            path: of the file.

        Raises:
            SettingsError: packages are missing.
            NasproxyError: as for `model`; torch cannot export the net, or the file cannot be written.
        """
        from nasproxy.onnx import write_onnx

        write_onnx(self.model(run), path)

    @_shown
    def combine(
        self,
        proxies: Sequence[Scored] | None = None,
        how: str | None = None,
        truth: Scored | None = None,
        *,
        name: str | None = None,
        settings: Tree | None = None,
        **overrides: Any,
    ) -> Trials:
        """Several searches as one proxy, in a run like that of a search.

        Args:
            proxies: two searches or more.
            how: a key of `COMBINATIONS`; None: 'average'.
            truth: for 'fitted': a search by 'whole', a name of `catalog("truths")`, or a CSV file of true accuracies.
            name: of the run; None: after data, space and kind.
            settings: as for `condense`.
            overrides: as for `condense`.

        Raises:
            NasproxyError: as for `search`.
        """
        from nasproxy.runs.combining import run_combine

        searches = [self._keep(trials) for trials in proxies or ()]
        true = self._keep(truth) if truth is not None else None
        named = {
            "runs": [self._name_of(trials) for trials in searches] or None,
            "truth": self._name_of(true),
            "how": how,
        }
        config = make_config(CombineConfig, self._ask(CombineConfig, settings, {**named, **overrides}))
        asked = config.combine
        loaded = [self._load(trials) for trials in searches or asked.runs]
        known = self._load_truth(found, loaded[0]) if (found := true or asked.truth) else None
        config = config.model_copy(
            update={"combine": asked.model_copy(update={"runs": tuple(filter(None, map(self._name_of, loaded)))})}
        )
        return run_combine(self._place, config, loaded, known, name=name)

    @_shown
    def replay(
        self,
        scores: Sequence[Scored] | None = None,
        truth: Scored | None = None,
        space: str | Path | SearchSpace | None = None,
        *,
        name: str | None = None,
        settings: Tree | None = None,
        **overrides: Any,
    ) -> "Replays":
        """Repeats searches on tables of scores: regret against cost in `replay.csv` and `regret.png`, `.svg`, `.pdf`.

        Args:
            scores: tables (table:NAME, FILE.csv, FILE.csv:COLUMN) or searches, the cheapest first.
            truth: a search by 'whole', a name of `catalog("truths")`, or a CSV file of true accuracies.
            space: as for `search`.
            name: of the run; None: after the space.
            settings: as for `condense`.
            overrides: fields of `ReplaySettings`.

        Raises:
            NasproxyError: a wrong setting, something that cannot be read, tables without a common architecture.
        """
        from nasproxy.runs.loading import Task, load_table, load_truth
        from nasproxy.runs.replaying import run_replay
        from nasproxy.spacefile import load_space

        tables = [self._keep(trials) for trials in scores or ()]
        true = self._keep(truth) if truth is not None else None
        named = {"scores": [self._name_of(table) for table in tables] or None, "truth": self._name_of(true)}
        config = make_config(ReplayConfig, self._ask(ReplayConfig, settings, {**named, **overrides}, space=space))
        asked = config.replay
        searched = space if isinstance(space, SearchSpace) else load_space(asked.space)
        task = Task(asked.dataset, space=searched)
        loaded = [
            load_table(table, task) if isinstance(table, str) and names_table(table) else self._load(table)
            for table in tables or asked.scores
        ]
        known = true if isinstance(true, Trials) else load_truth(asked.truth, self._place, task)
        return run_replay(self._place, config, searched, loaded, known, name=name)

    @_shown
    def plan(
        self,
        data: "str | Path | ImageData | None" = None,
        proxies: "Sequence[Scored | ProxySet] | None" = None,
        space: str | Path | SearchSpace | None = None,
        truth: Scored | None = None,
        *,
        preset: str | None = None,
        resume: Run | None = None,
        settings: Tree | None = None,
        **overrides: Any,
    ) -> "ComparisonPlan":
        """What `compare` will do, checked; `steps()` says how long it takes here, `perform()` does it.

        Args:
            data: as for `compare`.
            proxies: as for `compare`.
            space: as for `compare`.
            truth: as for `compare`.
            preset: as for `compare`.
            resume: as for `compare`.
            settings: as for `compare`.
            overrides: as for `compare`.

        Raises:
            NasproxyError: as for `compare`.
        """
        from nasproxy.runs.comparing import ComparisonPlan, settings_of_compare
        from nasproxy.runs.presets import start_from_preset

        kept = [
            self._keep(proxy) if isinstance(proxy, str | Path | RunDir | Trials) else self._keep_proxy(proxy)
            for proxy in proxies or ()
        ]
        true = self._keep(truth) if truth is not None else None
        named = {"proxies": [self._name_of(proxy) for proxy in kept] or None, "truth": self._name_of(true), **overrides}
        given = self._ask(CompareConfig, settings, named, data=data, space=space)
        run = self._resumed(resume, COMPARE)
        if run:
            config = resumed_config(CompareConfig, run.config_path, given)
        else:
            config = settings_of_compare(start_from_preset(preset, given) if preset else given, self.root)
        return ComparisonPlan.make(
            self._place,
            config,
            data=_loaded(data),
            space=space if isinstance(space, SearchSpace) else None,
            trials={self._name_of(trials) or "": trials for trials in kept if isinstance(trials, Trials)},
            truth=true if isinstance(true, Trials) else None,
            resume=run,
        )

    @_shown
    def compare(
        self,
        data: "str | Path | ImageData | None" = None,
        proxies: "Sequence[Scored | ProxySet] | None" = None,
        space: str | Path | SearchSpace | None = None,
        truth: Scored | None = None,
        *,
        name: str | None = None,
        preset: str | None = None,
        resume: Run | None = None,
        settings: Tree | None = None,
        **overrides: Any,
    ) -> "Comparison":
        """The whole experiment: condense, search with every proxy, train the truth, compare, report.

        What earlier runs with the same settings and data hold is read from them.

        Args:
            data: as for `condense`.
            proxies: condensation methods, names of `PROXIES`, condense runs, proxy sets, searches, or scores from
                elsewhere ('table:NAME', 'FILE.csv:COLUMN').
            space: as for `search`.
            truth: a search by 'whole', a name of `catalog("truths")`, or a CSV file of true accuracies; None: it is
                trained here.
            name: of the comparison; None: after data and space.
            preset: settings to start from, a key of `PRESETS`.
            resume: the comparison to go on with.
            settings: as for `condense`.
            overrides: as for `condense`.

        Raises:
            NasproxyError: as for `condense` and `search`.
        """
        plan = self.plan(data, proxies, space, truth, preset=preset, resume=resume, settings=settings, **overrides)
        return plan.perform(name)

    @_shown
    def rank(
        self,
        proxies: Sequence[Scored],
        truth: Scored | None = None,
        *,
        settings: Tree | None = None,
        **overrides: Any,
    ) -> "Comparison":
        """Searches judged by a truth; the run of each gets a `ranking.csv`, by another signal `ranking-SIGNAL.csv`.

        Args:
            proxies: searches.
            truth: a search by 'whole', a name of `catalog("truths")`, or a CSV file of true accuracies.
            settings: as for `condense`.
            overrides: fields of `RankSettings`.

        Raises:
            NasproxyError: as for `search`.
        """
        from nasproxy.tables import rankings_frame, write_table

        comparison, _ = self._judge(proxies, truth, settings, overrides)
        for trials, ranking in zip(comparison.proxies, comparison.rankings, strict=True):
            if trials.run:
                write_table(rankings_frame([ranking]), trials.run.path / _ranking_file(trials.info.signal))
        return comparison

    @_shown
    def report(
        self,
        what: "Scored | Comparison | Sequence[Scored]",
        truth: Scored | None = None,
        *,
        folder: str | Path | None = None,
        settings: Tree | None = None,
        **overrides: Any,
    ) -> Path:
        """Writes the report of a comparison, or of searches and a truth.

        Args:
            what: a comparison, or searches.
            truth: of searches: a search by 'whole', a name of `catalog("truths")`, or a CSV file of true accuracies.
            folder: where the page and its figures go; None: the comparison's own, or `report-RUN` under the root.
            settings: as for `condense`.
            overrides: fields of `RankSettings`.

        Returns:
            Path of `report.html`.

        Raises:
            NasproxyError: as for `search`; something that cannot be written.
        """
        from nasproxy.comparing import Comparison
        from nasproxy.runs.reporting import Parts, load_comparison, write_comparison

        run = self._comparison_run(what)
        if run is not None:
            if truth is not None or (settings or {}).get("rank", {}).get("truth") is not None:
                raise SettingsError(
                    f"{run.name} is a comparison with its own proxies and truth; name nothing beside it"
                )
            comparison, parts = load_comparison(run, self._place)
            place = Path(folder) if folder else run.path
            return write_comparison(comparison, parts, self.root, place, title=run.name, dashboard=run.name)
        if isinstance(what, Comparison):
            comparison, parts = what, Parts((), "")
        else:
            searches = [what] if isinstance(what, str | Path | RunDir | Trials) else what
            comparison, parts = self._judge(searches, truth, settings, overrides)
        place = Path(folder) if folder else self.root / f"report-{comparison.proxies[0].name}"
        title = ", ".join(parts.proxies) or ", ".join(trials.name for trials in comparison.proxies)
        return write_comparison(comparison, parts, self.root, place, title=title)

    @_shown
    def export(
        self, what: "Scored | Comparison", path: str | Path | None = None, truth: Scored | None = None
    ) -> "Frame":
        """Ranked architectures as a table: of a search or combination, or of a comparison with every proxy.

        Args:
            what: the run, trials or comparison.
            path: .csv, .parquet or .json to write; None: nothing is written.
            truth: of a search: a truth as in `rank`, whose accuracies and ranks become columns.

        Raises:
            NasproxyError: as for `search`; a table that cannot be written.
        """
        from nasproxy.comparing import Comparison
        from nasproxy.runs.reporting import load_comparison
        from nasproxy.tables import comparison_frame, trials_frame, write_table

        run = self._comparison_run(what)
        if isinstance(what, Comparison) or run is not None:
            if truth is not None:
                name = run.name if run else "the comparison"
                raise SettingsError(f"{name} is a comparison with a truth of its own; leave --truth out")
            comparison = what if isinstance(what, Comparison) else load_comparison(run or self.find(), self._place)[0]
            frame = comparison_frame(comparison)
        else:
            trials = self._load(what)
            frame = trials_frame(trials, self._load_truth(truth, trials) if truth is not None else None)
        if path is not None:
            write_table(frame, Path(path).expanduser())
        return frame

    @_shown
    def dashboard(
        self, what: Sequence[Run] = (LAST,), *, port: int = 0, snapshot: bool = False, allow_changes: bool = False
    ) -> "Dashboard":
        """The Optuna dashboard: live on the record of one search; a snapshot of a comparison or of several searches.

        Args:
            what: one comparison, or searches.
            port: where to listen; any free port if it is taken, or 0.
            snapshot: one search, too, is shown as it is now, with a note on every trial.
            allow_changes: whether the browser may change and delete what it shows.

        Raises:
            NasproxyError: as for `search`.
        """
        from nasproxy.dashboard import Dashboard
        from nasproxy.runs.loading import storage_url

        runs = [self._find_shown(run) for run in what]
        is_comparison = [run.command == COMPARE for run in runs]
        if any(is_comparison) and len(runs) > 1:
            raise SettingsError("a comparison is shown alone; name one comparison, or searches")
        if len(runs) == 1 and not snapshot and not is_comparison[0]:
            return Dashboard.of_search(runs[0].study_name, storage_url(runs[0]), port, allow_changes=allow_changes)
        from nasproxy.runs.reporting import find_pictures, load_comparison

        self._place.listener.say("a snapshot: trials and notes that come later are not in it or not kept")
        if is_comparison[0]:
            comparison, parts = load_comparison(runs[0], self._place)
            pictures = find_pictures(comparison, parts, self.root)
            return Dashboard.of_comparison(runs[0].name, comparison, pictures, port, allow_changes=allow_changes)
        return Dashboard.of_searches([self._load(run) for run in what], port, allow_changes=allow_changes)

    def _ask(
        self,
        kind: type[CommandConfig],
        settings: Tree | None,
        overrides: Mapping[str, Any],
        *,
        data: "str | Path | ImageData | None" = None,
        space: str | Path | SearchSpace | None = None,
    ) -> Tree:
        """What is asked for in one tree: settings, then keywords, then objects; paths of what exists are absolute."""
        sources: Tree = {section: {} for section in kind.model_fields}
        if (loaded := _loaded(data)) is not None:
            sources["images"] = loaded.settings.model_dump() if loaded.settings else {"dataset": loaded.name}
        elif data is not None:
            sources["images"] = {"dataset": str(data)}
        if space is not None:
            source = (space.source or space.name) if isinstance(space, SearchSpace) else str(space)
            sources[kind.command] = {"space": source}
        return _with_absolute_paths(merge_layers(settings or {}, nest_settings(kind, overrides), sources))

    def _resumed(self, resume: Run | None, command: str) -> RunDir | None:
        return self.find(resume, command) if resume is not None else None

    def _comparison_run(self, what: Any) -> RunDir | None:
        """The run of a comparison, where that is what was named; None: it is something else."""
        from nasproxy.comparing import Comparison

        if isinstance(what, Comparison):
            return what.run
        names = [what] if isinstance(what, str | Path | RunDir) else list(what) if not isinstance(what, Trials) else []
        found = [self._find_shown(run) for run in names if not isinstance(run, Trials)]
        comparisons = [run for run in found if run.command == COMPARE]
        if comparisons and len(names) > 1:
            raise SettingsError(_OWN_TRUTH.format(name=comparisons[0].name))
        return comparisons[0] if comparisons else None

    def _find_shown(self, run: Run) -> RunDir:
        """A comparison, or a search whatever signal of it is named."""
        return self.find(run if isinstance(run, RunDir) else split_signal(str(run))[0], *SCORED, COMPARE)

    def _keep(self, what: Scored) -> str | Trials:
        """A name, or trials with a run."""
        if isinstance(what, Trials):
            from nasproxy.runs.combining import keep_trials

            return what if what.run else keep_trials(self._place, what)
        return reference_of(what, self.root) if isinstance(what, RunDir) else str(what)

    def _keep_proxy(self, proxy: "Run | ProxySet | None") -> "str | ProxySet | None":
        """A name, or a proxy set with a run."""
        if _is_proxy_set(proxy):
            from nasproxy.runs.combining import keep_proxy_set

            return proxy if proxy.run else keep_proxy_set(self._place, proxy)
        return reference_of(proxy, self.root) if isinstance(proxy, RunDir) else None if proxy is None else str(proxy)

    def _name_of(self, what: "str | Trials | ProxySet | None") -> str | None:
        """What settings call it."""
        if what is None or isinstance(what, str):
            return what
        assert what.run is not None
        return reference_of(what.run, self.root, what.info.signal if isinstance(what, Trials) else Signal.ACCURACY)

    def _load(self, what: Scored) -> Trials:
        from nasproxy.runs.loading import load_scored, load_trials

        if isinstance(what, Trials):
            return what
        return load_trials(what) if isinstance(what, RunDir) else load_scored(str(what), self.root)

    def _search_run(self, run: Run) -> RunDir:
        return run if isinstance(run, RunDir) else find_search_run(str(run), self.root)

    def _load_truth(self, what: Scored, proxy: Trials) -> Trials:
        """For what a proxy is about."""
        from nasproxy.runs.loading import Task, load_truth

        if isinstance(what, Trials):
            return what
        reference = str(what.path) if isinstance(what, RunDir) else str(what)
        return load_truth(reference, self._place, Task.of(proxy, self.root))

    def _judge(
        self, proxies: Sequence[Scored], truth: Scored | None, settings: Tree | None, overrides: Mapping[str, Any]
    ) -> "tuple[Comparison, Parts]":
        from nasproxy.comparing import compare_trials
        from nasproxy.runs.reporting import Parts

        given = self._ask(RankConfig, settings, overrides)
        asked = make_config(RankConfig, given).rank
        true = truth if truth is not None else asked.truth
        if true is None:
            raise SettingsError(
                "no truth to compare with: give --truth a search made with --proxy whole, a published truth, or a CSV"
            )
        loaded = [self._load(trials) for trials in proxies]
        comparison = compare_trials(loaded, self._load_truth(true, loaded[0]), top=asked.top, seed=asked.seed)
        names = tuple(trials.name for trials in loaded)
        judged_by = true.name if isinstance(true, Trials | RunDir) else str(true)
        return comparison, Parts(names, judged_by, top=asked.top, seed=asked.seed)


def _seconds_of(budget: str | float) -> float:
    """Seconds of wall time.

    Raises:
        SettingsError: no positive time.
    """
    if isinstance(budget, str):
        return parse_duration(budget)
    if not 0 < budget < math.inf:
        raise SettingsError(f"budget={budget} is no length of time; give seconds above 0, or 90s, 30m, 2h, 1d")
    return budget


def _why_none(trials: Trials) -> str:
    """Why no architecture of a search is the best."""
    failed = [trial for trial in trials if not trial.is_ranked]
    if len(failed) == len(trials) and failed:
        return f"all failed, e.g. {failed[0].arch_id}: {failed[0].reason}"
    return "none is better than guessing; train longer, or by another --recipe"


def _ranking_file(signal: Signal) -> str:
    return "ranking.csv" if signal is Signal.ACCURACY else f"ranking-{signal}.csv"


def _loaded(data: "str | Path | ImageData | None") -> "ImageData | None":
    """Images that are in memory.

    Raises:
        SettingsError: neither these, nor a name, nor a path.
    """
    if data is None or isinstance(data, str | Path):
        return None
    from nasproxy.images import ImageData

    if not isinstance(data, ImageData):
        raise SettingsError(
            f"data is of type {type(data).__name__}; give a name, a folder, or what load_images returns"
        )
    return data


def _is_proxy_set(what: "Scored | ProxySet | None") -> "TypeGuard[ProxySet]":
    if what is None or isinstance(what, str | Path | RunDir | Trials):
        return False
    from nasproxy.proxyset import ProxySet

    return isinstance(what, ProxySet)


_PATHS = {
    "images": ("dataset",),
    "search": ("proxy", "space", "archs"),
    "evaluate": ("proxy",),
    "compare": ("space", "archs", "truth"),
    "combine": ("truth",),
    "replay": ("space", "truth"),
    "rank": ("truth",),
}
"""Settings that may be the path of a file or folder."""


def _with_absolute_paths(tree: Tree) -> Tree:
    """The tree with paths of what exists made absolute, so that a run can be resumed from anywhere."""
    for section, keys in _PATHS.items():
        values = tree.get(section, {})
        for key in keys:
            if values.get(key) is not None:
                values[key] = _absolute_if_there(str(values[key]), is_folder=key == "dataset")
    for section, key in (("compare", "proxies"), ("replay", "scores")):
        if (listed := tree.get(section, {}).get(key)) is not None:
            names = listed.split(",") if isinstance(listed, str) else listed
            tree[section][key] = [_absolute_if_there(name.strip()) for name in names]
    if (data_dir := tree.get("images", {}).get("data_dir")) is not None:
        tree["images"]["data_dir"] = Path(data_dir).expanduser().resolve()
    return tree


def _absolute_if_there(text: str, *, is_folder: bool = False) -> str:
    """The absolute path of a file (with the column that is named of it) or folder; the text where there is none, or it
    names a data set."""
    if is_folder:
        from nasproxy.images import DATASETS

        path = Path(text).expanduser()
        if text in DATASETS or not path.exists():
            return text
        return str(path.absolute() if path.is_file() else path.resolve())  # files may be links to some without a suffix
    module, _, function = text.rpartition(":")
    if module.endswith(".py") and Path(module).expanduser().is_file():
        return f"{Path(module).expanduser().resolve()}:{function}"
    file, column = split_table(text)
    name, signal = (file, Signal.ACCURACY) if file else split_signal(text)
    path = Path(name).expanduser()
    if not path.is_file():
        return text
    return f"{path.resolve()}:{column}" if column else join_signal(str(path.resolve()), signal)
