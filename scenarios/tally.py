"""What one of several Locust processes found, small enough to send, and the sum over all."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from core.metrics.failures import Failure, merged
from core.metrics.histogram import LatencyHistogram
from scenarios.audit import at_fault
from scenarios.flaws import flaws_of
from scenarios.measurement import failures
from scenarios.plan import LoadPlan
from scenarios.result import LoadResult


@dataclass(slots=True, kw_only=True)
class Tally:
    """What one process, or all together, found: after the warm-up, but drops over the whole run."""

    lag_limit: float
    timeout: float
    timeouts: dict[str, float] = field(default_factory=dict)
    planned: int = 0
    sent: int = 0
    dropped: int = 0
    held: int = 0
    late: int = 0
    judged: int = 0
    cpu_share: float = 0.0
    interrupted: bool = False
    lag: LatencyHistogram = field(default_factory=LatencyHistogram)
    latencies: dict[str, LatencyHistogram] = field(default_factory=dict)
    failures: tuple[Failure, ...] = ()

    @classmethod
    def of(cls, plan: LoadPlan, result: LoadResult) -> Tally:
        """Return the tally of *result*, a load of *plan*."""
        rows, facts, warm_up = result.rows, result.audit, plan.scenario.warm_up
        wall = facts["wall_seconds"]
        measured = rows.intended_ns >= warm_up * 1e9
        latencies = {}
        for code, endpoint in enumerate(plan.scenario.endpoints.names):
            chosen = measured & (rows.endpoint == code)
            if chosen.any():
                latencies[endpoint] = LatencyHistogram.of(rows.latency[chosen])
        return cls(
            lag_limit=facts["lag_limit"],
            timeout=plan.scenario.timeout,
            timeouts=plan.scenario.attempt_limits,
            planned=facts["planned"],
            sent=len(rows),
            dropped=int(rows.dropped.size),
            held=int(rows.held.size),
            late=int(np.count_nonzero(rows.lag[measured] > facts["lag_limit"])),
            judged=int(np.count_nonzero(measured)),
            cpu_share=facts["cpu_seconds"] / wall if wall else 0.0,
            interrupted=result.interrupted,
            lag=LatencyHistogram.of(np.maximum(rows.lag[measured], 0.0)),
            latencies=latencies,
            failures=failures(
                plan.workload,
                result,
                after=warm_up,
                endpoints=plan.scenario.endpoints.names,
                checks=plan.scenario.targets.checks,
            ),
        )

    def to_message(self) -> dict[str, Any]:
        """Return plain data for Locust's messages."""
        data: dict[str, Any] = {name: getattr(self, name) for name in self.__dataclass_fields__}
        data["lag"] = self.lag.to_json()
        data["latencies"] = {name: h.to_json() for name, h in self.latencies.items()}
        data["failures"] = [failure.to_json() for failure in self.failures]
        return data

    @classmethod
    def from_message(cls, data: dict[str, Any]) -> Tally:
        """Return the tally of `to_message`."""
        histograms = data["latencies"].items()
        parts = {
            "lag": LatencyHistogram.from_json(data["lag"]),
            "latencies": {name: LatencyHistogram.from_json(h) for name, h in histograms},
            "failures": tuple(Failure.from_json(each) for each in data["failures"]),
        }
        return cls(**{**data, **parts})

    def add(self, other: Tally) -> None:
        """Merge *other* into this tally; the CPU share is that of the busiest process."""
        self.planned += other.planned
        self.sent += other.sent
        self.dropped += other.dropped
        self.held += other.held
        self.late += other.late
        self.judged += other.judged
        self.cpu_share = max(self.cpu_share, other.cpu_share)
        self.interrupted = self.interrupted or other.interrupted
        self.failures = merged((*self.failures, *other.failures))
        self.lag.add(other.lag)
        for name, histogram in other.latencies.items():
            self.latencies.setdefault(name, LatencyHistogram()).add(histogram)

    def invalid(self) -> tuple[str, ...]:
        """Return the flaws of the run; empty if it can be trusted."""
        flaws = flaws_of(
            planned=self.planned,
            unsent=self.dropped - self.held,
            sent=self.sent,
            late=self.late,
            judged=self.judged,
            lag_limit=self.lag_limit,
            cpu_share=self.cpu_share,
            at_fault=at_fault(self.failures),
            interrupted=self.interrupted,
        )
        return tuple(flaws.values())
