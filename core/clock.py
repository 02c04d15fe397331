"""Time as an argument: what is passed to everything that needs to know when it is."""

from __future__ import annotations

import time
from typing import Protocol

DATA_EPOCH_MS = 1_767_225_600_000
"""2026-01-01T00:00:00Z: where simulated time 0 stands in data (integer milliseconds)."""


class Clock(Protocol):
    """Seconds since an origin of its own, and that origin as epoch milliseconds."""

    @property
    def origin_ms(self) -> int:
        """Epoch milliseconds at which `now()` was 0."""
        ...

    def now(self) -> float:
        """Return the seconds since the origin; never goes backwards."""
        ...


class SystemClock:
    """The machine's monotonic clock; its origin is that of the machine, shared by all processes."""

    __slots__ = ("now", "origin_ms")

    def __init__(self) -> None:
        # The function itself: a method around it would double the cost of reading the time.
        self.now = time.monotonic
        self.origin_ms = round((time.time() - time.monotonic()) * 1000)


class ManualClock:
    """A clock that moves only when it is told to."""

    __slots__ = ("_now", "origin_ms")

    def __init__(self, now: float = 0.0, *, origin_ms: int = DATA_EPOCH_MS) -> None:
        self._now = now
        self.origin_ms = origin_ms

    def now(self) -> float:
        """Return the time last set."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Move time forward; ValueError if *seconds* is negative."""
        if seconds < 0:
            raise ValueError(f"a clock cannot go back by {-seconds} s")
        self._now += seconds


def epoch_ms(clock: Clock) -> int:
    """Return the time of *clock* as whole epoch milliseconds, rounded down."""
    return clock.origin_ms + int(clock.now() * 1000)
