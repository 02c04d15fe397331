"""Workloads from recorded traces: real keys with the scenario's types, times and isolates."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.errors import InputError
from core.hot_keys import with_hot_keys
from core.scenario import ENDPOINTS, Scenario, TraceType
from core.trace import Trace, read_trace
from core.workload import Workload, arrivals, generate_workload, isolates

DEFAULT_OFFSET = 300_000
"""Accesses before the window of a warm start, where the scenario names none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The accesses of a trace before its window, one entry each, oldest first; shape (m,).

    seconds: when, counted back from the start of the run (negative, f8); endpoint (u1) and
    subject (u4) as in a Workload.
    """

    seconds: NDArray[np.float64]
    endpoint: NDArray[np.uint8]
    subject: NDArray[np.uint32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What a run is given: its requests and, from a trace, the accesses before them."""

    workload: Workload
    history: History | None = None


def prepare_measured(scenario: Scenario) -> Prepared:
    """Return what `prepare` does; InputError also if no request arrives after the warm-up."""
    prepared = prepare(scenario)
    intended_ns = prepared.workload.intended_ns
    if not intended_ns.size or intended_ns[-1] < scenario.warm_up * 1e9:
        raise InputError(
            f"{scenario.name}: no request arrives after the warm-up of {scenario.warm_up:g} s; "
            "raise the rate or the duration"
        )
    return prepared


def prepare_service(scenario: Scenario) -> Prepared:
    """Return what a service for *scenario* holds at its start, as `prepare` has it.

    What it is asked for is not decided here: without conversions it still serves.
    """
    traffic = scenario.traffic
    if traffic.conversions == 0 and scenario.trace.file is None:
        mix = traffic.mix.model_copy(update={"attribution": 0.0, "track": traffic.mix.track or 1.0})
        traffic = traffic.model_copy(update={"mix": mix})
        scenario = scenario.model_copy(update={"traffic": traffic})
    return prepare(scenario)


def prepare(scenario: Scenario, *, replication: int = 0) -> Prepared:
    """Return the requests of *scenario*, drawn or from its trace; InputError if they cannot be."""
    try:
        if scenario.trace.file is None:
            drawn = generate_workload(scenario, replication=replication)
            return Prepared(workload=with_hot_keys(scenario, drawn, replication=replication))
        # Arrivals first: they tell how much of a large trace has to be read.
        drawn_ns = arrivals(scenario, replication=replication)
    except ValueError as error:
        raise InputError(f"{scenario.name}: {error}") from None
    return _from_trace(scenario, Path(scenario.trace.file), drawn_ns, replication)


def _from_trace(
    scenario: Scenario, path: Path, drawn_ns: NDArray[np.int64], replication: int
) -> Prepared:
    source = scenario.trace
    wanted = min(drawn_ns.size, source.limit or drawn_ns.size)
    offset = source.offset
    if offset is None and scenario.start == "cold":
        offset = 0
    stop = (DEFAULT_OFFSET if offset is None else offset) + (source.limit or drawn_ns.size)
    trace = read_trace(path, stop=max(stop, 1))
    if trace.times is not None:
        if source.limit is None and trace.keys.size >= stop:
            trace = read_trace(path)  # its own times, not the arrivals, tell where it ends
        return _timed(scenario, trace, offset or 0, replication)
    if wanted == 0:
        raise InputError(
            f"{scenario.name}: traffic.stages give no request, and {trace.source} has no times of "
            "its own; raise a rate"
        )
    if offset is None:
        offset = min(DEFAULT_OFFSET, max(0, trace.keys.size - wanted))
    available = trace.keys.size - offset
    if available < wanted:
        raise InputError(
            f"{path}: {max(available, 0):,} accesses from offset {offset:,} on, the run needs "
            f"{wanted:,}; lower --rate, the duration or --trace-offset, or give --trace-limit"
        )
    rate = wanted / scenario.total_time
    before = ((np.arange(offset) - offset + 0.5) / rate).astype(np.float64)
    notes = (
        f"Real keys from {trace.source} (accesses {offset + 1:,} to {offset + wanted:,}), "
        "assigned types, TTLs and times: the trace has no times of its own.",
    )
    return _assemble(scenario, trace, offset, drawn_ns[:wanted], before, notes, replication)


