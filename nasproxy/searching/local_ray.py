"""A Ray of our own, on this machine alone: nobody else can reach it, and it leaves nothing behind.

Ray as it comes listens on all interfaces, writes what it needs into folders and a token that everybody may read, leaves
its session under /tmp, and its processes for a minute when the one that began them is killed. Ours:

1. It listens on 127.0.0.1 only; a token of its own, in the environment of its processes, keeps others away.
2. Its session lies in a folder that is its owner's alone, and is removed with it. The folder has a short path, whatever
   TMPDIR says: those of Unix sockets are limited to 107 characters.
3. Whoever starts one ends what is left of those whose process was killed: nobody holds their lock any more.
4. Where a process of Ray's ends in the middle of the work, so does that, with the reason.
"""

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import ray
from ray._private import ray_constants

from nasproxy.errors import RayEndedError, RunError
from nasproxy.rundir import hold

TOKEN = "RAY_AUTH_TOKEN"
"""Environment variable of the token that Ray's processes know each other by."""
CLUSTERS = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Environment variable that is 0 where Ray is to stay on its machine: on macOS and Windows it does by itself."""
PREFIX = "nasproxy-scratch-"
"""Of the names of the folders."""
MARK = ".made-by-local-ray"
"""A file that says that a folder may be removed: run folders have locks, too, and may lie beside it."""
WATCH_SECONDS = 0.5
"""How often it is looked whether Ray's processes live."""
ORPHAN_SECONDS = 5.0
"""How long processes that were left may take to end by themselves, once they were asked to."""


@contextlib.contextmanager
def local_ray(num_cpus: int) -> Iterator[None]:
    """Ray with so many cores, for the length of the context.

    Raises:
        RayEndedError: one of Ray's own processes ended before the context.
    """
    end_orphans()
    watch = _Watch()
    with own_folder() as folder, _own_token(), environment({CLUSTERS: "0"}), _on_loopback():
        try:
            ray.init(
                address="local",  # in so many words: without it Ray would join whatever cluster runs on this machine
                num_cpus=num_cpus,
                include_dashboard=False,
                log_to_driver=False,
                configure_logging=False,
                _temp_dir=str(folder / "ray"),  # Ray lets everybody into it
            )
            watch.start()
            yield
        except KeyboardInterrupt:
            if watch.found is None:
                raise
        finally:
            watch.stop()
            ray.shutdown()
    if watch.found is not None:
        raise RayEndedError(f"{watch.found} in the middle of the work; a run goes on with --resume")


_REQUESTS = tuple(-number for name in ("SIGTERM", "SIGHUP") if (number := getattr(signal, name, None)))
"""Exit codes of a process that was asked to end."""


class _Watch:
    """Interrupts the work where a process of Ray's ends: Ray itself would wait for minutes, or end this process."""

    def __init__(self) -> None:
        self.found: str | None = None
        """What ended, and how."""
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def start(self) -> None:
        """From now on; where the work is in the main thread, which alone can be interrupted."""
        if threading.current_thread() is not threading.main_thread():
            return
        self._processes = dict(_main_processes())
        self._thread.start()

    def stop(self) -> None:
        """The work is over; where it is not, it has been interrupted by now."""
        self._is_over.set()
        try:
            if self._thread.is_alive():
                self._thread.join()
        except KeyboardInterrupt:
            if self.found is None:  # else it is our own
                raise

    def _look(self) -> None:
        while not self._is_over.wait(WATCH_SECONDS):
            for name, process in self._processes.items():
                code = process.poll()
                if code in _REQUESTS:  # to the whole group, this process too
                    self._is_over.set()
                elif code is not None and self.found is None:
                    how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
                    self.found = f"Ray's {name} {how}"
            if self.found is not None:
                _interrupt_main_thread()  # again, where it is swallowed


def _interrupt_main_thread() -> None:
    """As Ctrl-C does; where that is ignored, as in a job of a shell's background, as a termination request does."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if callable(signal.getsignal(number)):
            signal.pthread_kill(threading.main_thread().ident or 0, number)
            return


def _main_processes() -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """Those of Ray's processes that nothing goes on without, as far as this version of Ray shows them."""
    node = getattr(ray._private.worker.global_worker, "node", None)
    for name in ("gcs_server", "raylet"):
        for found in getattr(node, "all_processes", {}).get(name, []):
            yield name, found.process


def end_orphans() -> None:
    """Removes the folders of processes that were killed, and ends what is left of a Ray in them."""
    for folder in _root().glob(f"{PREFIX}*"):
        if not _is_mine(folder):
            continue
        with contextlib.suppress(RunError, OSError), hold(folder):
            _end_processes(folder)
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def own_folder() -> Iterator[Path]:
    """A folder that only its owner can look into, for the length of the context; where it ends before its time, for
    `end_orphans` to remove.
    """
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=_root()))  # readable by its owner only
    with hold(folder):
        (folder / MARK).touch()  # under the lock: one that has the mark and no lock is nobody's
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Variables of this process's environment, for the length of the context."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _own_token() -> Iterator[None]:
    """A new token, which this process forgets in the end: Ray would keep the first one that it has seen."""
    forget = getattr(getattr(ray._raylet, "AuthenticationTokenLoader", None), "instance", None)
    try:
        with environment({TOKEN: secrets.token_hex(32)}):
            if forget is not None:
                forget().reset_cache()
            yield
    finally:
        if forget is not None:
            forget().reset_cache()


@contextlib.contextmanager
def _on_loopback() -> Iterator[None]:
    """This process's part of `CLUSTERS`, which Ray reads when it is imported."""
    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


def _root() -> Path:
    """Where the folders lie."""
    return Path("/tmp") if os.access("/tmp", os.W_OK) else Path(tempfile.gettempdir())


def _is_mine(folder: Path) -> bool:
    try:
        status = folder.lstat()
    except OSError:
        return False
    return status.st_uid == os.getuid() and not folder.is_symlink() and (folder / MARK).is_file()


def _end_processes(folder: Path) -> None:
    """Ends the processes that were given this folder; Ray's workers end with them."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        ends = time.monotonic() + ORPHAN_SECONDS
        for pid in _processes_of(folder):
            with contextlib.suppress(OSError):
                os.kill(pid, number)
        while _processes_of(folder) and time.monotonic() < ends:
            time.sleep(0.1)


def _processes_of(folder: Path) -> list[int]:
    """Processes of this user with a command line that names something in the folder; none where there is no /proc."""
    found, named = [], f"{folder}{os.sep}".encode()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if (
                path.stat().st_uid == os.getuid()
                and named in path.read_bytes()
                and int(path.parent.name) != os.getpid()
            ):
                found.append(int(path.parent.name))
    return found
