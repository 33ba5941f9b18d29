from pathlib import Path

import pytest
from pydantic import ValidationError

from nasproxy.config import (
    EVALUATION_RECIPES,
    CombineConfig,
    CommandConfig,
    CompareConfig,
    CondenseConfig,
    EvaluateConfig,
    RankConfig,
    SearchConfig,
    Settings,
    Tree,
    changed_settings,
    dump_config,
    evaluation_recipe,
    gather_settings,
    make_config,
    parse_overrides,
    parse_share,
    read_config,
    read_toml,
    without_password,
)
from nasproxy.errors import InputError, SettingsError

SEARCH = {"search": {"proxy": "whole"}}
POSTGRES = "postgresql://anna:s3cret@db.example:5432/studies"


class _Left(Settings):
    shade: str = "red"


class _Right(Settings):
    shade: str = "blue"


class _TwoShadesConfig(CommandConfig):
    left: _Left = _Left()
    right: _Right = _Right()


@pytest.mark.parametrize(
    "config",
    [
        CondenseConfig(),
        make_config(
            CondenseConfig,
            {"images": {"image_size": 32, "channels": 1, "data_dir": "/data/é"}},
            {"condense": {"image_lr": 10, "augmentation": "none"}, "machine": {"workers": 2, "gpus_per_worker": 0.25}},
        ),
        make_config(SearchConfig, SEARCH),
        make_config(SearchConfig, SEARCH, {"search": {"num_archs": 7, "strategy": "tpe"}, "recipe": {"steps": 400}}),
        make_config(EvaluateConfig, {"evaluate": {"proxy": "digits-dm", "nets": ["lenet", "auto"]}}),
    ],
    ids=["condense defaults", "condense", "search defaults", "search", "evaluate"],
)
def test_settings_written_as_toml_are_read_back_equal(config: CommandConfig, tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(dump_config(config), encoding="utf-8")
    assert read_config(type(config), path) == config


@pytest.mark.parametrize(("text", "drops"), [("0.6,0.8", (0.6, 0.8)), ("0.5", (0.5,)), ("[0.2, 0.4]", (0.2, 0.4))])
def test_a_list_of_numbers_is_written_with_commas(text: str, drops: tuple[float, ...]) -> None:
    config = make_config(
        SearchConfig, {"search": {"proxy": "whole"}}, parse_overrides(SearchConfig, [f"lr_drops={text}"])
    )
    assert config.recipe.lr_drops == drops


def test_settings_file_names_its_command_and_every_set_key(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(dump_config(make_config(SearchConfig, SEARCH)), encoding="utf-8")
    tree = read_toml(path)
    assert tree["command"] == "search"
    assert set(tree) == {"command", "images", "search", "recipe", "machine"}
    assert tree["recipe"]["weight_decay"] == 5e-4
    assert "num_archs" not in tree["search"]


def test_settings_file_of_another_command_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(dump_config(make_config(SearchConfig, SEARCH)), encoding="utf-8")
    with pytest.raises(SettingsError, match=r"holds settings of 'nasproxy search', not of 'nasproxy condense'"):
        read_config(CondenseConfig, path)


def test_settings_file_without_command_is_accepted_and_layers_win_over_it(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("[condense]\nsteps = 7\nseed = 3\n", encoding="utf-8")
    config = read_config(CondenseConfig, path, {"condense": {"steps": 9}})
    assert (config.condense.steps, config.condense.seed) == (9, 3)


@pytest.mark.parametrize(
    ("text", "problem"),
    [("[condense", "is no valid TOML"), (b"dataset = '\xff'", "is no valid TOML"), (None, "No such file")],
)
def test_unreadable_settings_file_is_an_input_error(text: str | bytes | None, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    if text is not None:
        path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(InputError, match=problem):
        read_config(CondenseConfig, path)


@pytest.mark.parametrize("line", ["condense = 3", "condense = 'dm'", "condense = [1]"])
def test_section_of_a_file_that_is_no_table_is_a_settings_error(line: str, tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(line, encoding="utf-8")
    with pytest.raises(SettingsError, match="condense"):
        read_config(CondenseConfig, path)


@pytest.mark.parametrize(
    ("layer", "problem"),
    [
        ({"images": {"datset": "digits"}}, r"unknown setting of \[images\] 'datset': did you mean 'dataset'\?"),
        ({"image": {"dataset": "digits"}}, r"unknown section of settings 'image': did you mean 'images'\?"),
        ({"recipe": {"lr": 1.0}}, "unknown section of settings 'recipe'"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(layer: dict[str, dict[str, object]], problem: str) -> None:
    with pytest.raises(SettingsError, match=problem):
        make_config(CondenseConfig, layer)


def test_later_layers_win_and_none_means_not_given() -> None:
    config = make_config(
        CondenseConfig,
        {"condense": {"steps": 1, "seed": 1, "method": "random"}},
        {"condense": {"steps": 2, "seed": None}},
        {"condense": {"steps": None, "method": "dm"}},
    )
    assert (config.condense.steps, config.condense.seed, config.condense.method) == (2, 1, "dm")


def test_none_in_a_later_layer_does_not_undo_an_earlier_value() -> None:
    config = make_config(CondenseConfig, {"condense": {"image_lr": 5.0}}, {"condense": {"image_lr": None}})
    assert config.condense.image_lr == 5.0


def test_one_changed_recipe_setting_keeps_the_other_defaults_of_evaluate() -> None:
    proxy = {"evaluate": {"proxy": "x"}}
    default = make_config(EvaluateConfig, proxy).recipe
    changed = make_config(EvaluateConfig, proxy, {"recipe": {"lr": 0.1}}).recipe
    assert (default.epochs, default.batch_size) == (1000, 256)
    assert changed == default.model_copy(update={"lr": 0.1})


def test_several_invalid_values_are_reported_on_one_line() -> None:
    with pytest.raises(SettingsError) as caught:
        make_config(
            CondenseConfig,
            {"condense": {"steps": -1, "init": "zeros", "image_lr": 0}, "images": {"test_fraction": 1.0}},
        )
    message = str(caught.value)
    assert "\n" not in message
    for part in ("condense.steps=-1", "condense.init='zeros'", "condense.image_lr=0", "images.test_fraction=1.0"):
        assert part in message


@pytest.mark.parametrize(
    "nets", ["lenet,w8-d1-none-relu-avg", " lenet , w8-d1-none-relu-avg,", '["lenet", "w8-d1-none-relu-avg"]']
)
def test_a_list_of_names_is_written_with_commas_or_as_toml(nets: str) -> None:
    proxy = {"evaluate": {"proxy": "x"}}
    config = make_config(EvaluateConfig, proxy, parse_overrides(EvaluateConfig, [f"nets={nets}"]))
    assert config.evaluate.nets == ("lenet", "w8-d1-none-relu-avg")
    assert make_config(EvaluateConfig, proxy).evaluate.nets == ("auto",)


@pytest.mark.parametrize("nets", ["", " , ", []])
def test_no_names_at_all_are_refused(nets: object) -> None:
    with pytest.raises(SettingsError, match=r"evaluate\.nets=\[\]: Tuple should have at least 1 item"):
        make_config(EvaluateConfig, {"evaluate": {"proxy": "x", "nets": nets}})


def test_missing_setting_is_named() -> None:
    with pytest.raises(SettingsError, match=r"^invalid setting search\.proxy: Field required$"):
        make_config(SearchConfig, {"search": {"seeds": 2}})


def test_search_without_validation_images_is_refused_on_one_line() -> None:
    with pytest.raises(SettingsError, match=r"^invalid setting val_fraction=0 leaves no validation images"):
        make_config(SearchConfig, SEARCH, {"images": {"val_fraction": 0}})


def test_condense_without_validation_images_is_allowed() -> None:
    assert make_config(CondenseConfig, {"images": {"val_fraction": 0}}).images.val_fraction == 0


def test_settings_are_frozen() -> None:
    config = CondenseConfig()
    with pytest.raises(ValidationError, match="frozen"):
        config.condense.seed = 1  # type: ignore[misc]
    assert config.condense.seed == 0


@pytest.mark.parametrize(
    ("kind", "overrides", "tree"),
    [
        (CondenseConfig, ["seed=1"], {"condense": {"seed": 1}}),
        (SearchConfig, ["seed=1", "lr=1e-4"], {"search": {"seed": 1}, "recipe": {"lr": 1e-4}}),
        (EvaluateConfig, ["evaluate.seed=1"], {"evaluate": {"seed": 1}}),
        (EvaluateConfig, ["device=cuda:0"], {"machine": {"device": "cuda:0"}}),
        (CondenseConfig, ["dataset='3'"], {"images": {"dataset": "3"}}),
        (CondenseConfig, ["condense.steps=3", "steps=4"], {"condense": {"steps": 4}}),
        (SearchConfig, ["storage=postgresql://h/db?a=b"], {"search": {"storage": "postgresql://h/db?a=b"}}),
        (CondenseConfig, ["dataset=/data/my pets"], {"images": {"dataset": "/data/my pets"}}),
        (CondenseConfig, ["dataset="], {"images": {"dataset": ""}}),
        (_TwoShadesConfig, ["right.shade=green"], {"right": {"shade": "green"}}),
        (CondenseConfig, [], {}),
    ],
)  # fmt: skip
def test_overrides_find_their_section_and_type(
    kind: type[CommandConfig], overrides: list[str], tree: dict[str, dict[str, object]]
) -> None:
    assert parse_overrides(kind, overrides) == tree


@pytest.mark.parametrize(
    ("kind", "override", "problem"),
    [
        (CondenseConfig, "seed", "unexpected argument 'seed': settings are given as key=value"),
        (CondenseConfig, "sed=1", r"unknown setting 'sed': did you mean 'seed'\?"),
        (SearchConfig, "recipe.epoch=1", r"unknown setting 'recipe.epoch': did you mean 'recipe.epochs'\?"),
        (SearchConfig, "search.lr=1", "unknown setting 'search.lr'"),
        (CondenseConfig, "proxy=x", "unknown setting 'proxy'"),
        (_TwoShadesConfig, "shade=x", r"'shade' is in several sections: write one of \['left.shade', 'right.shade'\]"),
    ],
)
def test_bad_overrides_are_refused(kind: type[CommandConfig], override: str, problem: str) -> None:
    with pytest.raises(SettingsError, match=problem):
        parse_overrides(kind, [override])


@pytest.mark.parametrize("kind", [CondenseConfig, SearchConfig, EvaluateConfig])
def test_no_shipped_command_has_an_ambiguous_key(kind: type[CommandConfig]) -> None:
    keys = [
        key
        for field in kind.model_fields.values()
        if isinstance(field.annotation, type) and issubclass(field.annotation, Settings)
        for key in field.annotation.model_fields
    ]
    assert len(keys) > 10
    assert sorted(keys) == sorted(set(keys))


@pytest.mark.parametrize("name", ["2024", "2024-01-01", "true"])
def test_text_setting_takes_text_that_looks_like_another_type(name: str) -> None:
    config = make_config(SearchConfig, parse_overrides(SearchConfig, [f"proxy={name}"]))
    assert config.search.proxy == name


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        (POSTGRES, "postgresql://anna@db.example:5432/studies"),
        ("postgresql+psycopg://anna:p%40ss@h/db", "postgresql+psycopg://anna@h/db"),
        ("postgresql+psycopg://anna:p@ss:w@rd@h/db", "postgresql+psycopg://..."),
        ("postgresql://anna:p@ss@h/db", "postgresql://..."),
        ("postgresql://anna:pa?ss@h/db", "postgresql://anna@h/db"),
        ("postgresql://anna:s3cret@h:port/db", "postgresql://..."),
        ("postgresql://h/db?pass%77ord=x&sslmode=require&sslpassword=y", "postgresql://h/db?sslmode=require"),
        ('storage="postgresql://anna:s3cret@h/db"', "storage=..."),
        ('"postgresql://anna:s3cret@h/db"', "..."),
        ("storage= postgresql://anna:s3cret@h/db", "storage=..."),
        (
            "postgresql://h/db?sslmode=verify-full&sslrootcert=ca.pem",
            "postgresql://h/db?sslmode=verify-full&sslrootcert=ca.pem",
        ),
        ("sqlite:///file:/x/study.db?uri=true&mode=rwc", "sqlite:///file:/x/study.db?uri=true&mode=rwc"),
        ("ray://head:10001", "ray://head:10001"),
        ("dataset=what?", "dataset=what?"),
        ("postgresql://anna@h/db", "postgresql://anna@h/db"),
        ("sqlite:////runs/a/study.db", "sqlite:////runs/a/study.db"),
        ("storage=mysql://u:p@h/db", "storage=mysql://u@h/db"),
        ("--seed", "--seed"),
    ],
)
def test_passwords_are_dropped_from_urls(url: str, safe: str) -> None:
    assert without_password(url) == safe


def test_password_in_the_query_of_a_url_is_dropped() -> None:
    assert "s3cret" not in without_password("postgresql://h:5432/db?user=anna&password=s3cret")


def test_written_settings_hold_no_password() -> None:
    text = dump_config(make_config(SearchConfig, SEARCH, {"search": {"storage": POSTGRES}}))
    assert "s3cret" not in text
    assert "postgresql://anna@db.example:5432/studies" in text


def test_changed_settings_names_what_changes_results() -> None:
    old = make_config(SearchConfig, SEARCH)
    new = make_config(SearchConfig, SEARCH, {"search": {"seeds": 2}, "recipe": {"steps": 9}})
    assert changed_settings(old, new) == ["search.seeds: 5 -> 2", "recipe.steps: None -> 9"]


def test_changed_settings_ignores_machine_and_passwords() -> None:
    old = make_config(SearchConfig, SEARCH, {"search": {"storage": POSTGRES}})
    machine = {"device": "cpu", "workers": 3, "threads_per_worker": 1, "gpus_per_worker": 0.5, "address": "auto"}
    other_password = {"search": {"storage": POSTGRES.replace("s3cret", "changed")}}
    assert changed_settings(old, make_config(SearchConfig, SEARCH, other_password, {"machine": machine})) == []


def test_changed_settings_names_another_storage() -> None:
    old = make_config(SearchConfig, SEARCH)
    new = make_config(SearchConfig, SEARCH, {"search": {"storage": POSTGRES}})
    assert changed_settings(old, new) == ["search.storage: None -> postgresql://anna@db.example:5432/studies"]


def test_what_was_asked_for_is_one_tree_in_which_later_sources_win(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text('command = "condense"\n[condense]\nsteps = 1\nseed = 1\nimages_per_class = 1\n', encoding="utf-8")
    flags: Tree = {"condense": {"seed": 2, "images_per_class": 2, "init": None}, "machine": {"device": None}}
    given = gather_settings(CondenseConfig, path, flags, ["seed=3"])
    assert given == {"condense": {"steps": 1, "images_per_class": 2, "seed": 3}, "machine": {}}
    assert gather_settings(CondenseConfig) == {}


def test_what_was_asked_for_is_of_the_right_command_and_known(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text('command = "search"\n', encoding="utf-8")
    with pytest.raises(SettingsError, match="holds settings of 'nasproxy search'"):
        gather_settings(CondenseConfig, path)
    with pytest.raises(SettingsError, match="did you mean 'steps'"):
        gather_settings(CondenseConfig, overrides=["step=3"])


@pytest.mark.parametrize(
    ("value", "share"), [("5%", 0.05), ("0.05", 0.05), ("100%", 1.0), (0.25, 0.25), (1, 1.0), ("12.5%", 0.125)]
)
def test_a_share_is_a_fraction_or_a_percentage(value: object, share: float) -> None:
    assert make_config(RankConfig, {"rank": {"top": value}}).rank.top == pytest.approx(share, abs=0)
    assert make_config(CompareConfig, {"compare": {"top": value}}).compare.top == pytest.approx(share, abs=0)
    assert parse_share(str(value)) == pytest.approx(share, abs=0)


@pytest.mark.parametrize("value", ["0%", "101%", "five", "%", "", 0, 1.5, -0.1, "nan"])
def test_anything_else_is_no_share(value: object) -> None:
    with pytest.raises(SettingsError, match=r"rank\.top: '.*' is no share; write a percentage like 5%, up to 100%$"):
        make_config(RankConfig, {"rank": {"top": value}})
    with pytest.raises(SettingsError, match="is no share"):
        parse_share(str(value))


def test_a_share_is_written_as_key_value_too() -> None:
    assert make_config(RankConfig, parse_overrides(RankConfig, ["top=30%"])).rank.top == 0.3


def test_combinations_and_runs_are_written_with_commas_too() -> None:
    assert make_config(CompareConfig, {"compare": {"combine": "average, fitted"}}).compare.combine == (
        "average",
        "fitted",
    )
    assert make_config(CombineConfig, {"combine": {"runs": "one,other"}}).combine.runs == ("one", "other")


def test_a_way_to_judge_proxy_sets_is_named() -> None:
    assert evaluation_recipe("idc") == EVALUATION_RECIPES["idc"].model_dump()
    assert (EVALUATION_RECIPES["idc"].augmentation, EVALUATION_RECIPES["idc"].cutmix) == ("idc", 0.5)
    with pytest.raises(SettingsError, match="unknown recipe 'icd': did you mean 'idc'"):
        evaluation_recipe("icd")
