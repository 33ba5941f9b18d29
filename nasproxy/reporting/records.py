"""What the page says about the runs behind a comparison, without where they lie on somebody's disk."""

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nasproxy.formatting import MISSING, format_duration

_WHOLE_PATH = re.compile(
    r"(?P<option>(?:-{1,2})?[\w.-]+=)?(?:~[\w-]*[\\/]|[A-Za-z]:[\\/]|\\\\|(?:sqlite|file):/+|/)(?P<rest>.+)"
)
_PATH_IN_TEXT = re.compile(r"(?<![\w./~])(?:(?:sqlite|file):/+|~?/(?!/)|[A-Za-z]:[\\/])[^\s'\",;]+")
_NOT_SHOWN = ("name", "command", "arguments", "pid")
"""Keys of meta.json that the page says elsewhere, or that mean nothing afterwards."""


@dataclass(frozen=True)
class RunRecord:
    """One run behind a comparison."""

    name: str
    role: str
    """'truth', 'proxy' or 'condense'."""
    settings: Mapping[str, Mapping[str, Any]]
    """Section -> key -> value, as in config.toml."""
    meta: Mapping[str, Any]
    """As in meta.json: status, created, wall_seconds, device, versions, python, git_commit, arguments …"""
    picture: Path | None = None
    """proxy.png of a condense run."""
    classes: tuple[str, ...] = ()
    """Names of the rows of the picture, from the top; empty where nobody knows."""


def command_line(record: RunRecord) -> str:
    """The command that made the run, as one types it; empty where it is not known."""
    arguments = record.meta.get("arguments") or ()
    return shlex.join(["nasproxy", *map(without_folders, arguments)]) if arguments else ""


def meta_rows(record: RunRecord) -> list[tuple[str, str]]:
    """(key, text) of everything that meta.json knows and the page does not say elsewhere."""
    known = {key: value for key, value in record.meta.items() if key not in _NOT_SHOWN and value not in (None, {}, [])}
    return [(key.replace("_", " "), _show_meta(key, value)) for key, value in known.items()]


def settings_rows(record: RunRecord) -> list[tuple[str, list[tuple[str, str]]]]:
    """(section, [(key, text)]) of all settings."""
    return [
        (section, [(key, _show(value)) for key, value in values.items()])
        for section, values in record.settings.items()
        if values
    ]


def without_folders(text: str) -> str:
    """A text in which absolute paths are cut to their last part; other texts as they are."""
    if whole := _WHOLE_PATH.fullmatch(text):
        return (whole["option"] or "") + _last_part(whole["rest"])
    return _PATH_IN_TEXT.sub(lambda found: _last_part(found[0]), text)


def _last_part(path: str) -> str:
    return re.split(r"[\\/]", path.rstrip("\\/"))[-1]


def _show_meta(key: str, value: Any) -> str:
    return format_duration(value) if key.endswith("_seconds") and isinstance(value, (int, float)) else _show(value)


def _show(value: Any) -> str:
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_show(item)}" for key, item in value.items()) or MISSING
    if isinstance(value, Iterable) and not isinstance(value, str):
        return ", ".join(map(_show, value)) or MISSING
    return without_folders(str(value)) or MISSING
