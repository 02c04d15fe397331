"""Isolates that are evicted, and started anew by the next request, in a simulation."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from math import inf

import numpy as np

from core.context import Purpose
from core.metrics.life import COLD
from core.metrics.record import Samples
from core.scenario.lives import LifeLengths
from core.scenario.scenario import Scenario
from core.scenario.warm_start import WarmState
from core.streams import Stream


class _Life:
    """One isolate from its start to its end; times in seconds of the simulation."""

    __slots__ = ("ends", "ready", "unasked_since", "under_way")

    def __init__(self, ready: float, ends: float, unasked_since: float) -> None:
        self.ready = ready
        self.ends = ends
        self.unasked_since = unasked_since
        self.under_way = 0


class Lives:
    """The lives of all isolates of a replication.

    warm: who is there at time 0. isolates: of every request, by its index. replace: puts an empty
    isolate in the place of one. after: the end of the warm-up, from which on waits are kept.
    """

    def __init__(
        self,
        scenario: Scenario,
        warm: WarmState,
        isolates: Sequence[int],
        replace: Callable[[int], None],
        *,
        replication: int,
        after: float,
    ) -> None:
        eviction = scenario.topology.eviction
        self._idle = eviction.idle or inf
        self._isolates, self._replace, self._after = isolates, replace, after
        self._lengths = LifeLengths(scenario, Purpose.ISOLATE_LIVES, replication)
        stream = Stream(scenario.seed, Purpose.COLD_START, replication=replication)
        self._start_time = stream.sampler(eviction.cold_start)
        count = scenario.topology.isolate_count
        self._begun = [1] * count
        self._lives = [_Life(0.0, -inf, 0.0) for _ in range(count)]
        for isolate, before in enumerate(warm.lives):
            if before.age > 0:
                ends = self._lengths.of(isolate, 0)
                self._lives[isolate] = _Life(0.0, ends, -before.unasked)
        self._of_request: dict[int, _Life] = {}
        self._times, self._waits = array("d"), array("d")
        self.starts = 0

    def ask(self, index: int, now: float) -> float:
        """Let request *index* arrive at its isolate; return when that is ready for it."""
        isolate = self._isolates[index]
        life = self._lives[isolate]
        is_new = now >= life.ends or (not life.under_way and now - life.unasked_since >= self._idle)
        if is_new:
            self._replace(isolate)
            self.starts += 1
            ready = now + self._start_time(index, 0)
            length = self._lengths.of(isolate, self._begun[isolate])
            self._begun[isolate] += 1
            life = self._lives[isolate] = _Life(ready, ready + length, ready)
        life.under_way += 1
        self._of_request[index] = life
        if is_new or now < life.ready:
            if now >= self._after:
                self._times.append(now)
                self._waits.append(life.ready - now)
            return life.ready
        return now

    def leave(self, index: int, now: float) -> None:
        """Note that request *index* has ended."""
        life = self._of_request.pop(index)
        life.under_way -= 1
        life.unasked_since = now

    def evict(self, isolate: int) -> None:
        """Let the isolate end now, as at a deployment: the next request starts another one."""
        self._lives[isolate].ends = -inf

    def samples(self, ahead: float) -> Samples:
        """Return when each request that waited was sent, and its wait; *ahead*: of time 0."""
        if not self._times:
            return {}
        times = np.frombuffer(self._times) - ahead
        return {COLD.name: (times, np.frombuffer(self._waits))}
