"""The shape of the package: imports flow down, each heavy library has one owner, the public names are pinned."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import nasproxy

PACKAGE = Path(nasproxy.__file__).parent

LAYERS = [
    {"errors", "factors", "seeding", "files", "talk"},
    {"config", "definebyrun", "space", "spacefile", "suggesting", "rundir", "tensorfile"},
    {
        "images",
        "augment",
        "checkpoint",
        "nets",
        "optimizing",
        "ranking",
        "cuda_graphs",
        "device",
        "encoding",
        "screened",
        "trials",
    },
    {"training", "scoring", "proxyset", "alignment", "formatting", "signals", "store"},
    {"condensing", "evaluating", "model", "proxies"},
    {"onnx", "searching"},
    {"choosing", "combining", "comparing", "replaying", "tables", "truths", "reporting", "dashboard"},
    {"runs"},
    {"cli"},
]
LAYER_OF = {name: number for number, names in enumerate(LAYERS) for name in names}
ENTRY_POINTS = {"__init__", "__main__"}
"""Not part of the layers: the lazy list of public names, and `python -m nasproxy`."""
APART = {"condensing": {"searching"}, "searching": {"condensing"}}
"""Stages that meet through files and records only."""
OWNERS = {
    "torchvision": {"images"},
    "PIL": {"images"},
    "pyarrow": {"images"},
    "sklearn": {"images", "ranking"},
    "optuna": {"store", "searching", "dashboard"},
    "optuna_dashboard": {"dashboard"},
    "ray": {"searching"},
    "scipy": {"ranking"},
    "pandas": {"tables"},
    "pydantic": {"config"},
    "tomli_w": {"config"},
    "filelock": {"rundir"},
    "typer": {"cli"},
    "rich": {"cli", "talk"},
    "safetensors": {"tensorfile"},
    "jinja2": {"reporting"},
    "matplotlib": {"reporting"},
}
MODULES = sorted(PACKAGE.rglob("*.py"))


def top_of(path: Path) -> str:
    """Name of the top-level module or subpackage that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> Iterator[str]:
    """Dotted names of all modules that a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            if node.module == "nasproxy":
                yield from (f"nasproxy.{alias.name}" for alias in node.names)
            else:
                yield node.module


def own_imports(path: Path) -> set[str]:
    """Top-level modules of nasproxy that a file imports, its own not counted."""
    names = (name.split(".") for name in imports_of(path))
    return {name[1] for name in names if name[0] == "nasproxy" and len(name) > 1} - {top_of(path)}


def test_every_module_has_a_layer() -> None:
    assert {top_of(path) for path in MODULES} - ENTRY_POINTS == set(LAYER_OF)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_flow_down(path: Path) -> None:
    if top_of(path) in ENTRY_POINTS:
        pytest.skip("an entry point")
    layer = LAYER_OF[top_of(path)]
    assert {name for name in own_imports(path) if LAYER_OF[name] > layer} == set()
    assert own_imports(path) & APART.get(top_of(path), set()) == set()


def test_no_import_cycle() -> None:
    edges: dict[str, set[str]] = {name: set() for name in LAYER_OF}
    for path in MODULES:
        if top_of(path) not in ENTRY_POINTS:
            edges[top_of(path)] |= own_imports(path)
    while leaves := {name for name, targets in edges.items() if not targets}:
        edges = {name: targets - leaves for name, targets in edges.items() if name not in leaves}
    assert edges == {}


@pytest.mark.parametrize("library", OWNERS)
def test_a_heavy_library_is_imported_by_its_owner_only(library: str) -> None:
    users = {top_of(path) for path in MODULES if library in {name.split(".")[0] for name in imports_of(path)}}
    assert users == OWNERS[library]


PUBLIC_NAMES = {
    *(
        "Alignment",
        "Arch",
        "Asker",
        "Choice",
        "CombineConfig",
        "CommandConfig",
        "CompareConfig",
        "Comparison",
        "CondenseConfig",
        "Costs",
    ),
    *(
        "DASHBOARD_PORT",
        "DATASETS",
        "Dashboard",
        "Estimate",
        "EvaluateConfig",
        "Evaluation",
        "Evaluator",
        "ImageData",
        "ImageSet",
    ),
    *("LAST", "METHODS", "NasproxyError", "PROXIES", "PlanStep", "ProxyCost", "ProxyKind", "ProxySet", "RankConfig"),
    *("ComparisonPlan", "Listener", "Model", "Prediction", "Rung", "align", "load_model"),
    *(
        "Ranking",
        "RunDir",
        "Runs",
        "STRATEGIES",
        "SearchConfig",
        "SearchInfo",
        "SearchSpace",
        "SettingInfo",
        "SettingsError",
    ),
    *("State", "describe_commands", "describe_setting"),
    *("Tree", "Trial", "Trials", "build", "catalog", "choose", "combine_trials", "compare_trials", "comparison_frame"),
    *(
        "condense",
        "correlate",
        "csv_text",
        "describe_top",
        "describe_validation",
        "evaluate",
        "format_command",
        "evaluation_recipe",
        "format_count",
        "format_duration",
        "format_estimate",
    ),
    *("format_percent", "gather_settings", "load_images", "load_proxy_set", "load_space", "measure_costs", "rank"),
    *("Fidelity", "REPLAYED", "Replay", "ReplayConfig", "Replays", "Simulation", "replay", "replay_frame", "simulate"),
    *(
        "Removal",
        "RunError",
        "RunSummary",
        "format_score",
        "plan_removal",
        "printable",
        "remove_runs",
        "run_of_top",
        "summarize_runs",
        "without_password",
        "Interrupted",
        "Talk",
    ),
    *(
        "ranking_row",
        "read_recipe",
        "read_scores",
        "read_truth",
        "search",
        "trials_frame",
        "write_report",
        "write_table",
    ),
}


def test_the_public_names_are_pinned_and_importable() -> None:
    assert set(nasproxy.__all__) == PUBLIC_NAMES
    for name in nasproxy.__all__:
        assert getattr(nasproxy, name) is not None


def test_an_unknown_public_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="serch"):
        nasproxy.__getattr__("serch")


def names_taken_from_the_package(path: Path) -> Iterator[str]:
    """What a file uses of nasproxy: X of `from nasproxy import X` and `nap.X`, a.b.c of `import nasproxy.a.b.c`."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for name in imports_of(path):
        if name.startswith("nasproxy."):
            yield name.removeprefix("nasproxy.")
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "nap":
            yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):  # a quoted annotation
            yield from re.findall(r"\bnap\.(\w+)", node.value)


