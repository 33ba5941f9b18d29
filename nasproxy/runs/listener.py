"""Who is told what a run does, and where runs lie."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class Listener(Protocol):
    """What shows the progress of a run. Both call-backs come from the thread that called."""

    def progress(self, what: str, done: int, total: int, note: str = "", *, work: float | None = None) -> None:
        """`done` of `total` of something are done; `note` is the latest about it.

        `work` is the fraction of all work done, where pieces differ in size; the time that is left goes by it.
        """

    def say(self, text: str) -> None:
        """One line worth reading."""


class Silence:
    """A listener that shows nothing."""

    def progress(self, what: str, done: int, total: int, note: str = "", *, work: float | None = None) -> None:
        pass

    def say(self, text: str) -> None:
        pass


@dataclass(frozen=True)
class Place:
    """Where runs lie, and who is told about them."""

    root: Path
    """Folder of all runs."""
    listener: Listener
