"""Who is told what while work goes on: nobody, or people on stderr, by a live bar on a terminal and plain lines
elsewhere."""

import contextlib
import sys
import threading
import time
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

PLAIN_INTERVAL_SECONDS = 30.0
MOMENT_SECONDS = 1.0
BAR_UNITS = 10_000


class Listener(Protocol):
    """What is told of the progress of some work. All calls come from the thread that does it."""

    def progress(self, what: str, done: int, total: int, note: str = "", *, work: float | None = None) -> None:
        """`done` of `total` of something are done; `note` is the latest about it.

        `work` is the fraction of all work done, where pieces differ in size; the time that is left goes by it.
        """

    def say(self, text: str) -> None:
        """One line worth reading."""

    def warn(self, text: str) -> None:
        """One line that should not be missed: something is not as it was asked for, or not as it should be."""


class Silence:
    """A listener that shows nothing."""

    def progress(self, what: str, done: int, total: int, note: str = "", *, work: float | None = None) -> None:
        pass

    def say(self, text: str) -> None:
        pass

    def warn(self, text: str) -> None:
        pass


SILENCE = Silence()


@contextlib.contextmanager
def listening(progress: bool | Listener) -> Iterator[Listener]:
    """Who is told while the context lasts: people on stderr (True), nobody (False), or the listener that is given."""
    if progress is True or isinstance(progress, Talk):
        with Talk() if progress is True else progress as talk:
            yield talk
    else:
        yield SILENCE if progress is False else progress


def printable(text: str) -> str:
    """A text as a terminal may have it: what would move its cursor, colour it or turn its direction stands as \\x1b."""
    if text.isprintable():
        return text
    return "".join(mark if _is_printable(mark) else mark.encode("unicode_escape").decode() for mark in text)


def _is_printable(mark: str) -> bool:
    return mark in "\n\t" or unicodedata.category(mark) not in ("Cc", "Cf", "Cs")


@dataclass(frozen=True)
class _Line:
    """How far some work is."""

    what: str
    done: int
    total: int
    note: str
    work: float
    """Fraction of the work done."""
    started: float
    first_done: int
    first_work: float

    def rate(self) -> str:
        """Done a minute, since the work began here."""
        elapsed = time.monotonic() - self.started
        if self.done <= self.first_done or elapsed < MOMENT_SECONDS:
            return ""
        return f"{(self.done - self.first_done) / elapsed * 60:.4g}/min"

    def text(self) -> str:
        """The plain line."""
        elapsed = time.monotonic() - self.started
        times = f"{elapsed:.0f} s"
        if self.first_work < self.work < 1:
            times += f", {elapsed / (self.work - self.first_work) * (1 - self.work):.0f} s left"
        parts = (f"{self.what} {self.done}/{self.total}", self.rate(), times, self.note)
        return " ".join(part for part in parts if part)


class Talk:
    """A listener for people. Use as a context: `with Talk() as talk`, once or again, also inside itself.

    On a terminal it shows a live bar. Elsewhere it says how far the work is every 30 seconds, and at its end. In the
    context, what is printed goes to stderr: a user's builder may print, and stdout is for results.
    """

    def __init__(self, *, verbose: bool | None = None) -> None:
        """True: says every second how far the work is, on a line of its own; False: says warnings only."""
        self._verbose = verbose
        self._console = Console(file=sys.stderr)  # the stream as it is now: Ray's output is redirected later
        self._live = self._console.is_terminal and verbose is None
        self._interval = MOMENT_SECONDS if verbose else PLAIN_INTERVAL_SECONDS
        self._depth = 0
        self._task: TaskID | None = None
        self._line: _Line | None = None

    def __enter__(self) -> Self:
        self._depth += 1
        if self._depth == 1:
            self._task = self._line = None
            self._redirected = contextlib.redirect_stdout(sys.stderr)
            self._redirected.__enter__()
            self._stop = threading.Event()
            if self._live:
                self._progress = self._make_progress()
                self._progress.start()
            else:
                self._heart = threading.Thread(target=self._repeat_line, daemon=True)
                self._heart.start()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._depth -= 1
        if self._depth == 0:
            self._stop.set()
            if self._live:
                self._progress.stop()
            else:
                self._heart.join()
            self._redirected.__exit__(*exception)

    def _make_progress(self) -> Progress:
        return Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[count]}"),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=self._console,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def say(self, text: str) -> None:
        """One line."""
        if self._verbose is not False:
            self._print(text)

    def warn(self, text: str) -> None:
        """One line that should not be missed."""
        self._print(f"warning: {text}")

    def _print(self, text: str) -> None:
        self._console.print(printable(text), markup=False, highlight=False, soft_wrap=True)

    def progress(self, what: str, done: int, total: int, note: str = "", *, work: float | None = None) -> None:
        """Updates the bar of `what`, or says so; see the class. Outside the context there is no bar."""
        has_bar = self._live and self._depth > 0
        if work is None:
            work = done / total if total else 1.0
        line, note = self._line, printable(note)
        is_new = line is None or what != line.what or done < line.done
        if line is None or is_new:
            line = _Line(what, done, total, note, work, time.monotonic(), first_done=done, first_work=work)
            if has_bar:
                self._task = self._progress.add_task(
                    what, total=BAR_UNITS, completed=round(work * BAR_UNITS), note="", rate="", count=""
                )
        self._line = line = replace(line, done=done, total=total, note=note, work=work)
        if has_bar and self._task is not None:
            units, count = work * BAR_UNITS, f"{done}/{total}"
            self._progress.update(self._task, completed=units, note=note, rate=line.rate(), count=count)
        elif done == total and (self._verbose or time.monotonic() - line.started >= MOMENT_SECONDS):
            self.say(line.text())

    def _repeat_line(self) -> None:
        """Shows that work goes on, also while a single piece of it takes long."""
        while not self._stop.wait(self._interval):
            if self._line is not None and self._line.done < self._line.total:
                self.say(self._line.text())
