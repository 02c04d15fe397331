"""The processes of a running service: how each is started, replaced and ended."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, Protocol

from core.child import parent_mark
from core.errors import EdgeproofError, InputError
from core.wire import TOKEN_VARIABLE

MOST_ENDS, ENDS_SECONDS = 5, 60.0
"""How many ends within so many seconds `edgeproof serve` mends; one more ends it."""

_START_SECONDS = 120.0
_STOP_SECONDS = 15.0


class Child(Protocol):
    """A child process, as `subprocess.Popen` is one."""

    pid: int
    stdout: IO[bytes] | None

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...

    def terminate(self) -> None: ...

    def kill(self) -> None: ...


class Begin(Protocol):
    """How a child begins that runs a module with arguments: as a new interpreter, or as a copy.

    Its standard output is a pipe, its standard error goes to *log*; *descriptors* stay open.
    """

    def __call__(
        self,
        arguments: list[str],
        *,
        environment: dict[str, str],
        log: IO[bytes],
        descriptors: Sequence[int],
    ) -> Child: ...


def begun(
    arguments: list[str],
    *,
    environment: dict[str, str],
    log: IO[bytes],
    descriptors: Sequence[int],
) -> Child:
    """Begin a child as a new interpreter."""
    # A session of its own: Ctrl-C reaches the parent, which ends its children in order.
    return subprocess.Popen(
        [sys.executable, "-m", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=log,
        env=environment,
        start_new_session=True,
        pass_fds=descriptors,
    )


class ServiceProcess:
    """A child that says on its standard output when it is ready.

    name: what it is called where a user is told of its end. cut_off: how many requests it left
    undone, known once it has ended. is_ready: whether `ready` has heard that it is. descriptors:
    of files that it keeps open.
    """

    def __init__(
        self,
        name: str,
        arguments: list[str],
        *,
        token: str | None,
        log: IO[bytes],
        descriptors: Sequence[int] = (),
        begin: Begin = begun,
    ) -> None:
        self.name = name
        environment = {**os.environ, **parent_mark()}
        if token is not None:
            environment[TOKEN_VARIABLE] = token
        self._process = begin(arguments, environment=environment, log=log, descriptors=descriptors)
        self._said: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self.cut_off = 0
        self.is_ready = False
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout:
            for line in self._process.stdout:
                try:
                    said = json.loads(line)
                except ValueError:
                    continue
                self.cut_off += said.get("cut_off", 0)
                self._said.put(said)
        self._said.put(None)

    def ready(self) -> str:
        """Return the URL at which the child serves; EdgeproofError if it could not start."""
        try:
            said = self._said.get(timeout=_START_SECONDS)
        except queue.Empty:
            raise EdgeproofError(f"the service did not start within {_START_SECONDS:g} s") from None
        if said is None:
            code = self._process.wait()
            raise EdgeproofError(f"the service ended while starting (exit code {code})")
        if "error" in said:
            raise InputError(str(said["error"]))
        self.is_ready = True
        return str(said["ready"])

    def ended(self) -> str:
        """Return how the child has ended, "" while it runs."""
        code = self._process.poll()
        if code is None:
            return ""
        known = {number.value: number.name for number in signal.Signals}
        how = f"exit code {code}" if code >= 0 else known.get(-code, f"signal {-code}")
        return f"{self.name} (process {self.pid}) ended with {how}"

    def was_killed(self) -> bool:
        """Return whether a signal has ended the child."""
        return (self._process.poll() or 0) < 0

    def terminate(self) -> None:
        """Ask the child to finish what it has begun and to end."""
        if self._process.poll() is None:
            self._process.terminate()

    def end_by(self, deadline: float) -> str:
        """Wait for the child's end, and force it at *deadline* (monotonic seconds).

        Return what was wrong with its end, nothing if it ended by itself and well.
        """
        try:
            code = self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.kill()
            return (
                f"{self.name} (process {self.pid}) did not finish within {_STOP_SECONDS:g} s and "
                "was killed"
            )
        self._listener.join()  # what it said last
        return self.ended() if code else ""

    def kill(self) -> None:
        """End the child at once, if it has not ended."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


