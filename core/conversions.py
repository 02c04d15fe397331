"""The conversions queue: batches of accepted conversions for the attribution processor.

A conversion is durable before it is queued: its row is written in the transaction of its event and
marked when its results are stored, so that `recover` finds after a restart what was left.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from core.clock import Clock
from core.errors import StoreError
from core.profiling import LatencyProfiler
from core.span import Span

MAX_ATTEMPTS = 3


class ConversionQueue:
    """Hands out batches of at most *batch_size* ids, *wait* seconds after the first at the latest.

    At most *max_parallel* batches run at a time. A batch that fails with StoreError is handed out
    again, up to MAX_ATTEMPTS times; after that its conversions stay in the database for `recover`.
    """

    def __init__(
        self,
        process: Callable[[Span, Sequence[str]], Awaitable[None]],
        *,
        batch_size: int,
        max_parallel: int,
        wait: float,
        clock: Clock,
        profiler: LatencyProfiler,
    ) -> None:
        self._process = process
        self._batch_size = batch_size
        self._max_parallel = max_parallel
        self._wait = wait
        self._clock = clock
        self._profile = profiler.profile("queue", "batch")
        self._collecting: list[str] = []
        self._ready: deque[tuple[list[str], int, float | None]] = deque()
        self._running: dict[asyncio.Task[None], None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._idle: asyncio.Future[None] | None = None
        self.batches = 0
        self.retries = 0
        self.given_up = 0

    @property
    def pending(self) -> int:
        """Conversions that wait or are being processed, counted in batches once handed out."""
        return len(self._collecting) + len(self._ready) + len(self._running)

    def put(self, conversion_id: str) -> None:
        """Queue an accepted conversion."""
        self._collecting.append(conversion_id)
        if len(self._collecting) >= self._batch_size:
            self._close_batch()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._wait, self._close_batch)

    def recover(self, conversion_ids: Sequence[str]) -> None:
        """Queue what an earlier process accepted and did not finish."""
        for conversion_id in conversion_ids:
            self.put(conversion_id)

    async def drain(self) -> None:
        """Hand out what is collected now, and return when every batch has ended."""
        if self._collecting:
            self._close_batch()
        while self._running or self._ready:
            if self._idle is None:
                self._idle = asyncio.get_running_loop().create_future()
            await self._idle

    def _close_batch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        batch, self._collecting = self._collecting, []
        if batch:
            self._ready.append((batch, 1, None))
        self._hand_out()

    def _hand_out(self) -> None:
        while self._ready and len(self._running) < self._max_parallel:
            batch, attempt, since = self._ready.popleft()
            self.batches += 1
            span = Span(self.batches - 1, is_batch=True)
            task = asyncio.get_running_loop().create_task(self._run(span, batch, attempt, since))
            self._running[task] = None
            task.add_done_callback(self._ended)

    async def _run(self, span: Span, batch: list[str], attempt: int, since: float | None) -> None:
        # A batch that is tried again has been in hand since it was first handed out.
        started = self._clock.now() if since is None else since
        try:
            await self._process(span, batch)
        except StoreError:
            if attempt < MAX_ATTEMPTS:
                self.retries += 1
                self._ready.append((batch, attempt + 1, started))
            else:
                self.given_up += len(batch)
                self._profile.fail()
            return
        self._profile.record(self._clock.now() - started)

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        self._hand_out()
        if self._idle is not None and not self._running and not self._ready:
            if not self._idle.done():
                self._idle.set_result(None)
            self._idle = None
        if not task.cancelled():
            task.result()
