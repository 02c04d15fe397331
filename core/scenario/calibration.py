"""What a measurement taught about one service: its times, and what lies before it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from core.distributions import Distribution
from core.endpoints import EndpointTable
from core.scenario.idling import Idling
from core.scenario.outside import Learned, Mixture
from core.scenario.scenario import Scenario
from core.scenario.topology import Cpu

DEPTHS = ("l1", "l2", "l3")
"""How far a request went: to no store, to the key-value store, or to the database."""

TIER_TIMES = (
    "l2.read", "l2.cold_read", "l2.write", "l3.round_trip", "l3.read_execution",
    "l3.write_execution",
)  # fmt: skip
"""The times of the tiers that a calibration may replace, as a scenario names them."""

WRITE_ONLY = "core.application.behaviours:STORE"
"""What an endpoint does that writes an event and is known to read no cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Learned at a low rate, for the service and the moment; what it lacks the scenario states.

    cpu: seconds of process CPU, None where the service does not tell them; cpu_scale: what the
    scenario's CPU costs are multiplied by then. between: by endpoint and depth, the seconds that
    lie between client and service: what the client waits beyond the tiers' times and that CPU.
    idling: what it waits longer where no other request came shortly before; not in between.
    tiers: times by their place in [tiers] (`TIER_TIMES`). concurrency: of the database. ttls:
    seconds that entries live in any cache, by cache type, where that is shorter than the scenario
    states. unread: the cache reads that an endpoint was never seen to make. outside: endpoints of
    which only the answers' latency is known. speed: mean seconds that the service took for the
    fixed work. lag: 5 % of the requests were sent so many seconds late, or more, by which a busy
    machine shows. requests: how many were answered. few: what the scenario's value stays for, and
    why. notes: what a reader has to know.
    """

    cpu: Cpu | None = None
    cpu_scale: float = 1.0
    between: Mapping[str, Mapping[str, Learned]] = field(default_factory=dict)
    idling: Idling = field(default_factory=Idling)
    tiers: Mapping[str, Learned] = field(default_factory=dict)
    concurrency: int | None = None
    ttls: Mapping[str, float] = field(default_factory=dict)
    unread: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    outside: Mapping[str, Mixture] = field(default_factory=dict)
    speed: float | None = None
    lag: float | None = None
    requests: int = 0
    few: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def apply(self, scenario: Scenario) -> Scenario:
        """Return *scenario* with what was learned in place of what it states."""
        cpu = self.cpu or _scaled(scenario.topology.cpu, self.cpu_scale)
        topology = scenario.topology.model_copy(update={"cpu": cpu})
        tiers = scenario.tiers
        for tier in ("l2", "l3"):
            learned: dict[str, Any] = {
                place.partition(".")[2]: known.times
                for place, known in self.tiers.items()
                if place.startswith(tier)
            }
            if tier == "l3" and self.concurrency is not None:
                learned["concurrency"] = self.concurrency
            if tier == "l2" and self.ttls:
                learned["ttl"] = tiers.l2.ttl.model_copy(update=dict(self.ttls))
            tiers = tiers.model_copy(update={tier: getattr(tiers, tier).model_copy(update=learned)})
        endpoints = without_reads(scenario.endpoints, self.unread)
        return scenario.model_copy(
            update={"topology": topology, "tiers": tiers, "endpoints": endpoints}
        )

    def at_speed(self, speed: float) -> Calibration:
        """Return the costs of a machine that takes *speed* seconds for the fixed work.

        CPU costs and what lies between are both work of a processor, so both grow as the fixed
        work does. Raise ValueError if the speed of this calibration is not known.
        """
        if self.speed is None:
            raise ValueError("the machine's speed during the calibration is not known")
        ratio = speed / self.speed
        cpu = None if self.cpu is None else _scaled(self.cpu, ratio)
        between = {
            name: {
                depth: replace(known, times=known.times.scaled(ratio))
                for depth, known in depths.items()
            }
            for name, depths in self.between.items()
        }
        idling = self.idling.scaled(ratio)
        return replace(self, cpu=cpu, between=between, idling=idling, speed=speed)

    def overhead(self, endpoint: str, depth: str) -> Distribution | None:
        """Return what lies between client and service for requests that went to *depth*."""
        known = self.between.get(endpoint, {}).get(depth)
        return None if known is None else known.times


def _scaled(cpu: Cpu, factor: float) -> Cpu:
    if factor == 1:
        return cpu
    return cpu.model_copy(update={name: round(value * factor, 9) for name, value in cpu})


def without_reads(endpoints: EndpointTable, unread: Mapping[str, tuple[str, ...]]) -> EndpointTable:
    """Return *endpoints* where each that makes none of its reads and writes an event only writes.

    Other reads decide what an endpoint answers; they stay, and are not compared.
    """
    changed = tuple(
        replace(endpoint, reads=(), behaviour=WRITE_ONLY)
        if endpoint.writes == "event"
        and endpoint.reads
        and {read.name for read in endpoint.reads} <= set(unread.get(endpoint.name, ()))
        else endpoint
        for endpoint in endpoints
    )
    return endpoints if changed == endpoints.endpoints else EndpointTable(changed)
