"""Start and end the reference service: its processes, and the L2 that several of them share."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from core.errors import EdgeproofError, InputError
from core.monitoring import TOKEN_VARIABLE
from core.scenario import Scenario
from core.scenario_file import scenario_data
from core.worker import PARENT_VARIABLE

_START_SECONDS = 120.0
_STOP_SECONDS = 8.0


class ServiceProcess:
    """A child that says on its standard output when it is ready."""

    def __init__(self, arguments: list[str], *, token: str | None, log: IO[bytes]) -> None:
        environment = {**os.environ, PARENT_VARIABLE: str(os.getpid())}
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
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout:
            for line in self._process.stdout:
                try:
                    self._said.put(json.loads(line))
                except ValueError:
                    continue
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

    def ended(self) -> bool:
        """Return whether the child has ended."""
        return self._process.poll() is not None

    def stop(self) -> None:
        """End the child: politely, and by force where that takes too long."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


class RunningService:
    """The URLs of a service, one for each process of the scenario."""

    def __init__(self, urls: list[str], processes: list[ServiceProcess]) -> None:
        self.urls = urls
        self.processes = processes

    def ended(self) -> bool:
        """Return whether any process has ended."""
        return any(process.ended() for process in self.processes)


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
) -> Iterator[RunningService]:
    """Run the reference service for *scenario* as long as the context lasts.

    port: of the first process, the others take the next ones; 0 chooses free ones. folder: for
    the database, a temporary one if None. redis: URL of L2; without one a single process embeds
    its own, and several share a fake one. Raise InputError if a port is taken, EdgeproofError
    with the last line of the log if the service does not start.
    """
    with tempfile.TemporaryDirectory(prefix="edgeproof-") as temporary:
        home = Path(temporary)
        data = home if folder is None else folder
        count = scenario.topology.process_count
        processes: list[ServiceProcess] = []
        log_path = home / "service.log"
        with log_path.open("wb") as log:
            try:
                try:
                    if redis is None and count > 1:
                        fake = ServiceProcess(["core.caching.fake_server"], token=None, log=log)
                        processes.append(fake)
                        redis = fake.ready()
                    destination = scenario.destination.url
                    if scenario.destination.is_local:
                        local = ServiceProcess(["core.forwarding.local"], token=None, log=log)
                        processes.insert(0, local)  # ends after those that forward to it
                        destination = local.ready()
                    workers = []

                    def write_plan(name: str, position: int) -> str:
                        path = home / f"{name}.json"
                        plan = {
                            "scenario": scenario_data(scenario),
                            "position": position,
                            "host": host,
                            "port": port + position if port else 0,
                            "folder": str(data),
                            "redis": redis,
                            "emulate": emulate,
                            "destination": destination,
                        }
                        path.write_text(json.dumps(plan), encoding="utf-8")
                        return str(path)

                    for position in range(count):
                        plan = write_plan(f"worker-{position}", position)
                        worker = ServiceProcess(["core.worker", plan], token=token, log=log)
                        processes.append(worker)
                        workers.append(worker)
                        if position == 0:
                            urls = [worker.ready()]  # the first one seeds the database they share
                    if count > 1:
                        plan = write_plan("consumer", count)
                        consumer = ServiceProcess(["core.consumer", plan], token=None, log=log)
                        # Ends after the workers, so that it finishes what they accepted last.
                        processes.insert(-count, consumer)
                        consumer.ready()
                    urls += [worker.ready() for worker in workers[1:]]
                except InputError:
                    raise
                except EdgeproofError as error:
                    text = log_path.read_text(encoding="utf-8", errors="replace").strip()
                    detail = f": {text.splitlines()[-1]}" if text else ""
                    raise EdgeproofError(f"{error}{detail}") from None
                yield RunningService(urls, processes)
            finally:
                for process in reversed(processes):
                    process.stop()
