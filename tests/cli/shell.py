"""nasproxy as people start it: in this process where that shows all there is to see, else as a process of its own."""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from nasproxy.cli.app import app
from nasproxy.rundir import RunDir

PROGRAM = [sys.executable, "-m", "nasproxy"]


class Shell:
    """Runs nasproxy in a folder of its own."""

    def __init__(self, cwd: Path) -> None:
        self.cwd = cwd
        self.env = os.environ | {"COLUMNS": "200"}
        self.env.pop("NASPROXY_RUNS", None)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """A process, for what signals, locks and servers are about."""
        return subprocess.Popen(
            [*PROGRAM, *arguments],
            cwd=self.cwd, env=self.env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def spawn(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A process that has ended."""
        return subprocess.run(
            [*PROGRAM, *arguments], cwd=self.cwd, env=self.env, text=True, capture_output=True, timeout=300, check=False
        )

    def run(self, *arguments: str, expect: int = 0, typed: str | None = None) -> Result:
        """The same in this process, with the Ray that runs here; `typed` is what people answer."""
        with _inside(self.cwd):
            done = CliRunner(env={"COLUMNS": "200"}).invoke(app, list(arguments), input=typed)
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == expect, done.output
        return done

    def call(self, *arguments: str) -> str:
        """The stdout of a command that succeeds."""
        return self.run(*arguments).stdout

    def json(self, *arguments: str) -> Any:
        return json.loads(self.call(*arguments, "--json"))

    def run_dir(self, name: str) -> RunDir:
        return RunDir(self.cwd / "runs" / name)


@contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def count_records(run: RunDir) -> int:
    """Rows of Optuna's own table of trials: a repetition would show here."""
    try:
        with sqlite3.connect(f"file:{run.study_path}?mode=ro", uri=True, timeout=30) as database:
            return int(database.execute("select count(*) from trials").fetchone()[0])
    except sqlite3.OperationalError:  # the tables are still being made
        return 0
