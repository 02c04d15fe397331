"""The arrays of a run as it begins, and how they grow."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

import sim.compiled.slots as s
from core.distributions import Distribution
from core.scenario.scenario import Scenario
from core.scenario.workload import Workload
from sim.compiled.memory import ABSENT, PLACE
from sim.compiled.state import Array, State

_FIRST = 4_096


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
        "aparts": linked(2 * count, s.PA_COUNT, s.PA_NEXT),
        "newf": np.zeros((4 * count, s.NF_COUNT)),
        "news": linked(4 * count, s.NI_COUNT, s.NI_NEXT),
        "outbox": np.zeros((count, s.OB_COUNT), dtype=np.int64),
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


def grow(state: State, why: int) -> State:
    """Return *state* with more room where the loop has none."""
    if why == s.OUT_GROW_HEAP:
        count = 2 * len(state.times)
        return state._replace(
            times=longer(state.times, count), sequences=longer(state.sequences, count),
            events=longer(state.events, count),
        )  # fmt: skip
    if why == s.OUT_GROW_REQUESTS:
        return state._replace(
            reqf=longer(state.reqf, 2 * len(state.reqf)),
            reqi=longer_linked(state.reqi, s.RI_NEXT),
            ready=np.empty(2 * len(state.ready), dtype=np.int64),  # it is empty
        )
    if why == s.OUT_GROW_FLIGHTS:
        return state._replace(flights=longer_linked(state.flights, 2))
    if why == s.OUT_GROW_PUTS:
        return state._replace(
            putf=longer(state.putf, 2 * len(state.putf)), puts=longer_linked(state.puts, s.PI_NEXT)
        )
    if why == s.OUT_GROW_APARTS:
        return state._replace(aparts=longer_linked(state.aparts, s.PA_NEXT))
    if why == s.OUT_GROW_LOADS:
        return state._replace(
            newf=longer(state.newf, 2 * len(state.newf)), news=longer_linked(state.news, s.NI_NEXT)
        )
    if why == s.OUT_GROW_ASKS:
        return state._replace(
            askf=longer(state.askf, 2 * len(state.askf)), asks=longer_linked(state.asks, s.AI_NEXT)
        )
    if why != s.OUT_GROW_OUTBOX:
        raise ValueError(f"nothing grows for the reason {why}")
    return state._replace(outbox=longer(state.outbox, 2 * len(state.outbox)))


def memory(scenario: Scenario, keys: int, isolates: int) -> dict[str, Array]:
    """Return L1 of every isolate, empty."""
    width = keys + 1
    tiers = scenario.tiers
    keeps = tiers.stale_bound > 0 or tiers.early_refresh > 0
    return {
        "places": _places(keys, isolates),
        "held": np.zeros((isolates, 3), dtype=np.int64),
        "lives": np.zeros((isolates * width if keeps else 1, 5)),
    }


def row_cache(scenario: Scenario, keys: int, processes: int) -> dict[str, Array]:
    """Return the cache of query rows of every process, empty."""
    count, processes = (keys, processes) if scenario.tiers.query_cache.ttl else (0, 1)
    return {
        "rows": _places(count, processes),
        "rows_held": np.zeros((processes, 3), dtype=np.int64),
        "rows_value": np.zeros((processes, count), dtype=np.int64),
    }


def _places(keys: int, lists: int) -> Array:
    width = keys + 1
    places = np.zeros(lists * width, dtype=PLACE)
    places["expires"] = ABSENT
    places["flight"] = -1
    ends = np.arange(lists) * width + keys
    places["next"][ends] = keys
    places["before"][ends] = keys
    return places


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
        "ends": np.zeros(keys if is_edge else 1),
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
        "failure": np.zeros(n, dtype=np.uint8),
    }


def figures(parts: int, processes: int, profiles: int) -> dict[str, Array]:
    """Return room for what is counted."""
    return {
        "hist": np.zeros((1 + parts, s.STAGES, s.BUCKETS), dtype=np.int64),
        "sums": np.zeros((1 + parts, s.STAGES, 2), dtype=np.int64),
        "seen": np.zeros((processes, profiles, s.BUCKETS), dtype=np.uint8),
        "phist": np.zeros((s.KINDS, s.BUCKETS), dtype=np.int64),
        "psums": np.zeros((s.KINDS, 3), dtype=np.int64),
        "growth": np.zeros((3, 4 + 2 * processes)),
    }
