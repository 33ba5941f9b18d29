"""Everything nasproxy raises on purpose, and the exit code each one ends the command line with.

    NasproxyError
    ├── UsageError           2   wrong usage or settings
    │   ├── SettingsError        an unknown or invalid setting, name or value
    │   ├── SpaceError           a search space file that contradicts itself
    │   ├── RunError             a run folder that exists, is in use, or is of another kind
    │   └── DeviceError          a device that this machine does not have
    ├── InputError           4   input missing or unreadable
    │   ├── DataError            images
    │   ├── ProxySetError        a proxy set
    │   ├── TensorFileError      a file of tensors; callers say which, and what to do
    │   ├── RunNotFoundError     a run
    │   └── StudyNotFoundError   the study of a search
    ├── RayEndedError        1   Ray ended in the middle of the work
    ├── DivergedError        3   condensing reached a loss that is not finite, or images out of scale
    └── ArchError            3   an architecture that cannot be built for these images

A message says what is wrong (with the value), the rule, and what to do next, on one line.
"""

import re
import shlex
from collections.abc import Iterable
from difflib import get_close_matches


class NasproxyError(Exception):
    """Base of all errors that nasproxy raises on purpose."""

    exit_code = 1

    def __str__(self) -> str:
        """One line, also where the words of another library in it are several."""
        return re.sub(r"\s*[\n\r]+\s*", " ", super().__str__())


class UsageError(NasproxyError):
    """The request itself is wrong: nothing was started."""

    exit_code = 2


class SettingsError(UsageError):
    """A setting, name or value that is unknown or breaks its rule."""


class SpaceError(UsageError):
    """A search space file that contradicts itself."""


class RunError(UsageError):
    """A run folder that exists already, is in use, or was made by another command."""


class DeviceError(UsageError):
    """A device that this machine does not have."""


class InputError(NasproxyError):
    """Something that should be read is missing or unreadable."""

    exit_code = 4


class DataError(InputError):
    """Images that are missing, unreadable, or no classification task."""


class ProxySetError(InputError):
    """A proxy set that is unreadable or does not belong to the images."""


class RayEndedError(NasproxyError):
    """Ray ended in the middle of the work: its processes were killed, or the machine had no memory left for them."""


class TensorFileError(InputError):
    """A file of tensors that is missing or damaged."""


class RunNotFoundError(InputError):
    """No run of this name."""


class StudyNotFoundError(InputError):
    """The storage holds no study of this search."""


class DivergedError(NasproxyError):
    """Condensing reached a loss that is not finite, or images out of scale; the last good state is kept."""

    exit_code = 3


class ArchError(NasproxyError):
    """An architecture that cannot be built for these images, or gives no scores of classes; a search leaves it out."""

    exit_code = 3


MAX_CHOICES = 5
"""Choices that an error names before it leaves off."""
MAX_LIKELY = 3
"""Of them, those that may have been meant."""


def unknown_name(kind: str, name: object, choices: Iterable[str]) -> SettingsError:
    """The error for a name that is none of `choices`: what may have been meant, then the choices, or some of many.

    Meant may be a name that is spelt nearly so, or one of several words of which this is one: `lr` of `net_lr`.
    """
    known, asked = sorted(choices), str(name)
    spelt = get_close_matches(asked, known, n=1, cutoff=0.5)
    holding = [choice for choice in known if asked in re.split(r"[^0-9A-Za-z]+", choice)]
    likely = list(dict.fromkeys([*spelt, *holding]))[:MAX_LIKELY]
    hint = f"did you mean {' or '.join(map(repr, likely))}? " if likely else ""
    shown = known if len(known) <= MAX_CHOICES else [*known[:MAX_CHOICES], f"... ({len(known):,} in all)"]
    return SettingsError(f"unknown {kind} {asked!r}: {hint}choose from {', '.join(shown)}")


def format_command(*arguments: str) -> str:
    """A nasproxy command as one types it: names with spaces or characters of the shell are quoted."""
    return shlex.join(["nasproxy", *arguments])
