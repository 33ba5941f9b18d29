"""Ray for a search: how many workers of what size, where they run, and where Ray's own output goes."""

import contextlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import ray
import torch

from nasproxy.config import MachineSettings
from nasproxy.device import describe_device, find_device, num_cores
from nasproxy.errors import DeviceError, RayEndedError, SettingsError
from nasproxy.searching.local_ray import local_ray

CONNECT_SECONDS = 5.0
"""How long a Ray cluster may take to answer."""


@dataclass(frozen=True)
class Workforce:
    """The workers of a search."""

    device: str
    """'cpu', 'cuda', or on a cluster 'auto': the GPU if the cluster has any."""
    device_name: str
    num_workers: int | None
    """None: as many as the cluster has room for."""
    threads_per_worker: int
    gpus_per_worker: float
    address: str | None
    crowd: str | None = None
    """That they are more than this machine has room for, and what to give instead; None: they are not."""

    @property
    def num_cpus(self) -> int:
        """Cores that all workers take; of a local Ray."""
        return (self.num_workers or 1) * self.threads_per_worker


def plan_workforce(machine: MachineSettings) -> Workforce:
    """Workers and threads: workers x threads = cores, where neither is set; on GPUs one worker a share.

    Raises:
        SettingsError: a GPU share that cannot be, or no cluster at the address.
        DeviceError: a device that is not there, or one GPU by number (Ray gives them out).
    """
    share = machine.gpus_per_worker
    if share > 1 and share != int(share):
        raise SettingsError(f"gpus_per_worker={share}: above 1 it must be a whole number")
    if machine.device.startswith("cuda:"):
        raise DeviceError(
            f"a search uses all GPUs it is given; for one of them set CUDA_VISIBLE_DEVICES, not {machine.device!r}"
        )
    if machine.address is not None:
        if machine.device not in ("auto", "cpu", "cuda"):
            find_device(machine.device)
        _check_reachable(machine.address)
        return Workforce(
            machine.device, f"Ray cluster at {machine.address}", machine.workers,
            machine.threads_per_worker or 1, share, machine.address,
        )  # fmt: skip
    device = find_device(machine.device)
    cores = num_cores()
    if device.type == "cuda":
        if share == 0:
            raise SettingsError("gpus_per_worker=0 on a GPU: give a share above 0, or --device cpu")
        num_gpus = torch.cuda.device_count()
        if share > num_gpus:
            raise SettingsError(
                f"gpus_per_worker={share:g} is more than this machine's {num_gpus} GPU(s); give a smaller share"
            )
        workers = machine.workers or max(int(num_gpus / share), 1)
    else:
        workers = machine.workers or max(cores // (machine.threads_per_worker or 1), 1)
    threads = machine.threads_per_worker or max(cores // workers, 1)
    gpus = share if device.type == "cuda" else 0.0
    crowd = _describe_crowd(workers, threads, cores)
    return Workforce(device.type, describe_device(device), workers, threads, gpus, None, crowd)


def _describe_crowd(workers: int, threads: int, cores: int) -> str | None:
    if workers * threads <= cores:
        return None
    return (
        f"{workers} worker(s) of {threads} thread(s) on {cores} core(s) slow each other down, and each takes memory of "
        f"its own; give --workers {max(cores // threads, 1)}"
        + (f" threads_per_worker={cores}" if threads > cores else ", or leave it out")
    )


def _check_reachable(address: str) -> None:
    """Asks host:port for a connection: Ray itself would go on trying for many minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdigit():
        return  # 'auto'
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise SettingsError(f"no Ray cluster at {address!r}: {error}; start one with 'ray start --head'") from None


@contextlib.contextmanager
def running_ray(workforce: Workforce) -> Iterator[dict[str, float]]:
    """Ray for the length of a search: a cluster, a Ray that runs in this process already, or a local one of our own.

    Yields:
        The resources of one worker, for Tune.

    Raises:
        SettingsError: no cluster at the address, or a worker asks for more than Ray has in all.
    """
    with contextlib.ExitStack() as stack:
        if not ray.is_initialized():
            with noticing_interrupts():
                stack.enter_context(_ray_of(workforce))
        yield _resources_of_worker(workforce, ray.cluster_resources())  # type: ignore[no-untyped-call]


def count_slots(resources: dict[str, float]) -> int:
    """How many workers of these resources the running Ray has room for, at least one."""
    total = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return max(int(min(total.get(kind.upper(), 0) / amount for kind, amount in resources.items() if amount > 0)), 1)


class RaySession(contextlib.ExitStack):
    """One Ray for several searches: started when the first of them asks, ended with the context."""

    def __init__(self, machine: MachineSettings, log_path: Path, warn: Callable[[str], None]) -> None:
        """Ray's own output goes to a file; `warn` is told if there are too many workers."""
        super().__init__()
        self._machine, self._log_path, self._warn, self._is_started = machine, log_path, warn, False

    def start(self) -> None:
        """Starts Ray, unless that was done.

        Raises:
            SettingsError: see `running_ray`.
        """
        if not self._is_started:
            workforce = plan_workforce(self._machine)
            if workforce.crowd:
                self._warn(workforce.crowd)
            with ray_output_to(self._log_path):
                self.enter_context(running_ray(workforce))
            self._is_started = True


@contextlib.contextmanager
def ray_output_to(path: Path | None) -> Iterator[TextIO]:
    """Sends what Ray prints and logs in this process to a file; None drops it."""
    with (path or Path(os.devnull)).open("a", buffering=1, encoding="utf-8") as log:
        handler = logging.StreamHandler(log)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        loggers = [logging.getLogger(name) for name in ("ray", "ray.tune", "ray.data", "ray.train")]
        before = [(logger, logger.handlers, logger.propagate) for logger in loggers]
        for logger in loggers:
            logger.handlers, logger.propagate = [], logger.name != "ray"
        loggers[0].handlers = [handler]
        # Tune writes no result files for us (the study has the results) and would complain about each missing one.
        logging.getLogger("ray.tune.analysis.experiment_analysis").setLevel(logging.ERROR)
        try:
            with contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
                yield log
        finally:
            for logger, handlers, propagate in before:
                logger.handlers, logger.propagate = handlers, propagate


class Interrupts:
    """Whether Ctrl-C or a termination request has come, also where Ray swallowed the exception that it raised."""

    def __init__(self, *, frees_workers: bool = False) -> None:
        self.has_come = False
        self.frees_workers = frees_workers
        """Whether Tune is to end its workers first: they would keep the cores of a Ray that lives on."""

    def check(self) -> None:
        """Raises it again.

        Raises:
            KeyboardInterrupt: one has come.
            InterruptedError: one has come, where Tune is to end its workers: it does so for what is an `Exception`.
        """
        if self.has_come:
            raise InterruptedError if self.frees_workers else KeyboardInterrupt


@contextlib.contextmanager
def noticing_interrupts(*, frees_workers: bool = False) -> Iterator[Interrupts]:
    """Keeps this process's own answers to Ctrl-C and to a termination request, and loses neither.

    Ray puts an answer of its own in place of the latter, which ends the process at once; and code of Ray that is called
    back (from C, from destructors) drops the exception that these raise.

    Args:
        frees_workers: the first request waits until it is asked for (`Interrupts.check`), at the next step of Tune;
            the second one is answered at once.

    Raises:
        KeyboardInterrupt: on leaving, where it was swallowed inside.
    """
    interrupts = Interrupts(frees_workers=frees_workers)
    before: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        numbers = [number for name in ("SIGINT", "SIGTERM", "SIGHUP") if (number := getattr(signal, name, None))]
        before = {number: signal.getsignal(number) for number in numbers}

    def notice(number: int, frame: Any) -> None:
        is_first, interrupts.has_come = not interrupts.has_come, True
        if not (is_first and frees_workers):
            before[signal.Signals(number)](number, frame)

    for number, answer in before.items():
        if callable(answer):  # else it is ignored, or ends the process
            signal.signal(number, notice)
    try:
        yield interrupts
    except RayEndedError:  # it is what interrupted
        interrupts.has_come = False
        raise
    except Exception:
        if interrupts.has_come:  # it is what broke the rest
            raise KeyboardInterrupt from None
        raise
    finally:
        for number, answer in before.items():
            signal.signal(number, answer)
    if interrupts.has_come:
        raise KeyboardInterrupt


@contextlib.contextmanager
def _ray_of(workforce: Workforce) -> Iterator[None]:
    if workforce.address is None:
        with local_ray(workforce.num_cpus):
            yield
        return
    try:
        _join_cluster(workforce.address)
        yield
    finally:
        ray.shutdown()


def _join_cluster(address: str) -> None:
    try:
        ray.init(address=address, log_to_driver=False, configure_logging=False)
    except (ConnectionError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        reason = " ".join(str(error).split())
        raise SettingsError(f"no Ray cluster at {address!r}: {reason}; start one with 'ray start --head'") from None


def _resources_of_worker(workforce: Workforce, available: dict[str, float]) -> dict[str, float]:
    use_gpu = workforce.device == "cuda" or (workforce.device == "auto" and available.get("GPU", 0) > 0)
    wanted = {"CPU": float(workforce.threads_per_worker), "GPU": workforce.gpus_per_worker if use_gpu else 0.0}
    for kind, amount in wanted.items():
        if amount > available.get(kind, 0):
            raise SettingsError(
                f"a worker asks for {amount:g} {kind}(s) but Ray has {available.get(kind, 0):g}; "
                "lower threads_per_worker or gpus_per_worker"
            )
    return {kind.lower(): amount for kind, amount in wanted.items()}
