"""One load within a Locust process: clean start, arrivals, the last answers, the result."""

from __future__ import annotations

import gc
import math
import os
import time
from collections.abc import Callable
from time import perf_counter
from typing import Any

import gevent
from gevent.event import Event

from core.errors import EdgeproofError
from scenarios.arrivals import Arrivals
from scenarios.control import ServiceControl
from scenarios.plan import LoadPlan
from scenarios.recorder import Recorder
from scenarios.rendering import Renderer
from scenarios.result import LoadResult
from scenarios.routing import Routing
from scenarios.watch import ServiceWatch, SpeedProbe, until

POOL_SECONDS = 60.0
PREPARE_SECONDS = 120.0
LEAD_SECONDS = 0.05
QUEUE_SECONDS = 10.0
GRACE_SECONDS = 2.0
_PROGRESS_SECONDS = 1.0


class PoolIncomplete(EdgeproofError):
    """Users that never came to wait for an arrival."""


class LoadRun:
    """A plan being carried out; users of the pool call `arrivals`, `renderer` and `recorder`.

    watches: whether this process polls the services' statistics.
    """

    def __init__(self, plan: LoadPlan, *, token: str | None, watches: bool = True) -> None:
        self.plan = plan
        self._token = token
        self._routing = Routing.of(plan.scenario.topology, plan.hosts)
        self.arrivals = Arrivals(plan.workload.intended_ns)
        self.recorder = Recorder(plan.scenario)
        self.endpoints = plan.scenario.endpoints.names
        limits = plan.scenario.targets.timeouts
        self.timeouts = [limits.get(name, plan.scenario.timeout) for name in self.endpoints]
        self.renderer = Renderer(
            plan.scenario,
            plan.workload,
            self._routing,
            run_id=plan.run_id,
            replication=plan.replication,
            secrets=os.environ,
        )
        self.watches = [ServiceWatch(url, token=token) for url in plan.hosts] if watches else []
        self.phase = "starting"
        self._interrupted_at = math.inf
        self.finished = Event()
        self._probe = SpeedProbe()
        self._walker: gevent.Greenlet | None = None
        self._start = math.nan
        self._cpu = self._wall = 0.0
        self._clean_start = "not asked for"
        self._notes: list[str] = []

    def await_pool(self, users: Callable[[], int]) -> None:
        """Return when *users()* users wait for an arrival; PoolIncomplete if they do not come."""
        if not until(lambda: 0 < users() <= self.arrivals.idle, limit=POOL_SECONDS):
            raise PoolIncomplete(
                f"{self.arrivals.idle} of {users()} users were ready after {POOL_SECONDS:g} s; "
                "use a smaller pool (-u)"
            )

    def prepare(self) -> float:
        """Ask every host for a clean start; return when it begins, on the scale of perf_counter().

        The first host chooses the moment, the others are told it.
        """
        begins, starts_at_ms = math.nan, None
        refusals = []
        for url in self.plan.hosts:
            control = ServiceControl(url, token=self._token, timeout=PREPARE_SECONDS)
            try:
                answer = control.start_run(self.plan.run_id, starts_at_ms)
            finally:
                control.close()
            if isinstance(answer, str):
                refusals.append(f"{url}: {answer}")
            elif starts_at_ms is None:
                begins, starts_at_ms = perf_counter() + answer.starts_in, answer.starts_at_ms
        self._clean_start = "clean" if not refusals else "not possible: " + "; ".join(refusals)
        for watch in self.watches:
            watch.look()
            if self.plan.scenario.warm_up == 0:
                watch.take_before()
        return begins if math.isfinite(begins) else perf_counter() + LEAD_SECONDS

    def load(self, start: float) -> None:
        """Hand out the arrivals from *start* on and wait for the last answer; blocks.

        Afterwards `finished` is set and `result` tells what came of it.
        """
        # Collections of the plan's many objects would be pauses in the middle of the load.
        gc.collect()
        gc.freeze()
        # A service may need seconds to get ready; they would dilute the generator's CPU share.
        gevent.sleep(max(0.0, start - perf_counter() - LEAD_SECONDS))
        self._start, warm_up = start, self.plan.scenario.warm_up
        greenlets = [gevent.spawn(watch.run, start, warm_up) for watch in self.watches]
        greenlets.append(gevent.spawn(self._probe.run))
        self._walker = gevent.spawn(self.arrivals.walk, start)
        cpu, wall = time.process_time(), perf_counter()
        self.phase = "loading"
        try:
            if not self.interrupted:
                self._walker.join()
            self._settle()
            self._cpu, self._wall = time.process_time() - cpu, perf_counter() - wall
            gevent.killall(greenlets)
            self._look_back()
        finally:
            gevent.killall(greenlets)
            self.phase = "done"
            self.finished.set()

    def _settle(self) -> None:
        """Wait for the requests that are on their way, bounded."""
        self.phase = "settling"
        end = perf_counter() + self.plan.timeout + 1.0

        def is_over() -> bool:
            recorder = self.recorder
            is_quiet = recorder.in_flight == 0 and recorder.sent >= self.arrivals.handed
            return is_quiet or perf_counter() >= min(end, self._interrupted_at + GRACE_SECONDS)

        until(is_over, limit=math.inf)

    def _look_back(self) -> None:
        limit = 0.0 if self.interrupted else QUEUE_SECONDS
        for watch in self.watches:
            if not watch.take_after(self._start, limit=limit):
                self._notes.append(
                    f"the queue still held conversions {limit:g} s after the last answer; "
                    "queue figures lack them"
                )
            watch.close()

    def interrupt(self) -> None:
        """Hand out no more arrivals; `load` then ends within seconds."""
        self._interrupted_at = min(self._interrupted_at, perf_counter())
        if self._walker is not None:
            self._walker.kill(block=False)

    @property
    def interrupted(self) -> bool:
        """Whether the load was ended before its last arrival was answered."""
        return math.isfinite(self._interrupted_at)

    @property
    def has_begun(self) -> bool:
        """Whether the first arrival's time has been set."""
        return self._walker is not None

    def progress(self) -> dict[str, Any]:
        """Return where the load stands: t in seconds, counts, p50 and p95 of the last answers."""
        seconds = perf_counter() - self._start
        phase = self.phase
        if phase == "loading":
            phase = "warm-up" if seconds < self.plan.scenario.warm_up else "measuring"
        p50, p95 = self.recorder.recent((0.5, 0.95))
        return {
            "t": round(max(seconds, 0.0), 3) if math.isfinite(seconds) else 0.0,
            "planned": self.arrivals.planned,
            "sent": self.recorder.sent,
            "done": self.recorder.done,
            "answered": self.recorder.answered,
            "failed": self.recorder.failed,
            "dropped": len(self.arrivals.dropped),
            "p50": p50,
            "p95": p95,
            "phase": phase,
        }

    def report(self, tell: Callable[[dict[str, Any]], None]) -> None:
        """Give *tell* the progress once a second until the load is finished, and once after."""
        while not self.finished.wait(_PROGRESS_SECONDS):
            tell(self.progress())
        tell(self.progress())

    def result(self) -> LoadResult:
        """Return what has been recorded so far."""
        notes = list(self._notes)
        if self._routing.note:
            notes.insert(0, self._routing.note)
        facts = {
            "run_id": self.plan.run_id,
            "planned": self.arrivals.planned,
            "handed": self.arrivals.handed,
            "pool_size": self.plan.pool_size,
            "cpu_seconds": self._cpu,
            "wall_seconds": self._wall,
            "speed": self._probe.facts(),
            "clean_start": self._clean_start,
            "lag_limit": self.plan.lag_limit,
            "headers": self.recorder.headers.facts(),
        }
        # What an interruption takes from its user has not failed, it is cut off.
        withdrawn = () if self.interrupted else self.arrivals.withdrawn
        return LoadResult(
            rows=self.recorder.rows((*self.arrivals.dropped, *withdrawn)),
            before=tuple(watch.before for watch in self.watches),
            after=tuple(watch.after for watch in self.watches),
            polls=tuple(tuple(watch.polls) for watch in self.watches),
            audit=facts,
            notes=tuple(notes),
            interrupted=self.interrupted,
        )
