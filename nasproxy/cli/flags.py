"""Options that are settings: what each is called, takes, means and is by default is written there and nowhere else."""

import functools
import inspect
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from rich.markup import escape

import nasproxy as nap
from nasproxy.cli import options

Command = Callable[..., None]
SCALARS = (bool, int, float, Path)


def takes_settings(
    kind: type[nap.CommandConfig], *, only: Collection[str] | None = None, takes_any: bool = True
) -> Callable[[Command], Command]:
    """Gives a command the flags of its settings; its first argument is the tree of those that were given.

    Args:
        kind: settings of the command.
        only: flags to take; None: all that it has.
        takes_any: whether --config and KEY=VALUE give all other settings.
    """
    places = {
        flag.replace("-", "_"): (settings,) if isinstance(settings, str) else settings
        for flag, settings in kind.flags.items()
        if only is None or flag in only
    }
    flags = [_parameter(name, *_make_option(kind, settings[0])) for name, settings in places.items()]
    others = {"config": options.Config, "overrides": options.Overrides} if takes_any else {}

    def decorate(function: Command) -> Command:
        @functools.wraps(function)
        def command(**values: Any) -> None:
            tree: nap.Tree = {}
            for name, settings in places.items():
                value = values.pop(name)
                for section, key in (setting.split(".") for setting in settings):
                    tree.setdefault(section, {})[key] = value
            file, overrides = values.pop("config", None), values.pop("overrides", None)
            function(nap.gather_settings(kind, file, tree, overrides or ()), **values)

        _, *own = inspect.signature(function).parameters.values()
        own = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]
        parameters = [*flags, *own, *(_parameter(name, annotation) for name, annotation in others.items())]
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return command

    return decorate


def _parameter(name: str, annotation: Any, default: Any = None) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)


def _make_option(kind: type[nap.CommandConfig], setting: str) -> tuple[Any, Any]:
    """The type and the option of `section.key`; None means that it is not given."""
    section, key = setting.split(".")
    place = kind.model_fields[section]
    assert place.annotation is not None
    field = place.annotation.model_fields[key]
    default = field.default if place.is_required() else getattr(place.default, key)
    default = ",".join(default) if isinstance(default, tuple) else default
    is_shown = not field.is_required() and default not in (None, "")
    title = place.description or inspect.getdoc(place.annotation) or section
    taken, metavar = _describe_type(field.annotation, field.metadata)
    option = typer.Option(
        None,
        metavar=metavar,
        help=escape(f"{field.description} [default: {default}]" if is_shown else f"{field.description}"),
        rich_help_panel=title.splitlines()[0].rstrip("."),
    )
    return taken | None, option


def _describe_type(annotation: Any, metadata: Sequence[Any]) -> tuple[type, str | None]:
    """What a value is read as, and what stands for it in the help where the type does not say."""
    while get_origin(annotation) in (Annotated, Union, UnionType):
        annotation = next(part for part in get_args(annotation) if part is not NoneType)
    if get_origin(annotation) is Literal:
        choices = get_args(annotation)
        return type(choices[0]), "|".join(str(choice) for choice in choices)
    metavar = next((item.metavar for item in metadata if hasattr(item, "metavar")), None)
    return (annotation if annotation in SCALARS and metavar is None else str), metavar
