"""Run folders: create, lock, resume, and write without leaving half a file.

runs/NAME/
  config.toml          complete settings, accepted by --config
  meta.json            command, versions, device, git commit, images in a line, parents and their hashes, status, times,
                       the best architecture of a search
  log.txt              what was said, and Ray's own output
  proxy.safetensors, proxy.png, metrics.jsonl, checkpoint.safetensors      (condense)
  study.db, archs.txt, sample.csv                                          (search, combine)
  nets/, model.safetensors, model.json                                     (search with keep_nets, train)
  archs.txt, sample.csv, truth_archs.csv, report.html, table.md, table.tex, figures/              (compare)
  evaluations.jsonl                                                        (evaluate)
  replay.csv, regret.png, regret.svg, regret.pdf                           (replay)
  trials.csv, ranking*.csv, architectures.csv                                             derived, deletable
"""

import contextlib
import json
import os
import platform
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from nasproxy.config import read_toml, without_password
from nasproxy.errors import InputError, RunError, RunNotFoundError
from nasproxy.files import write_text

LAYOUT = 2
"""Number of the form that run folders are written in; a run of another one is listed, but not read."""
KEPT = "keep"
"""Stands for the command of a run that only keeps what was made in memory; nobody types it."""
LAST = "@last"
"""What stands for the newest run wherever a run is named."""

_PACKAGES = ("nasproxy", "torch", "torchvision", "ray", "optuna", "scipy", "pandas", "numpy")


