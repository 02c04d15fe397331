"""The scenario: what traffic meets which system, and what is promised about it."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from core.distributions import Latency, parse_distribution
from core.kpi import Kpi, parse_kpi
from core.units import Duration, Size

ENDPOINTS = ("track", "attribution", "journey", "channels")
CACHE_TYPES = (
    "attribution",
    "channel_metrics",
    "user_journeys",
    "security_config",
    "lookup_data",
)
PRIMARY_CACHE_TYPE = {
    "track": "lookup_data",
    "attribution": "attribution",
    "journey": "user_journeys",
    "channels": "channel_metrics",
}
"""The cache read of each endpoint that its subject is the key of."""

Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]


def _latency(**points: str) -> Any:
    return Field(default_factory=lambda: parse_distribution(points))


class Part(BaseModel):
    """A table of the scenario file; unknown keys are refused."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, arbitrary_types_allowed=True, allow_inf_nan=False
    )


class Stage(Part):
    """An arrival rate, constant or ramped linearly, in requests per second."""

    rate: Annotated[float, Field(ge=0, le=1e6)]
    ramp_to: Annotated[float, Field(ge=0, le=1e6)] | None = None
    duration: Duration | None = None

    @model_validator(mode="after")
    def _ramp_has_a_duration(self) -> Self:
        if self.ramp_to is not None and self.duration is None:
            raise ValueError("a ramp needs a duration")
        if self.duration is not None and self.duration <= 0:
            raise ValueError("a stage lasts more than 0s")
        return self


class Mix(Part):
    """How often each endpoint is asked for: weights that need not sum to 1."""

    track: Annotated[float, Field(ge=0)] = 0.80
    attribution: Annotated[float, Field(ge=0)] = 0.08
    journey: Annotated[float, Field(ge=0)] = 0.08
    channels: Annotated[float, Field(ge=0)] = 0.04

    @model_validator(mode="after")
    def _something_is_asked(self) -> Self:
        if not sum(self.weights()) > 0:
            raise ValueError("at least one endpoint needs a weight above 0")
        return self

    def weights(self) -> tuple[float, ...]:
        """Return the weights in the order of ENDPOINTS."""
        return (self.track, self.attribution, self.journey, self.channels)


class Popularity(Part):
    """How requests spread over subjects."""

    law: Literal["zipf", "uniform"] = "zipf"
    exponent: Annotated[float, Field(ge=0, le=5)] = 0.9


class Traffic(Part):
    """Who asks for what, and how often."""

    stages: Annotated[tuple[Stage, ...], Field(min_length=1)] = (Stage(rate=240.0),)
    mix: Mix = Mix()
    popularity: Popularity = Popularity()
    users: Annotated[int, Field(ge=1, le=10_000_000)] = 3000
    conversions: Annotated[int, Field(ge=1, le=10_000_000)] = 1500
    channels: Annotated[int, Field(ge=1, le=1000)] = 8
    sites: Annotated[int, Field(ge=1, le=100_000)] = 20
    touches_per_user: Annotated[int, Field(ge=1, le=1000)] = 5
    conversion_share: Share = 0.06

    @model_validator(mode="after")
    def _only_the_last_stage_is_open(self) -> Self:
        for position, stage in enumerate(self.stages[:-1]):
            if stage.duration is None:
                raise ValueError(
                    f"stages[{position}] needs a duration; only the last may do without"
                )
        return self


class Cpu(Part):
    """CPU time of a request: a per endpoint + b per L2 operation + c per L3 operation."""

    track: Duration = 300e-6
    attribution: Duration = 240e-6
    journey: Duration = 240e-6
    channels: Duration = 240e-6
    per_l2_operation: Duration = 120e-6
    per_l3_operation: Duration = 150e-6

    @model_validator(mode="after")
    def _not_negative(self) -> Self:
        for name, value in self:
            if value < 0:
                raise ValueError(f"{name} is negative; CPU time is at least 0s")
        return self

    def of(self, endpoint: str) -> float:
        """Return a, the seconds that *endpoint* takes before its store operations."""
        return float(getattr(self, endpoint))


