"""Which requests of a load are in doubt, and what they could have come to."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from math import inf

import numpy as np
from numpy.typing import NDArray

from core.endpoints import EndpointTable
from core.metrics.doubt import Doubt
from core.metrics.histogram import LatencyHistogram
from core.scenario.scenario import Scenario
from core.scenario.workload import Workload
from core.wire import NEGATIVE, READ_OUTCOMES
from scenarios.flaws import Flaw
from scenarios.result import OWN_KINDS, Kind, LoadResult

_TIMED_OUT = (Kind.TIMEOUT, Kind.STALLED)

Mask = NDArray[np.bool_]


def doubt_of(
    workload: Workload,
    result: LoadResult,
    flaws: Collection[Flaw],
    *,
    scenario: Scenario,
    cpu: NDArray[np.float64],
    span: tuple[float, float] | None = None,
) -> Doubt | None:
    """Return what *flaws* leave open of a load of *workload*; None if that is nothing or all.

    cpu: each row's CPU time in seconds, NaN where the service does not tell. span: the part of the
    run that is judged, in seconds from the start of arrivals; by default all after the warm-up.
    """
    if not flaws or {Flaw.OTHER_REQUESTS, Flaw.LOST_WORKER, Flaw.RESTARTED} & {*flaws}:
        return None
    rows, interrupted = result.rows, result.interrupted
    endpoints = scenario.endpoints
    start, end = (scenario.warm_up, inf) if span is None else span
    judged = (rows.intended_ns >= start * 1e9) & (rows.intended_ns < end * 1e9)
    has_outcome = rows.kind != Kind.UNFINISHED if interrupted else np.ones(len(rows), np.bool_)
    failed = (rows.kind != Kind.ANSWERED) & has_outcome
    late = rows.lag > float(result.audit["lag_limit"]) if Flaw.LATE in flaws else judged & False
    own = failed & np.isin(rows.kind, OWN_KINDS) if Flaw.OWN_FAILURES in flaws else judged & False
    is_busy = Flaw.BUSY in flaws
    # A busy generator reads late what was answered in time.
    slow = late | is_busy
    excused = failed & (late | own | (is_busy & np.isin(rows.kind, _TIMED_OUT)))
    lost = np.setdiff1d(rows.dropped, rows.held) if Flaw.UNSENT in flaws else rows.dropped[:0]
    absent = np.ones(len(workload), np.bool_)
    absent[rows.index[has_outcome]] = absent[rows.dropped] = False
    if Flaw.INTERRUPTED not in flaws:
        absent[:] = False
    in_span = (workload.intended_ns >= start * 1e9) & (workload.intended_ns < end * 1e9)
    lost_judged = lost[in_span[lost]]
    absent_judged = np.flatnonzero(absent & in_span)
    number = len(endpoints.names)
    never = np.bincount(workload.endpoint[np.concatenate((lost_judged, absent_judged))],
                        minlength=number)  # fmt: skip
    fallen = np.bincount(rows.endpoint[judged & excused], minlength=number)
    lost_by = np.bincount(workload.endpoint[lost_judged], minlength=number)
    open_rows = judged & (late | own | excused)
    told = np.count_nonzero(rows.reads & (NEGATIVE - 1), axis=1)
    most_reads = [
        _most(
            told[(rows.endpoint == code) & (rows.kind == Kind.ANSWERED)],
            len(endpoints.read_names[name]),
        )
        for code, name in enumerate(endpoints.names)
    ]
    unknown_reads = sum(n * most for n, most in zip(never.tolist(), most_reads, strict=True))
    for code, most in enumerate(most_reads):
        here = judged & excused & (rows.endpoint == code)
        unknown_reads += int(np.maximum(most - told[here], 0).sum())
    missing = int(never.sum() + fallen.sum())
    most_samples = _most_samples(scenario)
    stages, unknown = _samples(
        result, judged=judged, doubtful=open_rows, missing=missing, most=most_samples, cpu=cpu
    )
    touched = int(np.count_nonzero(open_rows))
    gone = lost.size + int(np.count_nonzero(absent)) + int(np.count_nonzero(own))
    return Doubt(
        late={
            name: LatencyHistogram.of(rows.latency[chosen])
            for code, name in enumerate(endpoints.names)
            if (chosen := judged & slow & ~failed & has_outcome & (rows.endpoint == code)).any()
        },
        excused=_named(endpoints, fallen + lost_by),
        absent=_named(endpoints, np.bincount(workload.endpoint[absent_judged], minlength=number)),
        reads=_reads(rows.reads[open_rows] & (NEGATIVE - 1)),
        unknown_reads=unknown_reads,
        stages=stages,
        unplaced={name: touched * most for name, most in most_samples.items() if touched},
        unknown=unknown,
        memory=len(workload) / max(1, len(workload) - gone),
        is_timeless=Flaw.WRONG_DELAYS in flaws,
    )


def _most_samples(scenario: Scenario) -> dict[str, int]:
    """Return what a request gives at most to each stage that only the service's statistics tell."""
    longest = max(map(len, scenario.endpoints.read_names.values()))
    stages = [stage for stage in scenario.metrics.table.stages if stage.source == "profiler"]
    return {stage.name: 1 + longest if stage.name == "query" else 1 for stage in stages}


def _most(told: NDArray[np.int64], otherwise: int) -> int:
    return int(told.max()) if told.size else otherwise


def _named(endpoints: EndpointTable, counts: NDArray[np.int64]) -> dict[str, int]:
    return {name: n for name, n in zip(endpoints.names, counts.tolist(), strict=True) if n}


def _reads(codes: NDArray[np.uint8]) -> dict[str, int]:
    counts = np.bincount(codes.ravel(), minlength=len(READ_OUTCOMES)).tolist()
    return {name: n for name, n in zip(READ_OUTCOMES[1:], counts[1:], strict=True) if n}


def _samples(
    result: LoadResult,
    *,
    judged: Mask,
    doubtful: Mask,
    missing: int,
    most: Mapping[str, int],
    cpu: NDArray[np.float64],
) -> tuple[dict[str, LatencyHistogram], dict[str, int]]:
    """Return per stage the samples of the rows in doubt, and how many more there could be."""
    rows = result.rows
    known, unknown = {}, {}
    columns = [(name, *rows.samples[name]) for name in rows.samples]
    for name, values in (("total", rows.total), ("cpu", cpu)):
        positions = np.flatnonzero(~np.isnan(values))
        columns.append((name, positions, values[positions]))
    for name, positions, seconds in columns:
        if not positions.size:
            continue
        chosen = (judged & doubtful)[positions]
        if chosen.any():
            known[name] = LatencyHistogram.of(seconds[chosen])
        if missing:
            unknown[name] = missing * int(np.bincount(positions).max())
    if missing:
        unknown |= {name: missing * n for name, n in most.items()}
    return known, unknown
