"""A Ray of our own: who can reach it, who can read it, and what it leaves when its process is killed."""

import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from nasproxy.rundir import create_run
from nasproxy.searching.local_ray import MARK, PREFIX, _processes_of, _Watch, end_orphans, own_folder

pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are looked up in /proc")

PROGRAM = """
import os, sys
import ray
from nasproxy.errors import RayEndedError
from nasproxy.searching.local_ray import TOKEN, local_ray

before = os.environ.get(TOKEN)
try:
  with local_ray(1):
    session = ray._private.worker.global_worker.node.get_session_dir_path()
    print(os.path.dirname(os.path.dirname(session)), len(os.environ[TOKEN]), flush=True)
    sys.stdin.readline()
except RayEndedError as error:
    print(error, flush=True)
assert os.environ.get(TOKEN) == before
"""


@contextmanager
def other_process() -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A process with a Ray of its own, and the folder of that."""
    pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    process = subprocess.Popen([sys.executable, "-c", PROGRAM], text=True, **pipes)
    assert process.stdout is not None
    try:
        folder, length = process.stdout.readline().split()
        assert int(length) == 64
        yield process, Path(folder)
    finally:
        process.kill()
        process.wait()
        end_orphans()


def listening_addresses(pids: list[int]) -> set[str]:
    """Hexadecimal addresses that processes accept TCP connections at."""
    inodes = set()
    for pid in pids:
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                inodes.add(str(link.readlink()))
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *_, inode = line.split()[:10]
            if state == "0A" and f"socket:[{inode}]" in inodes:
                found.add(local.partition(":")[0])
    return found


LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}
"""127.0.0.1, the same as IPv6, and ::1, as Linux writes them."""


def test_nobody_else_can_reach_it_or_look_into_its_folder_and_it_leaves_nothing() -> None:
    with other_process() as (process, folder):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        pids = _processes_of(folder)
        assert len(pids) >= 2
        addresses = listening_addresses([*pids, process.pid])
        assert addresses
        assert addresses <= LOOPBACK
        end_orphans()
        assert folder.is_dir()  # its process lives
        assert process.poll() is None
        _, complaints = process.communicate("go on\n", timeout=60)
        assert process.returncode == 0, complaints
        assert not folder.exists()
        assert _processes_of(folder) == []


AGAIN = """
import ray
from nasproxy.searching.local_ray import local_ray

def work():
    return ray.get(ray.remote(num_cpus=1)(lambda: 7).remote())

for _ in range(2):
    with local_ray(1):
        assert work() == 7
ray.init(address="local", num_cpus=1, include_dashboard=False)
assert work() == 7
"""


def test_there_may_be_another_one_after_it_in_the_same_process() -> None:
    done = subprocess.run([sys.executable, "-c", AGAIN], capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr


def test_what_a_killed_process_leaves_is_ended_by_the_next_one() -> None:
    with other_process() as (process, folder):
        wait = "import time; time.sleep(300)"
        left = subprocess.Popen([sys.executable, "-c", wait, f"--session-dir={folder}/ray/session"])
        process.kill()
        process.wait()
        assert folder.is_dir()
        assert left.pid in _processes_of(folder)
        reaper = threading.Thread(target=left.wait)
        reaper.start()
        end_orphans()
        reaper.join(timeout=10)
        assert left.poll() == -signal.SIGTERM
        assert not folder.exists()
        assert _processes_of(folder) == []


@pytest.mark.parametrize("name", ["raylet", "gcs_server"])
def test_where_a_process_of_ray_ends_the_work_ends_with_the_reason(name: str) -> None:
    with other_process() as (process, folder):
        (found,) = [pid for pid in _processes_of(folder) if Path(f"/proc/{pid}/comm").read_text().strip() == name]
        started = time.monotonic()
        os.kill(found, signal.SIGKILL)
        assert process.stdout is not None
        told = process.stdout.read().splitlines()
        assert told[-1] == (
            f"Ray's {name} was ended by signal 9 in the middle of the work; a run goes on with --resume"
        )
        assert process.wait(timeout=60) == 0
        assert time.monotonic() - started < 40
        assert not folder.exists()


def test_work_in_another_thread_does_not_interrupt_the_main_one() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()

    def work() -> None:
        watch = _Watch()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("nasproxy.searching.local_ray._main_processes", lambda: iter([("raylet", ended)]))
            watch.start()
            time.sleep(1.2)
            watch.stop()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()  # a KeyboardInterrupt would be raised here


def test_folders_that_are_no_ones_or_somebodys_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nasproxy.searching.local_ray._root", lambda: tmp_path)
    run = create_run(tmp_path, f"{PREFIX}a-run", "", command="search", config_text="", parents={})
    with run.running():
        pass
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / MARK).touch()
    (tmp_path / f"{PREFIX}link").symlink_to(tmp_path / "elsewhere")
    dead = tmp_path / f"{PREFIX}dead"
    dead.mkdir()
    (dead / MARK).touch()
    with own_folder() as held:
        end_orphans()
        assert held.is_dir()
    assert not held.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "elsewhere", f"{PREFIX}a-run", f"{PREFIX}link",
    ]  # fmt: skip
    assert (tmp_path / "elsewhere" / MARK).exists()
    assert run.is_done  # its lock is there, and nobody holds it
