"""The poller: moves due conversions from the backlog into a consumer's queue."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from core.clock import Clock
from core.delivery.backlog import Backlog
from core.delivery.queue import ConversionQueue
from core.errors import StoreError


class Poller:
    """Takes due conversions whenever the queue has room, and renews the leases of held ones."""

    def __init__(self, backlog: Backlog, queue: ConversionQueue, clock: Clock) -> None:
        self._backlog = backlog
        self._queue = queue
        self._clock = clock
        self._renewed = clock.now()
        self.is_behind = False
        """Whether the last step filled the queue's room, so that more conversions may be due."""
        self.errors = 0

    async def step(self) -> int:
        """Take the conversions that are due now; return how many."""
        self.is_behind = False
        await self._renew()
        room = self._queue.room
        taken = await self._backlog.take(room) if room else []
        for conversion_id, attempts in taken:
            # The consumer counts failures itself. Here, the consumers that took it have ended.
            if attempts > self._queue.max_attempts:
                self._queue.given_up += await self._backlog.dead_letter_spent(
                    [conversion_id], attempts=attempts - 1
                )
            else:
                self._queue.put(conversion_id)
        self.is_behind = len(taken) == room
        return len(taken)

    async def _renew(self) -> None:
        now, held = self._clock.now(), self._queue.held
        if now - self._renewed < self._backlog.lease.seconds / 3:
            return
        self._renewed = now
        if held:
            await self._backlog.renew(held)

    async def run(self, interval: float) -> None:
        """Take due conversions every *interval* seconds until this is cancelled.

        While more conversions are due than fit, take them as soon as there is room. An error of
        the store is counted; the next step takes the conversions that this one left.
        """
        while True:
            try:
                await self.step()
            except StoreError:
                self.errors += 1
            await self.pause(interval)

    async def pause(self, interval: float) -> None:
        """Return when the next step is due: after *interval* seconds, or at once if behind."""
        if not self.is_behind:
            await asyncio.sleep(interval)
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(interval):
                await self._queue.freed()
