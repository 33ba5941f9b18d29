"""What is said while work goes on: to stderr, a live bar on a terminal, one plain line every 30 seconds elsewhere."""

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

PLAIN_INTERVAL_SECONDS = 30.0
MOMENT_SECONDS = 1.0


class Talk:
    """A `nasproxy.jobs.Listener` for people. Use as a context: `with Talk() as talk`."""

    def __init__(self) -> None:
        self._console = Console(file=sys.stderr)  # the stream as it is now: Ray's output is redirected later
        self._live = self._console.is_terminal
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=self._console,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._what, self._done = "", 0
        self._task: TaskID | None = None
        self._started = self._last_line = time.monotonic()
        self._first_done = 0

    def __enter__(self) -> Self:
        if self._live:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._progress.stop()

    def say(self, text: str) -> None:
        """One line."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def progress(self, what: str, done: int, total: int, note: str = "") -> None:
        """Updates the bar of `what`; off a terminal, prints a line every 30 seconds and when all is done."""
        if what != self._what or done < self._done:
            self._begin(what, done, total)
        self._done = done
        if self._live and self._task is not None:
            self._progress.update(self._task, completed=done, note=note, rate=self._rate(done))
            return
        now = time.monotonic()
        ended = done == total and now - self._started >= MOMENT_SECONDS
        if ended or now - self._last_line >= PLAIN_INTERVAL_SECONDS:
            self._last_line = now
            self.say(f"{what} {done}/{total} {self._rate(done)} {self._time_left(done, total)} {note}".rstrip())

    def _begin(self, what: str, done: int, total: int) -> None:
        self._what, self._first_done = what, done
        self._started = self._last_line = time.monotonic()
        if self._live:
            self._task = self._progress.add_task(what, total=total, completed=done, note="", rate="")

    def _rate(self, done: int) -> str:
        elapsed = time.monotonic() - self._started
        if done <= self._first_done or elapsed < 1:
            return ""
        return f"{(done - self._first_done) / elapsed * 60:.4g}/min"

    def _time_left(self, done: int, total: int) -> str:
        elapsed = time.monotonic() - self._started
        if done <= self._first_done or done >= total:
            return f"{elapsed:.0f} s"
        left = elapsed / (done - self._first_done) * (total - done)
        return f"{elapsed:.0f} s, {left:.0f} s left"
