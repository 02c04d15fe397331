"""The scenario: what traffic meets which system, and what is promised about it."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from core.metrics.kpi import Kpi
from core.scenario.attribution import Attribution
from core.scenario.caches import Caches, default_caches
from core.scenario.destination import Destination
from core.scenario.faults import Fault
from core.scenario.kpis import DEFAULT_KPIS, KpiSpec
from core.scenario.table import Table
from core.scenario.targets import Targets
from core.scenario.tiers import Tiers
from core.scenario.topology import Topology
from core.scenario.traffic import TraceSource, Traffic
from core.units import Duration


class Queue(Table):
    """How conversions reach the batch attribution processor."""

    batch_size: Annotated[int, Field(ge=1, le=100)] = 50
    max_parallel: Annotated[int, Field(ge=1, le=250)] = 5
    wait: Duration = 1.0
    max_attempts: Annotated[int, Field(ge=1, le=101)] = 3
    retry_delay: Duration = 1.0


class Scenario(Table):
    """One system under one load, simulated and load-tested from the same file."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
    description: str = ""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 1
    duration: Duration = 50.0
    warm_up: Duration = 5.0
    start: Literal["cold", "warm"] = "warm"
    timeout: Duration = 10.0
    traffic: Traffic = Traffic()
    topology: Topology = Topology()
    tiers: Tiers = Tiers()
    queue: Queue = Queue()
    attribution: Attribution = Attribution()
    destination: Destination = Destination()
    faults: tuple[Fault, ...] = ()
    targets: Targets = Targets()
    caches: Caches = Field(default_factory=default_caches)
    trace: TraceSource = TraceSource()
    kpis: Annotated[tuple[KpiSpec, ...], Field(min_length=1)] = DEFAULT_KPIS

    @field_validator("kpis")
    @classmethod
    def _one_kpi_per_metric(cls, kpis: tuple[KpiSpec, ...]) -> tuple[KpiSpec, ...]:
        names = [spec.parsed().name for spec in kpis]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"{name} is judged twice; keep one of the two")
        return kpis

    @model_validator(mode="after")
    def _times_fit(self) -> Self:
        if self.duration <= 0 or self.warm_up < 0 or self.timeout <= 0:
            raise ValueError("duration and timeout are more than 0s, warm_up at least 0s")
        staged = sum(stage.duration or 0.0 for stage in self.traffic.stages)
        # A nanosecond of grace: sums of decimal seconds are not exact.
        if self.traffic.stages[-1].duration is not None and staged < self.total_time - 1e-9:
            raise ValueError(
                f"traffic.stages last {staged:g}s, warm_up and duration {self.total_time:g}s; "
                "leave out the last stage's duration to hold its rate"
            )
        if staged > self.total_time + 1e-9:
            raise ValueError(
                f"traffic.stages last {staged:g}s, longer than the run ({self.total_time:g}s)"
            )
        return self

    @model_validator(mode="after")
    def _invalidation_reaches_all_rows(self) -> Self:
        is_alone = self.topology.process_count == 1
        if self.tiers.query_cache.ttl and not (is_alone or self.tiers.l2.pubsub):
            raise ValueError(
                "tiers.query_cache needs tiers.l2.pubsub where there are several processes: a row "
                "that one has not heard to be invalid would go back to L2 for a whole TTL"
            )
        return self

    @model_validator(mode="after")
    def _faults_have_their_tier(self) -> Self:
        for position, fault in enumerate(self.faults):
            if fault.tier == "destination" and self.destination.url is None:
                raise ValueError(
                    f"faults[{position}] is of the destination, which has no URL; set "
                    "destination.url, or leave the fault out"
                )
        return self

    @model_validator(mode="after")
    def _memory_fits(self) -> Self:
        limit, base = self.topology.memory_limit, self.topology.base_memory
        if base >= limit:
            raise ValueError(
                f"topology.base_memory ({base:,} B) leaves nothing of memory_limit ({limit:,} B)"
            )
        for kpi in self.judged():
            if kpi.name == "peak_memory" and kpi.alert.value > limit:
                raise ValueError(
                    f"kpis: the alert of peak_memory lies above topology.memory_limit ({limit:,} "
                    "B), where the platform has ended the worker; lower it"
                )
        return self

    @property
    def total_time(self) -> float:
        """Seconds of arrivals: warm-up and measured part."""
        return self.warm_up + self.duration

    def judged(self) -> tuple[Kpi, ...]:
        """Return the KPIs in the order of the file."""
        return tuple(spec.parsed() for spec in self.kpis)
