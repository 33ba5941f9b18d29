"""nasproxy: rank neural architectures by training them on a condensed dataset.

    import nasproxy as nap

    data = nap.load_images("digits")
    proxy = nap.condense(data, "dm", images_per_class=10, steps=500)
    space = nap.load_space("convnet-mini")
    trials = nap.search(space, proxy, data, seeds=3)
    truth = nap.search(space, "whole", data, epochs=20, seeds=3)
    print(nap.rank(trials, truth, top=0.5))

Names are imported when first used, so that `import nasproxy` costs nothing.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

SPIN_COUNT = 1000
"""How long a thread of GNU OpenMP, which torch computes with, spins for work before it sleeps.

By its default (300,000) threads of a process beside others take the cores from whom they wait for: a step of condensing
on two cores took 1.4 to 4.2 s instead of 0.10; with this, 0.23, and 0.12 alone (`python -m benchmarks.waiting`). It is
set for this process and those it starts, if torch is not imported yet and nothing else is asked for.
"""
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", str(SPIN_COUNT))

if TYPE_CHECKING:
    from nasproxy.alignment import Alignment, align
    from nasproxy.choosing import Choice, choose, describe_top, describe_validation
    from nasproxy.combining import combine_trials
    from nasproxy.comparing import Comparison, Ranking, compare_trials, rank
    from nasproxy.condensing import METHODS, condense
    from nasproxy.config import (
        DASHBOARD_PORT,
        CombineConfig,
        CommandConfig,
        CompareConfig,
        CondenseConfig,
        EvaluateConfig,
        RankConfig,
        ReplayConfig,
        SearchConfig,
        SettingInfo,
        Tree,
        describe_commands,
        describe_setting,
        evaluation_recipe,
        gather_settings,
        read_recipe,
        without_password,
    )
    from nasproxy.dashboard import Dashboard
    from nasproxy.errors import NasproxyError, RunError, SettingsError, format_command
    from nasproxy.evaluating import Evaluation, evaluate
    from nasproxy.formatting import format_count, format_duration, format_estimate, format_percent, format_score
    from nasproxy.images import DATASETS, ImageData, ImageSet, load_images
    from nasproxy.model import Model, Prediction, load_model
    from nasproxy.proxies import PROXIES
    from nasproxy.proxyset import ProxySet, load_proxy_set
    from nasproxy.ranking import Estimate, correlate
    from nasproxy.replaying import REPLAYED, Fidelity, Replay, Replays, replay
    from nasproxy.replaying.simulation import Simulation, simulate
    from nasproxy.reporting import write_report
    from nasproxy.rundir import LAST, Interrupted, RunDir
    from nasproxy.runs.catalog import catalog
    from nasproxy.runs.comparing import ComparisonPlan, PlanStep
    from nasproxy.runs.overview import RunSummary, summarize_runs
    from nasproxy.runs.references import run_of_top
    from nasproxy.runs.removing import Removal, plan_removal, remove_runs
    from nasproxy.runs.runs import Runs
    from nasproxy.scoring import Costs, measure_costs
    from nasproxy.searching.evaluator import Asker, Evaluator
    from nasproxy.searching.schedule import STRATEGIES
    from nasproxy.searching.search import search
    from nasproxy.space import Arch, SearchSpace, build
    from nasproxy.spacefile import load_space
    from nasproxy.tables import (
        comparison_frame,
        csv_text,
        ranking_row,
        read_scores,
        read_truth,
        replay_frame,
        trials_frame,
        write_table,
    )
    from nasproxy.talk import Listener, Talk, printable
    from nasproxy.trials import ProxyCost, ProxyKind, Rung, SearchInfo, State, Trial, Trials

_HOMES = {
    "alignment": ("Alignment", "align"),
    "choosing": ("Choice", "choose", "describe_top", "describe_validation"),
    "combining": ("combine_trials",),
    "comparing": ("Comparison", "Ranking", "compare_trials", "rank"),
    "condensing": ("METHODS", "condense"),
    "config": (
        "DASHBOARD_PORT",
        "CombineConfig",
        "CommandConfig",
        "CompareConfig",
        "CondenseConfig",
        "EvaluateConfig",
        "RankConfig",
        "ReplayConfig",
        "SearchConfig",
        "SettingInfo",
        "Tree",
        "describe_commands",
        "describe_setting",
        "evaluation_recipe",
        "gather_settings",
        "read_recipe",
        "without_password",
    ),
    "dashboard": ("Dashboard",),
    "errors": ("NasproxyError", "RunError", "SettingsError", "format_command"),
    "evaluating": ("Evaluation", "evaluate"),
    "formatting": ("format_count", "format_duration", "format_estimate", "format_percent", "format_score"),
    "images": ("DATASETS", "ImageData", "ImageSet", "load_images"),
    "model": ("Model", "Prediction", "load_model"),
    "proxies": ("PROXIES",),
    "proxyset": ("ProxySet", "load_proxy_set"),
    "ranking": ("Estimate", "correlate"),
    "replaying": ("REPLAYED", "Fidelity", "Replay", "Replays", "replay"),
    "replaying.simulation": ("Simulation", "simulate"),
    "reporting": ("write_report",),
    "rundir": ("LAST", "Interrupted", "RunDir"),
    "runs.catalog": ("catalog",),
    "runs.comparing": ("ComparisonPlan", "PlanStep"),
    "runs.overview": ("RunSummary", "summarize_runs"),
    "runs.references": ("run_of_top",),
    "runs.removing": ("Removal", "plan_removal", "remove_runs"),
    "runs.runs": ("Runs",),
    "scoring": ("Costs", "measure_costs"),
    "searching.evaluator": ("Asker", "Evaluator"),
    "searching.schedule": ("STRATEGIES",),
    "searching.search": ("search",),
    "space": ("Arch", "SearchSpace", "build"),
    "spacefile": ("load_space",),
    "tables": (
        "comparison_frame",
        "csv_text",
        "ranking_row",
        "read_scores",
        "read_truth",
        "replay_frame",
        "trials_frame",
        "write_table",
    ),
    "talk": ("Listener", "Talk", "printable"),
    "trials": ("ProxyCost", "ProxyKind", "Rung", "SearchInfo", "State", "Trial", "Trials"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__version__ = "0.2.0"
__all__ = [
    "DASHBOARD_PORT",
    "DATASETS",
    "LAST",
    "METHODS",
    "PROXIES",
    "REPLAYED",
    "STRATEGIES",
    "Alignment",
    "Arch",
    "Asker",
    "Choice",
    "CombineConfig",
    "CommandConfig",
    "CompareConfig",
    "Comparison",
    "ComparisonPlan",
    "CondenseConfig",
    "Costs",
    "Dashboard",
    "Estimate",
    "EvaluateConfig",
    "Evaluation",
    "Evaluator",
    "Fidelity",
    "ImageData",
    "ImageSet",
    "Interrupted",
    "Listener",
    "Model",
    "NasproxyError",
    "PlanStep",
    "Prediction",
    "ProxyCost",
    "ProxyKind",
    "ProxySet",
    "RankConfig",
    "Ranking",
    "Removal",
    "Replay",
    "ReplayConfig",
    "Replays",
    "RunDir",
    "RunError",
    "RunSummary",
    "Rung",
    "Runs",
    "SearchConfig",
    "SearchInfo",
    "SearchSpace",
    "SettingInfo",
    "SettingsError",
    "Simulation",
    "State",
    "Talk",
    "Tree",
    "Trial",
    "Trials",
    "align",
    "build",
    "catalog",
    "choose",
    "combine_trials",
    "compare_trials",
    "comparison_frame",
    "condense",
    "correlate",
    "csv_text",
    "describe_commands",
    "describe_setting",
    "describe_top",
    "describe_validation",
    "evaluate",
    "evaluation_recipe",
    "format_command",
    "format_count",
    "format_duration",
    "format_estimate",
    "format_percent",
    "format_score",
    "gather_settings",
    "load_images",
    "load_model",
    "load_proxy_set",
    "load_space",
    "measure_costs",
    "plan_removal",
    "printable",
    "rank",
    "ranking_row",
    "read_recipe",
    "read_scores",
    "read_truth",
    "remove_runs",
    "replay",
    "replay_frame",
    "run_of_top",
    "search",
    "simulate",
    "summarize_runs",
    "trials_frame",
    "without_password",
    "write_report",
    "write_table",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'nasproxy' has no attribute {name!r}")
    return getattr(import_module(f"nasproxy.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME_OF})