def _timed(scenario: Scenario, trace: Trace, offset: int, replication: int) -> Prepared:
    times = trace.times
    assert times is not None
    if offset >= times.size:
        raise InputError(
            f"{trace.source}: {times.size:,} accesses, none after offset {offset:,}; "
            "lower --trace-offset"
        )
    since = times - times[offset]
    last = int(np.searchsorted(since, scenario.total_time, side="left"))
    stop = min(last, offset + (scenario.trace.limit or times.size))
    intended_ns = np.round(since[offset:stop] * 1e9).astype(np.int64)
    notes = (
        f"Real keys and times from {trace.source} (accesses {offset + 1:,} to {stop:,}); "
        "the scenario's arrival rates are not used.",
    )
    return _assemble(scenario, trace, offset, intended_ns, since[:offset], notes, replication)


def _assemble(
    scenario: Scenario,
    trace: Trace,
    offset: int,
    intended_ns: NDArray[np.int64],
    before: NDArray[np.float64],
    notes: tuple[str, ...],
    replication: int,
) -> Prepared:
    stop = offset + intended_ns.size
    endpoint = _endpoints(scenario, trace, stop)
    keys = trace.keys[:stop]
    subject = np.empty(stop, dtype=np.uint32)
    counts = {}
    for name, members in (("user", ("track", "journey")), ("conversion", ("attribution",))):
        chosen = np.isin(endpoint, [ENDPOINTS.index(member) for member in members])
        subject[chosen], counts[name] = _number(keys, chosen, offset)
    sizes = None
    if trace.sizes is not None:
        sizes = np.zeros(max(1, counts["user"]), dtype=np.int64)
        tracked = endpoint == ENDPOINTS.index("track")
        sizes[subject[tracked]] = trace.sizes[:stop][tracked]
    isolate = isolates(scenario, stop - offset, replication=replication)
    workload = Workload(
        intended_ns=intended_ns,
        endpoint=endpoint[offset:],
        subject=subject[offset:],
        isolate=isolate,
        users=max(1, counts["user"]),
        conversions=max(1, counts["conversion"]),
        profile_bytes=sizes,
        notes=notes,
    )
    return Prepared(
        workload=with_hot_keys(scenario, workload, replication=replication),
        history=History(seconds=before, endpoint=endpoint[:offset], subject=subject[:offset]),
    )


def _endpoints(scenario: Scenario, trace: Trace, stop: int) -> NDArray[np.uint8]:
    source = scenario.trace
    default = ENDPOINTS.index(source.default.endpoint)
    if trace.endpoints is not None:
        for name in trace.endpoint_names:
            if name not in ("track", "attribution", "journey"):
                raise InputError(
                    f"{trace.source}: endpoint is {name!r}; a trace can ask for track, "
                    "attribution or journey"
                )
        codes = np.array([ENDPOINTS.index(name) for name in trace.endpoint_names], dtype=np.uint8)
        return codes[trace.endpoints[:stop]]
    if trace.types is None:
        return np.full(stop, default, dtype=np.uint8)
    types: dict[str, TraceType] = source.types
    codes = np.array(
        [ENDPOINTS.index(types.get(name, source.default).endpoint) for name in trace.type_names],
        dtype=np.uint8,
    )
    return codes[trace.types[:stop]]


def _number(
    keys: NDArray[np.uint32], chosen: NDArray[np.bool_], offset: int
) -> tuple[NDArray[np.uint32], int]:
    """Number the chosen keys by first appearance in the window, then before it.

    Return one number for each chosen access, and how many numbers there are.
    """
    picked = keys[chosen]
    first = int(np.count_nonzero(chosen[:offset]))
    order = np.concatenate((picked[first:], picked[:first]))
    distinct, appeared, inverse = np.unique(order, return_index=True, return_inverse=True)
    rank = np.empty(distinct.size, dtype=np.uint32)
    rank[np.argsort(appeared, kind="stable")] = np.arange(distinct.size, dtype=np.uint32)
    numbered = rank[inverse]
    return np.concatenate((numbered[order.size - first :], numbered[: order.size - first])), int(
        distinct.size
    )
