"""Whether a service keeps up: how fast the requests that wait for an answer become more."""

from __future__ import annotations

import numpy as np

from core.scenario.scenario import Scenario
from core.scenario.workload import Workload
from scenarios.result import Kind, LoadResult

LIMIT = 0.05
"""Of the arrival rate: what a service that answers all but so few of its requests leaves behind."""

_STEP = 0.1
_UNANSWERED = (Kind.TIMEOUT, Kind.UNFINISHED, Kind.STALLED, Kind.EXHAUSTED)


def growth(scenario: Scenario, workload: Workload, result: LoadResult) -> float:
    """Return by how many requests a second those in flight grew over the judged part.

    The slope of a straight line through their number, ten times a second. A request is in flight
    from its intended time to its answer; one without an answer, or that found no connection, for
    the timeout.
    """
    rows = result.rows
    begun = np.concatenate((rows.intended_ns, workload.intended_ns[rows.dropped])) / 1e9
    lasted = np.where(np.isin(rows.kind, _UNANSWERED), scenario.timeout, rows.latency)
    # What failed otherwise was answered, or its connection ended, at a moment that nobody kept.
    lasted = np.where(np.isfinite(lasted), lasted, 0.0)
    lasted = np.concatenate((lasted, np.full(rows.dropped.size, scenario.timeout)))
    ended = np.sort(begun + lasted)
    times = np.arange(scenario.warm_up, scenario.total_time, _STEP)
    if times.size < 2:
        return 0.0
    in_flight = np.searchsorted(np.sort(begun), times) - np.searchsorted(ended, times)
    return float(np.polyfit(times, in_flight, 1)[0])
