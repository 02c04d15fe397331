"""Which scenarios a pass over the reads answers for; the others are simulated as a whole."""

from __future__ import annotations

from core.scenario.eviction import is_off
from core.scenario.replay import Prepared
from core.scenario.scenario import Scenario


def not_passed(scenario: Scenario, prepared: Prepared) -> str:
    """Return what of *scenario* a pass and theory leave out, "" if nothing that they could."""
    tiers = scenario.tiers
    switches = {
        "values that are served beyond their TTL (tiers.stale_while_revalidate)":
            tiers.stale_while_revalidate,
        "values that are served beyond their TTL (tiers.stale_if_error)": tiers.stale_if_error,
        "renewal before the end (tiers.early_refresh)": tiers.early_refresh,
        "TTLs that are drawn (tiers.ttl_jitter)": tiers.ttl_jitter,
        "loads that are not shared (tiers.single_flight = false)": not tiers.single_flight,
        "the places of an edge store (tiers.l2.consistency = eventual)":
            tiers.l2.consistency == "eventual",
        "clients that try again (traffic.retries)": scenario.traffic.retries.is_on,
        "visitors that think (traffic.sessions)": scenario.traffic.sessions is not None,
        "regions": bool(scenario.regions),
        "deployments": bool(scenario.deployments),
        "isolates that are evicted and started (topology.eviction)":
            not is_off(scenario.topology.eviction),
        "writes that outdate values (invalidation)": scenario.invalidation.is_on,
        "read replicas (tiers.l3.replicas)": bool(tiers.l3.replicas.count),
    }  # fmt: skip
    for name, is_on in switches.items():
        if is_on:
            return name
    for place, fault in enumerate(scenario.faults):
        if not fault.kind.is_of_traffic:
            return f"faults[{place}] ({fault.tier} {fault.kind.name})"
    if prepared.has_effects:
        return "the sets, deletes and TTLs of the trace (trace.writes)"
    for read in (read for endpoint in scenario.endpoints for read in endpoint.reads):
        if read.queries is None and any(e.unknown for e in scenario.endpoints if read in e.reads):
            return f"reads whose loads nobody states ({read.name})"
    slowest = max(tiers.l2.read.table[-1], tiers.l2.cold_read.table[-1])
    if slowest > tiers.l2.timeout:
        return f"reads of L2 that take longer than tiers.l2.timeout ({tiers.l2.timeout:g} s)"
    return ""
