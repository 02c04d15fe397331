"""Workloads from recorded traces: real keys with the scenario's types, times and isolates."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.errors import InputError
from core.scenario.population import MAX_PROFILE_BYTES
from core.scenario.recorded import Effects, recorded_effects
from core.scenario.scenario import Scenario
from core.scenario.subjects import MAX_ID_CHARS
from core.scenario.trace import Trace
from core.scenario.trace_endpoints import endpoints_of_trace, type_notes
from core.scenario.trace_time import UNIT_NAMES
from core.scenario.trace_window import TimedWindow, timed_window, trace_of
from core.scenario.traffic_faults import due, with_traffic_faults
from core.scenario.workload import Workload, arrivals, generate_workload, isolates
from core.texts import count_of

DEFAULT_OFFSET = 300_000
"""Accesses before the window of a warm start, where the scenario names none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The reads of a trace before its window, one entry each, oldest first; shape (m,).

    seconds: when, counted back from the start of the run (negative, f8); endpoint (u1) and
    subject (u4) as in a Workload. effects: of the recorded accesses; their rows count from here.
    """

    seconds: NDArray[np.float64]
    endpoint: NDArray[np.uint8]
    subject: NDArray[np.uint32]
    effects: Effects | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What a run is given: its requests and, from a trace, the accesses before and beside them."""

    workload: Workload
    history: History | None = None
    effects: Effects | None = None

    @property
    def has_effects(self) -> bool:
        """Whether a trace does more to the caches than read them."""
        return self.effects is not None or (
            self.history is not None and self.history.effects is not None
        )


def reads_only(scenario: Scenario) -> Scenario:
    """Return *scenario* without the sets, deletes and TTLs of its trace."""
    trace = scenario.trace.model_copy(update={"writes": False})
    return scenario.model_copy(update={"trace": trace})


def prepare_measured(scenario: Scenario) -> Prepared:
    """Return what `prepare` does for a run that is judged.

    Raise InputError also if no request arrives after the warm-up, or none that a fault can strike.
    """
    prepared = prepare(scenario)
    workload = prepared.workload
    intended_ns = workload.intended_ns
    if intended_ns.size and intended_ns[-1] >= scenario.warm_up * 1e9:
        _check_faults(scenario, workload)
        return prepared
    remedy = "raise the rate or the duration"
    if workload.is_timed:
        remedy = (
            f"the trace's window, {count_of(len(workload), 'access')}, ends after "
            f"{workload.intended[-1]:.3g} s: shorten warm_up, or lower --rate or trace.speed"
        )
        if scenario.trace.time_unit is None:
            remedy += "; --time-unit says what the times are, if they are not what they look like"
    raise InputError(
        f"{scenario.name}: no request arrives after the warm-up of {scenario.warm_up:g} s; {remedy}"
    )


def _check_faults(scenario: Scenario, workload: Workload) -> None:
    intended = workload.intended
    for position, fault in enumerate(scenario.faults):
        met, which = intended >= fault.at, "request"
        if fault.kind.is_of_traffic:
            met = due(fault, workload, scenario.endpoints)
            which = "request" if fault.asked_of is None else f"{fault.asked_of} request"
        if not met.any():
            raise InputError(
                f"{scenario.name}: faults[{position}] ({fault.kind.name}) cannot strike: no "
                f"{which} arrives from {fault.at:g} s on for it; the last one of all arrives at "
                f"{intended[-1]:.3g} s: let it start earlier, or leave it out"
            )


def prepare_service(scenario: Scenario) -> Prepared:
    """Return what a service for *scenario* holds at its start, as `prepare` has it.

    What it is asked for is not decided here: without conversions it still serves.
    """
    traffic = scenario.traffic
    if traffic.conversions == 0 and scenario.trace.file is None:
        others = [e.name for e in scenario.endpoints if e.subject != "conversion"]
        weights = dict.fromkeys(scenario.endpoints.names, 0.0)
        weights |= {name: traffic.mix.of(name) for name in others}
        weights |= {name: weights[name] or 1.0 for name in others[:1]}
        mix = traffic.mix.model_copy(update=weights)
        traffic = traffic.model_copy(update={"mix": mix})
        scenario = scenario.model_copy(update={"traffic": traffic})
    return prepare(scenario)


def prepare(scenario: Scenario, *, replication: int = 0) -> Prepared:
    """Return the requests of *scenario*, drawn or from its trace; InputError if they cannot be."""
    try:
        if scenario.trace.file is None:
            drawn = generate_workload(scenario, replication=replication)
            return Prepared(workload=with_traffic_faults(scenario, drawn, replication=replication))
        if (window := timed_window(scenario)) is not None:
            return _timed(scenario, window, replication)
        # Arrivals first: they tell how much of a large trace has to be read.
        drawn_ns = arrivals(scenario, replication=replication)
    except ValueError as error:
        raise InputError(f"{scenario.name}: {error}") from None
    return _from_trace(scenario, Path(scenario.trace.file), drawn_ns, replication)