class Crew:
    """The processes of a service, in the order of their ends: what others need ends last."""

    def __init__(self) -> None:
        self.workers: list[ServiceProcess] = []
        self.consumers: list[ServiceProcess] = []
        self.stores: list[ServiceProcess] = []
        self._ends: list[float] = []

    @property
    def processes(self) -> list[ServiceProcess]:
        return [*self.stores, *self.consumers, *self.workers]  # as RunningService knows them

    def end(self) -> list[str]:
        """Let everybody finish, the workers before the consumer of what they accepted.

        Return what was wrong; whatever interrupts this ends them at once.
        """
        faults = []
        try:
            for stage in (self.workers, self.consumers, self.stores):
                for process in stage:
                    process.terminate()
                deadline = time.monotonic() + _STOP_SECONDS
                faults += [process.end_by(deadline) for process in stage]
        finally:
            for process in self.processes:
                process.kill()
        return [fault for fault in faults if fault]

    def replace(
        self, again: Callable[[ServiceProcess], ServiceProcess], *, most: int = MOST_ENDS
    ) -> list[str]:
        """Put another process in the place of each worker and consumer that has ended.

        again: starts one in the place of another. most: ends within ENDS_SECONDS. Return how each
        had ended. Raise EdgeproofError for more, for one that cannot start, and where what cannot
        be replaced has ended: its state is gone. One that is killed while it starts is replaced
        like any other.
        """
        for store in self.stores:
            if how := store.ended():
                raise EdgeproofError(how)
        told = []
        for group in (self.workers, self.consumers):
            for position in range(len(group)):
                while how := group[position].ended():
                    self._count_end(how, most)
                    group[position] = again(group[position])
                    told.append(f"{how}; process {group[position].pid} takes its place")
                    try:
                        group[position].ready()
                        break
                    except InputError:
                        raise
                    except EdgeproofError:
                        if not group[position].was_killed():
                            raise
        return told

    def _count_end(self, how: str, most: int) -> None:
        now = time.monotonic()
        self._ends = [*(at for at in self._ends if now - at < ENDS_SECONDS), now]
        if len(self._ends) > most:
            raise EdgeproofError(
                f"{how}; {len(self._ends)} processes ended within {ENDS_SECONDS:g} s, so that none "
                "is started again"
            )


class RunningService:
    """The URLs of a service, one for each process of the scenario.

    Once it has ended, faults: what was wrong with that; cut_off: how many requests were answered
    that they could not be finished; last_news: the `news` of then.
    """

    def __init__(
        self,
        urls: list[str],
        crew: Crew,
        log: Path,
        again: Callable[[ServiceProcess], ServiceProcess],
        *,
        mends: int = 0,
    ) -> None:
        self.urls = urls
        self._crew = crew
        self._again, self._mends = again, mends
        self.faults: list[str] = []
        self.cut_off = 0
        self.last_news = ""
        self._told = 0
        self._log = log

    @property
    def processes(self) -> list[ServiceProcess]:
        """All processes: the stores, the consumer, the workers."""
        return self._crew.processes

    @property
    def workers(self) -> list[ServiceProcess]:
        """The processes behind the URLs, in their order."""
        return self._crew.workers

    def mend(self) -> list[str]:
        """Start anew what has ended, where the service was started to be mended; say what that was.

        Raise EdgeproofError where it cannot be. Connections to a worker that has ended wait for the
        next one at the same URL. Call it from the thread that started the service.
        """
        if not self._mends:
            raise ValueError("this service was not started to be mended: give mends")
        return self._crew.replace(self._again, most=self._mends)

    def logged(self) -> str:
        """Return what the processes have written to their standard error so far."""
        return self._log.read_text(encoding="utf-8", errors="replace").strip()

    def news(self) -> str:
        """Return what they have written there since this was asked last."""
        with self._log.open("rb") as log:
            log.seek(self._told)
            new = log.read()
        self._told += len(new)
        return new.decode("utf-8", errors="replace")

    def ended(self) -> str:
        """Return how the first process that has ended did so, "" while all of them run."""
        return next(filter(None, (process.ended() for process in self.processes)), "")
