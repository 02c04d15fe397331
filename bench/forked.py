"""Processes of the service that begin as copies of one that has imported everything.

A new interpreter takes a second of CPU time before it serves, a copy some hundredths. From there on
both run the same code, with process ids, sockets and ends of their own.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from fcntl import F_DUPFD_CLOEXEC, fcntl
from importlib import import_module
from multiprocessing.context import ForkServerProcess
from multiprocessing.reduction import DupFd
from typing import IO, Any

from core.child import PARENT_VARIABLE

MODULES = (
    "core.service.worker", "core.service.consumer", "core.service.fake_redis",
    "core.service.local_destination", "core.application.behaviours", "core.caching.redis_channel",
    "core.caching.redis_kv", "core.delivery.http", "uvicorn.lifespan.on",
)  # fmt: skip
_CONTEXT = multiprocessing.get_context("forkserver")


def preload(*modules: str) -> None:
    """Let the process that is copied import all MODULES, and *modules*, too.

    There is one such process, and what was asked before its first copy holds.
    """
    _CONTEXT.set_forkserver_preload(["__main__", *MODULES, __name__, *modules])


class ForkedChild:
    """A copy, with what `subprocess.Popen` has."""

    def __init__(self, process: ForkServerProcess, stdout: IO[bytes]) -> None:
        assert process.pid is not None
        self.pid = process.pid
        self.stdout: IO[bytes] | None = stdout
        self._process = process
        self._lock = threading.Lock()  # of two threads that ask at once, one would read no code

    def poll(self) -> int | None:
        """Return the exit code, None while it runs."""
        with self._lock:
            return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code once it has ended; raise TimeoutExpired after *timeout* seconds."""
        with self._lock:
            self._process.join(timeout)
            code = self._process.exitcode
        if code is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout or 0.0)
        return code

    def terminate(self) -> None:
        """Send SIGTERM."""
        self._process.terminate()

    def kill(self) -> None:
        """Send SIGKILL."""
        self._process.kill()


def forked(
    arguments: list[str],
    *,
    environment: dict[str, str],
    log: IO[bytes],
    descriptors: Sequence[int],
) -> ForkedChild:
    """Begin a child as a copy: a `core.service.crew.Begin`.

    The first call starts the process that is copied; it ends with this one.
    """
    preload()
    read, write = os.pipe()
    try:
        process = _CONTEXT.Process(
            target=_Copy(arguments, environment, write, log.fileno(), descriptors), daemon=True
        )
        process.start()
    except BaseException:
        os.close(read)
        raise
    finally:
        os.close(write)
    return ForkedChild(process, os.fdopen(read, "rb"))


class _Copy:
    """What a copy runs: it is pickled while the copy begins, which is when descriptors can go."""

    def __init__(
        self,
        arguments: list[str],
        environment: dict[str, str],
        output: int,
        log: int,
        descriptors: Sequence[int],
    ) -> None:
        self._arguments, self._environment = arguments, environment
        self._places = {1: output, 2: log} | {each: each for each in descriptors}

    def __getstate__(self) -> dict[str, Any]:
        # multiprocessing duplicates what DupFd names while it pickles the process.
        return self.__dict__ | {"_places": {to: DupFd(one) for to, one in self._places.items()}}

    def __call__(self) -> None:
        os.setsid()
        given = {to: one.detach() for to, one in self._places.items()}  # type: ignore[attr-defined]
        # Out of the way first: a number that is given may be one that is wanted.
        free = max(self._places) + 1
        high = {to: fcntl(one, F_DUPFD_CLOEXEC, free) for to, one in given.items()}
        for to, one in high.items():
            os.dup2(one, to)
        os.environ.clear()
        # Its parent is the process that was copied, which ends with ours.
        os.environ.update(self._environment | {PARENT_VARIABLE: str(os.getppid())})
        module, *rest = self._arguments
        main: Callable[..., int] = import_module(module).main
        try:
            sys.exit(main(rest) if rest else main())
        finally:
            atexit._run_exitfuncs()  # multiprocessing leaves them out; logging says its last there
