"""Connections to SQLite in threads: calls that wait for their turn, are bounded and given up."""

from __future__ import annotations

import asyncio
import math
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import TypeVar

from core.errors import StoreError

LOCK_MS = 5_000
"""Milliseconds for which a call waits for another program's lock, at most."""

_TURN_MS = 50  # of these, at a time
_CHECK_STEPS = 10_000  # of SQLite's virtual machine: well below a millisecond

_T = TypeVar("_T")


class Lane:
    """Connections that take one call each at a time, first come first served."""

    def __init__(self, name: str, connections: Sequence[sqlite3.Connection]) -> None:
        self._connections = connections
        self._free: SimpleQueue[sqlite3.Connection] = SimpleQueue()
        for connection in connections:
            self._free.put(connection)
        self._lock_ms = dict.fromkeys(connections, LOCK_MS)
        self._threads = ThreadPoolExecutor(len(connections), name)
        self._asked = 0
        self._counting = threading.Lock()

    @property
    def waiting(self) -> int:
        """The calls that no connection has begun; less than 0 where connections are idle."""
        return self._asked - len(self._connections)

    async def run(
        self, call: Callable[[sqlite3.Connection], _T], deadline: float | None = None
    ) -> _T:
        """Return what *call* returns for a connection of its own.

        If this is cancelled, the call does not begin, or is interrupted in the middle. With a
        *deadline* (monotonic seconds) no lock is waited for beyond it, and what waits for a lock
        lets the calls behind it go first, of which a read may need none.
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

    async def _turn(self, call: Callable[[sqlite3.Connection], _T], deadline: float | None) -> _T:
        is_given_up = False

        def in_thread() -> _T:
            connection = self._free.get()
            try:
                if deadline is not None:
                    self._wait_for_locks_until(deadline, connection)
                # Asked in the thread that runs the statement: an interrupt from another one
                # could strike the next call's.
                connection.set_progress_handler(lambda: is_given_up, _CHECK_STEPS)
                return call(connection)
            finally:
                connection.set_progress_handler(None, 0)
                self._free.put(connection)

        try:
            running = self._threads.submit(in_thread)
        except RuntimeError as error:
            raise StoreError(f"the database is closed: {error}") from error
        with self._counting:
            self._asked += 1
        # At the end of the thread's work: a call that was given up holds its connection till then.
        running.add_done_callback(self._ended)
        try:
            return await asyncio.wrap_future(running)
        except asyncio.CancelledError:
            is_given_up = True
            raise

    def _wait_for_locks_until(self, deadline: float, connection: sqlite3.Connection) -> None:
        left = math.ceil(1000 * (deadline - time.monotonic()))
        lock_ms = min(max(left, 0), _TURN_MS)  # a lock is waited for where no handler is asked
        if lock_ms != self._lock_ms[connection]:
            connection.execute(f"PRAGMA busy_timeout = {lock_ms}")
            self._lock_ms[connection] = lock_ms

    def _ended(self, _: object) -> None:
        with self._counting:
            self._asked -= 1

    def close(self) -> None:
        """Finish what was asked for, then close the connections."""
        self._threads.shutdown(wait=True)
        for connection in self._connections:
            connection.close()


def is_locked(error: BaseException | None) -> bool:
    """Return whether *error* is SQLite's for a lock that another program holds."""
    if not isinstance(error, sqlite3.OperationalError):
        return False
    return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
