"""Waiting until a point of time, precisely, without blocking other greenlets."""

from __future__ import annotations

import contextlib
import ctypes
import os
from time import perf_counter
from typing import Protocol

import gevent

_CLOCK_MONOTONIC = 1
_NONBLOCK_CLOEXEC = 0o2004000
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


class _Itimerspec(ctypes.Structure):
    _fields_ = [
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("s", ctypes.c_long),
        ("ns", ctypes.c_long),
    ]


class KernelTimer:
    """A Linux timerfd watched by gevent's hub: wakes about 0.04 ms late, gevent.sleep 0.6 ms.

    Raise OSError where the kernel has no timerfd.
    """

    def __init__(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        if not hasattr(libc, "timerfd_create"):
            raise OSError("this system has no timerfd")
        self._fd = libc.timerfd_create(_CLOCK_MONOTONIC, _NONBLOCK_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create failed")
        self._set = libc.timerfd_settime
        self._spec = _Itimerspec()
        self._spec_reference = ctypes.byref(self._spec)
        self._hub = gevent.get_hub()
        self._watcher = self._hub.loop.io(self._fd, _READ)

    def wait_until(self, moment: float) -> None:
        """Return when `perf_counter()` has reached *moment*."""
        spec = self._spec
        while (left := moment - perf_counter()) > 0:
            whole = int(left)
            # 0 would disarm the timer.
            spec.s, spec.ns = whole, max(1, int((left - whole) * 1e9))
            self._set(self._fd, 0, self._spec_reference, None)
            self._hub.wait(self._watcher)
            with contextlib.suppress(BlockingIOError):
                os.read(self._fd, 8)

    def close(self) -> None:
        """Close the watcher and the descriptor."""
        self._watcher.close()
        os.close(self._fd)


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
