"""One load within a Locust process: clean start, arrivals, the last answers, the result."""

from __future__ import annotations

import gc
import math
import os
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from importlib.metadata import version
from time import perf_counter
from typing import Any

import gevent
import numpy as np
from gevent.event import Event
from numpy.typing import NDArray

from core.errors import EdgeproofError
from core.scenario.retries import Retrying
from core.secrets import Blotter
from scenarios.arrivals import Arrivals
from scenarios.connections import needed_connections
from scenarios.control import ServiceControl
from scenarios.examples import Examples
from scenarios.figures import LoadFigures
from scenarios.hosts import MAX_ANSWER_BYTES
from scenarios.pace import Pace
from scenarios.plan import LoadPlan
from scenarios.recorder import Recorder
from scenarios.rendering import Renderer, Request, secret_names
from scenarios.result import Kind, LoadResult
from scenarios.routing import Routing
from scenarios.watch import ServiceWatch, SpeedProbe, until

POOL_SECONDS = 60.0
PREPARE_SECONDS = 120.0
LEAD_SECONDS = 0.05
QUEUE_SECONDS = 10.0
GRACE_SECONDS = 2.0
HOPELESS_SECONDS = 5.0
HOPELESS_REQUESTS = 10
"""A load of which all requests failed for so long, and at least so many, is ended."""

_LOOK_SECONDS = 0.1
_PROGRESS_SECONDS = 1.0
_SHOWN_REASONS = 3


def user_agent(run_id: str) -> str:
    """Return what requests call their sender: whoever reads a service's log finds the run by it."""
    return f"edgeproof/{version('edgeproof')} (run={run_id})"


class PoolIncomplete(EdgeproofError):
    """Users that never came to wait for an arrival."""


