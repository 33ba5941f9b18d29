"""What is said while work goes on: to stderr, a live bar on a terminal, a plain line every 30 seconds elsewhere."""

import contextlib
import sys
import threading
import time
from dataclasses import dataclass, replace
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

PLAIN_INTERVAL_SECONDS = 30.0
MOMENT_SECONDS = 1.0
BAR_UNITS = 10_000


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
    """A `nasproxy.runs.place.Listener` for people. Use as a context: `with Talk() as talk`.

    In it, what is printed goes to stderr: a user's builder may print, and stdout is for results.
    """

    def __init__(self) -> None:
        self._console = Console(file=sys.stderr)  # the stream as it is now: Ray's output is redirected later
        self._live = self._console.is_terminal
        self._progress = Progress(
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
        self._task: TaskID | None = None
        self._line: _Line | None = None
        self._stop = threading.Event()
        self._redirected = contextlib.redirect_stdout(sys.stderr)
        self._heart = threading.Thread(target=self._repeat_line, daemon=True)

    def __enter__(self) -> Self:
        self._redirected.__enter__()
        if self._live:
            self._progress.start()
        else:
            self._heart.start()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._stop.set()
        if self._live:
            self._progress.stop()
        else:
            self._heart.join()
        self._redirected.__exit__(*exception)

    def say(self, text: str) -> None:
        """One line."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def warn(self, text: str) -> None:
        """One line that should not be missed."""
        self.say(f"warning: {text}")

    def progress(self, what: str, done: int, total: int, note: str = "", *, work: float | None = None) -> None:
        """Updates the bar of `what`; off a terminal, says so at the end, and every 30 seconds on the way."""
        if work is None:
            work = done / total if total else 1.0
        line = self._line
        is_new = line is None or what != line.what or done < line.done
        if line is None or is_new:
            line = _Line(what, done, total, note, work, time.monotonic(), first_done=done, first_work=work)
            if self._live:
                self._task = self._progress.add_task(
                    what, total=BAR_UNITS, completed=round(work * BAR_UNITS), note="", rate="", count=""
                )
        self._line = line = replace(line, done=done, total=total, note=note, work=work)
        if self._live and self._task is not None:
            units, count = work * BAR_UNITS, f"{done}/{total}"
            self._progress.update(self._task, completed=units, note=note, rate=line.rate(), count=count)
        elif not self._live and done == total and time.monotonic() - line.started >= MOMENT_SECONDS:
            self.say(line.text())

    def _repeat_line(self) -> None:
        """Shows that work goes on, also while a single piece of it takes long."""
        while not self._stop.wait(PLAIN_INTERVAL_SECONDS):
            if self._line is not None and self._line.done < self._line.total:
                self.say(self._line.text())
