"""Start and end the reference service: its processes, and the L2 that several of them share."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from core.child import parent_mark
from core.errors import EdgeproofError, InputError
from core.files import write_whole
from core.scenario.file import scenario_data
from core.scenario.scenario import Scenario
from core.service.folder_lock import held_folder
from core.service.l2 import check_l2
from core.service.limits import DEFAULT_LIMITS, ConnectionLimits
from core.service.remote import check_remote
from core.wire import TOKEN_VARIABLE

MAX_WORKERS = 64
_START_SECONDS = 120.0
_STOP_SECONDS = 15.0


class ServiceProcess:
    """A child that says on its standard output when it is ready.

    name: what it is called where a user is told of its end. cut_off: how many requests it left
    undone, known once it has ended.
    """

    def __init__(
        self, name: str, arguments: list[str], *, token: str | None, log: IO[bytes]
    ) -> None:
        self.name = name
        environment = {**os.environ, **parent_mark()}
        if token is not None:
            environment[TOKEN_VARIABLE] = token
        # A session of its own: Ctrl-C reaches the parent, which ends its children in order.
        self._process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment,
            start_new_session=True,
        )
        self._said: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self.cut_off = 0
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
        return str(said["ready"])

    def ended(self) -> str:
        """Return how the child has ended, "" while it runs."""
        code = self._process.poll()
        if code is None:
            return ""
        known = {number.value: number.name for number in signal.Signals}
        how = f"exit code {code}" if code >= 0 else known.get(-code, f"signal {-code}")
        return f"{self.name} (process {self.pid}) ended with {how}"

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


class RunningService:
    """The URLs of a service, one for each process of the scenario.

    Once it has ended, faults: what was wrong with that; cut_off: how many requests were answered
    that they could not be finished; last_news: the `news` of then.
    """

    def __init__(self, urls: list[str], processes: list[ServiceProcess], log: Path) -> None:
        self.urls = urls
        self.processes = processes
        self.faults: list[str] = []
        self.cut_off = 0
        self.last_news = ""
        self._told = 0
        self._log = log

    @property
    def workers(self) -> list[ServiceProcess]:
        """The processes behind the URLs, in their order."""
        return self.processes[-len(self.urls) :]

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


class _Crew:
    """The processes of a service, in the order of their ends: what others need ends last."""

    def __init__(self) -> None:
        self.workers: list[ServiceProcess] = []
        self.consumers: list[ServiceProcess] = []
        self.stores: list[ServiceProcess] = []

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


def check_served(scenario: Scenario) -> None:
    """Raise InputError where the reference service does not do what *scenario* says of endpoints.

    It runs the code of its own endpoints. What a file says of an endpoint is no code.
    """
    stated = [each.name for each in scenario.endpoints if each.is_stated]
    if stated:
        raise InputError(
            f"{scenario.name}: endpoints.{stated[0]} says what a service of yours does, and the "
            "reference service has only the endpoints of the CDP; give --host URL of your service "
            "to load or prove"
        )


@contextmanager
def running_service(
    scenario: Scenario,
    *,
    token: str | None,
    host: str = "127.0.0.1",
    port: int = 0,
    folder: Path | None = None,
    redis: str | None = None,
    emulate: bool = True,
    limits: ConnectionLimits = DEFAULT_LIMITS,
    populate: bool = True,
    database: str = "",
) -> Iterator[RunningService]:
    """Run the reference service for *scenario* as long as the context lasts.

    port: of the first process, the others take the next ones; 0 chooses free ones. folder: for
    the database, a temporary one if None. redis: URL of L2, whose scheme chooses the store
    (`core.caching.stores`); without one a single process embeds its own, and several share a fake
    one. limits: of each process's connections. populate: whether a database without users and
    events gets those of the scenario; else it gets its sites alone, and starts cold. database: "d1"
    for the D1 database that the environment names, which gets sites alone and its own latencies; ""
    for a file in *folder*.

    Raise InputError for what `check_served` refuses, if a port is taken, another service runs on
    the folder, the URL means no store or there are more than MAX_WORKERS processes, EdgeproofError
    with the last line of the log if the service does not start. Where others than this machine
    reach *host*, monitoring wants the token.

    Its end lets requests in flight and the queue be finished; an exception that comes meanwhile
    (a second Ctrl-C) ends every process at once.
    """
    check_served(scenario)
    check_l2(scenario.tiers.l2, redis)
    if database:
        check_remote(scenario)
    count = scenario.topology.process_count
    if count > MAX_WORKERS:
        raise InputError(
            f"{scenario.name} has {count} processes (topology); at most {MAX_WORKERS} run on one "
            "machine: lower them or give --workers"
        )
    if port + count - 1 > 65_535:
        raise InputError(
            f"--port {port}: {count} processes take the ports up to {port + count - 1}; choose "
            f"{65_536 - count} or lower"
        )
    with (
        tempfile.TemporaryDirectory(prefix="edgeproof-") as temporary,
        held_folder(Path(temporary) if folder is None else folder),
    ):
        home = Path(temporary)
        roster = home / "workers.json"
        plan = {
            "scenario": scenario_data(scenario),
            "host": host,
            "folder": str(home if folder is None else folder),
            "redis": redis,
            "emulate": emulate,
            "destination": scenario.destination.url,
            "roster": str(roster),
            "limits": limits.to_json(),
            "populate": populate and not database,
            "database": database,
        }
        crew = _Crew()
        service: RunningService | None = None
        log_path = home / "service.log"
        with log_path.open("wb") as log:

            def child(
                name: str, module: str, position: int, *, token: str | None = None
            ) -> ServiceProcess:
                path = home / f"plan-{position}.json"
                own = {"position": position, "port": port + position if port else 0}
                path.write_text(json.dumps(plan | own), encoding="utf-8")
                return ServiceProcess(name, [module, str(path)], token=token, log=log)

            def store(name: str, module: str) -> str:
                process = ServiceProcess(name, [module], token=None, log=log)
                crew.stores.append(process)
                return process.ready()

            try:
                try:
                    if redis is None and count > 1:
                        plan["redis"] = store("the shared L2", "core.service.fake_redis")
                    if scenario.destination.is_local:
                        plan["destination"] = store(
                            "the destination", "core.service.local_destination"
                        )
                    for position in range(count):
                        name = f"worker {position}"
                        crew.workers.append(
                            child(name, "core.service.worker", position, token=token)
                        )
                        if position == 0:
                            urls = [crew.workers[0].ready()]  # seeds the database they share
                    if count > 1:
                        crew.consumers.append(child("the consumer", "core.service.consumer", count))
                        crew.consumers[0].ready()
                    urls += [worker.ready() for worker in crew.workers[1:]]
                except InputError:
                    raise
                except EdgeproofError as error:
                    text = log_path.read_text(encoding="utf-8", errors="replace").strip()
                    detail = f": {text.splitlines()[-1]}" if text else ""
                    raise EdgeproofError(f"{error}{detail}") from None
                write_whole(roster, json.dumps(urls))
                service = RunningService(urls, crew.processes, log_path)
                yield service
            finally:
                faults = crew.end()
                if service is not None:
                    service.faults += faults
                    service.cut_off = sum(process.cut_off for process in crew.workers)
                    service.last_news = service.news()