@dataclass(frozen=True)
class RunDir:
    """One run's folder. Made by `create_run`, found by `find_run`."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def config_path(self) -> Path:
        return self.path / "config.toml"

    @property
    def meta_path(self) -> Path:
        return self.path / "meta.json"

    @property
    def proxy_path(self) -> Path:
        return self.path / "proxy.safetensors"

    @property
    def picture_path(self) -> Path:
        return self.path / "proxy.png"

    @property
    def checkpoint_path(self) -> Path:
        return self.path / "checkpoint.safetensors"

    @property
    def metrics_path(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def log_path(self) -> Path:
        return self.path / "log.txt"

    @property
    def study_path(self) -> Path:
        return self.path / "study.db"

    @property
    def report_path(self) -> Path:
        return self.path / "report.html"

    @property
    def archs_path(self) -> Path:
        """Ids of the architectures that a search was asked for, where not the whole space."""
        return self.path / "archs.txt"

    @property
    def latency_path(self) -> Path:
        """Seconds of a forward pass of each architecture of a search, where they were measured."""
        return self.path / "latency.csv"

    @property
    def sample_path(self) -> Path:
        """Those that were drawn, in the order of the draw, and how many of the space each one stands for."""
        return self.path / "sample.csv"

    @property
    def nets_path(self) -> Path:
        """Weights of all nets that were trained, where they are kept."""
        return self.path / "nets"

    @property
    def command(self) -> str:
        """The nasproxy command that made it."""
        return str(self.meta["command"])

    @property
    def study_name(self) -> str:
        """Name of its Optuna study: the folder's own when it was made, whatever that is called now."""
        return str(self.meta["name"])

    @property
    def has_study(self) -> bool:
        """Whether it got as far as to make its study."""
        return bool(self.meta.get("has_study", False))

    @property
    def status(self) -> str:
        """created, running, interrupted, failed or done; of a process that was killed, interrupted."""
        status = str(self.meta.get("status", ""))
        if status != "running":
            return status
        try:
            with hold(self.path):
                status = str(self.meta.get("status", ""))  # it may have ended just now
                return "interrupted" if status == "running" else status
        except (RunError, OSError):  # it lives; or the folder is somebody else's, and who knows
            return status

    @property
    def is_done(self) -> bool:
        """Whether its work came to its end."""
        return bool(self.meta["status"] == "done")

    def read_config(self) -> dict[str, Any]:
        """Its settings as they are written.

        Raises:
            InputError: missing or no TOML.
        """
        return read_toml(self.config_path)

    @property
    def meta(self) -> dict[str, Any]:
        """What `meta.json` says.

        Raises:
            InputError: missing or no JSON, or not what every run says of itself.
        """
        try:
            content: dict[str, Any] = json.loads(self.meta_path.read_text(encoding="utf-8"))
            for key in ("command", "created", "status", "name"):
                if not isinstance(content, dict) or not isinstance(content.get(key), str):
                    raise ValueError(f"it does not say {key!r}")
            datetime.fromisoformat(content["created"])
        except (OSError, ValueError) as error:
            raise InputError(f"{self.meta_path} is unreadable: {error}; is {self.path} a run folder?") from None
        return content

    def log(self, text: str) -> None:
        """Adds a line with the time to `log.txt`."""
        with self.log_path.open("a", encoding="utf-8") as file:
            file.write(f"{datetime.now(UTC).isoformat(timespec='seconds')} {text}\n")

    def check_parents(self, parents: Mapping[str, str]) -> None:
        """Refuses to go on when what the run is made from has changed since.

        Raises:
            RunError: it has.
        """
        before = self.meta["parents"]
        changed = [what for what, content in parents.items() if before.get(what) != content]
        if changed:
            raise RunError(f"run {self.name} was started on another {' and '.join(changed)}; start a new run instead")

    def update_meta(self, **values: Any) -> None:
        """Sets keys of `meta.json`, atomically."""
        write_text(self.meta_path, json.dumps(self.meta | values, indent=2) + "\n")

    @contextmanager
    def running(self) -> Iterator[None]:
        """Holds the folder for this process and records how the work ended: done, interrupted or failed.

        Raises:
            RunError: a live process works in this folder. A lock left by a killed process does not count.
            Interrupted: the work was.
        """
        with hold(self.path):
            started = datetime.now(UTC)
            status, problem = "failed", None
            try:
                self.update_meta(status="running", pid=os.getpid())
                yield
                status = "done"
            except KeyboardInterrupt:
                status = "interrupted"
                raise Interrupted(self) from None
            except BaseException as error:
                problem = f"{type(error).__name__}: {error}"
                raise
            finally:
                finished = datetime.now(UTC)
                seconds = self.meta.get("wall_seconds", 0.0) + (finished - started).total_seconds()
                self.update_meta(status=status, error=problem, finished=_stamp(finished), wall_seconds=seconds)


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, or a termination request, in the middle of a run; where that is part of another run, of this one."""

    def __init__(self, run: RunDir) -> None:
        super().__init__()
        self.run = run


def check_plain(name: str) -> None:
    """Refuses a name that is no plain folder name.

    Raises:
        RunError: it is none.
    """
    if name != Path(name).name or name.startswith((".", "@")):
        raise RunError(f"run name {name!r} is no plain folder name; use letters, digits, '-', '_' and '.'")


def create_run(
    root: Path, name: str | None, default_name: str, *, command: str, config_text: str, parents: Mapping[str, str]
) -> RunDir:
    """A new run folder with its `config.toml` and `meta.json`.

    Args:
        root: folder of all runs.
        name: folder name; None takes `default_name`, numbered where that exists.
        default_name: what a nameless run is called after.
        command: name of the nasproxy command that makes it.
        config_text: complete settings as TOML.
        parents: what the run is made from: role -> hash or name.

    Raises:
        RunError: the name is taken, or is no plain folder name.
    """
    if name is not None:
        check_plain(name)
    path = root / name if name else _free_path(root, default_name)
    if path.exists():
        raise RunError(
            f"run {path} exists already; choose another --name, or continue it with --resume {shlex.quote(path.name)}"
        )
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root, prefix=".new-") as scratch:
        run = RunDir(Path(scratch) / path.name)
        run.path.mkdir()
        write_text(run.config_path, config_text)
        meta = {
            "name": path.name,
            "layout": LAYOUT,
            "command": command,
            "status": "created",
            "created": _stamp(datetime.now(UTC)),
            "arguments": [without_password(argument) for argument in sys.argv[1:]],
            "parents": dict(parents),
            "git_commit": _git_commit(),
            "python": platform.python_version(),
            "versions": versions(),
        }
        write_text(run.meta_path, json.dumps(meta, indent=2) + "\n")
        run.path.rename(path)
    return RunDir(path)


def find_run(reference: str, root: Path, *commands: str) -> RunDir:
    """The run that a name under `root`, a path, or `@last` (the newest) refers to.

    Raises:
        RunNotFoundError: no such run.
        RunError: it was made by none of `commands`, where any are given.
    """
    if reference == LAST:
        runs = [run for run in list_runs(root) if not commands or run.command in commands]
        if not runs:
            kind = f"{' or '.join(name for name in commands if name != KEPT)} run" if commands else "run"
            raise RunNotFoundError(f"@last: no {kind} in {root}; start one, or name a path")
        reference = str(runs[-1].path)
    for path in (root / reference, Path(reference).expanduser()):
        if (path / "meta.json").is_file():
            run = RunDir(path)
            break
    else:
        known = ", ".join(run.name for run in list_runs(root)) or "none"
        raise RunNotFoundError(f"no run {reference!r} in {root}; runs there: {known}")
    made_by = run.command
    if commands and made_by not in commands:
        wanted = " or ".join(f"'nasproxy {command}'" for command in commands if command != KEPT)
        raise RunError(f"run {reference!r} was made by 'nasproxy {made_by}', not by {wanted}; name another run")
    if commands and not _is_readable(run.meta):
        raise RunError(
            f"run {reference!r} was written by nasproxy {run.meta.get('versions', {}).get('nasproxy', '?')}, whose run "
            "folders this version cannot read; make it again (its trials.csv still serves as --truth)"
        )
    return run


def _is_readable(meta: Mapping[str, Any]) -> bool:
    return meta.get("layout") == LAYOUT


def list_runs(root: Path) -> list[RunDir]:
    """All runs under `root`, oldest first; a folder whose `meta.json` is damaged is none."""
    dated = []
    for path in root.glob("*/meta.json"):
        run = RunDir(path.parent)
        if not run.name.startswith("."):
            with contextlib.suppress(InputError):
                dated.append((run.meta["created"], run.name, run))
    return [run for _, _, run in sorted(dated, key=lambda item: item[:2])]


@contextmanager
def hold(path: Path) -> Iterator[None]:
    """Keeps other live processes out of a folder.

    Raises:
        RunError: another process holds it.
    """
    lock = FileLock(path / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise RunError(f"run {path} is in use by a live process; wait for it, or choose another --name") from None
    try:
        yield
    finally:
        lock.release()


def versions() -> dict[str, str]:
    """Installed versions of the packages that results depend on."""
    installed = {}
    for package in _PACKAGES:
        try:
            installed[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            installed[package] = "not installed"
    return installed


def _free_path(root: Path, name: str) -> Path:
    path, number = root / name, 2
    while path.exists():
        path, number = root / f"{name}-{number}", number + 1
    return path


def _stamp(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")


def _git_commit() -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
