"""A database with read replicas that are behind, each a server of its own."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from math import inf
from typing import Any

from core.context import CURRENT
from core.emulation.database import DelayedDatabase, Server
from core.emulation.executions import Executions, Reservations
from core.emulation.faults import FaultSchedule
from core.emulation.platform import Platform
from core.query.database import Command, Database, Row
from core.query.statement import Statement
from core.scenario.tiers import L3

NOBODY = -1
"""The session of a request that is about no user."""


class ReplicaSet:
    """The replicas of a run, shared by all processes, and what each of them has.

    concurrency: executions at a time of each. session_of: the user of a request, by its row, or
    NOBODY. lag: seconds until a write is at a replica, by the writing request's row and the
    replica. spread: which replica a request reads from, by its row. waits: whether a session waits
    at a replica for its own writes. pinned: for how long after its write it reads at the primary.
    """

    def __init__(
        self,
        count: int,
        *,
        concurrency: int,
        session_of: Callable[[int], int],
        lag: Callable[[int, int], float],
        spread: Callable[[int], int],
        waits: bool = False,
        pinned: float = 0.0,
    ) -> None:
        self.executions = [Executions(concurrency) for _ in range(count)]
        self.session_of, self.spread = session_of, spread
        self.waits, self._pinned = waits, pinned
        self._lag = lag
        self._there: dict[int, list[float]] = {}
        self._wrote: dict[int, float] = {}
        self.reads = [0] * count
        self.behind = self.waited = self.at_primary = 0

    def counters(self) -> dict[str, int]:
        """Return how many reads went where, and how many lacked their session's own writes."""
        return {
            "primary_reads": self.at_primary,
            "replica_reads": sum(self.reads),
            "replica_reads_behind": self.behind,
            "replica_reads_waited": self.waited,
        }

    def wrote(self, row: int, now: float) -> None:
        """Note that the write of request *row* was answered at *now*."""
        session = self.session_of(row)
        if session == NOBODY:
            return
        there = self._there.setdefault(session, [-inf] * len(self.executions))
        for replica, before in enumerate(there):
            there[replica] = max(before, now + self._lag(row, replica))
        self._wrote[session] = now

    def is_pinned(self, session: int, now: float) -> bool:
        """Return whether the session reads at the primary at *now*."""
        return self._pinned > 0 and now - self._wrote.get(session, -inf) < self._pinned

    def there(self, session: int, replica: int) -> float:
        """Return from when on *replica* has all that the session wrote; -inf: always."""
        found = self._there.get(session)
        return -inf if found is None else found[replica]


class _Read:
    """The queue of a replica for one read, which is counted as it arrives there."""

    __slots__ = ("_place", "_replicas", "_there")

    def __init__(self, replicas: ReplicaSet, place: int, there: float) -> None:
        self._replicas, self._place, self._there = replicas, place, there

    def reserve(self, arrived: float, seconds: float) -> float:
        """Return when the read is executed; see `Executions.reserve`."""
        replicas, place = self._replicas, self._place
        replicas.reads[place] += 1
        if arrived < self._there:
            replicas.behind += 1
        return replicas.executions[place].reserve(arrived, seconds)


class ReplicatedDatabase(DelayedDatabase):
    """A delayed database whose requests read from replicas; batches, and writes, from none.

    trip_time: of a round trip to a replica. own: the replica of this process, None where requests
    spread over all.
    """

    def __init__(
        self,
        database: Database,
        tier: L3,
        faults: FaultSchedule,
        platform: Platform,
        executions: Reservations,
        *,
        replicas: ReplicaSet,
        trip_time: Callable[[], float],
        own: int | None = None,
    ) -> None:
        super().__init__(database, tier, faults, platform, executions)
        self._replicas, self._trip_to_replica, self._own = replicas, trip_time, own

    def read(
        self, statement: Statement, parameters: Sequence[object]
    ) -> Coroutine[Any, Any, list[Row]]:
        """Return the rows of *statement*, of a replica where that is for it."""
        span = CURRENT.get().span
        if statement.writes:
            return self._noting(span.row, super().read(statement, parameters), span.is_batch)
        if span.is_batch:
            return super().read(statement, parameters)
        replicas, now = self._replicas, self._platform.now()
        session = replicas.session_of(span.row)
        if replicas.is_pinned(session, now):
            replicas.at_primary += 1
            return super().read(statement, parameters)
        place = replicas.spread(span.row) if self._own is None else self._own
        if place >= len(replicas.executions):  # this region has none
            replicas.at_primary += 1
            return super().read(statement, parameters)
        there = replicas.there(session, place)
        server = Server(self._trip_to_replica, _Read(replicas, place, there))
        earliest = 0.0
        if replicas.waits and there > now:
            earliest = there
            replicas.waited += 1
        return self._operate(self._read_time, statement, parameters, server, earliest)

    def write(self, *commands: Command) -> Coroutine[Any, Any, list[int]]:
        """Run *commands* at the primary."""
        span = CURRENT.get().span
        return self._noting(span.row, super().write(*commands), span.is_batch)

    async def _noting(self, row: int, operation: Coroutine[Any, Any, Any], is_batch: bool) -> Any:
        result = await operation
        if not is_batch:
            self._replicas.wrote(row, self._platform.now())
        return result
