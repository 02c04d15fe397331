"""Waiting until a time, to a tenth of a millisecond, on asyncio.

asyncio rounds its timers up to whole milliseconds; a timerfd does not. On a system without timerfd
asyncio's timers are used, and the recorded errors show it.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Awaitable
from itertools import count

from core.clock import SystemClock, TimerDescriptor

_NEVER = float("inf")
_LEAD_LIMIT = 0.0005
_LEAD_GAIN = 0.005
_STALL = 0.005


class Timers:
    """Futures that are done at a time of *clock*; records how far off they were.

    A timer is armed early by the mean lateness seen so far (bounded by half a millisecond), so
    delays are right on average: error_seconds / waits is their mean signed error.
    """

    def __init__(self, clock: SystemClock) -> None:
        self._clock = clock
        self._heap: list[tuple[float, int, asyncio.Future[None]]] = []
        self._sequence = count()
        self._armed = _NEVER
        self._lead = 0.00005
        self.waits = 0
        self.error_seconds = 0.0
        self._descriptor: TimerDescriptor | None
        try:
            self._descriptor = TimerDescriptor()
        except OSError:
            self._descriptor = None
        else:
            asyncio.get_running_loop().add_reader(self._descriptor.fd, self._ring)

    def until(self, when: float) -> Awaitable[None]:
        """Return a future that is done at *when* seconds of the clock, or now if that is past."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if when <= self._clock.now():
            future.set_result(None)
            return future
        heapq.heappush(self._heap, (when, next(self._sequence), future))
        if when < self._armed:
            self._arm(when)
        return future

    def _arm(self, when: float) -> None:
        self._armed = when
        if self._descriptor is None:
            delay = when - self._lead - self._clock.now()
            asyncio.get_running_loop().call_later(max(0.0, delay), self._ring)
            return
        self._descriptor.arm(max(when - self._lead, 1e-9))

    def _ring(self) -> None:
        if self._descriptor is not None:
            self._descriptor.clear()
        self._armed = _NEVER
        now = self._clock.now()
        while self._heap and self._heap[0][0] - self._lead <= now:
            when, _, future = heapq.heappop(self._heap)
            error = now - when
            self.waits += 1
            self.error_seconds += error
            # Move the lead towards a mean error of zero; one long stall moves it little.
            step = _LEAD_GAIN * max(-_STALL, min(error, _STALL))
            self._lead = max(0.0, min(self._lead + step, _LEAD_LIMIT))
            if not future.done():
                future.set_result(None)
        if self._heap:
            self._arm(self._heap[0][0])

    def close(self) -> None:
        """Close the timer; waiting futures stay undone."""
        self._heap.clear()
        if self._descriptor is not None:
            asyncio.get_running_loop().remove_reader(self._descriptor.fd)
            self._descriptor.close()
            self._descriptor = None