class Topology(Part):
    """Where the code runs."""

    points_of_presence: Annotated[int, Field(ge=1, le=1000)] = 1
    processes: Annotated[int, Field(ge=1, le=1000)] = 1
    isolates: Annotated[int, Field(ge=1, le=1000)] = 4
    memory_limit: Size = 128_000_000
    base_memory: Size = 32_000_000
    cpu: Cpu = Cpu()

    @model_validator(mode="after")
    def _isolates_fit_the_workload_row(self) -> Self:
        if self.process_count * self.isolates > 65_536:
            raise ValueError("points_of_presence x processes x isolates is at most 65536")
        return self

    @property
    def process_count(self) -> int:
        """Processes over all points of presence; each is one CPU server."""
        return self.points_of_presence * self.processes

    @property
    def isolate_count(self) -> int:
        """Isolates over all processes; each has an L1 of its own."""
        return self.process_count * self.isolates


class L1(Part):
    """The memory cache."""

    scope: Literal["isolate", "request"] = "isolate"
    max_entries: Positive = 10_000
    max_bytes: Size = 16_000_000
    ttl: Duration = 60.0

    @model_validator(mode="after")
    def _bounds_hold_something(self) -> Self:
        if self.ttl <= 0 or self.max_bytes < 1:
            raise ValueError("ttl and max_bytes are more than 0")
        return self


class Ttls(Part):
    """Seconds that L2 keeps an entry, by cache type."""

    attribution: Duration = 3600.0
    channel_metrics: Duration = 1800.0
    user_journeys: Duration = 300.0
    security_config: Duration = 900.0
    lookup_data: Duration = 600.0
    default: Duration = 600.0

    @model_validator(mode="after")
    def _longer_than_nothing(self) -> Self:
        for name, value in self:
            if value <= 0:
                raise ValueError(f"{name} is {value}s; a TTL is more than 0s")
        return self

    def of(self, cache_type: str) -> float:
        """Return the TTL of *cache_type* in seconds, the default for an unknown one."""
        return float(getattr(self, cache_type, self.default))


class L2(Part):
    """The key-value store, seen from a point of presence."""

    ttl: Ttls = Ttls()
    read: Latency = _latency(p50="4ms", p99="10ms")
    cold_read: Latency = _latency(p50="80ms", p99="200ms")
    write: Latency = _latency(p50="60ms", p99="138ms")
    cache_ttl: Duration = 60.0
    put: Literal["background", "await"] = "background"
    timeout: Annotated[Duration, Field(gt=0)] = 1.0


class L3(Part):
    """The database: round trips overlap, executions queue."""

    round_trip: Latency = _latency(p50="15ms", p99="30ms")
    read_execution: Latency = _latency(p50="0.5ms", p99="1ms")
    write_execution: Latency = _latency(p50="1ms", p99="5ms")
    concurrency: Annotated[int, Field(ge=1, le=1000)] = 1
    timeout: Annotated[Duration, Field(gt=0)] = 30.0


class Tiers(Part):
    """The cache tiers and the database behind them."""

    l1: L1 = L1()
    l2: L2 = L2()
    l3: L3 = L3()
    single_flight: Annotated[bool, Field(strict=True)] = True
    negative_ttl: Duration = 30.0


class Queue(Part):
    """How conversions reach the batch attribution processor."""

    batch_size: Annotated[int, Field(ge=1, le=100)] = 50
    max_parallel: Annotated[int, Field(ge=1, le=250)] = 5
    wait: Duration = 1.0
    max_attempts: Annotated[int, Field(ge=1, le=101)] = 3
    retry_delay: Duration = 1.0


class Fault(Part):
    """Something that goes wrong with a tier for a while; times count from the start of the run."""

    at: Duration
    for_: Annotated[Duration, Field(alias="for")]
    tier: Literal["l2", "l3"]
    kind: Literal["slow", "error", "dead"]
    value: Annotated[float, Field(ge=0)] = 1.0

    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, serialize_by_alias=True
    )

    @model_validator(mode="after")
    def _value_fits_kind(self) -> Self:
        if self.kind == "error" and self.value > 1:
            raise ValueError(f"value {self.value} is not a share of operations between 0 and 1")
        if self.at < 0 or self.for_ <= 0:
            raise ValueError("a fault starts at 0s or later and lasts more than 0s")
        return self


