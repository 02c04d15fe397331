"""The scenario: what traffic meets which system, and what is promised about it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    PlainSerializer,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.functional_validators import BeforeValidator
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import InitErrorDetails

from core.endpoint import PLACEHOLDERS
from core.endpoints import CDP, EndpointTable
from core.metrics.kpi import Kpi, parse_metric
from core.metrics.life import with_life
from core.metrics.metric_table import BUILT_IN, MetricTable
from core.metrics.part import seconds_of
from core.scenario.attribution import Attribution
from core.scenario.by_endpoint import context_of
from core.scenario.caches import Caches, default_caches
from core.scenario.deployments import Deployment
from core.scenario.destination import Destination
from core.scenario.eviction import is_off
from core.scenario.fault_kinds import FaultKinds
from core.scenario.faults import CONTEXT as FAULT_KINDS
from core.scenario.faults import Fault
from core.scenario.invalidation import Invalidation, is_idle
from core.scenario.kpis import DEFAULT_KPIS, KpiSpec
from core.scenario.network import Network, is_near
from core.scenario.own_metrics import OwnMetrics, has_none
from core.scenario.prices import Prices, is_unchanged
from core.scenario.queue import Queue
from core.scenario.regions import Region, with_points
from core.scenario.subjects import Subject, check_subjects
from core.scenario.table import Table
from core.scenario.targets import Targets
from core.scenario.tiers import Tiers
from core.scenario.topology import Topology
from core.scenario.traffic import TraceSource, Traffic
from core.units import Duration


def _table_of(data: Any) -> EndpointTable:
    return data if isinstance(data, EndpointTable) else EndpointTable.from_data(data)


def _is_cdp(endpoints: EndpointTable) -> bool:
    return endpoints == CDP


def _is_empty(subjects: Mapping[str, Any]) -> bool:
    return not subjects


def _has_none(rows: tuple[Any, ...]) -> bool:
    return not rows


BY_ENDPOINT: tuple[tuple[str, ...], ...] = (
    ("traffic", "mix"),
    ("topology", "cpu"),
    ("tiers", "l2", "ttl"),
    ("targets",),
)
"""Where the tables stand whose fields are the endpoints or their cache types."""


class Scenario(Table):
    """One system under one load, simulated and load-tested from the same file."""

    endpoints: Annotated[
        EndpointTable,
        BeforeValidator(_table_of),
        PlainSerializer(EndpointTable.to_data),
        SkipJsonSchema(),
        Field(exclude_if=_is_cdp),
    ] = CDP
    """What can be asked for; it decides which fields the tables of `BY_ENDPOINT` have.

    A scenario with the endpoints of the CDP is the same with and without the field.
    """
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
    description: str = ""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 1
    duration: Duration = 50.0
    warm_up: Duration = 5.0
    start: Literal["cold", "warm"] = "warm"
    timeout: Duration = 10.0
    traffic: Traffic = Traffic()
    topology: Topology = Topology()
    regions: Annotated[tuple[Region, ...], Field(exclude_if=_has_none)] = ()
    tiers: Tiers = Tiers()
    network: Annotated[Network, Field(exclude_if=is_near)] = Network()
    queue: Queue = Queue()
    attribution: Attribution = Attribution()
    destination: Destination = Destination()
    faults: tuple[Fault, ...] = ()
    invalidation: Annotated[Invalidation, Field(exclude_if=is_idle)] = Invalidation()
    deployments: Annotated[tuple[Deployment, ...], Field(exclude_if=_has_none)] = ()
    targets: Targets = Targets()
    subjects: Annotated[dict[str, Subject], Field(exclude_if=_is_empty)] = Field(
        default_factory=dict
    )
    caches: Caches = Field(default_factory=default_caches)
    trace: TraceSource = TraceSource()
    metrics: Annotated[OwnMetrics, Field(exclude_if=has_none)] = OwnMetrics()
    prices: Annotated[Prices, Field(exclude_if=is_unchanged)] = Prices()
    kpis: Annotated[tuple[KpiSpec, ...], Field(min_length=1)] = DEFAULT_KPIS

    def __init__(self, /, **data: Any) -> None:
        endpoints = data.get("endpoints", CDP)
        try:
            endpoints = _table_of(endpoints)
        except ValueError:
            endpoints = CDP  # the field says what is wrong with it
        if endpoints != CDP:
            data = _filled(data, endpoints)
        data = with_points(data)
        context = context_of(endpoints)
        if isinstance(kinds := data.get(FAULT_KINDS), FaultKinds):  # no field
            context[FAULT_KINDS] = kinds
            data = {name: value for name, value in data.items() if name != FAULT_KINDS}
        self.__pydantic_validator__.validate_python(data, self_instance=self, context=context)

    @field_validator("endpoints")
    @classmethod
    def _no_endpoint_is_called_as_a_stage(cls, endpoints: EndpointTable) -> EndpointTable:
        for name in endpoints.names:
            if BUILT_IN.stage(name) is not None:
                raise ValueError(f"endpoint {name} has the name of a stage; choose another one")
        return endpoints

    @field_validator("regions")
    @classmethod
    def _regions_are_points_of_presence(
        cls, regions: tuple[Region, ...], info: ValidationInfo
    ) -> tuple[Region, ...]:
        if not regions or not {"endpoints", "topology"} <= info.data.keys():
            return regions
        topology: Topology = info.data["topology"]
        _metric_table(
            {
                **info.data,
                "metrics": OwnMetrics(),
                "regions": regions,
                "invalidation": Invalidation(),
            }
        )
        if topology.points_of_presence != len(regions):
            raise ValueError(
                f"there are {len(regions)}, and topology.points_of_presence is "
                f"{topology.points_of_presence}: each region is one; leave points_of_presence out"
            )
        return regions

    @field_validator("kpis")
    @classmethod
    def _read_as_kpis(cls, kpis: tuple[KpiSpec, ...], info: ValidationInfo) -> tuple[KpiSpec, ...]:
        if not {"metrics", "endpoints", "regions", "invalidation"} <= info.data.keys():
            return kpis  # what is wrong with those is said alone
        table = _metric_table(info.data)
        names, faults = [], []
        for position, spec in enumerate(kpis):
            try:
                names.append(spec.parsed(table).name)
            except ValueError as error:
                faults.append(
                    InitErrorDetails(
                        type="value_error", loc=(position,), input=spec, ctx={"error": error}
                    )
                )
        if faults:
            raise ValidationError.from_exception_data(cls.__name__, faults)
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"{name} is judged twice; keep one of the two")
        return kpis

    @model_validator(mode="after")
    def _curve_becomes_stages(self) -> Self:
        curve = self.traffic.curve
        if curve is None:
            return self
        if "duration" not in self.model_fields_set:
            if curve.span <= self.warm_up:
                raise ValueError(
                    f"the traffic's curve lasts {curve.span:g}s, which is no longer than warm_up "
                    f"({self.warm_up:g}s); shorten the warm-up"
                )
            object.__setattr__(self, "duration", curve.span - self.warm_up)
        try:
            traffic = self.traffic.in_stages(self.total_time)
        except ValueError as error:
            raise ValueError(f"traffic.{error}") from None
        object.__setattr__(self, "traffic", traffic)
        return self

    @model_validator(mode="after")
    def _what_is_invalidated_is_cached(self) -> Self:
        self.invalidation.check(self.endpoints)
        return self

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
                f"traffic.stages last {staged:g}s, longer than the run ({self.total_time:g}s); "
                "raise the duration, or shorten a stage"
            )
        return self

    @model_validator(mode="after")
    def _clients_give_up_before_the_end(self) -> Self:
        limit = self.traffic.retries.timeout
        if limit is not None and limit >= (longest := max(self._whole_timeouts)):
            raise ValueError(
                f"traffic.retries.timeout is {limit:g}s, and a request has failed after "
                f"{longest:g}s (timeout) anyway; shorten it, or raise timeout"
            )
        return self

    @model_validator(mode="after")
    def _further_attempts_find_an_isolate(self) -> Self:
        if self.traffic.retries.is_on and not is_off(self.topology.eviction):
            raise ValueError(
                "traffic.retries and topology.eviction: cold starts of further attempts are not "
                "simulated; leave one of the two out"
            )
        return self

    @model_validator(mode="after")
    def _parts_are_within_the_run(self) -> Self:
        _ = self.parts
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

    @field_validator("subjects")
    @classmethod
    def _subjects_have_names_of_their_own(cls, subjects: dict[str, Subject]) -> dict[str, Subject]:
        check_subjects(subjects)
        return subjects

    @model_validator(mode="after")
    def _subjects_are_described(self) -> Self:
        for endpoint in self.endpoints:
            name = endpoint.subject
            if name in PLACEHOLDERS:
                continue
            if name not in self.subjects:
                raise ValueError(f"endpoint {endpoint.name}: add [subjects.{name}], its subject")
            if self.subjects[name].count is None and self.trace.file is None:
                raise ValueError(f"subjects.{name} needs a count, ids = FILE, or a trace (--trace)")
        used = {endpoint.subject for endpoint in self.endpoints}
        for name in self.subjects:
            if name not in used:
                raise ValueError(
                    f"subjects.{name} has no effect: no endpoint is about it; write {{{name}}} "
                    f'into a path, set subject = "{name}", or leave it out'
                )
        return self

    @model_validator(mode="after")
    def _keys_have_an_endpoint(self) -> Self:
        if not self.endpoints.keyed and self.trace.file is not None:
            raise ValueError(
                "trace.file needs an endpoint whose subject is a user or a conversion; add one, "
                "or leave it out"
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

    @property
    def longest_timeout(self) -> float:
        """Seconds after which a request of any endpoint has failed."""
        return max(self.timeouts)

    @property
    def timeouts(self) -> tuple[float, ...]:
        """Seconds after which a request of each endpoint has failed, in their order."""
        return self._whole_timeouts if self.traffic.retries.is_on else self.attempt_timeouts

    @property
    def attempt_timeouts(self) -> tuple[float, ...]:
        """Seconds that a client waits for an attempt at each endpoint, in their order."""
        return tuple(map(self.traffic.retries.limit, self._whole_timeouts))

    @property
    def attempt_limits(self) -> dict[str, float]:
        """The time limits of attempts by endpoint, of those that are not the scenario's timeout."""
        limits = zip(self.endpoints.names, self.attempt_timeouts, strict=True)
        return {name: limit for name, limit in limits if limit != self.timeout}

    @property
    def _whole_timeouts(self) -> tuple[float, ...]:
        own = self.targets.timeouts
        return tuple(own.get(name, self.timeout) for name in self.endpoints.names)

    def judged(self) -> tuple[Kpi, ...]:
        """Return the KPIs in the order of the file."""
        return tuple(spec.parsed(self.metric_table) for spec in self.kpis)

    @property
    def parts(self) -> dict[str, tuple[float, float]]:
        """When the parts of the run that KPIs name begin and end, by name.

        In seconds from the start of arrivals. Raise ValueError if one is not within the run.
        """
        found = {}
        for position, kpi in enumerate(self.judged()):
            part = kpi.metric.part
            if part is None:
                continue
            try:
                found[part.name] = seconds_of(
                    part, stages=self.traffic.stages, warm_up=self.warm_up, total=self.total_time
                )
            except ValueError as error:
                raise ValueError(f"kpis[{position}].metric {kpi.name}: {error}") from None
        return found

    @cached_property
    def metric_table(self) -> MetricTable:
        """What metrics may name: endpoints, stages and ratios."""
        return _metric_table(vars(self))


