"""One load of a service: the plan, the Locust process, the record, and what of it is kept."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from core.errors import InputError
from core.metrics.record import RunRecord
from core.scenario.scenario import Scenario
from core.scenario.workload import Workload
from core.units import format_duration, parse_duration
from edgeproof.access import Access
from edgeproof.load_metrics import LoadMetrics
from edgeproof.progress import Display
from edgeproof.runs import write_run
from scenarios.connections import checked_connections
from scenarios.crew import Fleet
from scenarios.driver import run_load
from scenarios.hosts import check_bounds, check_reachable, checked_hosts, named_hosts
from scenarios.measurement import measure
from scenarios.plan import make_plan
from scenarios.rendering import compiled
from scenarios.result import LoadResult
from scenarios.routing import Routing


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a load may reach: hosts besides this machine, requests/s, seconds, connections."""

    allowed: tuple[str, ...]
    max_rate: float
    max_duration: float
    connections: int | None = None


def bounds(
    allow: list[str] | None, max_rate: float, max_duration: str, connections: int | None = None
) -> Bounds:
    """Return the checked bounds; InputError names an option that cannot be used."""
    try:
        seconds = parse_duration(max_duration)
    except ValueError as error:
        raise InputError(f"--max-duration: {error}") from None
    if connections is not None:
        checked_connections(connections, connections)
    return Bounds(
        allowed=named_hosts(allow or ()),
        max_rate=max_rate,
        max_duration=seconds,
        connections=connections,
    )


def check_allowed(allow: Sequence[str] | None, urls: Sequence[str]) -> None:
    """Raise InputError if --i-am-allowed-to-load names a host that no --host asks to load.

    What is wrong with a URL `checked_hosts` says.
    """
    try:
        loaded = {urlsplit(url).hostname or "" for url in urls}
    except ValueError:
        return
    if "" in loaded:
        return
    for name in allow or ():
        if name.strip().lower() not in loaded:
            hosts = f"--host names {', '.join(sorted(loaded))}" if loaded else "no --host is given"
            raise InputError(f"--i-am-allowed-to-load {name}: {hosts}; leave it out or correct it")


def check_hosts(hosts: Sequence[str], limits: Bounds, access: Access) -> None:
    """Raise InputError for a host that may not be loaded, HostUnreachable for a dead one."""
    transport = access.transport
    checked = checked_hosts(hosts, allowed=limits.allowed, transport=transport)
    check_reachable(checked, transport)


def check_load(
    scenario: Scenario,
    workload: Workload,
    hosts: Sequence[str],
    limits: Bounds,
    access: Access,
) -> None:
    """Raise InputError for what `drive` would refuse, before anything is started or written."""
    check_bounds(scenario, workload, max_rate=limits.max_rate, max_duration=limits.max_duration)
    compiled(scenario, {**os.environ, **access.tokens.values})
    if hosts:
        checked = checked_hosts(hosts, allowed=limits.allowed, transport=access.transport)
        Routing.of(scenario.topology, checked)


def was_interrupted(result: LoadResult) -> bool:
    """Return whether somebody ended the load; one that ended otherwise has its reason."""
    return result.interrupted and not (result.audit.get("ended_early") or result.audit.get("lost"))


def run_id() -> str:
    """Return a new id, so that a second run's events are not taken for duplicates."""
    return f"r{secrets.token_hex(5)}"


def drive(
    scenario: Scenario,
    workload: Workload,
    urls: Sequence[str],
    folder: Path,
    *,
    phase: str,
    limits: Bounds,
    display: Display,
    access: Access,
    replication: int = 0,
    fleet: Fleet | None = None,
    metrics: LoadMetrics | None = None,
) -> LoadResult:
    """Send *workload*, a *replication* of the scenario's, to *urls*; return what came of it.

    Its files go into *folder*. fleet: the processes that share it, None for one alone. metrics:
    takes what the load says of itself.
    """
    folder.mkdir(parents=True, exist_ok=True)
    plan = make_plan(
        scenario,
        workload,
        urls,
        run_id=run_id(),
        allowed_hosts=limits.allowed,
        connections=limits.connections,
        max_rate=limits.max_rate,
        max_duration=limits.max_duration,
        processes=1 if fleet is None else fleet.workers,
        replication=replication,
        transport=access.transport,
        preflight=access.preflight,
        keep_going=access.keep_going,
        renews=bool(access.tokens),
    )
    if metrics is not None:
        plan = replace(plan, metrics=True)
        metrics.begin()
    last = float(workload.intended_ns[-1]) / 1e9 if len(workload) else 1.0

    def relay(said: Mapping[str, Any]) -> None:
        if metrics is not None:
            metrics.take(said)
        if said.get("phase") == "waiting":
            here, wanted = said["workers"], said["expected"]
            display.update("workers", here / wanted, f"{here} of {wanted} are there")
            return
        is_over = said.get("phase") == "done"
        share = 1.0 if is_over else min(float(said.get("t") or 0.0) / last, 0.99)
        display.update(phase, share, progress_text(said, len(workload)), progress_reasons(said))

    display.update(phase, 0.0, "waiting for every connection to be idle")
    return run_load(plan, folder, on_progress=relay, tokens=access.tokens, fleet=fleet)


def progress_text(said: Mapping[str, Any], planned: int) -> str:
    """Return where a load of *planned* requests stands, in one line."""
    parts = [f"{said.get('answered', 0):,} of {planned:,} answered"]
    rate, planned_rate = said.get("rate"), said.get("planned_rate")
    if rate is not None and planned_rate is not None:
        parts.append(f"{rate:,.0f}/s of {planned_rate:,.0f}/s planned")
    if in_flight := said.get("in_flight"):
        parts.append(f"{in_flight:,} in flight")
    if (p95 := said.get("p95")) is not None:
        parts.append(f"p95 {format_duration(p95)}")
    if hits := said.get("hits"):
        tiers = ", ".join(f"{tier.upper()} {100 * share:.0f}" for tier, share in hits.items())
        parts.append(f"hits {100 * sum(hits.values()):.0f} % ({tiers})")
    parts += [f"{said[name]:,} {name}" for name in ("failed", "dropped") if said.get(name)]
    return ", ".join(parts)


def progress_reasons(said: Mapping[str, Any]) -> list[str]:
    """Return why requests of a running load failed so far, a line for each reason."""
    return [
        f"  {each['count']:,} {each['endpoint']}: {each['reason']}"
        + (f", e.g. {each['example']}" if each["example"] else "")
        for each in said.get("reasons", ())
    ]


def keep(
    scenario: Scenario, workload: Workload, result: LoadResult, folder: Path, *, clean: bool
) -> RunRecord:
    """Write record.json and requests.npz of *result* into *folder*; return the record."""
    record, requests = measure(scenario, workload, result, clean=clean)
    write_run(folder, record, requests)
    return record
