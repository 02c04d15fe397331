"""What the compiled engine covers: a scenario's first feature that it does not, by name."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from core.endpoint import STATED, Endpoint
from core.endpoints import CDP
from core.errors import InputError
from core.scenario.calibration import Calibration
from core.scenario.eviction import is_off
from core.scenario.replay import History, Prepared
from core.scenario.scenario import Scenario
from core.scenario.workload import Workload
from sim.model import Played

MOST_PLACES = 12_000_000
"""Keys times isolates that L1 has places for."""
MOST_KEYS = 200_000
"""Keys that a point of presence of the edge store caches; beyond, it drops some."""
MOST_CHANNELS = 63
_HOUR = 3_600.0
_BLOCK = 500_000
_BEHAVIOURS = {endpoint.behaviour for endpoint in CDP} | {
    STATED,
    "core.application.behaviours:STORE",
}


class NotCovered(InputError):
    """A run met something that the compiled engine does not simulate."""


def uncovered(
    scenario: Scenario,
    prepared: Prepared,
    calibration: Calibration | None = None,
    played: Played | None = None,
) -> str:
    """Return what of a run the compiled engine does not simulate, "" if it simulates all."""
    if calibration is not None:
        if calibration.outside:
            return "endpoints of which only the latency is learned (the calibration)"
        scenario = calibration.apply(scenario)
    return (
        _of_run(scenario, prepared, played)
        or _of_endpoints(scenario)
        or _of_faults(scenario)
        or _of_tiers(scenario)
        or _of_queue(scenario, prepared, played)
        or _of_size(scenario, prepared, played)
    )


def _of_run(scenario: Scenario, prepared: Prepared, played: Played | None) -> str:
    if scenario.traffic.retries.is_on:
        return "clients that try again (traffic.retries)"
    if played is not None and _others(scenario, prepared.workload, played.workload):
        return "requests before the run about subjects that the run has not"
    if scenario.regions:
        return "regions"
    if scenario.tiers.l3.replicas.count:
        return "read replicas (tiers.l3.replicas)"
    if scenario.invalidation.is_on:
        return "invalidation"
    if scenario.deployments:
        return "deployments"
    if not is_off(scenario.topology.eviction):
        return "isolates that are evicted and started (topology.eviction)"
    if prepared.effects is not None:
        return "the sets, deletes and TTLs of a trace (trace.writes)"
    if prepared.workload.follows is not None:
        return "sessions whose visitors think (traffic.sessions)"
    if not len(prepared.workload):
        return "a run without requests"
    if scenario.total_time > 365 * 24 * _HOUR:
        return f"a run of {scenario.total_time:g} s"
    return ""


def _of_endpoints(scenario: Scenario) -> str:
    for endpoint in scenario.endpoints:
        if fault := _of_endpoint(endpoint):
            return fault
    return ""


def _of_endpoint(endpoint: Endpoint) -> str:
    if endpoint.unknown:
        return f"endpoint {endpoint.name}, whose {endpoint.unknown} nobody states"
    if endpoint.behaviour not in _BEHAVIOURS:
        return f"the behaviour of endpoint {endpoint.name} ({endpoint.behaviour})"
    types = [read.cache_type for read in endpoint.reads]
    if len(set(types)) < len(types):
        return f"two reads of one cache type by endpoint {endpoint.name}"
    if endpoint.writes and endpoint.subject != "user":
        return f"events of endpoint {endpoint.name} about a {endpoint.subject}"
    return ""


def _of_faults(scenario: Scenario) -> str:
    for place, fault in enumerate(scenario.faults):
        if fault.kind.is_of_traffic:
            continue  # the workload has it
        name = f"faults[{place}] ({fault.tier} {fault.kind.name})"
        if fault.kind.name not in ("slow", "error", "dead"):
            return f"{name}, a kind of an installed package"
    return ""


def _of_tiers(scenario: Scenario) -> str:
    tiers = scenario.tiers
    longest = max(len(endpoint.reads) for endpoint in scenario.endpoints)
    if tiers.l1.scope == "request" and (
        tiers.l1.max_entries < longest or tiers.l1.max_bytes < 1_000_000
    ):
        return "an L1 of the request that cannot hold the request's reads"
    return ""


def conversions_of(scenario: Scenario, prepared: Prepared, played: Played | None = None) -> float:
    """Return how many conversions are queued, about."""
    asked_of = [prepared.workload.endpoint]
    if played is not None:
        asked_of.append(played.workload.endpoint)
    writers = [
        code
        for code, endpoint in enumerate(scenario.endpoints)
        if endpoint.writes == "event" and not endpoint.behaviour.endswith(":STORE")
    ]
    asked = sum(
        np.count_nonzero(codes[part] == code)
        for codes in asked_of
        for part in _blocks(codes.size)
        for code in writers
    )
    return float(asked) * scenario.traffic.conversion_share


def _others(scenario: Scenario, workload: Workload, before: Workload) -> bool:
    """Return whether *before* asks for users or conversions that the database has not."""
    known = {"user": workload.users, "conversion": workload.conversions}
    return any(
        _most(before.subject[before.endpoint == code]) > known.get(endpoint.subject, MOST_KEYS)
        for code, endpoint in enumerate(scenario.endpoints)
    )


def _of_queue(scenario: Scenario, prepared: Prepared, played: Played | None) -> str:
    queue, every = scenario.queue, scenario.attribution.fit_every
    conversions = conversions_of(scenario, prepared, played)
    seconds = scenario.total_time + (0.0 if played is None else played.ahead)
    by_time = seconds / queue.wait if queue.wait else conversions
    if every and min(conversions, by_time + conversions / queue.batch_size) > 1.05 * every:
        return "the fit of a model (attribution.fit_every)"
    if scenario.traffic.channels > MOST_CHANNELS:
        return f"more than {MOST_CHANNELS} channels (traffic.channels)"
    return ""


def _of_size(scenario: Scenario, prepared: Prepared, played: Played | None) -> str:
    keys = keys_of(scenario, prepared, played)
    isolates = scenario.topology.isolate_count
    if (keys + 1) * isolates > MOST_PLACES:
        return f"{keys:,} keys in each of {isolates:,} isolates: more than {MOST_PLACES:,} places"
    if scenario.tiers.l2.consistency == "eventual" and keys > MOST_KEYS:
        return f"{keys:,} keys with tiers.l2.consistency = eventual: more than {MOST_KEYS:,}"
    return ""


def keys_of(scenario: Scenario, prepared: Prepared, played: Played | None = None) -> int:
    """Return how many cache keys there are."""
    return sum(counts_of(scenario, prepared, played).values())


def counts_of(
    scenario: Scenario, prepared: Prepared, played: Played | None = None
) -> dict[str, int]:
    """Return how many keys each cache type has, in the order of the reads."""
    workload = prepared.workload
    counts: dict[str, int] = {}
    for code, endpoint in enumerate(scenario.endpoints):
        for read in endpoint.reads:
            if read.key == "site":
                count = scenario.traffic.sites
            elif read.key == "none":
                count = 1
            else:
                known = {"user": workload.users, "conversion": workload.conversions, "model": 7}
                own = scenario.subjects.get(endpoint.subject)
                least = known.get(endpoint.subject, 1 if own is None else own.count or 1)
                count = _asked(workload, code, least)
                if prepared.history is not None:
                    count = _asked(prepared.history, code, count)
                if played is not None:
                    count = _asked(played.workload, code, count)
            counts[read.cache_type] = max(count, counts.get(read.cache_type, 0))
    return counts


def _asked(of: Workload | History, code: int, least: int) -> int:
    """Return how many subjects an endpoint is asked about, *least* at least."""
    if _most(of.subject) <= least:  # quicker than to choose the endpoint's
        return least
    chosen = (of.subject[part][of.endpoint[part] == code] for part in _blocks(of.subject.size))
    return max(least, *map(_most, chosen))


def _blocks(rows: int) -> Iterator[slice]:
    """Yield the parts of many rows, so that what is computed of them takes little memory."""
    for start in range(0, rows, _BLOCK):
        yield slice(start, start + _BLOCK)


def _most(subjects: NDArray[np.uint32]) -> int:
    """Return how many subjects there are if they are numbered from 0 on."""
    return int(subjects.max()) + 1 if subjects.size else 0
