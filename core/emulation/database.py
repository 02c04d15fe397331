"""Adapters that put the latencies and faults of a scenario in front of a real store.

The simulation and the reference service use the same adapters. The differences are passed in: how
to wait until a time, the source of random numbers, and the CPU.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from math import inf
from typing import Any, NamedTuple, NoReturn, TypeVar

from core.context import CURRENT, Purpose, Span
from core.emulation.executions import Reservations
from core.emulation.faults import FaultSchedule
from core.emulation.platform import Platform
from core.errors import Refused, StoreError, StoreTimeout
from core.query.database import Command, Database, Row
from core.query.statement import Statement
from core.scenario.tiers import L3

CONNECTIONS = 6
"""Operations of one request or batch that run at a time: D1's limit for an invocation."""

ROW_SHARE = 0.1
"""The part of a statement's share that each further row of the statement takes."""

_ROWS_TAKEN = 2
"""Rows that a statement writes for each row that it returns: the row, and its entry in an index."""

_T = TypeVar("_T")

_L3_EXECUTION = Purpose.L3_EXECUTION
_L3_FATE = Purpose.L3_FATE
_L3_ROUND_TRIP = Purpose.L3_ROUND_TRIP


class Server(NamedTuple):
    """Where an operation is executed: how long a round trip takes, and the queue there."""

    trip_time: Callable[[], float]
    executions: Reservations