class LoadRun:
    """A plan being carried out; users of the pool call `arrivals`, `renderer` and `recorder`.

    watches: whether this process polls the services' statistics.
    """

    def __init__(self, plan: LoadPlan, *, token: str | None, watches: bool = True) -> None:
        self.plan = plan
        self._routing = Routing.of(plan.scenario.topology, plan.hosts)
        self.arrivals = Arrivals(
            plan.workload.intended_ns,
            most=plan.connections,
            needed=needed_connections(plan.scenario, plan.workload),
            lag_limit=plan.lag_limit,
            follows=plan.workload.follows,
            until=plan.scenario.total_time,
        )
        self.has_sessions = plan.workload.follows is not None
        self.recorder = Recorder(plan.scenario)
        self.arrivals.in_flight = lambda: self.recorder.in_flight
        self.endpoints = plan.scenario.endpoints.names
        self._figures = LoadFigures(
            self.recorder, self.arrivals, self.endpoints, plan.workload.endpoint
        )
        self.timeouts = plan.scenario.timeouts
        self.attempt_timeouts = plan.scenario.attempt_timeouts
        retries = plan.scenario.traffic.retries
        self.clients = (
            Retrying(retries, seed=plan.scenario.seed, replication=plan.replication)
            if retries.is_on
            else None
        )
        self.renderer = self.renderer_of(plan.run_id)
        known = [os.environ.get(name, "") for name in secret_names(plan.scenario)]
        self._blotter = Blotter([*known, token or ""])
        self.examples = Examples(self.endpoints, self._blotter, timeouts=self.attempt_timeouts)
        self.on_unauthorised: Callable[[], None] = lambda: None
        self.ended_early = ""
        self._reach: Any = {"token": token, "transport": plan.transport}
        self._reach["user_agent"] = self.user_agent = user_agent(plan.run_id)
        self._reach["blotter"] = self._blotter
        watched = plan.hosts if watches else ()
        self.watches = [ServiceWatch(url, **self._reach) for url in watched]
        self._pace = Pace(self.arrivals, self.recorder, plan.workload)
        self.phase = "starting"
        self._interrupted_at = math.inf
        self.finished = Event()
        self._probe = SpeedProbe()
        self._walker: gevent.Greenlet | None = None
        self._start = math.nan
        self._cpu = self._wall = 0.0
        self._clean_start = "not asked for"
        self._notes: list[str] = []
        self.renewed = 0
        self.more_users: list[gevent.Greenlet] = []
        """Those that came to the pool during the load."""

    def renderer_of(self, run_id: str) -> Renderer:
        """Return what writes the plan's requests, with events of *run_id*."""
        return Renderer(
            self.plan.scenario,
            self.plan.workload,
            self._routing,
            run_id=run_id,
            replication=self.plan.replication,
            secrets=os.environ,
        )

    def hosts_of(self, isolates: NDArray[np.uint16]) -> NDArray[np.int64]:
        """Return the position of the host that requests of each of *isolates* go to."""
        return self._routing.host[isolates]

    def await_pool(self, users: Callable[[], int]) -> None:
        """Return when *users()* users wait for an arrival; PoolIncomplete if they do not come."""
        if not until(lambda: 0 < users() <= self.arrivals.idle, limit=POOL_SECONDS):
            raise PoolIncomplete(
                f"{self.arrivals.idle} of {users()} users were ready after {POOL_SECONDS:g} s; "
                "use a smaller pool (-u)"
            )

    def warm_up(self, connect: Callable[[], object]) -> None:
        """Do once what would delay the first arrivals: *connect*, rendering, a collection.

        Call it before `prepare`, which chooses when the load begins.
        """
        connect()
        endpoint = self.plan.workload.endpoint
        for code in range(len(self.endpoints)):
            for row in np.flatnonzero(endpoint == code)[:2].tolist():
                self.renderer.request(row)
        # The C library then keeps such blocks: the first large body would wait for fresh pages.
        bytes(MAX_ANSWER_BYTES)
        # Collections of the plan's many objects would be pauses in the middle of the load.
        gc.collect()
        gc.freeze()

    def prepare(self) -> float:
        """Ask every host for a clean start; return when it begins, on the scale of perf_counter().

        The first host chooses the moment, the others are told it.
        """
        begins, starts_at_ms = math.nan, None
        refusals = []
        for url in self.plan.hosts:
            control = ServiceControl(url, timeout=PREPARE_SECONDS, **self._reach)
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
        # A service may need seconds to get ready; they would dilute the generator's CPU share.
        gevent.sleep(max(0.0, start - perf_counter() - LEAD_SECONDS))
        greenlets = self.observe(start)
        greenlets.append(gevent.spawn(self._probe.run))
        if not self.plan.keep_going:
            greenlets.append(gevent.spawn(self._mind_the_answers, start))
        self._walker = gevent.spawn(self.arrivals.walk, start)
        cpu, wall = time.process_time(), perf_counter()
        self.phase = "loading"
        try:
            if not self.interrupted:
                self._walker.join()
            self._settle()
            self._cpu, self._wall = time.process_time() - cpu, perf_counter() - wall
            gevent.killall(greenlets)
            self.look_back()
        finally:
            gevent.killall([*greenlets, *self.more_users])
            self.phase = "done"
            self.finished.set()

    def _mind_the_answers(self, start: float) -> None:
        """End the load where every request of its first seconds failed."""
        recorder = self.recorder
        gevent.sleep(max(0.0, start + HOPELESS_SECONDS - perf_counter()))
        needed = max(HOPELESS_REQUESTS, recorder.sent)
        while recorder.done == recorder.failed:
            if recorder.done >= needed:
                seconds = perf_counter() - start
                (first,) = self.examples.most_frequent(1)
                self.ended_early = (
                    f"ended after {seconds:.1f} s: all {recorder.done:,} requests that had an "
                    f"outcome failed, most often {first['endpoint']}: {first['reason']}; mend "
                    "that, or go on in spite of it with --keep-going"
                )
                self.interrupt()
                return
            gevent.sleep(_LOOK_SECONDS)

    def _settle(self) -> None:
        """Wait for the requests that are on their way, bounded."""
        self.phase = "settling"
        end = perf_counter() + self.plan.timeout + 1.0

        def is_over() -> bool:
            recorder = self.recorder
            is_quiet = recorder.in_flight == 0 and recorder.sent >= self.arrivals.handed
            return is_quiet or perf_counter() >= min(end, self._interrupted_at + GRACE_SECONDS)

        until(is_over, limit=math.inf)

    def observe(self, start: float) -> list[gevent.Greenlet]:
        """Watch the services' statistics of a load that begins at *start*; return who does."""
        self._start, warm_up = start, self.plan.scenario.warm_up
        return [gevent.spawn(watch.run, start, warm_up) for watch in self.watches]

    def look_back(self) -> None:
        """Take the services' last statistics, once their queues are empty; bounded."""
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
        is_over = phase == "done"
        sent_rate, planned_rate = (None, None) if is_over else self._pace.rates(seconds)
        said = {
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
            "in_flight": self.recorder.in_flight,
            "rate": sent_rate,
            "planned_rate": planned_rate,
            "hits": self.recorder.recent_hits(),
            "reasons": self.examples.most_frequent(_SHOWN_REASONS),
        }
        if self.plan.metrics:
            said["figures"] = self._figures.to_json()
        return said

    def note_failure(self, request: Request, asked: Any) -> None:
        """Keep what the answer to *request* was, and ask for a new token where this one is out."""
        response, error = asked.response, asked.error
        body = b"" if error is not None else response.content or b""
        self.examples.note(
            request, asked.kind, response.status_code, body=body, location=asked.location,
            error=error, check=asked.check,
        )  # fmt: skip
        if asked.kind is Kind.STATUS and response.status_code == HTTPStatus.UNAUTHORIZED:
            self.on_unauthorised()

    def renew(self, secrets: Mapping[str, str]) -> None:
        """Send further requests with *secrets*, which replace variables of the environment."""
        for value in secrets.values():
            self._blotter.add(value)
        self.renderer.renew({**os.environ, **secrets})
        self.renewed += 1

    def note(self, text: str) -> None:
        """Tell the report's reader *text*, once."""
        if text not in self._notes:
            self._notes.append(text)

    def report(self, tell: Callable[[dict[str, Any]], None]) -> None:
        """Give *tell* the progress once a second until the load is finished, and once after."""
        while not self.finished.wait(_PROGRESS_SECONDS):
            tell(self.progress())
        tell(self.progress())

    def result(self) -> LoadResult:
        """Return what has been recorded so far."""
        notes = [*self.plan.transport.notes, *self._notes]
        if self.renewed:
            notes.append(f"tokens were fetched again during the load: {self.renewed} times")
        if self._routing.note:
            notes.insert(0, self._routing.note)
        hide = self._blotter.hide
        facts = {
            "run_id": self.plan.run_id,
            "planned": self.arrivals.planned,
            "handed": self.arrivals.handed,
            "pool_size": self.plan.pool_size,
            "connections": self.plan.connections,
            "connections_used": self.arrivals.users,
            "cpu_seconds": self._cpu,
            "wall_seconds": self._wall,
            "speed": self._probe.facts(),
            "clean_start": hide(self._clean_start),
            "lag_limit": self.plan.lag_limit,
            "headers": self.recorder.headers.facts(self._blotter),
            "examples": self.examples.to_json(),
            "ended_early": hide(self.ended_early),
        }
        # What an interruption takes from its user has not failed, it is cut off.
        withdrawn = () if self.interrupted else self.arrivals.withdrawn
        return LoadResult(
            rows=self.recorder.rows((*self.arrivals.dropped, *withdrawn), self.arrivals.held),
            before=tuple(watch.before for watch in self.watches),
            after=tuple(watch.after for watch in self.watches),
            polls=tuple(tuple(watch.polls) for watch in self.watches),
            audit=facts,
            notes=tuple(map(hide, notes)),
            interrupted=self.interrupted,
        )
