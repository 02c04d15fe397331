"""The queue of one database that several processes share."""

from __future__ import annotations

import fcntl
import mmap
import struct
from pathlib import Path
from typing import Protocol


class Executions:
    """The database's servers: each executes one query at a time, first come first served.

    work: seconds of execution that were reserved so far, on all servers together.
    """

    __slots__ = ("_free", "_is_one", "work")

    def __init__(self, concurrency: int) -> None:
        self._free = [0.0] * concurrency
        self._is_one = concurrency == 1
        self.work = 0.0

    @property
    def servers(self) -> int:
        """How many there are."""
        return len(self._free)

    def reserve(self, arrived: float, seconds: float) -> float:
        """Return when an execution of *seconds* that arrives at *arrived* ends.

        An execution of 0 s needs no server and does not queue for one.
        """
        if not seconds:
            return arrived
        self.work += seconds
        free = self._free
        if self._is_one:
            start = free[0] if free[0] > arrived else arrived
            free[0] = end = start + seconds
            return end
        server = min(range(len(free)), key=free.__getitem__)
        free[server] = end = max(free[server], arrived) + seconds
        return end

    def backlog(self, now: float) -> float:
        """Return the seconds of work that lie before each server at *now*, on average."""
        return sum(max(0.0, free - now) for free in self._free) / len(self._free)


class Reservations(Protocol):
    """Reserves executions; all processes that share a database share one."""

    def reserve(self, arrived: float, seconds: float) -> float:
        """Return when an execution of *seconds* that arrives at *arrived* ends."""
        ...


class SharedExecutions:
    """Executions of one database, first come first served over all processes of this machine.

    For each of the database's *concurrency* servers the file at *path* holds the time at which it
    is free, on the monotonic clock, which all processes of a machine share.
    """

    def __init__(self, path: Path, *, concurrency: int) -> None:
        self._format = struct.Struct(f"{concurrency}d")
        self._file = path.open("a+b")
        if path.stat().st_size < self._format.size:
            self._file.truncate(self._format.size)
        self._memory = mmap.mmap(self._file.fileno(), self._format.size)

    def reserve(self, arrived: float, seconds: float) -> float:
        """Return when an execution of *seconds* that arrives at *arrived* ends.

        An execution of 0 s needs no server and does not queue for one.
        """
        if not seconds:
            return arrived
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            free = list(self._format.unpack_from(self._memory))
            server = min(range(len(free)), key=free.__getitem__)
            free[server] = end = max(free[server], arrived) + seconds
            self._format.pack_into(self._memory, 0, *free)
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)
        return float(end)

    def close(self) -> None:
        """Close the file."""
        self._memory.close()
        self._file.close()
