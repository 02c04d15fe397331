"""Locust's distributed mode: workers start together and the master adds up what they found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np
from gevent.event import AsyncResult
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from core.histogram import LatencyHistogram
from core.scenario import ENDPOINTS
from scenarios.audit import invalid_reasons
from scenarios.result import LoadResult
from scenarios.run import PREPARE_SECONDS, LoadRun

IDLE, BEGIN, DONE = "edgeproof_idle", "edgeproof_begin", "edgeproof_done"


@dataclass(slots=True, kw_only=True)
class Tally:
    """What one process, or all together, found: after the warm-up, but drops over the whole run."""

    lag_limit: float
    planned: int = 0
    sent: int = 0
    dropped: int = 0
    cpu_share: float = 0.0
    interrupted: bool = False
    lag: LatencyHistogram = field(default_factory=LatencyHistogram)
    latencies: dict[str, LatencyHistogram] = field(default_factory=dict)

    @classmethod
    def of(cls, result: LoadResult, *, warm_up: float) -> Tally:
        """Return the tally of *result*."""
        rows, facts = result.rows, result.audit
        wall = facts["wall_seconds"]
        measured = rows.intended_ns >= warm_up * 1e9
        latencies = {}
        for code, endpoint in enumerate(ENDPOINTS):
            chosen = measured & (rows.endpoint == code)
            if chosen.any():
                latencies[endpoint] = LatencyHistogram.of(rows.latency[chosen])
        return cls(
            lag_limit=facts["lag_limit"],
            planned=facts["planned"],
            sent=len(rows),
            dropped=int(rows.dropped.size),
            cpu_share=facts["cpu_seconds"] / wall if wall else 0.0,
            interrupted=result.interrupted,
            lag=LatencyHistogram.of(np.maximum(rows.lag[measured], 0.0)),
            latencies=latencies,
        )

    def to_message(self) -> dict[str, Any]:
        """Return plain data for Locust's messages."""
        data: dict[str, Any] = {name: getattr(self, name) for name in self.__dataclass_fields__}
        data["lag"] = self.lag.to_json()
        data["latencies"] = {name: h.to_json() for name, h in self.latencies.items()}
        return data

    @classmethod
    def from_message(cls, data: dict[str, Any]) -> Tally:
        """Return the tally of `to_message`."""
        histograms = data["latencies"].items()
        parts = {
            "lag": LatencyHistogram.from_json(data["lag"]),
            "latencies": {name: LatencyHistogram.from_json(h) for name, h in histograms},
        }
        return cls(**{**data, **parts})

    def add(self, other: Tally) -> None:
        """Merge *other* into this tally; the CPU share is that of the busiest process."""
        self.planned += other.planned
        self.sent += other.sent
        self.dropped += other.dropped
        self.cpu_share = max(self.cpu_share, other.cpu_share)
        self.interrupted = self.interrupted or other.interrupted
        self.lag.add(other.lag)
        for name, histogram in other.latencies.items():
            self.latencies.setdefault(name, LatencyHistogram()).add(histogram)

    @property
    def failed(self) -> int:
        """Requests without an answer that counts, drops included."""
        return self.dropped + sum(histogram.failed for histogram in self.latencies.values())

    def invalid(self) -> tuple[str, ...]:
        """Return why the run proves nothing; empty if it can be trusted."""
        return invalid_reasons(
            planned=self.planned,
            dropped=self.dropped,
            sent=self.sent,
            lag_p99=self.lag.quantile(0.99) if self.lag.count else 0.0,
            lag_limit=self.lag_limit,
            cpu_share=self.cpu_share,
            interrupted=self.interrupted,
        )


class Worker:
    """This worker's part: it tells that its pool waits, and begins when the master says so."""

    def __init__(self, environment: Environment, runner: WorkerRunner) -> None:
        self._runner = runner
        self._begin: AsyncResult[dict[str, Any]] = AsyncResult()
        runner.register_message(BEGIN, self._on_begin)

    def _on_begin(self, msg: Any, **_: Any) -> None:
        self._begin.set((perf_counter(), msg.data))

    def carry_out(self, run: LoadRun) -> None:
        """Load this worker's share, and tell the master what came of it; blocks."""
        self._begin = AsyncResult()
        self._runner.send_message(IDLE)
        received, data = self._begin.get(timeout=PREPARE_SECONDS)
        run.arrivals.share(data["position"], data["of"])
        run.load(received + data["starts_in"])

    def tell(self, tally: Tally) -> None:
        """Send the master what this worker found."""
        self._runner.send_message(DONE, tally.to_message())


class Master:
    """Waits until every worker's pool waits, asks for the clean start, and adds up the tallies."""

    def __init__(self, runner: MasterRunner, on_done: Callable[[Tally], None]) -> None:
        self._runner = runner
        self._on_done = on_done
        self._run: LoadRun | None = None
        self._idle: list[str] = []
        self._awaited = 0
        self.tally: Tally | None = None
        runner.register_message(IDLE, self._on_idle, concurrent=True)
        runner.register_message(DONE, self._on_tally)

    def expect(self, run: LoadRun) -> None:
        """Take up a new test, of which *run* is the plan."""
        self._run, self._idle, self._awaited = run, [], 0
        self.tally = Tally(lag_limit=run.plan.lag_limit)

    def _on_idle(self, msg: Any, **_: Any) -> None:
        self._idle.append(msg.node_id)
        workers = list(self._idle)
        if self._run is None or len(workers) != self._runner.worker_count:
            return
        self._awaited = len(workers)
        begins = self._run.prepare()
        for position, worker in enumerate(workers):
            message = {
                "position": position,
                "of": len(workers),
                "starts_in": max(0.0, begins - perf_counter()),
            }
            self._runner.send_message(BEGIN, message, client_id=worker)

    def _on_tally(self, msg: Any, **_: Any) -> None:
        if self.tally is None:
            return
        self.tally.add(Tally.from_message(msg.data))
        self._awaited -= 1
        if self._awaited == 0:
            self._on_done(self.tally)
