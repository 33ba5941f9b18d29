"""Options that are settings: what each is called, takes, means and is by default is written there and nowhere else."""

import functools
import inspect
from collections.abc import Callable, Collection
from typing import Any

import typer
from rich.markup import escape

import nasproxy as nap
from nasproxy.cli import options
from nasproxy.cli.completion import completion_of

Command = Callable[..., None]


def takes_settings(
    kind: type[nap.CommandConfig],
    *,
    only: Collection[str] | None = None,
    takes_any: bool = True,
    takes_recipe: bool = False,
) -> Callable[[Command], Command]:
    """Gives a command the flags of its settings; its first argument is the tree of those that were given.

    Args:
        kind: settings of the command.
        only: flags to take; None: all that it has.
        takes_any: whether --config and KEY=VALUE give all other settings.
        takes_recipe: whether --recipe names how nets are trained.
    """
    places = {
        flag.replace("-", "_"): (settings,) if isinstance(settings, str) else settings
        for flag, settings in kind.flags.items()
        if only is None or flag in only
    }
    flags = [_parameter(name, *_make_option(kind, settings[0])) for name, settings in places.items()]
    others = {"recipe": options.Recipe} if takes_recipe else {}
    others |= {"config": options.Config, "overrides": options.Overrides} if takes_any else {}

    def decorate(function: Command) -> Command:
        @functools.wraps(function)
        def command(**values: Any) -> None:
            tree: nap.Tree = {}
            for name, settings in places.items():
                value = values.pop(name)
                for section, key in (setting.split(".") for setting in settings):
                    tree.setdefault(section, {})[key] = value
            file, overrides = values.pop("config", None), values.pop("overrides", None)
            recipe = values.pop("recipe") if takes_recipe else None
            function(nap.gather_settings(kind, file, tree, overrides or (), recipe), **values)

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
    info = nap.describe_setting(kind, *setting.split("."))
    option = typer.Option(
        None,
        metavar=info.form if info.type is not bool else "",
        help=escape(info.meaning if info.default is None else f"{info.meaning} [default: {info.default}]"),
        rich_help_panel=info.group,
        autocompletion=completion_of(setting.partition(".")[2]),
    )
    return info.type | None, option
