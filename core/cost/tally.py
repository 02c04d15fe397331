"""What a run tells of its use of the platform: the counts that a bill is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from core.metrics.record import RunRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Counts of the judged part of a run.

    seconds: its length. requests: by endpoint. reads: cache reads by name and outcome, as in a
    record. counters: of the domain, in proportion where the run counted its warm-up, too. cpu:
    seconds of CPU of a request, None where nobody told. key_writes: the most writes of one key
    within a second, None where they cannot be told. attempts: that clients made for a request.
    """

    seconds: float
    requests: Mapping[str, int]
    reads: Mapping[str, Mapping[str, int]]
    counters: Mapping[str, float] = field(default_factory=dict)
    cpu: float | None = None
    key_writes: int | None = None
    attempts: float = 1.0

    @property
    def total(self) -> int:
        """Requests of all endpoints."""
        return sum(self.requests.values())

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.total / self.seconds

    def outcome(self, read: str, *outcomes: str) -> int:
        """Return how many reads of the name *read* had one of *outcomes*."""
        found = self.reads.get(read, {})
        return sum(found.get(outcome, 0) for outcome in outcomes)


def tally_of(record: RunRecord, *, key_writes: int | None = None) -> Tally:
    """Return the counts of *record*.

    A simulation counts over the whole run, so its counters are taken in proportion to the requests
    that are judged; a load's begin with them.
    """
    requests = {name: histogram.count for name, histogram in record.latencies.items()}
    judged = sum(requests.values())
    share = judged / record.planned if record.engine == "simulate" and record.planned else 1.0
    stage = record.stages.get("cpu")
    return Tally(
        seconds=record.duration,
        requests=requests,
        reads=record.reads,
        counters={name: count * share for name, count in record.counters.items()},
        cpu=stage.mean if stage is not None and stage.counts else None,
        key_writes=key_writes,
        attempts=record.tries.attempts / judged if record.tries is not None and judged else 1.0,
    )
