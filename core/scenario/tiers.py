"""The tiers of the scenario: what stands between a request and the database, and the database."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, TypeAdapter, model_validator

from core.caching.edge_kv import SHORTEST_CACHE_TTL, SHORTEST_TTL
from core.distributions import Latency, parse_distribution
from core.endpoints import EndpointTable
from core.scenario.by_endpoint import KNOWN, ByEndpoint
from core.scenario.replicas import Replicas, has_none
from core.scenario.table import Positive, Switch, Table
from core.units import Duration, Size


def _latency(**points: str) -> Any:
    return Field(default_factory=lambda: parse_distribution(points))


class L1(Table):
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


class Ttls(ByEndpoint):
    """Seconds that L2 keeps an entry, by cache type."""

    VALUES: ClassVar[TypeAdapter[Any]] = TypeAdapter(Duration)

    __pydantic_extra__: dict[str, Annotated[Duration, KNOWN]] = Field(init=False)
    default: Duration = 600.0

    @classmethod
    def stated(cls, endpoints: EndpointTable) -> dict[str, Any]:
        """Return the TTL of each cache type that an endpoint reads."""
        return {name: f"{float(ttl)!r}s" for name, ttl in endpoints.cache_types.items()}

    @model_validator(mode="after")
    def _longer_than_nothing(self) -> Self:
        for name, value in self:
            if value <= 0:
                raise ValueError(f"{name} is {value}s; a TTL is more than 0s")
        return self

    def of(self, cache_type: str) -> float:
        """Return the TTL of *cache_type* in seconds, the default for an unknown one."""
        return float(self.by_name.get(cache_type, self.default))


class Breaker(Table):
    """When a failing L2 is left alone: after failures in a row, for a while; 0 failures: never."""

    failures: Annotated[int, Field(ge=0, le=1_000_000)] = 5
    open_for: Annotated[Duration, Field(gt=0)] = 5.0


class L2(Table):
    """The key-value store, seen from a point of presence.

    min_ttl: what becomes of a ttl under 60 s, which the edge store refuses. A scenario with the
    default is the same with and without the field.
    """

    ttl: Ttls = Ttls()
    read: Latency = _latency(p50="4ms", p99="10ms")
    cold_read: Latency = _latency(p50="80ms", p99="200ms")
    write: Latency = _latency(p50="60ms", p99="138ms")
    cache_ttl: Duration = 60.0
    put: Literal["background", "await"] = "background"
    consistency: Literal["strong", "eventual"] = "strong"
    min_ttl: Literal["clamp", "refuse"] = "clamp"
    timeout: Annotated[Duration, Field(gt=0)] = 1.0
    soft_timeout: Annotated[Duration, Field(ge=0)] = 0.0
    breaker: Breaker = Breaker()
    pubsub: Switch = True

    @model_validator(mode="after")
    def _times_fit(self) -> Self:
        if self.soft_timeout > self.timeout:
            raise ValueError(
                f"soft_timeout is {self.soft_timeout:g}s, more than timeout ({self.timeout:g}s)"
            )
        if self.consistency == "eventual" and self.cache_ttl < SHORTEST_CACHE_TTL:
            raise ValueError(
                f'cache_ttl is {self.cache_ttl:g}s; with consistency = "eventual" at least '
                f"{SHORTEST_CACHE_TTL:g}s"
            )
        return self


class L3(Table):
    """The database: round trips overlap, executions queue.

    write_share: what a write's execution takes for each statement beyond the first. A further row
    of a statement takes a tenth of it.
    readers: the service's own connections that only read, beside the one that writes. No simulated
    time depends on them, so that a scenario without them is the same with and without the field.
    """

    round_trip: Latency = _latency(p50="15ms", p99="30ms")
    read_execution: Latency = _latency(p50="0.5ms", p99="1ms")
    write_execution: Latency = _latency(p50="1ms", p99="5ms")
    write_share: Annotated[Duration, Field(ge=0)] = 0.00003
    concurrency: Annotated[int, Field(ge=1, le=1000)] = 1
    timeout: Annotated[Duration, Field(gt=0)] = 30.0
    readers: Annotated[int, Field(ge=0, le=64)] = 0
    replicas: Annotated[Replicas, Field(exclude_if=has_none)] = Replicas()


class QueryRows(Table):
    """The cache of query rows between the loads and the database; without a TTL there is none."""

    ttl: Annotated[Duration, Field(ge=0)] = 0.0
    max_entries: Positive = 10_000
    max_bytes: Annotated[Size, Field(ge=1)] = 8_000_000


class Tiers(Table):
    """The cache tiers and the database behind them."""

    l1: L1 = L1()
    l2: L2 = L2()
    l3: L3 = L3()
    query_cache: QueryRows = QueryRows()
    single_flight: Switch = True
    negative_ttl: Annotated[Duration, Field(ge=0)] = 30.0
    ttl_jitter: Annotated[float, Field(ge=0, lt=1)] = 0.0
    stale_while_revalidate: Annotated[Duration, Field(ge=0)] = 0.0
    stale_if_error: Annotated[Duration, Field(ge=0)] = 0.0
    retry_pause: Annotated[Duration, Field(ge=0)] = 1.0
    early_refresh: Annotated[float, Field(ge=0, le=100)] = 0.0
    tags: Switch = False

    @model_validator(mode="after")
    def _edge_store_takes_every_ttl(self) -> Self:
        if self.l2.min_ttl == "clamp":
            return self
        lives = {f"l2.ttl.{name}": value for name, value in self.l2.ttl}
        if self.negative_ttl > 0:  # or absences are not kept
            lives["negative_ttl"] = self.negative_ttl
        for name, value in lives.items():
            shortest = value * (1 - self.ttl_jitter) + self.stale_bound
            if shortest < SHORTEST_TTL:
                shortened = f", down to {shortest:g}s with ttl_jitter" if self.ttl_jitter else ""
                raise ValueError(
                    f"{name} is {value:g}s{shortened}; the edge store refuses a TTL under "
                    f'{SHORTEST_TTL:g}s: give more, or set l2.min_ttl = "clamp"'
                )
        return self

    @property
    def stale_bound(self) -> float:
        """Seconds beyond its TTL for which a value may be served at all."""
        return max(self.stale_while_revalidate, self.stale_if_error)