def _metric_table(fields: Mapping[str, Any]) -> MetricTable:
    """Return what metrics may name in a scenario of *fields*; those that are faulty are missing."""
    table: MetricTable = fields["metrics"].table.of_endpoints(fields["endpoints"].names)
    return with_life(
        table,
        starts=not is_off(fields.get("topology", Topology()).eviction),
        regions=[region.name for region in fields["regions"]],
        has_replicas=fields.get("tiers", Tiers()).l3.replicas.count > 0,
        invalidates=fields["invalidation"].is_on,
    )


def _filled(data: Mapping[str, Any], endpoints: EndpointTable) -> dict[str, Any]:
    """Return *data* with the tables that go by endpoint, so that none has the CDP's defaults."""
    filled = dict(data)
    for place in BY_ENDPOINT:
        table: dict[str, Any] = filled
        for name in place:
            inner = table.get(name, {})
            if not isinstance(inner, Mapping):
                break
            table[name] = table = dict(inner)
    trace = filled.setdefault("trace", {})
    if isinstance(trace, Mapping) and "default" not in trace and endpoints.keyed:
        filled["trace"] = {**trace, "default": {"endpoint": endpoints.keyed[0]}}
    if "kpis" not in filled:
        filled["kpis"] = [
            spec
            for spec in DEFAULT_KPIS
            # Without events there are no conversions, whose queue it is.
            if _has_metric(spec, endpoints) and (spec.metric != "p95_queue" or endpoints.writers)
        ]
    return filled


def _has_metric(spec: KpiSpec, endpoints: EndpointTable) -> bool:
    try:
        parse_metric(spec.metric, BUILT_IN.of_endpoints(endpoints.names))
    except ValueError:
        return False
    return True
