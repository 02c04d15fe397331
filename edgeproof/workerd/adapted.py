"""A scenario as the Worker runs it: what it cannot do is refused, each isolate is a process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.errors import InputError
from core.scenario.attribution import Attribution
from core.scenario.scenario import Scenario
from core.service.launcher import check_served
from scenarios.node import Node

RUNTIME = "workerd"
MAX_ISOLATES = 8
_LEARNED_TTL = 4.0
"""Seconds in L1 while the service is learned: most repeats then go to KV."""


def check_runtime(on: str | None) -> bool:
    """Return whether *on*, the option --on, asks for workerd; InputError for another runtime."""
    if on not in (None, RUNTIME):
        raise InputError(
            f"--on {on}: no such runtime; use {RUNTIME}, or leave --on out for the reference "
            "service"
        )
    return on is not None


def refuse_on_workerd(given: Mapping[str, bool]) -> None:
    """Raise InputError for the first option of *given* that is set beside --on workerd."""
    for option, is_given in given.items():
        if is_given:
            raise InputError(f"{option} has no effect on --on {RUNTIME}; leave it out")


def on_workerd(scenario: Scenario) -> Scenario:
    """Return *scenario* with a process for each isolate, as the runtime has them.

    Raise InputError, which names the field, for what the Worker does not do.
    """
    check_served(scenario)
    tiers, topology = scenario.tiers, scenario.topology
    refused = {
        "topology.points_of_presence": topology.points_of_presence > 1,
        "tiers.l1.scope": tiers.l1.scope != "isolate",
        "tiers.l2.consistency": tiers.l2.consistency != "strong",
        "tiers.l2.put": tiers.l2.put != "background",
        "tiers.l3.concurrency": tiers.l3.concurrency != 1,
        "tiers.query_cache": tiers.query_cache.ttl > 0,
        "tiers.tags": tiers.tags,
        "tiers.ttl_jitter": tiers.ttl_jitter > 0,
        "tiers.early_refresh": tiers.early_refresh > 0,
        "tiers.stale_while_revalidate": tiers.stale_while_revalidate > 0,
        "tiers.stale_if_error": tiers.stale_if_error > 0,
        "tiers.single_flight": not tiers.single_flight,
        "regions": bool(scenario.regions),
        "deployments": bool(scenario.deployments),
        "faults of tiers": any(fault.tier is not None for fault in scenario.faults),
    }
    for field, is_asked in refused.items():
        if is_asked:
            raise InputError(
                f"{scenario.name}: {field}: the Worker of --on workerd does not have it; leave it "
                "at its default, or run the reference service without --on"
            )
    count = topology.isolate_count
    if count > MAX_ISOLATES:
        raise InputError(
            f"{scenario.name}: {count} isolates; on workerd each is a process of its own, "
            f"{MAX_ISOLATES} at most: lower topology.isolates"
        )
    changed = topology.model_copy(update={"processes": count, "isolates": 1})
    return scenario.model_copy(update={"topology": changed})


def to_learn(scenario: Scenario) -> Scenario:
    """Return *scenario* with caches that teach all tiers soon: empty ones, and an L1 that forgets.

    The times of the tiers are the same.
    """
    tiers = scenario.tiers
    l1 = tiers.l1.model_copy(update={"ttl": min(tiers.l1.ttl, _LEARNED_TTL)})
    changed = tiers.model_copy(update={"l1": l1})
    return scenario.model_copy(update={"tiers": changed, "start": "cold"})


def ran_on(node: Node) -> str:
    """Return a sentence on what the Worker ran on, with versions."""
    versions = ", ".join(f"{name} {version}" for name, version in reversed(node.versions))
    return f"The service ran as a Worker, a process for each isolate, on {versions}."


def settings_of(scenario: Scenario) -> dict[str, Any]:
    """Return the Worker's own settings; times in seconds."""
    tiers = scenario.tiers
    return {
        "l1": {
            "ttl": tiers.l1.ttl,
            "max_entries": tiers.l1.max_entries,
            "max_bytes": tiers.l1.max_bytes,
        },
        "ttl": {
            read.cache_type: tiers.l2.ttl.of(read.cache_type)
            for endpoint in scenario.endpoints
            for read in endpoint.reads
        },
        "negative_ttl": tiers.negative_ttl,
        "cache_ttl": tiers.l2.cache_ttl,
        "queue": {
            "retry_delay": scenario.queue.retry_delay,
            "doubles": scenario.queue.retry_backoff == "doubling",
        },
        "refresh": scenario.attribution.refresh,
        "attribution": _parameters_of(scenario.attribution),
    }


def _parameters_of(attribution: Attribution) -> dict[str, Any]:
    parameters = attribution.parameters()
    return {"key": parameters.key(), **parameters.to_json()}


def latencies_of(scenario: Scenario) -> dict[str, Any]:
    """Return quantiles of the latencies of the scenario's stores, in milliseconds."""
    l2, l3 = scenario.tiers.l2, scenario.tiers.l3
    found = {
        "kv_read": l2.read,
        "kv_cold_read": l2.cold_read,
        "kv_write": l2.write,
        "round_trip": l3.round_trip,
        "read_execution": l3.read_execution,
        "write_execution": l3.write_execution,
    }
    return {
        "write_share": 1e3 * l3.write_share,
        **{name: [round(1e3 * s, 6) for s in times.table] for name, times in found.items()},
    }


def queue_of(scenario: Scenario) -> dict[str, Any]:
    """Return the settings of the queue's consumer, as the runtime has them."""
    queue = scenario.queue
    return {
        "maxBatchSize": min(queue.batch_size, 100),
        "maxBatchTimeout": min(queue.wait, 60),
        "maxRetries": queue.max_attempts - 1,
        "retryDelay": queue.retry_delay,
    }
