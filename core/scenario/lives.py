"""The isolates at the start of a run: which there are, and how long each has been there."""

from __future__ import annotations

from math import inf
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.context import Purpose
from core.scenario.scenario import Scenario
from core.streams import Stream

_MOST_GAPS = 1_000
"""Of an isolate's gaps between requests that are drawn one by one; the rest by their mean."""


class LifeBefore(NamedTuple):
    """An isolate at time 0: seconds since its start, and since its last request.

    age: 0 if there is none, inf where it is older than anything that L1 holds.
    """

    age: float
    unasked: float


class LifeLengths:
    """How long isolates live, by isolate and by the number of its lives before; in seconds."""

    def __init__(self, scenario: Scenario, purpose: Purpose, replication: int = 0) -> None:
        self._mean = scenario.topology.eviction.lifetime
        self._isolates = scenario.topology.isolate_count
        self._stream = Stream(scenario.seed, purpose, replication=replication)

    def of(self, isolate: int, life: int) -> float:
        """Return the length of life number *life* of *isolate*, inf where lives do not end."""
        if not self._mean:
            return inf
        return self._mean * float(_unit(self._stream.at(life * self._isolates + isolate)))


def _unit(uniforms: NDArray[np.float64] | float) -> NDArray[np.float64]:
    # Rounded to 2^-32, so that no platform's log shows in the result.
    drawn: NDArray[np.float64] = np.round(-np.log1p(-np.asarray(uniforms)) * 2.0**32) * 2.0**-32
    return drawn


def lives_before(
    scenario: Scenario, rates: NDArray[np.float64], replication: int = 0
) -> tuple[LifeBefore, ...]:
    """Return the isolates as they stand after hours of Poisson requests at *rates* per second.

    Seen backwards from time 0, gaps between requests are exponential. A life reaches back over a
    gap if that was shorter than the idle time, and if no life's end fell into it.
    """
    eviction = scenario.topology.eviction
    idle = eviction.idle or inf
    ends = 1 / eviction.lifetime if eviction.lifetime else 0.0
    stream = Stream(
        scenario.seed, Purpose.LIVES_BEFORE, width=3 + _MOST_GAPS, replication=replication
    )
    found = []
    for isolate, rate in enumerate(rates.tolist()):
        if not rate:
            found.append(LifeBefore(0.0 if eviction.evicts else inf, inf))
            continue
        u = stream.rows(isolate, 1)[0]
        unasked, left = float(_unit(u[0])) / rate, float(_unit(u[1]))
        if unasked >= idle or left < unasked * ends:
            found.append(LifeBefore(0.0, unasked))
            continue
        # The next gap back is survived with this probability; how many are is geometric.
        hazard = rate + ends
        reach = 1 - np.exp(-hazard * idle)
        survives = rate / hazard * reach
        gaps = inf if survives == 1 else np.floor(np.log1p(-u[2]) / np.log(survives))
        if gaps == inf:
            found.append(LifeBefore(inf, unasked))
            continue
        drawn = -np.log1p(-u[3 : 3 + int(min(gaps, _MOST_GAPS))] * reach) / hazard
        age = unasked + float(drawn.sum())
        if gaps > _MOST_GAPS:
            age += float(gaps - _MOST_GAPS) * float(drawn.mean())
        found.append(LifeBefore(age, unasked))
    return tuple(found)


class LivesOfHistory:
    """The lives of isolates through the accesses of a trace before a run; times are negative.

    start: when the accesses begin; the isolates have been there for ever then.
    """

    def __init__(self, scenario: Scenario, start: float) -> None:
        count = scenario.topology.isolate_count
        self._idle = scenario.topology.eviction.idle or inf
        self._lengths = LifeLengths(scenario, Purpose.LIVES_BEFORE)
        self._lives = [0] * count
        self._began = [-inf] * count
        self._asked = [start] * count
        self._ends = [start + self._lengths.of(isolate, 0) for isolate in range(count)]

    def ask(self, isolate: int, now: float) -> bool:
        """Let an access arrive; return whether its isolate had ended and begins anew."""
        is_new = self._is_over(isolate, now)
        if is_new:
            self._lives[isolate] += 1
            self._began[isolate] = now
            self._ends[isolate] = now + self._lengths.of(isolate, self._lives[isolate])
        self._asked[isolate] = now
        return is_new

    def _is_over(self, isolate: int, now: float) -> bool:
        return now >= self._ends[isolate] or now - self._asked[isolate] >= self._idle

    def at_start(self) -> tuple[LifeBefore, ...]:
        """Return the isolates at time 0."""
        return tuple(
            LifeBefore(0.0 if self._is_over(isolate, 0.0) else -began, -asked)
            for isolate, (began, asked) in enumerate(zip(self._began, self._asked, strict=True))
        )
