"""Settings from layers, files and `key=value`; settings as TOML."""

import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import tomli_w
from pydantic import ValidationError

from nasproxy.config.settings import CommandConfig, Settings
from nasproxy.errors import InputError, SettingsError, unknown_name

ConfigT = TypeVar("ConfigT", bound=CommandConfig)
Tree = dict[str, dict[str, Any]]


def make_config(kind: type[ConfigT], *layers: Mapping[str, Mapping[str, Any]]) -> ConfigT:
    """Settings from layers of {section: {key: value}}, later layers winning. None means 'not given'.

    Raises:
        SettingsError: an unknown section or key (the nearest is named), or a value that breaks its rule.
    """
    given = merge_layers(*layers)
    sections = _keys_of(kind)
    for section, values in given.items():
        if section not in sections:
            raise unknown_name("section of settings", section, sections)
        for key in values:
            if key not in sections[section]:
                raise unknown_name(f"setting of [{section}]", key, sections[section])
    # a section may have defaults of its own in this command
    own = {name: field.default for name, field in kind.model_fields.items() if isinstance(field.default, Settings)}
    tree = merge_layers({name: settings.model_dump() for name, settings in own.items()}, given)
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        raise SettingsError(_one_line(error)) from None


def parse_overrides(kind: type[CommandConfig], overrides: Iterable[str]) -> Tree:
    """{section: {key: value}} from `key=value` or `section.key=value`; values are TOML, else plain text.

    Raises:
        SettingsError: no '=', an unknown key (the nearest is named), or a key that several sections have.
    """
    tree: Tree = {}
    for override in overrides:
        dotted, equals, text = override.partition("=")
        if not equals:
            raise SettingsError(f"unexpected argument {override!r}: settings are given as key=value, e.g. seed=1")
        section, _, key = _home_of(kind, dotted).partition(".")
        tree.setdefault(section, {})[key] = _parse_value(text, kind, section, key)
    return tree