class DelayedDatabase:
    """A database behind a round trip, which overlaps with others, and an execution, which queues.

    Half the round trip lies before the execution and half after it. The statement itself runs
    when it reaches the database, so statements take effect in the order of their arrival there.
    A write's execution grows by the tier's share with each statement beyond the first that D1
    would run, and by a tenth of it with each further row of a statement. A
    request or batch has six operations under way at a time; further ones wait to be sent.
    takes_time: whether *database* takes time of its own, which then counts against the tier's
    timeout as the modelled time does.
    """

    def __init__(
        self,
        database: Database,
        tier: L3,
        faults: FaultSchedule,
        platform: Platform,
        executions: Reservations,
        *,
        takes_time: bool = False,
    ) -> None:
        self._database = database
        self._takes_time = takes_time
        self._tier = tier
        self._faults = faults
        self._platform = platform
        self._primary = Server(platform.sampler(_L3_ROUND_TRIP, tier.round_trip), executions)
        self._read_time = platform.sampler(_L3_EXECUTION, tier.read_execution)
        self._write_time = platform.sampler(_L3_EXECUTION, tier.write_execution)
        self._share = tier.write_share
        self._waiting: dict[Span, deque[asyncio.Future[None]]] = {}
        self._unfinished = 0  # operations that wait for a connection, or have waited
        self._idle: asyncio.Future[None] | None = None
        self.operations = 0
        self.errors = 0

    # Not coroutines themselves: each step of an operation would pass through one more frame.

    def read(
        self, statement: Statement, parameters: Sequence[object]
    ) -> Coroutine[Any, Any, list[Row]]:
        """Return the rows of *statement* after its round trip, queueing and execution.

        A statement that writes takes as long as a write.
        """
        time = self._write_time if statement.writes else self._read_time
        return self._operate(time, statement, parameters)

    def write(self, *commands: Command) -> Coroutine[Any, Any, list[int]]:
        """Run *commands* in one transaction after their round trip, queueing and execution."""
        time = self._write_time
        first, rows = commands[0]
        if len(commands) == 1 and len(rows) == 1 and first.rows == 1:  # most are
            return self._operate(time, None, commands)
        executions = sum(statement.executions(len(each)) for statement, each in commands)
        number = sum(statement.rows * len(each) for statement, each in commands)
        if not number:
            return self._operate(time, None, commands)
        more = self._share * (executions - 1 + ROW_SHARE * (number - executions))
        return self._operate(lambda: time() + more, None, commands)

    async def _operate(
        self,
        execution_time: Callable[[], float],
        query: Statement | None,
        given: Sequence[Any],
        server: Server | None = None,
        earliest: float = 0.0,
    ) -> Any:
        """Read *query* with the parameters *given*; without one, write the commands *given*.

        server: None for the primary. earliest: it is not executed before.
        """
        platform, tier = self._platform, self._tier
        if server is None:
            server = self._primary
        span = CURRENT.get().span
        has_waited = span.connections >= CONNECTIONS
        if has_waited:
            await self._connection(span)
        else:
            span.connections += 1
        try:
            sent = platform.charge("l3")
            trip, execution = server.trip_time(), execution_time()
            if self._faults.faults:
                execution, failed = self._with_faults(sent, execution)
            else:
                failed = False
            limit = sent + tier.timeout
            arrives = sent + trip / 2
            if arrives < earliest:
                arrives = earliest
            await platform.until(arrives if arrives <= limit else limit)
            result: Any
            if query is not None and query.writes and not failed:
                result, done = await self._take(query, given, trip, execution, limit)
            else:
                done = self._reserve(server.executions, span, trip, execution, limit)
                if failed:
                    await platform.until(done)
                    self._fail(done >= limit)
                database = self._database
                operation = database.write(*given) if query is None else database.read(query, given)
                result = await (self._within(limit, operation) if self._takes_time else operation)
            await platform.until(done)
            if done >= limit:
                self._fail(True)
            return result
        finally:
            span.connections -= 1
            if self._unfinished:
                self._hand_over(span)
                if has_waited:
                    self._finish()

    async def _take(
        self, query: Statement, given: Sequence[Any], trip: float, execution: float, limit: float
    ) -> tuple[list[Row], float]:
        """Run a statement that writes and returns rows, whose number decides how long it takes.

        Return the rows, and when they are back.
        """
        operation = self._database.read(query, given)
        rows = await (self._within(limit, operation) if self._takes_time else operation)
        more = self._share * (ROW_SHARE * max(0, _ROWS_TAKEN * len(rows) - 1))
        span, executions = CURRENT.get().span, self._primary.executions
        return rows, self._reserve(executions, span, trip, execution + more, limit)

    async def _connection(self, span: Span) -> None:
        """Wait until *span* has a connection to spare, first come first served."""
        freed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(span, deque()).append(freed)
        self._unfinished += 1
        try:
            await freed
        except BaseException:
            if freed.done() and not freed.cancelled():  # it was handed over all the same
                span.connections -= 1
                self._hand_over(span)
            self._finish()
            raise

    def _finish(self) -> None:
        self._unfinished -= 1
        if not self._unfinished and self._idle is not None:
            self._idle.set_result(None)
            self._idle = None

    def _hand_over(self, span: Span) -> None:
        waiting = self._waiting.get(span)
        if waiting is None:
            return
        while waiting:
            freed = waiting.popleft()
            if not freed.done():
                span.connections += 1
                freed.set_result(None)
                break
        if not waiting:
            del self._waiting[span]

    def _with_faults(self, sent: float, execution: float) -> tuple[float, bool]:
        execution, failed = self._faults.apply("l3", sent, execution, _L3_FATE, self._platform)
        return execution, failed or execution == inf

    def _reserve(
        self, executions: Reservations, span: Span, trip: float, execution: float, limit: float
    ) -> float:
        """Take a place in the queue; return when the answer is back, *limit* at the latest."""
        self.operations += 1
        if execution == inf:
            return limit  # operations on a dead database do not queue
        arrived = self._platform.now()
        end = executions.reserve(arrived, execution)
        stages = span.stages
        stages.append(("l3", trip + execution))
        stages.append(("l3wait", end - execution - arrived))
        done = end + trip / 2
        return done if done <= limit else limit

    async def _within(self, limit: float, operation: Awaitable[_T]) -> _T:
        """Return the result of *operation* by *limit*; its failures count as the database's."""
        try:
            async with asyncio.timeout(limit - self._platform.now()):
                return await operation
        except (TimeoutError, StoreTimeout):
            self._fail(True)
        except Refused:  # the database did answer
            raise
        except StoreError:
            self.errors += 1
            raise

    def _fail(self, is_late: bool) -> NoReturn:
        self.errors += 1
        if is_late:
            raise StoreTimeout(f"the database did not answer within {self._tier.timeout:g} s")
        raise StoreError("the database answered with an error")

    async def close(self) -> None:
        """Finish the operations that wait for a connection, and close the database."""
        if self._unfinished:
            self._idle = asyncio.get_running_loop().create_future()
            await self._idle
        await self._database.close()
