"""What a command can be told: every setting with its option, form, default and meaning, read off its class."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from nasproxy.config.settings import CONFIGS, CommandConfig, Settings
from nasproxy.errors import unknown_name

FORMS = {bool: "true|false", int: "N", float: "X", Path: "PATH", str: "TEXT"}
"""What stands for a value in help, by its type."""


@dataclass(frozen=True)
class SettingInfo:
    """One setting of a command."""

    section: str
    key: str
    """KEY=VALUE sets it; where two sections have the key, section.KEY=VALUE."""
    option: str | None
    """Its dashed option, where it has one."""
    type: type
    """What one value is read as; a text where it is a list or has a form of its own."""
    form: str
    """What stands for a value in help."""
    default: str | None
    """None: it must be given, or its meaning says what it is otherwise."""
    meaning: str
    """On one line."""
    group: str
    """Title of its section."""

    @property
    def name(self) -> str:
        """How it is given: --option, or key= where it has none."""
        return self.option or f"{self.key}="


def describe_commands(command: str | None = None) -> Mapping[str, list[SettingInfo]]:
    """The settings of one command, or of all that have any.

    Raises:
        SettingsError: another command (the nearest is named).
    """
    if command is not None and command not in CONFIGS:
        raise unknown_name("command", command, CONFIGS)
    return {name: describe_settings(CONFIGS[name]) for name in ([command] if command else CONFIGS)}


def describe_settings(kind: type[CommandConfig]) -> list[SettingInfo]:
    """All settings of a command, section by section."""
    return [
        describe_setting(kind, section, key)
        for section, place in kind.model_fields.items()
        if isinstance(place.annotation, type) and issubclass(place.annotation, Settings)
        for key in place.annotation.model_fields
    ]


def describe_setting(kind: type[CommandConfig], section: str, key: str) -> SettingInfo:
    """One setting of a command.

    Raises:
        KeyError: there is none of that name.
    """
    place = kind.model_fields[section]
    assert place.annotation is not None
    field = place.annotation.model_fields[key]
    default = field.default if place.is_required() else getattr(place.default, key)
    default = ",".join(map(str, default)) if isinstance(default, tuple) else default
    is_shown = not field.is_required() and default not in (None, "") and not isinstance(default, dict)
    taken, form = _describe_type(field.annotation, field.metadata)
    title = place.description or inspect.getdoc(place.annotation) or section
    return SettingInfo(
        section=section,
        key=key,
        option=_find_option(kind, f"{section}.{key}"),
        type=taken,
        form=form,
        default=str(default) if is_shown else None,
        meaning=" ".join((field.description or "").split()),
        group=title.splitlines()[0].rstrip("."),
    )


def _find_option(kind: type[CommandConfig], setting: str) -> str | None:
    for flag, settings in kind.flags.items():
        if setting in ((settings,) if isinstance(settings, str) else settings):
            return f"--{flag}"
    return None


def _describe_type(annotation: Any, metadata: Sequence[Any]) -> tuple[type, str]:
    """What a value is read as, and what stands for it in the help."""
    while get_origin(annotation) in (Annotated, Union, UnionType):
        annotation = next(part for part in get_args(annotation) if part is not NoneType)
    if get_origin(annotation) is Literal:
        choices = get_args(annotation)
        return type(choices[0]), "|".join(str(choice) for choice in choices)
    metavar = next((item.metavar for item in metadata if hasattr(item, "metavar")), None)
    if metavar is not None or annotation not in FORMS:
        return str, metavar or "VALUE"
    return annotation, FORMS[annotation]