def read_toml(path: Path) -> dict[str, Any]:
    """The content of a TOML file.

    Raises:
        InputError: missing, unreadable, or no TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}; check the path") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no valid TOML: {error}; correct that place") from None


def list_recipes() -> dict[str, Path]:
    """The shipped recipes: name -> file."""
    return {path.stem: path for path in sorted((Path(__file__).parent.parent / "recipes").glob("*.toml"))}


def read_recipe(reference: str) -> dict[str, Any]:
    """The settings of a recipe: of a shipped one by name, or of a TOML file with a section [recipe].

    Raises:
        InputError: the file cannot be read.
        SettingsError: an unknown name (the nearest is named), or a file without that section.
    """
    shipped = list_recipes()
    if reference not in shipped and Path(reference).suffix != ".toml":
        raise unknown_name("recipe (and no .toml file)", reference, shipped)
    path = shipped.get(reference, Path(reference).expanduser())
    recipe = read_toml(path).get("recipe")
    if not isinstance(recipe, dict):
        raise SettingsError(f"{path} has no section [recipe] with settings of a training, e.g. lr = 0.05")
    return recipe


def read_config(kind: type[ConfigT], path: Path, *layers: Mapping[str, Mapping[str, Any]]) -> ConfigT:
    """Settings from a `config.toml`, with further layers over it (see `make_config`)."""
    return make_config(kind, read_sections(kind, path), *layers)


def read_sections(kind: type[CommandConfig], path: Path) -> Tree:
    """The sections of a settings file; their keys and values are checked by `make_config`.

    Raises:
        InputError: the file cannot be read.
        SettingsError: settings of another command.
    """
    tree = read_toml(path)
    if (command := tree.pop("command", kind.command)) != kind.command:
        raise SettingsError(f"{path} holds settings of 'nasproxy {command}', not of 'nasproxy {kind.command}'")
    return tree


def gather_settings(
    kind: type[CommandConfig],
    file: Path | None = None,
    flags: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
    overrides: Iterable[str] = (),
    recipe: str | None = None,
) -> Tree:
    """What was asked for, in one {section: {key: value}}: the file, then the recipe, then flags, then `key=value`.

    Raises:
        SettingsError: an unknown `key=value` or recipe, or a file of another command.
        InputError: a file cannot be read.
    """
    sections = read_sections(kind, file) if file else {}
    named = {"recipe": read_recipe(recipe)} if recipe else {}
    return merge_layers(sections, named, flags, parse_overrides(kind, overrides))


def nest_settings(kind: type[CommandConfig], values: Mapping[str, Any]) -> Tree:
    """{section: {key: value}} from keyword arguments: names of flags or settings, or of sections with a mapping.

    `epochs=20, device="cpu", truth_recipe={"epochs": 5}` and, like the flag, `truth_epochs=5` are all understood. None
    means 'not given'.

    Raises:
        SettingsError: an unknown name (the nearest is named), or a setting of several sections.
    """
    sections = _keys_of(kind)
    places = {flag.replace("-", "_"): settings for flag, settings in kind.flags.items()}
    tree: Tree = {}
    for name, value in values.items():
        if name in sections and isinstance(value, Mapping):
            tree.setdefault(name, {}).update(value)
            continue
        known = places.get(name)
        settings = [_home_of(kind, name)] if known is None else [known] if isinstance(known, str) else known
        for section, _, key in (setting.partition(".") for setting in settings):
            tree.setdefault(section, {})[key] = value
    return merge_layers(tree)


def resumed_config(kind: type[ConfigT], path: Path, given: Tree) -> ConfigT:
    """The settings of a run from its `config.toml`; what is asked for beside them may only say where it goes on.

    Raises:
        SettingsError: an unknown or invalid setting, or one that would change the run.
    """
    config = read_config(kind, path, given)
    refuse_changes(path.parent.name, read_config(kind, path), config)
    return config


def refuse_changes(run_name: str, stored: CommandConfig, config: CommandConfig) -> None:
    """Makes sure that a run goes on with the settings that it was begun with, see `changed_settings`.

    Raises:
        SettingsError: others.
    """
    if changes := changed_settings(stored, config):
        raise SettingsError(f"run {run_name} cannot go on with other settings ({'; '.join(changes)}); start a new run")


def merge_layers(*layers: Mapping[str, Mapping[str, Any]]) -> Tree:
    """One {section: {key: value}} of several, later ones winning; None means 'not given'.

    Raises:
        SettingsError: a section that is no table.
    """
    tree: Tree = {}
    for layer in layers:
        for section, values in layer.items():
            if not isinstance(values, Mapping):
                raise SettingsError(f"[{section}] must be a table of settings, not {values!r}")
            tree.setdefault(section, {}).update({key: value for key, value in values.items() if value is not None})
    return tree


def dump_config(config: CommandConfig) -> str:
    """TOML of all settings; keys that are not set are left out (TOML has no null), passwords too."""
    tree = config.model_dump(mode="json", exclude_none=True)
    _hide_passwords(tree)
    return tomli_w.dumps({"command": config.command} | tree)


_HARMLESS = frozenset(
    {
        *("host", "hostaddr", "port", "dbname", "user", "application_name", "connect_timeout", "target_session_attrs"),
        *("sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl", "charset", "unix_socket"),
        *("timeout", "cache", "uri", "mode", "nolock", "immutable"),
    }
)
"""Parameters of a storage URL that are written down."""


def without_password(url: str) -> str:
    """A storage URL, or KEY=URL, with what is known to be harmless alone, safe to write down; other texts as they are.

    Read by the parser of those that connect to it: what this takes for the password is one.
    """
    is_sqlite = re.match(r"([\w.-]*=)?sqlite:[^@]*$", url) is not None and "pass" not in url.lower()
    if "://" not in url or not {"@", "?"} & set(url) or is_sqlite:  # a file has no password
        return url
    match = re.fullmatch(r"([\w.-]*=)?([a-zA-Z][\w+.-]*://[^\s'\"]*)", url)
    if match is None:  # such as quoted, which is a value of TOML: what is where is not known
        return f"{url.partition('=')[0]}=..." if "=" in url.partition("://")[0] else "..."
    from sqlalchemy.engine import URL, make_url  # takes a tenth of a second
    from sqlalchemy.exc import ArgumentError

    before, address = match[1] or "", match[2]
    try:
        parsed = make_url(address)
    except (ArgumentError, ValueError):
        parsed = None
    if parsed is None or any("@" in (part or "") for part in (parsed.username, parsed.host, parsed.database)):
        return f"{before}{address.partition('://')[0]}://..."  # of a password that is not quoted, a part is elsewhere
    query = {name: value for name, value in parsed.query.items() if name.lower() in _HARMLESS}
    safe = URL.create(parsed.drivername, parsed.username, None, parsed.host, parsed.port, parsed.database, query)
    return before + safe.render_as_string(hide_password=False)


def changed_settings(old: CommandConfig, new: CommandConfig) -> list[str]:
    """`section.key: old -> new` of all that a resumed run may not change: everything but [machine] and passwords."""
    before, after = (config.model_dump(mode="json") for config in (old, new))
    for tree in (before, after):
        _hide_passwords(tree)
    return [
        f"{section}.{key}: {before[section][key]} -> {value}"
        for section, values in after.items()
        if section != "machine"
        for key, value in values.items()
        if before[section][key] != value
    ]


def _hide_passwords(tree: Tree) -> None:
    for values in tree.values():
        if storage := values.get("storage"):
            values["storage"] = without_password(storage)


def _keys_of(kind: type[CommandConfig]) -> dict[str, set[str]]:
    return {
        name: set(field.annotation.model_fields)
        for name, field in kind.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, Settings)
    }


def _home_of(kind: type[CommandConfig], name: str) -> str:
    """`section.key` of a setting that is named by its key, with or without its section."""
    sections = _keys_of(kind)
    section, dot, key = name.rpartition(".")
    homes = [home for home, keys in sections.items() if key in keys and (not dot or home == section)]
    if not homes:
        every = [f"{home}.{key}" if dot else key for home, keys in sections.items() for key in keys]
        raise unknown_name("setting", name, set(every))
    if len(homes) > 1:
        raise SettingsError(f"setting {key!r} is in several sections: write one of {[f'{h}.{key}' for h in homes]}")
    return f"{homes[0]}.{key}"


def _parse_value(text: str, kind: type[CommandConfig], section: str, key: str) -> Any:
    """A TOML value; plain text where it is none, or where the setting is a text."""
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
    model = kind.model_fields[section].annotation
    assert model is not None
    wants_text = model.model_fields[key].annotation in (str, str | None)
    return text if wants_text and not isinstance(value, str) else value


def _one_line(error: ValidationError) -> str:
    problems = []
    for item in error.errors():
        where = ".".join(str(part) for part in item["loc"])
        rule = item["msg"].removeprefix("Value error, ")
        value = "" if item["type"] in ("missing", "value_error") else f"={item['input']!r}"
        problems.append(f"{where}{value}: {rule}" if where else rule)
    return "invalid setting " + "; ".join(problems)
