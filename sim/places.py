"""Where replications run: in this process, in processes of this machine, or on a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

from core.processes import worker_pool, workers_deaf_to_ctrl_c
from core.scenario.calibration import Calibration
from core.scenario.scenario import Scenario
from sim.engine_name import EngineName
from sim.engines import Engine
from sim.replications import Found, Replications, begin_worker, in_worker


class Places(Protocol):
    """Runs one replication at a time at each of *count* places."""

    count: int

    def submit(self, place: int, scenario: Scenario, number: int) -> Future[Found]:
        """Begin replication *number* of *scenario* at *place*."""
        ...

    def renew(self, place: int) -> None:
        """Have a process at *place* again, after its own was killed."""
        ...

    def is_lost(self, error: BaseException) -> bool:
        """Whether *error* says that the process was killed, and nothing of the run."""
        ...

    def check(self) -> None:
        """Raise EdgeproofError if nothing can be done any more; called when nothing was."""
        ...

    def cancel(self) -> None:
        """Let nothing begin that has not begun."""
        ...


class Here:
    """Runs replications in this process, one after the other."""

    count = 1

    def __init__(self, calibration: Calibration | None, engine: Engine) -> None:
        self._runs = Replications(calibration, engine=engine)

    def submit(self, place: int, scenario: Scenario, number: int) -> Future[Found]:
        """Simulate it, and return the finished future."""
        future: Future[Found] = Future()
        (found,) = self._runs.run(scenario, (number,), _silent)
        future.set_result(found)
        return future

    def renew(self, place: int) -> None:
        """Do nothing: this process lives."""

    def is_lost(self, error: BaseException) -> bool:
        """Return False: this process lives."""
        return False

    def check(self) -> None:
        """Do nothing: this process lives."""

    def cancel(self) -> None:
        """Do nothing: nothing waits."""


class Processes:
    """Runs replications in *count* processes of this machine, which end with *stack*.

    Each has a pool of its own: one that is killed takes no other's run with it.
    """

    def __init__(self, count: int, stack: ExitStack, given: tuple[Any, ...]) -> None:
        self.count = count
        self._stack, self._given = stack, given
        self._pools = [self._pool() for _ in range(count)]

    def submit(self, place: int, scenario: Scenario, number: int) -> Future[Found]:
        """Begin it in the process of *place*."""
        with workers_deaf_to_ctrl_c():
            try:
                return self._pools[place].submit(in_worker, scenario, number)
            except BrokenExecutor:  # it was killed while it had nothing to do
                self.renew(place)
                return self._pools[place].submit(in_worker, scenario, number)

    def renew(self, place: int) -> None:
        """Start another process in place of one that was killed."""
        self._pools[place].shutdown(wait=False, cancel_futures=True)
        self._pools[place] = self._pool()

    def is_lost(self, error: BaseException) -> bool:
        """Whether *error* is that of a pool whose process was killed."""
        return isinstance(error, BrokenExecutor)

    def check(self) -> None:
        """Do nothing: a process that dies says so."""

    def cancel(self) -> None:
        """Do nothing: the end of the context ends the processes."""

    def _pool(self) -> ProcessPoolExecutor:
        return self._stack.enter_context(worker_pool(1, begin_worker, self._given))


@contextmanager
def local_places(
    jobs: int, calibration: Calibration | None, engine: Engine, *, asked: EngineName
) -> Iterator[Places]:
    """Yield *jobs* places on this machine: this process for one, others for more.

    engine: of this process. asked: which one the others take.
    """
    if jobs == 1:
        yield Here(calibration, engine)
        return
    with ExitStack() as stack:
        yield Processes(jobs, stack, (calibration, asked, engine.requests))


def _silent(_: int) -> None:
    """Say nothing."""
