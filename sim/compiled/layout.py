"""The arrays that the compiled loop takes, in its order, and how they grow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

import sim.compiled.slots as s
from core.distributions import Distribution
from core.scenario.scenario import Scenario
from core.scenario.workload import Workload
from sim.compiled.memory import ABSENT, PLACE

Array = NDArray[Any]
_FIRST = 4_096


@dataclass(slots=True, kw_only=True)
class Arrays:
    """What the loop takes behind its bound, in the order of its parameters."""

    cf: Array
    ci: Array
    si: Array
    cnt: Array
    seed: Any
    stream: Any
    intended_ns: Array
    endpoint: Array
    subject: Array
    isolate: Array
    total: Array
    codes: Array
    epf: Array
    epi: Array
    reads: Array
    tyf: Array
    tyi: Array
    kbase: Array
    ksize: Array
    faults: Array
    parts: Array
    t_read: Array
    t_cold: Array
    t_write: Array
    t_trip: Array
    t_rx: Array
    t_wx: Array
    t_sent: Array
    times: Array
    sequences: Array
    events: Array
    ready: Array
    reqf: Array
    reqi: Array
    flights: Array
    putf: Array
    puts: Array
    newf: Array
    news: Array
    askf: Array
    asks: Array
    batf: Array
    bats: Array
    delf: Array
    dels: Array
    places: Array
    held: Array
    lives: Array
    central: Array
    edge: Array
    sizes: Array
    edge_sizes: Array
    written: Array
    hot: Array
    hots: Array
    cpu_free: Array
    servers: Array
    breaker: Array
    due: Array
    background: Array
    in_flight: Array
    hist: Array
    sums: Array
    seen: Array
    phist: Array
    psums: Array
    growth: Array
    seed_times: Array
    seed_kinds: Array
    seed_channels: Array
    seed_lengths: Array
    channel_lengths: Array
    users: Array
    newest: Array
    before: Array
    converted: Array
    touch_from: Array
    touch_count: Array
    log: Array
    outbox: Array
    bodies: Array
    order: Array
    order_keys: Array

    def arguments(self) -> tuple[Any, ...]:
        """Return them in the loop's order."""
        return tuple(getattr(self, each.name) for each in fields(self))


def table(distribution: Distribution) -> Array:
    """Return a distribution's quantile table."""
    return np.array(distribution.table, dtype=np.float64)


def linked(count: int, columns: int, link: int) -> Array:
    """Return places of which each names the next free one."""
    places = np.full((count, columns), -1, dtype=np.int64)
    places[:, link] = np.arange(1, count + 1)
    return places


def in_flight(arrays: Mapping[str, Array] | None = None) -> dict[str, Array]:
    """Return the pools of what is under way."""
    count = _FIRST
    return {
        "times": np.empty(16 * count),
        "sequences": np.empty(16 * count, dtype=np.int64),
        "events": np.empty(16 * count, dtype=np.int64),
        "ready": np.empty(16 * count, dtype=np.int64),
        "reqf": np.zeros((count, s.RF_COUNT)),
        "reqi": linked(count, s.RI_COUNT, s.RI_NEXT),
        "flights": linked(4 * count, 3, 2),
        "putf": np.zeros((4 * count, s.PF_COUNT)),
        "puts": linked(4 * count, s.PI_COUNT, s.PI_NEXT),
        "newf": np.zeros((4 * count, s.NF_COUNT)),
        "news": linked(4 * count, s.NI_COUNT, s.NI_NEXT),
        "outbox": np.zeros(count, dtype=np.int64),
    }


def longer(array: Array, count: int) -> Array:
    """Return *array* with *count* rows, the new ones free or 0."""
    grown = np.zeros((count, *array.shape[1:]), dtype=array.dtype)
    grown[: len(array)] = array
    return grown


def longer_linked(array: Array, link: int) -> Array:
    """Return *array* with twice as many places; the last free one is followed by the new ones."""
    count = len(array)
    grown = linked(2 * count, array.shape[1], link)
    grown[:count] = array
    return grown


