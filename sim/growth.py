"""How busy the servers of a simulation are, and how fast their queues and the memory grow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from core.emulation.executions import Executions
from core.scenario.scenario import Scenario
from sim.loop import SimLoop
from sim.process import SimulatedPlatform

LOOK_EVERY = 0.25
"""Simulated seconds between two looks for a queue that only grows."""
LEAST_WAIT = 1.0
LEAST_JOBS = 1_000
LEAST_GROWTH = 0.05
"""A queue only grows if it holds so many seconds of work, so many jobs, and has gained so much a
second since it was empty. At a utilisation of 0.99 chance brings a queue there once in 20,000
times; at 0.95, never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLoad:
    """A server's load in the second half of a run.

    utilisation: seconds of work asked for per second and server; above 1, more than it can do.
    growth: seconds of waiting work gained per second.
    """

    utilisation: float
    growth: float


class Saturated(Exception):
    """A queue only grew, so the run was ended at *at* seconds; *loads* are those until then."""

    def __init__(self, at: float, loads: dict[str, ServerLoad]) -> None:
        super().__init__(f"saturated at {at} s")
        self.at = at
        self.loads = loads


def is_steady(scenario: Scenario, *, of_any_start: bool = False) -> bool:
    """Whether a growing queue can only come from the rate: caches and rate are as they stay.

    of_any_start: whether the caches may start empty, too.
    """
    (first, *others), faults = scenario.traffic.stages, scenario.faults
    return (
        (of_any_start or scenario.start == "warm")
        and scenario.trace.file is None
        and not others
        and first.ramp_to in (None, first.rate)
        and scenario.traffic.bursts is None
        and not faults
        and not scenario.deployments
        and not scenario.parts
    )


@dataclass(frozen=True, slots=True)
class Look:
    """What waits and the work done so far, of the database, each CPU and each replica.

    memory: in bytes.
    """

    at: float
    waiting: list[float]
    work: list[float]
    memory: int


def loads_between(first: Look, last: Look, replicas: int = 0) -> dict[str, ServerLoad]:
    """Return the load of the "database" and of the "CPU" of the busiest process between looks.

    And that of "replica 1" and further ones, if there are *replicas*.
    """
    seconds = last.at - first.at
    database, *others = (
        ServerLoad(utilisation=(b - a) / seconds, growth=(d - c) / seconds)
        for a, b, c, d in zip(first.work, last.work, first.waiting, last.waiting, strict=True)
    )
    cpus, copies = others[: len(others) - replicas], others[len(others) - replicas :]
    busiest = ServerLoad(
        utilisation=max(cpu.utilisation for cpu in cpus),
        growth=max(cpu.growth for cpu in cpus),
    )
    named = {f"replica {number}": load for number, load in enumerate(copies, 1)}
    return {"database": database, "CPU": busiest, **named}


class QueueGrowth:
    """Looks at work and waiting twice in a run, which costs the requests nothing.

    memory: returns the bytes counted so far. replicas: of the database.
    """

    def __init__(
        self,
        executions: Executions,
        platforms: Sequence[SimulatedPlatform],
        memory: Callable[[], int],
        replicas: Sequence[Executions] = (),
    ) -> None:
        self._replicas = replicas
        self._executions = executions
        self._platforms = platforms
        self._memory = memory
        self._seen: list[Look] = []
        self._jobs: Callable[[], list[int]] | None = None

    def watch(self, loop: SimLoop, scenario: Scenario, *, after: float = 0.0) -> None:
        """Look in the middle and at the end of the measured part of *scenario*.

        after: when its arrivals begin, in seconds.
        """
        for when in (scenario.total_time - scenario.duration / 2, scenario.total_time):
            loop.call_at(after + when, lambda: self._seen.append(self._look(loop.time())))

    def end_when_saturated(
        self,
        loop: SimLoop,
        until: float,
        jobs: Callable[[], list[int]],
        end: Callable[[Saturated], None],
    ) -> None:
        """Call *end* as soon as a queue only grows, looking until the time *until*.

        jobs: returns how many jobs the database, each CPU and each replica were given so far.
        """
        start = self._look(loop.time())

        def look() -> None:
            now = loop.time()
            seen, elapsed = self._look(now), now - start.at
            for waiting, work, number in zip(seen.waiting, seen.work, jobs(), strict=True):
                least = max(LEAST_WAIT, LEAST_GROWTH * elapsed)
                if waiting >= least and waiting * number >= LEAST_JOBS * work:
                    end(Saturated(now, loads_between(start, seen, len(self._replicas))))
                    return
            if now + LOOK_EVERY < until:
                loop.call_at(now + LOOK_EVERY, look)

        loop.call_at(start.at + LOOK_EVERY, look)

    def _look(self, now: float) -> Look:
        cpus = [max(0.0, platform.cpu_free - now) for platform in self._platforms]
        work = [self._executions.work / self._executions.servers]
        return Look(
            now,
            [self._executions.backlog(now), *cpus, *(r.backlog(now) for r in self._replicas)],
            [
                *work,
                *(platform.cpu_work for platform in self._platforms),
                *(replica.work / replica.servers for replica in self._replicas),
            ],
            self._memory(),
        )

    def loads(self) -> dict[str, ServerLoad]:
        """Return the load of the "database", and of the "CPU" of the busiest process.

        They are those of the second half of the measured part; none if the last request ended
        before it did.
        """
        if len(self._seen) < 2:
            return {}
        first, last = self._seen
        return loads_between(first, last, len(self._replicas))

    def memory_per_second(self) -> float:
        """Return the bytes that were gained per second in the second half."""
        if len(self._seen) < 2:
            return 0.0
        first, last = self._seen
        return (last.memory - first.memory) / (last.at - first.at)
