"""The platform of an emulating service: the machine's time, and its own random numbers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import count
from typing import Protocol

from core.clock import SystemClock
from core.context import Purpose
from core.distributions import Distribution
from core.emulation.timers import Timers
from core.streams import Stream


class Platform(Protocol):
    """The time, CPU and random numbers of a store: simulated, or the machine's own."""

    def now(self) -> float:
        """Return the seconds since the platform's origin."""
        ...

    def until(self, when: float) -> Awaitable[None]:
        """Return an awaitable that is done at *when*."""
        ...

    def uniform(self, purpose: Purpose) -> float:
        """Return the random number of the running operation for *purpose*, in [0, 1)."""
        ...

    def sampler(self, purpose: Purpose, distribution: Distribution) -> Callable[[], float]:
        """Return a sampler of *distribution* at the running operation's number for *purpose*."""
        ...

    def charge(self, tier: str) -> float:
        """Charge the CPU for one operation on *tier*; return when the process has sent it."""
        ...


class DrawnNumbers:
    """Uniforms in [0, 1) of one process, the next one of its purpose each time."""

    def __init__(self, seed: int, position: int) -> None:
        self._streams = {
            purpose: Stream(seed, Purpose.EMULATION, replication=purpose << 16 | position)
            for purpose in Purpose
        }
        self._drawn = {purpose: count() for purpose in Purpose}

    def uniform(self, purpose: Purpose) -> float:
        """Return the next number for *purpose*."""
        return self._streams[purpose].at(next(self._drawn[purpose]))


class EmulatingPlatform:
    """The machine's own time and CPU, precise timers, and a random stream of its own."""

    def __init__(self, clock: SystemClock, timers: Timers, numbers: DrawnNumbers) -> None:
        self._clock = clock
        self._timers = timers
        self.uniform = numbers.uniform

    def sampler(self, purpose: Purpose, distribution: Distribution) -> Callable[[], float]:
        """Return a sampler of *distribution* at the next number for *purpose*."""
        uniform, sample = self.uniform, distribution.sample
        return lambda: sample(uniform(purpose))

    def now(self) -> float:
        """Return the seconds of the service's clock."""
        return self._clock.now()

    def until(self, when: float) -> Awaitable[None]:
        """Return an awaitable that is done at *when*."""
        return self._timers.until(when)

    def charge(self, _: str) -> float:
        """Return now: the machine's CPU charges for itself."""
        return self._clock.now()