class Target(Part):
    """How an endpoint's request is written; {placeholders} are filled per request."""

    method: Literal["GET", "POST"] = "GET"
    path: Annotated[str, Field(pattern="^/")]
    body: str | None = None
    status: tuple[int, ...] = (200, 202)


TRACK_BODY = (
    '{"event_id": "{event_id}", "user_id": "{user_id}", "site_id": "{site_id}", '
    '"event_name": "{event_name}", "timestamp": {timestamp}, "utm_source": "{utm_source}", '
    '"conversion_id": {conversion_id_or_null}, "value": {value_or_null}}'
)
PLACEHOLDERS = (
    "event_id", "user_id", "site_id", "event_name", "timestamp", "utm_source",
    "conversion_id_or_null", "value_or_null", "conversion_id", "model", "isolate", "index",
    "run_id",
)  # fmt: skip


_TARGETS: dict[str, dict[str, str]] = {
    "track": {"method": "POST", "path": "/track", "body": TRACK_BODY},
    "attribution": {"path": "/attribution/{conversion_id}?model={model}"},
    "journey": {"path": "/journey/{user_id}"},
    "channels": {"path": "/channels?model={model}"},
}


class Targets(Part):
    """The requests of each endpoint, for a service with routes of its own."""

    track: Target = Target.model_validate(_TARGETS["track"])
    attribution: Target = Target.model_validate(_TARGETS["attribution"])
    journey: Target = Target.model_validate(_TARGETS["journey"])
    channels: Target = Target.model_validate(_TARGETS["channels"])

    @model_validator(mode="before")
    @classmethod
    def _what_is_left_out_is_the_endpoints_default(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        return {
            name: {**_TARGETS[name], **given}
            if name in _TARGETS and isinstance(given, dict)
            else given
            for name, given in data.items()
        }


class TraceType(Part):
    """What an object type of a trace stands for."""

    endpoint: Literal["track", "attribution", "journey"]
    cache_type: Literal["lookup_data", "attribution", "user_journeys"] | None = None

    @model_validator(mode="after")
    def _cache_type_is_the_endpoints_own(self) -> Self:
        expected = PRIMARY_CACHE_TYPE[self.endpoint]
        if self.cache_type not in (None, expected):
            raise ValueError(
                f"cache_type is {self.cache_type!r}; the key of {self.endpoint} feeds {expected!r}"
            )
        return self


class TraceSource(Part):
    """A recorded trace whose keys replace the drawn ones."""

    file: str | None = None
    offset: Annotated[int, Field(ge=0)] | None = None
    limit: Positive | None = None
    default: TraceType = TraceType(endpoint="track", cache_type="lookup_data")
    types: dict[str, TraceType] = Field(default_factory=dict)


class KpiSpec(Part):
    """One promise, as text: metric = "p95(track)", target = "< 100ms", alert = "> 200ms"."""

    metric: str
    target: str
    alert: str

    @model_validator(mode="after")
    def _reads_as_a_kpi(self) -> Self:
        self.parsed()
        return self

    def parsed(self) -> Kpi:
        """Return the KPI that the three texts describe."""
        return parse_kpi(self.metric, self.target, self.alert)


DEFAULT_KPIS = (
    KpiSpec(metric="hit_ratio", target=">= 95%", alert="< 85%"),
    KpiSpec(metric="p95_track", target="< 100ms", alert="> 200ms"),
    KpiSpec(metric="p95_attribution", target="< 500ms", alert="> 1000ms"),
    KpiSpec(metric="p95_query", target="< 50ms", alert="> 100ms"),
    KpiSpec(metric="p95_queue", target="< 500ms", alert="> 2000ms"),
    KpiSpec(metric="peak_memory", target="< 96MB", alert="> 128MB"),
    KpiSpec(metric="p95_cpu", target="< 50ms", alert="> 150ms"),
    KpiSpec(metric="error_ratio", target="< 0.1%", alert="> 1%"),
)


class Scenario(Part):
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
    faults: tuple[Fault, ...] = ()
    targets: Targets = Targets()
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
