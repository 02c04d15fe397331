"""Connections to SQLite in threads: calls wait for their turn, have a deadline and can be
cancelled."""

from __future__ import annotations

import asyncio
import math
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeVar

from core.errors import StoreError

LOCK_MS = 5_000
"""Milliseconds for which a call waits for another program's lock, at most."""

_TURN_MS = 50  # of these, at a time
_CHECK_STEPS = 10_000  # of SQLite's virtual machine: well below a millisecond

_T = TypeVar("_T")


class _Call:
    """A function for a thread to call with its connection, and the future of its result.

    A future of concurrent.futures would take as long to hand over as a small query.
    """

    __slots__ = ("deadline", "has_begun", "is_given_up", "result", "what")

    def __init__(
        self,
        what: Callable[[sqlite3.Connection], Any],
        deadline: float | None,
        result: asyncio.Future[Any],
    ) -> None:
        self.what = what
        self.deadline = deadline
        self.result = result
        self.has_begun = False
        self.is_given_up = False


class _Turns:
    """The calls of a lane: the queue of waiting calls, and the number of unfinished calls."""

    __slots__ = ("__weakref__", "asked", "lock", "waiting")

    def __init__(self) -> None:
        self.waiting: SimpleQueue[_Call | None] = SimpleQueue()
        self.lock = threading.Lock()
        self.asked = 0

    def begin(self, call: _Call) -> bool:
        """Return whether to run *call*: False if it was given up while it waited."""
        with self.lock:
            call.has_begun = not call.is_given_up
            return call.has_begun

    def give_up(self, call: _Call) -> None:
        """Keep *call* from beginning, or interrupt it."""
        with self.lock:
            if not call.is_given_up and not call.has_begun:
                self.asked -= 1
            call.is_given_up = True

    def end(self) -> None:
        """Note that a call that had begun has ended, and that its connection is free."""
        with self.lock:
            self.asked -= 1


class _ConnectionThread:
    """A connection and the thread that uses it."""

    def __init__(self, name: str, connection: sqlite3.Connection, turns: _Turns) -> None:
        self._connection = connection
        self._turns = turns
        self._lock_ms = LOCK_MS
        self._call: _Call | None = None
        # Checked in the thread that runs the statement: an interrupt from another thread could
        # hit the statement of the next call.
        connection.set_progress_handler(self._is_given_up, _CHECK_STEPS)
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    def _is_given_up(self) -> bool:
        call = self._call
        return call is not None and call.is_given_up

    def _serve(self) -> None:
        turns = self._turns
        while (call := turns.waiting.get()) is not None:
            if turns.begin(call):
                self._run(call)
            del call  # what it holds lives no longer than it
        turns.waiting.put(None)  # for the next thread

    def _run(self, call: _Call) -> None:
        self._call = call
        answer, failure = None, None
        try:
            if call.deadline is not None:
                self._wait_for_locks_until(call.deadline)
            answer = call.what(self._connection)
        except BaseException as error:
            failure = error
        self._call = None
        self._turns.end()
        with suppress(RuntimeError):  # its event loop is closed: nobody waits any more
            call.result.get_loop().call_soon_threadsafe(_tell, call.result, answer, failure)

    def _wait_for_locks_until(self, deadline: float) -> None:
        left = math.ceil(1000 * (deadline - time.monotonic()))
        lock_ms = min(max(left, 0), _TURN_MS)  # a lock is waited for where no handler is asked
        if lock_ms != self._lock_ms:
            self._connection.execute(f"PRAGMA busy_timeout = {lock_ms}")
            self._lock_ms = lock_ms

    def join(self) -> None:
        """Wait until the thread has ended."""
        self._thread.join()


def _tell(result: asyncio.Future[Any], answer: Any, failure: BaseException | None) -> None:
    if result.done():
        return
    if failure is None:
        result.set_result(answer)
    elif isinstance(failure, StopIteration):  # no future takes it, and its caller would wait on
        result.set_exception(RuntimeError("a call to the database raised StopIteration"))
    else:
        result.set_exception(failure)


def _end_late(result: asyncio.Future[Any]) -> None:
    if not result.done():
        result.set_exception(TimeoutError())


class Lane:
    """Connections that take one call each at a time, first come first served."""

    def __init__(self, name: str, connections: Sequence[sqlite3.Connection]) -> None:
        self._name = name
        self._connections = connections
        self._turns = _Turns()
        self._threads: list[_ConnectionThread] = []
        self._is_closed = False
        # The threads of a lane that is never closed end with it.
        self._end = weakref.finalize(self, self._turns.waiting.put, None)

    @property
    def waiting(self) -> int:
        """The number of calls that wait for a connection; below 0 if connections are idle."""
        return self._turns.asked - len(self._connections)

    async def run(
        self, call: Callable[[sqlite3.Connection], _T], deadline: float | None = None
    ) -> _T:
        """Call *call* with a connection that nothing else uses meanwhile; return its result.

        If this is cancelled, the call does not begin, or is interrupted. At the *deadline*
        (monotonic seconds) this raises TimeoutError, and no wait for a lock lasts beyond it. With
        a deadline, a call that waits for a lock lets the calls behind it go first: a read may
        need no lock.
        """
        patience = math.inf
        while True:
            try:
                return await self._turn(call, deadline)
            except StoreError as error:
                if deadline is None or not is_locked(error.__cause__):
                    raise
                now = time.monotonic()
                patience = min(patience, now + LOCK_MS / 1000, deadline)
                if now >= patience:
                    raise

    async def _turn(self, what: Callable[[sqlite3.Connection], _T], deadline: float | None) -> _T:
        if self._is_closed:
            raise StoreError("the database is closed and takes no more calls")
        turns = self._turns
        if len(self._threads) < len(self._connections):
            self._start()
        loop = asyncio.get_running_loop()
        result: asyncio.Future[_T] = loop.create_future()
        call = _Call(what, deadline, result)
        with turns.lock:
            turns.asked += 1
        turns.waiting.put(call)
        # asyncio.timeout would take twice as long, and there is only one future to end.
        timer = (
            None if deadline is None
            else loop.call_later(deadline - time.monotonic(), _end_late, result)
        )  # fmt: skip
        try:
            return await result
        except (asyncio.CancelledError, TimeoutError):
            turns.give_up(call)
            raise
        finally:
            if timer is not None:
                timer.cancel()

    def _start(self) -> None:
        """Start the missing threads: the system may have refused some before."""
        for connection in self._connections[len(self._threads) :]:
            self._threads.append(_ConnectionThread(self._name, connection, self._turns))

    def close(self) -> None:
        """Finish all calls, then close the connections."""
        self._is_closed = True
        self._end()
        for thread in self._threads:
            thread.join()
        for connection in self._connections:
            connection.close()


def is_locked(error: BaseException | None) -> bool:
    """Return whether *error* is SQLite's error for a lock that another program holds."""
    if not isinstance(error, sqlite3.OperationalError):
        return False
    return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
