"""Options made of settings: what they are called, take, say and give. Nothing here starts a run."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

import nasproxy as nap
from nasproxy.cli.app import COMMANDS, app
from nasproxy.cli.flags import takes_settings

IMAGES = {"--dataset", "--data-dir", "--image-size", "--skip-broken", "--val-fraction"}
WORKERS = {"--device", "--workers", "--gpus-per-worker", "--address"}
TALK = {"--verbose", "-v", "--quiet", "-q"}
RUN = TALK | {"--name", "--runs-dir", "--json"}
FLAGS = {
    "condense": IMAGES
    | RUN
    | {"--method", "--ipc", "--encoding", "--steps", "--init", "--embedding-net", "--embedding-weights"}
    | {"--classes-per-step", "--device", "--seed", "--config", "--resume", "--budget"},
    "evaluate": IMAGES
    | TALK
    | {"--nets", "--num-nets", "--recipe", "--epochs", "--device", "--seed", "--config", "--runs-dir", "--json"},
    "search": IMAGES
    | WORKERS
    | RUN
    | {"--proxy", "--space", "--strategy", "--archs", "--num-archs", "--seeds", "--epochs", "--steps", "--storage"}
    | {
        "--sample",
        "--screen",
        "--max-params",
        "--max-flops",
        "--trainer",
        "--max-latency",
        "--recipe",
        "--seed",
        "--config",
        "--budget",
        "--resume",
        "--retry-failed",
    },
    "find": IMAGES
    | WORKERS
    | RUN
    | {
        "--budget",
        "--top",
        "--recipe",
        "--space",
        "--screen",
        "--steps",
        "--max-params",
        "--max-flops",
        "--max-latency",
    }
    | {"--seed", "--config"},
    "train": IMAGES
    | WORKERS
    | RUN
    | {"--top", "--recipe", "--space", "--seeds", "--seed", "--epochs", "--steps", "--storage", "--config", "--resume"},
    "predict": TALK | {"--device", "--runs-dir", "--json"},
    "compare": IMAGES
    | WORKERS
    | RUN
    | {"--preset", "--proxies", "--space", "--sample", "--ipc", "--seeds", "--epochs", "--truth", "--truth-epochs"}
    | {"--truth-seeds", "--sets", "--truth-for", "--top", "--combine", "--storage", "--seed", "--config", "--resume"}
    | {"--dry-run"},
    "combine": RUN | {"--how", "--truth", "--seed"},
    "replay": RUN
    | {"--scores", "--truth", "--space", "--dataset", "--strategy", "--num-archs", "--repetitions", "--costs", "--eta"}
    | {"--processes", "--seed", "--config"},
    "rank": TALK | {"--truth", "--top", "--seed", "--runs-dir", "--json"},
    "report": TALK | {"--truth", "--top", "--seed", "--output", "-o", "--runs-dir", "--json"},
    "export": TALK | {"--output", "-o", "--truth", "--runs-dir", "--json"},
    "dashboard": TALK | {"--port", "--snapshot", "--allow-changes", "--runs-dir"},
    "ls": {"--runs-dir", "--json"},
    "show": {"--runs-dir", "--json"},
    "rm": {"--yes", "-y", "--force", "--runs-dir"},
    "demo": TALK | {"--device", "--runs-dir"},
}
"""Every option of every command: one that comes or goes is a decision."""
KINDS: list[type[nap.CommandConfig]] = [
    nap.CondenseConfig,
    nap.EvaluateConfig,
    nap.SearchConfig,
    nap.CompareConfig,
    nap.CombineConfig,
    nap.RankConfig,
    nap.ReplayConfig,
]


def options_of(command: str) -> dict[str, Any]:
    """The options of a command as typer has them, by each of their names."""
    made: Any = typer.main.get_command(app)
    options = [parameter for parameter in made.commands[command].params if parameter.param_type_name == "option"]
    names = {name: option for option in options for name in (*option.opts, *option.secondary_opts)}
    return {name: option for name, option in names.items() if name != "--help" and not name.startswith("--no-")}


def help_of(command: str) -> str:
    """`--help`, on one line."""
    done = CliRunner(env={"COLUMNS": "300"}).invoke(app, [command, "--help"])
    assert done.exit_code == 0, done.output
    return re.sub(r"\s+", " ", done.stdout)


def given_by(kind: type[nap.CommandConfig], *arguments: str, **how: Any) -> nap.Tree:
    """The tree that a command line gives."""
    trees: list[nap.Tree] = []

    @takes_settings(kind, **how)
    def command(given: nap.Tree) -> None:
        trees.append({section: values for section, values in given.items() if values})

    program = typer.Typer(pretty_exceptions_enable=False)
    program.command()(command)
    CliRunner().invoke(program, list(arguments), catch_exceptions=False)
    assert len(trees) == 1
    return trees[0]


def test_every_command_is_in_a_section_of_the_help() -> None:
    assert {command.__name__ for commands in COMMANDS.values() for command in commands} == set(FLAGS)
    listing = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["--help"]).stdout
    assert all(section in listing for section in COMMANDS)


@pytest.mark.parametrize("command", FLAGS)
def test_the_options_of_a_command_are_pinned(command: str) -> None:
    assert set(options_of(command)) == FLAGS[command]


@pytest.mark.parametrize("kind", KINDS)
def test_every_flag_sets_settings_that_exist_and_is_explained(kind: type[nap.CommandConfig]) -> None:
    for flag, settings in kind.flags.items():
        for setting in (settings,) if isinstance(settings, str) else settings:
            section, key = setting.split(".")
            model = kind.model_fields[section].annotation
            assert model is not None
            field = model.model_fields[key]
            assert field.description is not None, flag
            assert field.description.rstrip(")").endswith("."), flag
            assert field.is_required() or field.default is not None or "Default: " in field.description, flag


def test_help_has_the_words_default_type_and_section_of_the_setting() -> None:
    text = help_of("condense")
    assert "─ How a proxy set is made ─" in text
    assert "─ Images and their split ─" in text
    assert "--ipc N Memory per class, in images of the data set's size." in text
    assert "[default: 50]" in text
    assert "--init real|noise What the synthetic images start from. Default: as the method has it." in text
    assert "--val-fraction X" in text
    assert "--data-dir PATH" in text
    assert "--json Print the result as JSON." in text


def test_a_section_may_have_its_own_title_and_defaults_in_a_command() -> None:
    text = help_of("compare")
    on_proxy, as_truth = (text.index(f"─ How a net is trained {how} ─") for how in ("on a proxy set", "as the truth"))
    assert on_proxy < text.index("[default: 200]") < as_truth < text.index("[default: 100]")
    assert "[default: 1000]" in help_of("evaluate")
    assert "[default: dm,random,early-stop,params,flops,synflow,naswot]" in text


@pytest.mark.parametrize(
    ("kind", "arguments", "tree"),
    [
        (nap.CondenseConfig, [], {}),
        (
            nap.CondenseConfig,
            ["--dataset", "pets", "--data-dir", "cache", "--ipc", "5", "--val-fraction", "0.2", "--init", "noise"],
            {
                "images": {"dataset": "pets", "data_dir": Path("cache"), "val_fraction": 0.2},
                "condense": {"images_per_class": 5, "init": "noise"},
            },
        ),
        (nap.CondenseConfig, ["--seed", "1", "steps=7", "--seed", "2"], {"condense": {"seed": 2, "steps": 7}}),
        (nap.CondenseConfig, ["--steps", "1", "steps=2"], {"condense": {"steps": 2}}),
        (
            nap.CompareConfig,
            ["--seed", "3", "--epochs", "4", "--truth-epochs", "5"],
            {
                "compare": {"seed": 3},
                "condense": {"seed": 3},
                "recipe": {"epochs": 4},
                "truth_recipe": {"epochs": 5},
            },
        ),
        (nap.CompareConfig, ["--combine", "average,fitted"], {"compare": {"combine": "average,fitted"}}),
        (nap.RankConfig, ["--top", "5%"], {"rank": {"top": "5%"}}),
    ],
)
def test_a_command_line_gives_a_tree_of_what_was_asked_for(
    kind: type[nap.CommandConfig], arguments: list[str], tree: Mapping[str, Mapping[str, Any]]
) -> None:
    assert given_by(kind, *arguments) == tree


def test_flags_win_over_a_file_and_key_value_over_flags(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text("[condense]\nsteps = 1\nimages_per_class = 2\nseed = 3\n", encoding="utf-8")
    given = given_by(nap.CondenseConfig, "--config", str(path), "--steps", "4", "--ipc", "5", "images_per_class=6")
    assert given == {"condense": {"steps": 4, "images_per_class": 6, "seed": 3}}


@pytest.mark.parametrize("kind", KINDS)
def test_every_setting_is_listed_once_with_its_form_and_meaning(kind: type[nap.CommandConfig]) -> None:
    infos = nap.describe_commands(kind.command)[kind.command]
    assert len({(info.section, info.key) for info in infos}) == len(infos) > 0
    assert {info.option.removeprefix("--") for info in infos if info.option} == set(kind.flags)
    for info in infos:
        assert info.form
        assert info.meaning.rstrip(")").endswith("."), info.key


def test_ls_settings_lists_what_key_value_takes_and_names_the_nearest_command() -> None:
    rows = json.loads(CliRunner().invoke(app, ["ls", "settings", "search", "--json"]).stdout)
    by_name = {row["setting"]: row for row in rows}
    assert by_name["--seeds"]["default"] == "5"
    assert by_name["lr_drops="]["default"] == "0.5"
    assert {row["command"] for row in rows} == {"search"}
    everything = json.loads(CliRunner().invoke(app, ["ls", "settings", "--json"]).stdout)
    assert {row["command"] for row in everything} == {kind.command for kind in KINDS}
    wrong = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["ls", "settings", "serach"])
    assert wrong.exit_code == 2
    assert "did you mean 'search'" in wrong.stderr


def test_a_command_may_take_some_flags_only() -> None:
    assert given_by(nap.CompareConfig, "--device", "cpu", only={"device"}, takes_any=False) == {
        "machine": {"device": "cpu"}
    }


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["condense", "--ipc", "many"], "--ipc"),
        (["condense", "--val-fraction", "tenth"], "--val-fraction"),
        (["search", "--ipc", "5"], "--ipc"),
        (["combine"], "RUN"),
        (["ls", "run"], "'runs'"),
    ],
)
def test_a_value_of_the_wrong_type_or_an_unknown_flag_is_wrong_usage(arguments: list[str], named: str) -> None:
    done = CliRunner(env={"COLUMNS": "200"}).invoke(app, arguments)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert named in done.stderr
