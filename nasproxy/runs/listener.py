"""Whom a job tells what it does."""

from typing import Protocol


class Listener(Protocol):
    """What a job needs of whoever shows its progress."""

    def progress(self, what: str, done: int, total: int, note: str = "", *, work: float | None = None) -> None:
        """`done` of `total` of something are done; `note` is the latest about it.

        `work` is the fraction of all work done, where pieces differ in size; the time that is left goes by it.
        """

    def say(self, text: str) -> None:
        """One line worth reading."""
