"""Waiting until a point of time, precisely, without blocking other greenlets."""

from __future__ import annotations

from time import perf_counter
from typing import Protocol

import gevent

from core.clock import TimerDescriptor

_READ = 1
_SPIN_SECONDS = 0.002


class Timer(Protocol):
    """Lets a greenlet wait."""

    def wait_until(self, moment: float) -> None:
        """Return when `perf_counter()` has reached *moment*; other greenlets run meanwhile."""
        ...

    def close(self) -> None:
        """Give back what the kernel holds for this timer."""
        ...


class KernelTimer:
    """A timer descriptor that gevent's hub watches.

    Raise OSError where the kernel has no timerfd.
    """

    def __init__(self) -> None:
        self._descriptor = TimerDescriptor()
        self._hub = gevent.get_hub()
        self._watcher = self._hub.loop.io(self._descriptor.fd, _READ)

    def wait_until(self, moment: float) -> None:
        """Return when `perf_counter()` has reached *moment*."""
        while perf_counter() < moment:  # on Linux the same clock as time.monotonic
            self._descriptor.arm(moment)
            self._hub.wait(self._watcher)
            self._descriptor.clear()

    def close(self) -> None:
        """Close the watcher and the descriptor."""
        self._watcher.close()
        self._descriptor.close()


def turn() -> None:
    """Let the event loop take what has come in; gevent.sleep(0) may pass it over for 5 ms."""
    gevent.sleep(1e-9)


class YieldingTimer:
    """Sleeps until 2 ms before and then yields in turns: precise anywhere, at the price of CPU."""

    def wait_until(self, moment: float) -> None:
        """Return when `perf_counter()` has reached *moment*."""
        while (left := moment - perf_counter()) > 0:
            gevent.sleep(max(0.0, left - _SPIN_SECONDS))

    def close(self) -> None:
        """Do nothing: there is nothing to give back."""


def best_timer() -> Timer:
    """Return the kernel's timer where there is one."""
    try:
        return KernelTimer()
    except OSError:
        return YieldingTimer()
