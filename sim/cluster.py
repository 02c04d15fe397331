"""Replications on a Dask cluster: the workers simulate, this process keeps what they find."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from core.errors import EdgeproofError, InputError
from core.scenario.calibration import Calibration
from core.scenario.scenario import Scenario
from sim.engine_name import EngineName
from sim.engines import Engine
from sim.kept_runs import digest_of
from sim.places import Places
from sim.program import program, told
from sim.replications import Found, Replications

CONNECT = 5.0
"""Seconds."""
MOST_FRAMES = 100_000
SCHEMES = ("tcp", "tls")
AHEAD = 4
"""Runs that wait or run at a time, for each thread of the cluster."""
PATIENCE = 6
"""Looks without any worker, one each time that nothing was done for a while, until it is an
error."""

Given = tuple[str, Calibration | None, EngineName, float]

_threads = threading.local()
_one_at_a_time = threading.Lock()


class Cluster:
    """Runs replications on the workers of *client*."""

    def __init__(self, client: Any, address: str, given: Given) -> None:
        self._client, self._address, self._given = client, address, given
        self._executor = client.get_executor(pure=False)
        self._looks = 0
        self.count = AHEAD * sum(client.nthreads().values())

    def submit(self, place: int, scenario: Scenario, number: int) -> Future[Found]:
        """Begin it on some worker."""
        future: Future[Found] = self._executor.submit(
            on_worker, self._given, scenario, number, _content(scenario)
        )
        return future

    def renew(self, place: int) -> None:
        """Do nothing: the cluster's other workers go on."""

    def is_lost(self, error: BaseException) -> bool:
        """Whether *error* says that several workers died with the run."""
        return type(error).__name__ == "KilledWorker"

    def check(self) -> None:
        """Raise EdgeproofError if there has been no worker for a while."""
        self._looks = 0 if self._client.nthreads() else self._looks + 1
        if self._looks >= PATIENCE:
            raise EdgeproofError(
                f"--cluster {self._address}: no worker is left; start some (dask worker "
                f"{self._address}), and give the same command: it goes on from there"
            )

    def cancel(self) -> None:
        """Let nothing begin that has not begun."""
        self._executor.shutdown(wait=False)


@contextmanager
def cluster_places(
    address: str, calibration: Calibration | None, engine: Engine, *, asked: EngineName
) -> Iterator[Places]:
    """Yield the places of the Dask cluster whose scheduler is at *address*.

    Raise InputError if Dask is missing, if nothing answers there or has no worker, and if a worker
    has another program than this one.
    """
    client = _connected(address)
    try:
        _check_workers(client, address)
        yield Cluster(client, address, (program(), calibration, asked, engine.requests))
    finally:
        client.close(timeout=2)


def check_cluster(address: str) -> None:
    """Raise InputError as `cluster_places` does, before anything else is done."""
    client = _connected(address)
    try:
        _check_workers(client, address)
    finally:
        client.close(timeout=2)


def on_worker(given: Given, scenario: Scenario, number: int, content: str) -> Found:
    """Return the findings of replication *number* of *scenario*; called on a worker.

    content: the SHA-256 of its trace. Raise InputError if the worker has another program, or
    another trace, than the one that asks.
    """
    expected, calibration, asked, requests = given
    if program() != expected:
        name = import_module("distributed").get_worker().address
        raise InputError(_other(name, told()))
    if _content(scenario) != content:
        raise InputError(
            f"{scenario.trace.file}: a worker has no file there, or another one; copy the trace to "
            "this path where workers run, and give it as a path from /"
        )
    with _one_at_a_time:
        runs = getattr(_threads, "runs", None)
        if runs is None or runs[0] != (repr(calibration), asked):
            engine = Engine(asked=asked, requests=requests)
            runs = (repr(calibration), asked), Replications(calibration, engine=engine)
            _threads.runs = runs
        (found,) = runs[1].run(scenario, (number,), lambda _: None)
        return found


def _content(scenario: Scenario) -> str:
    file = scenario.trace.file
    return "" if file is None else digest_of(Path(file))


def _connected(address: str) -> Any:
    if find_spec("distributed") is None:
        raise InputError(
            "--cluster needs Dask, which is not installed; pip install 'edgeproof[dask]'"
        )
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    try:
        _greeted(address)
        distributed = import_module("distributed")
        return distributed.Client(address, timeout=CONNECT, set_as_default=False)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        reason = reason.splitlines()[0][:200]
        raise InputError(
            f"--cluster {address}: no Dask scheduler answers there ({reason}); start one (dask "
            "scheduler), and give its address, such as tcp://127.0.0.1:8786"
        ) from None


def _greeted(address: str) -> None:
    """Raise OSError or ValueError if nobody at *address* begins as Dask does.

    A client that cannot connect says so after minutes or never, and in more than a line.
    """
    place, is_secret = _host_and_port(address), address.startswith("tls")
    with socket.create_connection(place, timeout=CONNECT) as connection:
        greeting = b""
        while not is_secret and len(greeting) < 8:
            part = connection.recv(8 - len(greeting))
            if not part:
                raise ValueError("what listens there says nothing that Dask does")
            greeting += part
        if int.from_bytes(greeting, "little") > MOST_FRAMES:  # of a Dask message
            raise ValueError("what listens there says something that Dask does not")


def _host_and_port(address: str) -> tuple[str, int]:
    parts = urlsplit(address if "://" in address else f"tcp://{address}")
    if parts.scheme not in SCHEMES:
        raise ValueError(f"{parts.scheme} is none of {', '.join(SCHEMES)}")
    if not parts.hostname or parts.port is None:
        raise ValueError("no host with a port")
    return parts.hostname, parts.port


def _check_workers(client: Any, address: str) -> None:
    if not client.nthreads():  # `run` would wait for one
        raise InputError(
            f"--cluster {address}: the scheduler has no worker; start some: dask worker {address}"
        )
    # By value: a worker without edgeproof could not find the function.
    pickling = import_module("cloudpickle")
    this = import_module(__name__)
    pickling.register_pickle_by_value(this)
    try:
        found = client.run(_told, on_error="return")
    finally:
        pickling.unregister_pickle_by_value(this)
    for worker, says in found.items():
        if says != told():
            raise InputError(_other(worker, says if isinstance(says, tuple) else None))


def _told() -> tuple[str, str] | None:
    try:
        from sim.program import told as told_there
    except ImportError:
        return None
    return told_there()


def _other(worker: str, says: tuple[str, str] | None) -> str:
    version, text = told()
    ours = f"edgeproof {version} ({text[:8]})"
    if says is None:
        return (
            f"worker {worker} has no edgeproof, or one that knows no cluster; install {ours} where "
            "it runs, and start it again"
        )
    return (
        f"worker {worker} has edgeproof {says[0]} ({says[1][:8]}), and this command {ours}; "
        "install the same version, Python and NumPy where it runs, and start it again"
    )
