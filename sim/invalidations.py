"""Writes during a simulation that outdate what is cached, and who learns of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from core.application.warming import Warmer
from core.caching.invalidation_log import Selector
from core.context import Purpose
from core.metrics.record import Samples
from core.scenario.scenario import Scenario
from core.scenario.warm_start import read_rates
from core.scenario.workload import Workload, choose, isolates_at
from core.streams import Stream
from sim.loop import SimLoop
from sim.process import SimulatedProcess
from sim.watched import Watch, WatchedCache


@dataclass(frozen=True, slots=True)
class Write:
    """A write of something that is cached: when, of what, and where it is known at once."""

    at: float
    cache_type: str
    subject: int
    isolate: int


def planned_writes(scenario: Scenario, replication: int = 0) -> list[Write]:
    """Return the writes at a rate of their own: Poisson, of keys drawn as reads are."""
    found = []
    popularity = read_rates(scenario)
    names = list(scenario.endpoints.cache_types)
    for cache_type, rate in scenario.invalidation.rates.items():
        number = names.index(cache_type)
        stream = Stream(
            scenario.seed, Purpose.INVALIDATIONS, width=3, replication=replication << 8 | number
        )
        most = int(rate * scenario.total_time + 8 * (rate * scenario.total_time) ** 0.5 + 16)
        u = stream.rows(0, most)
        # Rounded to 2^-32, so that no platform's log shows in the result.
        gaps = np.round(-np.log1p(-u[:, 0]) * 2.0**32) * 2.0**-32 / rate
        at = np.cumsum(gaps)
        weights = popularity.get(cache_type)
        if weights is None or not weights.sum():
            continue  # nothing reads it
        subjects, isolates = choose(weights, u[:, 1]), isolates_at(scenario, u[:, 2])
        rows = zip(at.tolist(), subjects.tolist(), isolates.tolist(), strict=True)
        found += [Write(t, cache_type, s, i) for t, s, i in rows if t < scenario.total_time]
    return found


class Invalidations:
    """The writes of a replication: they reach L2 and one isolate at once, the others by broadcast.

    asked: the requests; intended: when each was to be sent, in the simulation's time; after: the
    end of the warm-up there. failed: whether a request got an error.
    """

    def __init__(
        self,
        scenario: Scenario,
        loop: SimLoop,
        processes: Sequence[SimulatedProcess],
        asked: Workload,
        intended: Sequence[float],
        failed: Callable[[int], bool],
        *,
        replication: int,
        after: float,
    ) -> None:
        table = scenario.invalidation
        self._loop, self._processes, self._failed = loop, processes, failed
        self._own = scenario.topology.isolates
        self._watch = Watch(intended, after, scenario.traffic.retries.request)
        for process in processes:
            process.caches[:] = [WatchedCache.of(cache, self._watch) for cache in process.caches]
        self._planned = planned_writes(scenario, replication)
        codes = [code for code, each in enumerate(scenario.endpoints) if each.writes == "event"]
        self._writers = frozenset(codes)
        self._endpoints, self._subjects = asked.endpoint.tolist(), asked.subject.tolist()
        self._isolates = asked.isolate.tolist()
        self._shares = tuple(table.events.items())
        self._drawn = Stream(
            scenario.seed, Purpose.INVALIDATED_BY_EVENTS, width=max(1, len(self._shares)),
            replication=replication,
        )  # fmt: skip
        delays = Stream(scenario.seed, Purpose.BROADCASTS, replication=replication)
        self._delay = None if table.broadcast is None else delays.sampler(table.broadcast)
        self._keys: dict[tuple[str, int], str] = {}
        self.number = 0

    async def load(self, warmer: Warmer, ahead: float) -> None:
        """Find the keys that are written, and let the planned writes happen from *ahead* on."""
        users = {
            subject
            for endpoint, subject in zip(self._endpoints, self._subjects, strict=True)
            if endpoint in self._writers
        }
        asked = {(write.cache_type, write.subject) for write in self._planned}
        asked |= {(name, user) for name, _ in self._shares for user in users}
        for cache_type, subject in sorted(asked):
            _, key, _, _ = await warmer.entry(cache_type, subject)
            self._keys[cache_type, subject] = key
        for write in self._planned:
            key = self._keys[write.cache_type, write.subject]
            self._loop.call_at(ahead + write.at, self._write, key, write.isolate)

    def after_request(self, index: int) -> None:
        """Do what `after_event` does, unless request *index* has failed."""
        if not self._failed(index):
            self.after_event(index)

    def after_event(self, index: int) -> None:
        """Let request *index*, which was answered, outdate its user's values, if it is an event."""
        if self._endpoints[index] not in self._writers:
            return
        for slot, (cache_type, share) in enumerate(self._shares):
            if self._drawn.at(index, slot) < share:
                key = self._keys[cache_type, self._subjects[index]]
                self._write(key, self._isolates[index])

    def _write(self, key: str, isolate: int) -> None:
        now, target = self._loop.time(), Selector(keys=(key,))
        self._watch.write(key, now)
        position, own = divmod(isolate, self._own)
        process = self._processes[position]
        process.invalidator.log.invalidate(target)
        process.caches[own].forget(target)
        if process.query_cache is not None:
            process.query_cache.forget(target)
        process.caches[own].retain(self._loop.create_task(process.kv.delete(key)))
        if self._delay is not None:
            arrives = now + self._delay(self.number, 0)
            self._loop.call_at(arrives, self._purge, target, isolate)
        self.number += 1

    def _purge(self, target: Selector, sender: int) -> None:
        """Let all isolates but the *sender* learn of a write."""
        for position, process in enumerate(self._processes):
            if position != sender // self._own:
                process.invalidator.log.invalidate(target)
                if process.query_cache is not None:
                    process.query_cache.forget(target)
            for own, cache in enumerate(process.caches):
                if position * self._own + own != sender:
                    cache.forget(target)

    def samples(self, ahead: float) -> Samples:
        """Return the ages of outdated values that were read; *ahead*: of the run's time 0."""
        return self._watch.samples(ahead)
