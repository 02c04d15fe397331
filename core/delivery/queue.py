"""The conversions queue: batches of accepted conversions for the attribution processor.

A conversion is durable before it is queued here: the transaction of its event writes its row in the
backlog, and the transaction of its results deletes it. If a process is killed, its conversions are
due again when their leases end. So each conversion is delivered at least once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from core.clock import Clock
from core.context import Span
from core.delivery.backlog import Backlog
from core.errors import StoreError
from core.metrics.profiler import LatencyProfiler
from core.scenario.queue import LONGEST_DELAY

MAX_ATTEMPTS = 3


class Inbox(Protocol):
    """The receiver of accepted conversions."""

    def put(self, conversion_id: str) -> None:
        """Take note of an accepted conversion."""
        ...


class NullInbox:
    """The inbox of a process whose conversions another process consumes from the backlog."""

    def put(self, conversion_id: str) -> None:
        """Do nothing: the consumer finds the row."""


@dataclass(slots=True, eq=False)
class _Batch:
    """Held conversions: the number of the next attempt, the time of the first one, and the earliest
    time of the next one."""

    ids: list[str]
    attempt: int = 1
    since: float | None = None
    not_before: float = 0.0


class ConversionQueue:
    """Processes batches of at most *batch_size* ids, *wait* seconds after the first at the latest.

    At most *max_parallel* batches run at a time. A batch that fails with StoreError is delivered
    again after *retry_delay* seconds, then after twice as long if *doubles*, and so on up to 12 h,
    *max_attempts* times in all; after that its conversions are dead letters of the *backlog*. The
    queue does not take an id that it holds a second time. Without a backlog failures are only
    counted. *process* returns conversions that a further attempt cannot help, reasons by id: they
    are dead letters at once.
    given_up: conversions that this queue made dead letters. It does not count conversions that
    another consumer has taken meanwhile, or whose move to the dead letters failed.
    """

    def __init__(
        self,
        process: Callable[[Span, Sequence[str]], Awaitable[Mapping[str, str] | None]],
        *,
        batch_size: int,
        max_parallel: int,
        wait: float,
        clock: Clock,
        profiler: LatencyProfiler,
        max_attempts: int = MAX_ATTEMPTS,
        retry_delay: float = 0.0,
        doubles: bool = True,
        backlog: Backlog | None = None,
    ) -> None:
        self._process = process
        self._batch_size = batch_size
        self._max_parallel = max_parallel
        self._wait = wait
        self._clock = clock
        self._profile = profiler.profile("queue", "batch")
        self._max_attempts = max_attempts
        self._retry_delay = retry_delay
        self._doubles = doubles
        self._backlog = backlog
        self._held: dict[str, None] = {}
        self._collecting: list[str] = []
        self._ready: deque[_Batch] = deque()
        self._put_off: dict[_Batch, asyncio.TimerHandle] = {}
        self._is_finishing = False
        self._running: dict[asyncio.Task[None], None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._idle: asyncio.Future[None] | None = None
        self._freed: asyncio.Future[None] | None = None
        self.batches = 0
        self.retries = 0
        self.given_up = 0

    @property
    def pending(self) -> int:
        """The number of waiting conversions, plus the number of batches that wait or run."""
        return len(self._collecting) + len(self._ready) + len(self._put_off) + len(self._running)

    @property
    def held(self) -> Sequence[str]:
        """The ids of all held conversions."""
        return [*self._held]

    @property
    def room(self) -> int:
        """The number of conversions that the queue can take."""
        return max(0, self._batch_size * self._max_parallel - len(self._held))

    @property
    def max_attempts(self) -> int:
        """How often a conversion is delivered before it is given up."""
        return self._max_attempts

    def put(self, conversion_id: str) -> None:
        """Queue an accepted conversion, unless the queue holds it already."""
        if conversion_id in self._held:
            return
        self._held[conversion_id] = None
        self._collecting.append(conversion_id)
        if len(self._collecting) >= self._batch_size:
            self._close_batch()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._wait, self._close_batch)

    async def freed(self) -> None:
        """Return once there may be room again: at once, or when a batch has ended."""
        if self.room:
            return
        if self._freed is None:
            self._freed = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._freed)

    async def drain(self) -> None:
        """Start a batch of the collected ids now, and return when every batch has ended."""
        if self._collecting:
            self._close_batch()
        while self._is_busy():
            if self._idle is None:
                self._idle = asyncio.get_running_loop().create_future()
            await self._idle

    async def finish(self) -> None:
        """Return when all batches have ended or are back in the backlog: the process is to end.

        A batch that is put off goes back to the backlog, where it is due at its time. Without a
        backlog this waits for it, as `drain` does: no other consumer could take it.
        """
        if self._backlog is not None:
            self._is_finishing = True
            put_off, self._put_off = self._put_off, {}
            for timer in put_off.values():
                timer.cancel()
            await self._release(self._backlog, [*put_off])
            self._tell_if_idle()
        await self.drain()

    async def _release(self, backlog: Backlog, batches: Sequence[_Batch]) -> None:
        with suppress(StoreError):  # nothing is lost: their leases end
            for batch in batches:
                due_in = max(0.0, batch.not_before - self._clock.now())
                await backlog.release(batch.ids, due_in=due_in)
        for batch in batches:
            self._let_go(batch)

    def _is_busy(self) -> bool:
        return bool(self._running or self._ready or self._put_off)

    def _close_batch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        ids, self._collecting = self._collecting, []
        if ids:
            self._ready.append(_Batch(ids))
        self._hand_out()

    def _hand_out(self) -> None:
        while self._ready and len(self._running) < self._max_parallel:
            batch = self._ready.popleft()
            self.batches += 1
            span = Span(self.batches - 1, is_batch=True)
            task = asyncio.get_running_loop().create_task(self._run(span, batch))
            self._running[task] = None
            task.add_done_callback(self._ended)

    async def _run(self, span: Span, batch: _Batch) -> None:
        # The time of a batch that is tried again starts with its first attempt.
        if batch.since is None:
            batch.since = self._clock.now()
        try:
            rejected = await self._process(span, batch.ids)
        except StoreError as error:
            if batch.attempt < self._max_attempts:
                await self._try_again(batch, str(error))
            else:
                await self._give_up(batch, str(error))
        except BaseException:
            self._let_go(batch)  # its leases end, and a consumer takes it again
            raise
        else:
            if rejected:
                await self._reject(rejected)
            self._let_go(batch)
            self._profile.record(self._clock.now() - batch.since)

    async def _reject(self, rejected: Mapping[str, str]) -> None:
        """Give up conversions that no attempt can process; the rest of the batch is stored."""
        for conversion_id, reason in rejected.items():
            await self._dead_letter([conversion_id], reason)

    async def _dead_letter(self, conversion_ids: Sequence[str], reason: str) -> None:
        if self._backlog is None:
            self.given_up += len(conversion_ids)
        else:
            with suppress(StoreError):  # nothing is lost: leases end, and a consumer retries
                self.given_up += await self._backlog.dead_letter(conversion_ids, reason)

    def _let_go(self, batch: _Batch) -> None:
        for conversion_id in batch.ids:
            del self._held[conversion_id]

    async def _try_again(self, batch: _Batch, error: str) -> None:
        self.retries += 1
        factor = 2 ** (batch.attempt - 1) if self._doubles else 1
        delay = min(self._retry_delay * factor, LONGEST_DELAY)
        batch.attempt += 1
        if self._backlog is not None:
            with suppress(StoreError):  # the batch is retried anyway; only the record lacks it
                await self._backlog.record_failure(batch.ids, error, retry_in=delay)
        if delay <= 0:
            self._ready.append(batch)
            return
        batch.not_before = self._clock.now() + delay
        if self._is_finishing and self._backlog is not None:
            await self._release(self._backlog, [batch])
        else:
            loop = asyncio.get_running_loop()
            self._put_off[batch] = loop.call_later(delay, self._take_up, batch)

    def _take_up(self, batch: _Batch) -> None:
        del self._put_off[batch]
        self._ready.append(batch)
        self._hand_out()

    async def _give_up(self, batch: _Batch, error: str) -> None:
        self._profile.fail()
        await self._dead_letter(batch.ids, error)
        self._let_go(batch)

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        self._hand_out()
        if self._freed is not None:
            self._freed.set_result(None)
            self._freed = None
        self._tell_if_idle()
        if not task.cancelled():
            task.result()

    def _tell_if_idle(self) -> None:
        if self._idle is not None and not self._is_busy():
            if not self._idle.done():
                self._idle.set_result(None)
            self._idle = None