@pytest.mark.parametrize("path", sorted((PACKAGE / "cli").glob("*.py")), ids=lambda path: path.name)
def test_the_command_line_uses_public_names_only(path: Path) -> None:
    used = {name for name in names_taken_from_the_package(path) if name.split(".")[0] != "cli"}
    assert used - set(nasproxy.__all__) == set()


def loaded_by(statement: str) -> set[str]:
    """Top-level modules in memory after a statement, in a fresh process."""
    code = f"import sys\n{statement}\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


HEAVY = {"torch", "torchvision", "ray", "optuna", "pandas", "scipy", "sklearn", "matplotlib", "plotly", "jinja2"}


@pytest.mark.parametrize(
    "statement",
    [
        "import nasproxy",
        "import nasproxy.cli",
        "from nasproxy import load_space; load_space('convnet720').archs()",
        "from nasproxy import load_space; load_space('nasbench201').archs()",
        "from nasproxy import load_space; load_space('nasbench-macro').archs()",
    ],
)
def test_light_work_imports_nothing_heavy(statement: str) -> None:
    assert loaded_by(statement) & HEAVY == set()


def test_the_help_of_every_command_imports_nothing_heavy() -> None:
    helped = """
import contextlib, io
from nasproxy.cli.app import COMMANDS, app
for command in [command.__name__ for commands in COMMANDS.values() for command in commands]:
    with contextlib.redirect_stdout(io.StringIO()) as text, contextlib.suppress(SystemExit):
        app([command, "--help"])
    assert "Usage: " in text.getvalue(), command
"""
    assert loaded_by(helped) & (HEAVY | {"numpy"}) == set()


def test_condensing_starts_without_ray_and_optuna() -> None:
    loaded = loaded_by("import nasproxy.runs.condensing, nasproxy.runs.runs")
    assert "torch" in loaded
    assert loaded & {"ray", "optuna", "pandas", "scipy"} == set()


def test_a_search_does_not_pull_in_condensing() -> None:
    code = "import sys, nasproxy.searching.search\nassert not [name for name in sys.modules if 'condensing' in name]"
    subprocess.run([sys.executable, "-c", code], check=True)