def _from_trace(
    scenario: Scenario, path: Path, drawn_ns: NDArray[np.int64], replication: int
) -> Prepared:
    source = scenario.trace
    for name, value in (("speed", source.speed), ("time_unit", source.time_unit)):
        if value not in (None, 1.0):
            raise InputError(
                f"trace.{name} is {value}: {path} has no times that it could count for; leave it "
                "out"
            )
    wanted = min(drawn_ns.size, source.limit or drawn_ns.size)
    offset = source.offset
    if offset is None and scenario.start == "cold":
        offset = 0
    stop = (DEFAULT_OFFSET if offset is None else offset) + (source.limit or drawn_ns.size)
    trace = trace_of(source, max(stop, 1), with_names=bool(scenario.subjects))
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
            f"{path}: {count_of(max(available, 0), 'access')} from offset {offset:,} on, the "
            "run needs "
            f"{wanted:,}; lower --rate, the duration or --trace-offset, or give --trace-limit"
        )
    rate = wanted / scenario.total_time
    before = ((np.arange(offset) - offset + 0.5) / rate).astype(np.float64)
    notes = (
        f"Real keys from {trace.source} (accesses {offset + 1:,} to {offset + wanted:,}), "
        "assigned types, TTLs and times: the trace has no times of its own.",
        *type_notes(scenario, trace),
        *trace.notes,
    )
    return _assemble(scenario, trace, offset, drawn_ns[:wanted], before, notes, replication)


def _timed(scenario: Scenario, window: TimedWindow, replication: int) -> Prepared:
    trace, offset, stop, speed = window.trace, window.offset, window.stop, scenario.trace.speed
    assert trace.times is not None
    since = (trace.times[:stop] - trace.times[offset]) / speed
    intended_ns = np.round(since[offset:] * 1e9).astype(np.int64)
    lasts = window.span / speed
    notes = [
        f"Real keys and times from {trace.source} (accesses {offset + 1:,} to {stop:,}), "
        f"{_shown(window.rate)} requests/s on average; the scenario's arrival rates are not used."
    ]
    if speed != 1:
        notes.append(
            f"The trace's times run {speed:.3g} times as fast as recorded: "
            f"{_shown(window.rate)} requests/s on average instead of {_shown(window.rate / speed)}."
        )
    if lasts < 0.99 * scenario.total_time:
        notes.append(
            f"The trace's accesses last {lasts:.3g} s of the run's {scenario.total_time:.3g} s; "
            "nothing arrives later."
        )
    if trace.unit_from == "values" and trace.time_unit != "s":
        notes.append(
            f"The trace's times look like {UNIT_NAMES[trace.time_unit]} since 1970 and are taken "
            "so; --time-unit says otherwise."
        )
    if trace.unit_from == "default":
        notes.append(
            "The trace's times are taken as seconds since its start; --time-unit says otherwise."
        )
    notes += (*type_notes(scenario, trace), *trace.notes)
    return _assemble(
        scenario, trace, offset, intended_ns, since[:offset], tuple(notes), replication
    )


def _shown(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"


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
    endpoint = endpoints_of_trace(scenario, trace)[:stop]
    keys = trace.keys[:stop]
    subject = np.empty(stop, dtype=np.uint32)
    counts = {}
    ids: dict[str, tuple[str, ...]] = {}
    for name in ("user", "conversion", *scenario.subjects):
        members = [code for code, e in enumerate(scenario.endpoints) if e.subject == name]
        chosen = np.isin(endpoint, members)
        subject[chosen], counts[name] = _number(keys, chosen, offset)
        if name in scenario.subjects:
            key_of = np.empty(counts[name], dtype=np.uint32)
            key_of[subject[chosen]] = keys[chosen]
            ids[name] = _sendable(trace, key_of)
    recorded = recorded_effects(
        scenario, trace, endpoint, subject, np.concatenate((before, intended_ns / 1e9)),
        written=None if trace.writes is None else endpoints_of_trace(scenario, trace, trace.writes),
    )  # fmt: skip
    notes = (*notes, *recorded.notes(offset, stop))
    sizes = None
    if trace.sizes is not None:
        sizes = np.zeros(max(1, counts["user"]), dtype=np.int64)
        writers = [scenario.endpoints.index(name) for name in scenario.endpoints.writers]
        tracked = np.isin(endpoint, writers)
        if unsized := int(np.count_nonzero(~tracked[offset:])):
            notes = (
                *notes,
                f"The sizes of {count_of(unsized, 'access')} are not used: only what tracking "
                "looks up has "
                "a size of its own, other values are what the database gives.",
            )
        if (largest := int(trace.sizes[:stop][tracked].max(initial=0))) > MAX_PROFILE_BYTES:
            raise InputError(
                f"{trace.source}: a size is {largest:,} bytes, and a row of the database takes "
                f"{MAX_PROFILE_BYTES:,} (D1's limit); lower it, or leave the field size out"
            )
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
        ids=ids,
        is_timed=trace.times is not None,
        notes=notes,
    )
    return Prepared(
        workload=with_traffic_faults(scenario, workload, replication=replication),
        history=History(
            seconds=before, endpoint=endpoint[:offset], subject=subject[:offset],
            effects=recorded.part(0, offset),
        ),
        effects=recorded.part(offset, stop),
    )  # fmt: skip


def _sendable(trace: Trace, keys: NDArray[np.uint32]) -> tuple[str, ...]:
    """Return *keys* as the trace's file has them; InputError for one that no request can hold."""
    ids = tuple(trace.key_names[key] for key in keys.tolist())
    for key in ids:
        if len(key) > MAX_ID_CHARS or not key.isprintable():
            raise InputError(
                f"{trace.source}: the key {key!r:.60} cannot be sent: an id has 1 to "
                f"{MAX_ID_CHARS} characters, no control character among them"
            )
    return ids


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
