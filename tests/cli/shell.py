"""nasproxy as people start it."""

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from nasproxy.cli.app import app
from nasproxy.rundir import RunDir

PROGRAM = [sys.executable, "-m", "nasproxy"]


class Shell:
    """Runs nasproxy in a folder of its own, as a process."""

    def __init__(self, cwd: Path) -> None:
        self.cwd = cwd
        self.env = os.environ | {"COLUMNS": "200"}
        self.env.pop("NASPROXY_RUNS", None)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*PROGRAM, *arguments],
            cwd=self.cwd, env=self.env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def run(self, *arguments: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*PROGRAM, *arguments], cwd=self.cwd, env=self.env, text=True, capture_output=True, timeout=300, check=False
        )
        assert done.returncode == expect, done.stderr
        return done

    def call(self, *arguments: str) -> str:
        """The same in this process, for what starts no others: its stdout."""
        done = CliRunner(env={"NASPROXY_RUNS": str(self.cwd / "runs"), "COLUMNS": "200"}).invoke(app, list(arguments))
        assert done.exit_code == 0, done.output
        return done.stdout

    def json(self, *arguments: str) -> Any:
        return json.loads(self.call(*arguments, "--json"))

    def run_dir(self, name: str) -> RunDir:
        return RunDir(self.cwd / "runs" / name)


def count_records(run: RunDir) -> int:
    """Rows of Optuna's own table of trials: a repetition would show here."""
    try:
        with sqlite3.connect(f"file:{run.study_path}?mode=ro", uri=True, timeout=30) as database:
            return int(database.execute("select count(*) from trials").fetchone()[0])
    except sqlite3.OperationalError:  # the tables are still being made
        return 0
