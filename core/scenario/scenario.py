"""The scenario: what traffic meets which system, and what is promised about it."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from core.metrics.kpi import Kpi, parse_kpi
from core.scenario.attribution import Attribution
from core.scenario.destination import Destination
from core.scenario.table import Part, Positive, Share
from core.scenario.targets import Targets
from core.scenario.tiers import Tiers
from core.scenario.trace_time import TimeUnit
from core.units import Duration, Size

MAX_SPEED = 1e9
"""How many times as fast as recorded a trace runs at most."""

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
    conversions: Annotated[int, Field(ge=0, le=10_000_000)] = 1500
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


class Queue(Part):
    """How conversions reach the batch attribution processor."""

    batch_size: Annotated[int, Field(ge=1, le=100)] = 50
    max_parallel: Annotated[int, Field(ge=1, le=250)] = 5
    wait: Duration = 1.0
    max_attempts: Annotated[int, Field(ge=1, le=101)] = 3
    retry_delay: Duration = 1.0


class Fault(Part):
    """Something that goes wrong for a while; times count from the start of the run.

    With a tier, or with the traffic: hot_key turns a share of an endpoint's requests to one
    subject that no cache holds.
    """

    at: Duration
    for_: Annotated[Duration, Field(alias="for")]
    tier: Literal["l2", "l3", "destination"] | None = None
    kind: Literal["slow", "error", "dead", "hot_key"]
    endpoint: Literal["track", "attribution", "journey"] | None = None
    value: Annotated[float, Field(ge=0)] = 1.0

    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, serialize_by_alias=True
    )

    @model_validator(mode="after")
    def _value_fits_kind(self) -> Self:
        if self.kind in ("error", "hot_key") and self.value > 1:
            what = "operations" if self.kind == "error" else "requests"
            raise ValueError(f"value {self.value} is not a share of {what} between 0 and 1")
        if self.kind == "hot_key" and self.tier is not None:
            raise ValueError(f"hot_key is a fault of the traffic; leave out tier ({self.tier!r})")
        if self.kind != "hot_key" and self.tier is None:
            raise ValueError(
                f'{self.kind} is a fault of a tier; add tier = "l2", "l3" or "destination"'
            )
        if self.kind != "hot_key" and self.endpoint is not None:
            raise ValueError(f"endpoint belongs to hot_key; leave it out for {self.kind}")
        if self.at < 0 or self.for_ <= 0:
            raise ValueError("a fault starts at 0s or later and lasts more than 0s")
        return self


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


def _is_own_speed(speed: float) -> bool:
    return speed == 1


def _is_none(value: object) -> bool:
    return value is None


class TraceSource(Part):
    """A recorded trace whose keys replace the drawn ones.

    speed: how many times as fast as recorded the trace's own times run; time_unit: of those times,
    None to tell it by the values. Both stand in data only where they are not the default.
    """

    file: str | None = None
    offset: Annotated[int, Field(ge=0)] | None = None
    limit: Positive | None = None
    speed: Annotated[float, Field(gt=0, le=MAX_SPEED, exclude_if=_is_own_speed)] = 1.0
    time_unit: Annotated[TimeUnit | None, Field(exclude_if=_is_none)] = None
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
    attribution: Attribution = Attribution()
    destination: Destination = Destination()
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