def grow(arrays: Arrays, why: int, most_batch: int) -> None:
    """Make room where the loop has none."""
    if why == s.OUT_GROW_HEAP:
        for name in ("times", "sequences", "events"):
            setattr(arrays, name, longer(getattr(arrays, name), 2 * len(arrays.times)))
    elif why == s.OUT_GROW_REQUESTS:
        arrays.reqf = longer(arrays.reqf, 2 * len(arrays.reqf))
        arrays.reqi = longer_linked(arrays.reqi, s.RI_NEXT)
        arrays.ready = np.empty(2 * len(arrays.ready), dtype=np.int64)  # it is empty
    elif why == s.OUT_GROW_FLIGHTS:
        arrays.flights = longer_linked(arrays.flights, 2)
    elif why == s.OUT_GROW_PUTS:
        arrays.putf = longer(arrays.putf, 2 * len(arrays.putf))
        arrays.puts = longer_linked(arrays.puts, s.PI_NEXT)
    elif why == s.OUT_GROW_LOADS:
        arrays.newf = longer(arrays.newf, 2 * len(arrays.newf))
        arrays.news = longer_linked(arrays.news, s.NI_NEXT)
    elif why == s.OUT_GROW_ASKS:
        arrays.askf = longer(arrays.askf, 2 * len(arrays.askf))
        arrays.asks = longer_linked(arrays.asks, s.AI_NEXT)
    elif why == s.OUT_GROW_OUTBOX:
        # A ring: its rows move to the start.
        first, last = int(arrays.si[s.S_OUT_FIRST]), int(arrays.si[s.S_OUT_LAST])
        grown = np.zeros(2 * len(arrays.outbox) + 8 * most_batch, dtype=np.int64)
        places = np.arange(first, last) % len(arrays.outbox)
        grown[: last - first] = arrays.outbox[places]
        arrays.outbox = grown
        arrays.si[s.S_OUT_FIRST], arrays.si[s.S_OUT_LAST] = 0, last - first


def memory(scenario: Scenario, keys: int, isolates: int) -> dict[str, Array]:
    """Return L1 of every isolate, empty."""
    width = keys + 1
    places = np.zeros(isolates * width, dtype=PLACE)
    places["expires"] = ABSENT
    places["flight"] = -1
    ends = np.arange(isolates) * width + keys
    places["next"][ends] = keys
    places["before"][ends] = keys
    tiers = scenario.tiers
    keeps = tiers.stale_bound > 0 or tiers.early_refresh > 0
    return {
        "places": places,
        "held": np.zeros((isolates, 3), dtype=np.int64),
        "lives": np.zeros((isolates * width if keeps else 1, 4)),
    }


def second_tier(scenario: Scenario, keys: int, processes: int) -> dict[str, Array]:
    """Return L2, empty and cold."""
    is_edge = scenario.tiers.l2.consistency == "eventual"
    pops = scenario.topology.points_of_presence if is_edge else 1
    central = np.zeros((keys, 4))
    central[:, 0] = -1.0
    edge = np.zeros((pops, keys if is_edge else 1, 4))
    edge[:, :, 0] = -1.0
    return {
        "central": central,
        "edge": edge,
        "sizes": np.zeros(keys, dtype=np.int64),
        "edge_sizes": np.zeros(edge.shape[:2], dtype=np.int64),
        "written": np.full(keys if is_edge else 1, -np.inf),
        "hot": np.full((processes, keys), -1.0),
        "hots": np.zeros(processes, dtype=np.int64),
    }


def rows_of(workload: Workload, width: int) -> dict[str, Array]:
    """Return the requests, and room for what becomes of them."""
    n = len(workload)
    return {
        "intended_ns": np.ascontiguousarray(workload.intended_ns),
        "endpoint": np.ascontiguousarray(workload.endpoint),
        "subject": np.ascontiguousarray(workload.subject),
        "isolate": np.ascontiguousarray(workload.isolate),
        "total": np.empty(n),
        "codes": np.zeros((n, width), dtype=np.uint8),
    }


def figures(parts: int, processes: int, profiles: int) -> dict[str, Array]:
    """Return room for what is counted."""
    return {
        "hist": np.zeros((1 + parts, s.STAGES, s.BUCKETS), dtype=np.int64),
        "sums": np.zeros((1 + parts, s.STAGES, 2), dtype=np.int64),
        "seen": np.zeros((processes, profiles, s.BUCKETS), dtype=np.uint8),
        "phist": np.zeros((s.KINDS, s.BUCKETS), dtype=np.int64),
        "psums": np.zeros((s.KINDS, 2), dtype=np.int64),
        "growth": np.zeros((3, 4 + 2 * processes)),
    }
