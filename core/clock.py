"""Time as an argument: what is passed to everything that needs to know when it is."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from typing import Protocol

_CLOCK_MONOTONIC = 1
_NONBLOCK_CLOEXEC = 0o2004000
_ABSOLUTE = 1

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


class TimerDescriptor:
    """A Linux timerfd: a file descriptor that can be read once a time of the machine has come.

    asyncio rounds its timers up to whole milliseconds and gevent sleeps 0.6 ms too long; the
    kernel wakes about 0.04 ms late. Raise OSError where the kernel has no timerfd.
    """

    def __init__(self) -> None:
        import ctypes  # here, because few of those that need a clock need this

        if sys.platform != "linux":
            raise OSError("this system has no timerfd")
        libc = ctypes.CDLL(None, use_errno=True)
        if not hasattr(libc, "timerfd_create"):
            raise OSError("this system has no timerfd")
        self.fd: int = libc.timerfd_create(_CLOCK_MONOTONIC, _NONBLOCK_CLOEXEC)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create failed")
        self._set = libc.timerfd_settime
        self._spec = (ctypes.c_long * 4)()  # struct itimerspec: the interval, then the time
        self._reference = ctypes.byref(self._spec)

    def arm(self, moment: float) -> None:
        """Let `fd` become readable at *moment* of `time.monotonic()`, at once if that is past."""
        whole = int(moment)
        spec = self._spec
        # A time of 0 would disarm the timer.
        spec[2], spec[3] = whole, max(1, int((moment - whole) * 1e9))
        self._set(self.fd, _ABSOLUTE, self._reference, None)

    def clear(self) -> None:
        """Let `fd` not be readable until the timer is armed anew and its time has come."""
        with suppress(BlockingIOError):
            os.read(self.fd, 8)

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self.fd)


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
