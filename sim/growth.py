"""How fast the queues for the servers of a simulation grow."""

from __future__ import annotations

from collections.abc import Sequence

from core.emulation.executions import Executions
from core.scenario.scenario import Scenario
from sim.loop import SimLoop
from sim.process import SimulatedPlatform


class QueueGrowth:
    """Looks at the waiting work twice in a run, which costs the requests nothing."""

    def __init__(self, executions: Executions, platforms: Sequence[SimulatedPlatform]) -> None:
        self._executions = executions
        self._platforms = platforms
        self._seen: list[tuple[float, list[float]]] = []

    def watch(self, loop: SimLoop, scenario: Scenario, *, after: float = 0.0) -> None:
        """Look in the middle and at the end of the measured part of *scenario*.

        after: when its arrivals begin, in seconds.
        """
        for when in (scenario.total_time - scenario.duration / 2, scenario.total_time):
            loop.call_at(after + when, self._look, loop)

    def _look(self, loop: SimLoop) -> None:
        now = loop.time()
        cpus = (max(0.0, platform.cpu_free - now) for platform in self._platforms)
        self._seen.append((now, [self._executions.backlog(now), *cpus]))

    def per_second(self) -> dict[str, float]:
        """Return the seconds of work that each queue gained per second in the second half.

        The queues are the "database" and the "CPU" of the process that gained most. The growth of a
        queue that never emptied is utilisation - 1. It is 0 if the last request ended before the
        measured part did.
        """
        if len(self._seen) < 2:
            return {"database": 0.0, "CPU": 0.0}
        (half, before), (end, after) = self._seen
        database, *cpus = ((b - a) / (end - half) for a, b in zip(before, after, strict=True))
        return {"database": database, "CPU": max(cpus)}
