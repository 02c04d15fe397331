"""The requests of a flawed run whose outcome its load generator may have caused or hidden."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from core.metrics.histogram import LatencyHistogram


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """The judged requests whose outcome the load generator may have caused or hidden.

    late: per endpoint, the latencies of requests that succeeded and that could have been faster:
    they were sent or read late. A late request is at best answered at once and at worst as slow as
    recorded, since the latency counts from the intended start.
    excused: per endpoint, requests recorded as failed that could have succeeded at once.
    absent: per endpoint, requests that the record lacks; each could have succeeded or failed.
    reads: the cache reads of these requests by outcome, of which each could have had any other.
    unknown_reads: how many more reads they could have made.
    stages: per stage, the samples of these requests; each could have had any value.
    unplaced: per stage, how many of its samples belong to these requests, where nobody knows which.
    unknown: per stage, how many more samples these requests could have given.
    memory: the factor on the peak of the memory at worst.
    is_timeless: no time of the run says anything.
    """

    late: Mapping[str, LatencyHistogram] = field(default_factory=dict)
    excused: Mapping[str, int] = field(default_factory=dict)
    absent: Mapping[str, int] = field(default_factory=dict)
    reads: Mapping[str, int] = field(default_factory=dict)
    unknown_reads: int = 0
    stages: Mapping[str, LatencyHistogram] = field(default_factory=dict)
    unplaced: Mapping[str, int] = field(default_factory=dict)
    unknown: Mapping[str, int] = field(default_factory=dict)
    memory: float = 1.0
    is_timeless: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        data: dict[str, Any] = {name: getattr(self, name) for name in self.__dataclass_fields__}
        for name in ("late", "stages"):
            data[name] = {key: h.to_json() for key, h in sorted(data[name].items())}
        for name in ("excused", "absent", "reads", "unplaced", "unknown"):
            data[name] = dict(sorted(data[name].items()))
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return what `to_json` gave; KeyError, TypeError or ValueError if it is none."""
        parts = {
            name: {key: LatencyHistogram.from_json(h) for key, h in data[name].items()}
            for name in ("late", "stages")
        }
        return cls(**{**data, **parts})
