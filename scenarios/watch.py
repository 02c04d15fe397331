"""What is observed beside the load: the services' statistics and the generator's own speed."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from time import perf_counter
from typing import Any

import gevent

from core.metrics.machine import fixed_work
from core.secrets import Blotter
from scenarios.control import ServiceControl
from scenarios.result import Snapshot
from scenarios.transport import Transport

POLL_SECONDS = 1.0
PROBE_SECONDS = 0.1
_QUEUE_POLL_SECONDS = 0.05
_RETRY_SECONDS = 0.1


class SpeedProbe:
    """Times a fixed piece of work every 100 ms."""

    def __init__(self) -> None:
        self._seconds: list[float] = []

    def run(self) -> None:
        """Probe until the greenlet is killed."""
        while True:
            self._seconds.append(fixed_work())
            gevent.sleep(PROBE_SECONDS)

    def facts(self) -> dict[str, float]:
        """Return how often it was timed, the sum and the median in seconds."""
        if not self._seconds:
            return {"count": 0, "seconds": 0.0, "median": 0.0}
        return {
            "count": len(self._seconds),
            "seconds": sum(self._seconds),
            "median": statistics.median(self._seconds),
        }


class ServiceWatch:
    """One host's statistics over a run: a poll a second and the two snapshots that are subtracted.

    A host without statistics answers None to everything, after one attempt.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None,
        transport: Transport,
        user_agent: str,
        blotter: Blotter,
    ) -> None:
        self._control = ServiceControl(
            url, token=token, transport=transport, user_agent=user_agent, blotter=blotter
        )
        self.polls: list[dict[str, Any]] = []
        self.is_visible = False
        self.before: Snapshot | None = None
        self.after: Snapshot | None = None

    def look(self) -> None:
        """Find out whether the host has statistics."""
        self.is_visible = self._control.stats() is not None

    def run(self, start: float, warm_up: float) -> None:
        """Poll once a second from *start*, and take the first snapshot when the warm-up ends.

        *start* is on the scale of `perf_counter()`; runs until the greenlet is killed.
        """
        if not self.is_visible:
            return
        due = start
        while True:
            ahead = start + warm_up
            is_snapshot = self.before is None and ahead <= due
            gevent.sleep(max(0.0, (ahead if is_snapshot else due) - perf_counter()))
            snapshot = self._control.stats()
            if snapshot is None:
                gevent.sleep(_RETRY_SECONDS)
            else:
                if is_snapshot:
                    self.before = snapshot
                self._keep(snapshot, perf_counter() - start)
            if not is_snapshot or ahead == due:
                due += POLL_SECONDS

    def take_before(self) -> None:
        """Take the first snapshot now."""
        if self.is_visible:
            self.before = self._control.stats()

    def take_after(self, start: float, *, limit: float) -> bool:
        """Take the last snapshot once no conversion is pending, at most *limit* seconds from now.

        Return whether the queue was empty.
        """
        if not self.is_visible:
            return True
        end = perf_counter() + limit
        while True:
            self.after = self._control.stats()
            pending = 0 if self.after is None else self.after.counters.get("queue_pending", 0)
            if self.after is not None:
                self._keep(self.after, perf_counter() - start)
            if pending == 0 or perf_counter() >= end:
                return pending == 0
            gevent.sleep(_QUEUE_POLL_SECONDS)

    def _keep(self, snapshot: Snapshot, seconds: float) -> None:
        poll = {
            "t": seconds,
            "counters": dict(snapshot.counters),
            "process": dict(snapshot.process),
        }
        self.polls.append(poll)

    def close(self) -> None:
        """Close the connection."""
        self._control.close()


def until(is_true: Callable[[], bool], *, limit: float, pause: float = 0.005) -> bool:
    """Let other greenlets run until *is_true*; return whether it came true within *limit* s."""
    end = perf_counter() + limit
    while not is_true():
        if perf_counter() >= end:
            return False
        gevent.sleep(pause)
    return True
