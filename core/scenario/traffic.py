"""The traffic of a scenario: its arrival rate, its endpoints, its subjects, or a trace."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    TypeAdapter,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)

from core.endpoints import EndpointTable
from core.scenario.by_endpoint import KNOWN, ByEndpoint, KeyedEndpoint, endpoints_of
from core.scenario.popularity import Popularity
from core.scenario.retries import Retries, makes_none
from core.scenario.sessions import Sessions
from core.scenario.shapes import Bursts, Daily, RateTable
from core.scenario.table import Positive, Share, Table
from core.scenario.trace_formats import TraceFormat
from core.scenario.trace_time import TimeUnit
from core.units import Duration

MAX_SPEED = 1e9
"""How many times as fast as recorded a trace runs at most."""


class RateStage(Table):
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


_Weight = Annotated[float, Field(ge=0)]


class Mix(ByEndpoint):
    """How often each endpoint is asked for: weights that need not sum to 1."""

    VALUES: ClassVar[TypeAdapter[Any]] = TypeAdapter(_Weight)

    __pydantic_extra__: dict[str, Annotated[_Weight, KNOWN]] = Field(init=False)

    @classmethod
    def stated(cls, endpoints: EndpointTable) -> dict[str, Any]:
        """Return the weight of each endpoint's description."""
        return {endpoint.name: endpoint.weight for endpoint in endpoints}

    @model_validator(mode="after")
    def _something_is_asked(self) -> Self:
        if not sum(self.weights()) > 0:
            raise ValueError("at least one endpoint needs a weight above 0")
        return self

    def weights(self) -> tuple[float, ...]:
        """Return the weights in the order of the endpoints."""
        return tuple(self.by_name.values())

    def of(self, endpoint: str) -> float:
        """Return the weight of *endpoint*, 0 if there is no such one."""
        return float(self.by_name.get(endpoint, 0.0))

    def asks(self, endpoints: Iterable[str]) -> bool:
        """Return whether any of *endpoints* is asked for."""
        return any(self.of(name) > 0 for name in endpoints)


_RATES_SCHEMA = WithJsonSchema(
    {"anyOf": [{"type": "string"}, RateTable.model_json_schema(), {"type": "null"}]}
)
"""A file of rates may stand by its name alone."""


def _is_none(value: Any) -> bool:
    return value is None


class Traffic(Table):
    """Who asks for what, and how often.

    daily, rates: a curve in place of stages; the scenario, which knows how long its run is, turns
    it into stages (`in_stages`). sessions: whose requests follow one another, None where each
    request comes by itself.
    """

    stages: Annotated[tuple[RateStage, ...], Field(min_length=1)] = (RateStage(rate=240.0),)
    daily: Annotated[Daily | None, Field(exclude_if=_is_none)] = None
    rates: Annotated[RateTable | None, _RATES_SCHEMA, Field(exclude_if=_is_none)] = None
    bursts: Annotated[Bursts | None, Field(exclude_if=_is_none)] = None
    mix: Mix = Mix()
    popularity: Popularity = Popularity()
    users: Annotated[int, Field(ge=1, le=10_000_000)] = 3000
    conversions: Annotated[int, Field(ge=0, le=10_000_000)] = 1500
    channels: Annotated[int, Field(ge=1, le=1000)] = 8
    sites: Annotated[int, Field(ge=1, le=100_000)] = 20
    touches_per_user: Annotated[int, Field(ge=1, le=1000)] = 5
    conversion_share: Share = 0.06
    sessions: Annotated[Sessions | None, Field(exclude_if=_is_none)] = None
    retries: Annotated[Retries, Field(exclude_if=makes_none)] = Retries()

    @model_validator(mode="after")
    def _only_the_last_stage_is_open(self) -> Self:
        for position, stage in enumerate(self.stages[:-1]):
            if stage.duration is None:
                raise ValueError(
                    f"stages[{position}] needs a duration; only the last may do without"
                )
        return self

    @model_validator(mode="after")
    def _has_one_curve(self) -> Self:
        given = [name for name in ("daily", "rates") if getattr(self, name) is not None]
        given += ["stages"] if "stages" in self.model_fields_set else []
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} are curves of the rate; leave one of them")
        return self

    @property
    def curve(self) -> Daily | RateTable | None:
        """The curve that stands in place of stages, None where there is none."""
        return self.daily or self.rates

    def in_stages(self, total: float) -> Traffic:
        """Return the same traffic of a run of *total* seconds with its curve as stages."""
        curve = self.curve
        if curve is None:
            return self
        pieces = curve.pieces(total)
        # Sums of many lengths are not exact; the last one makes up for it.
        lengths = [piece.duration for piece in pieces[:-1]]
        lengths.append(total - sum(lengths))
        stages = tuple(
            RateStage.model_construct(
                rate=piece.rate,
                ramp_to=None if piece.end == piece.rate else piece.end,
                duration=length,
            )
            for piece, length in zip(pieces, lengths, strict=True)
        )
        return self.model_copy(update={"stages": stages, "daily": None, "rates": None})


TraceField = Literal["key", "time", "endpoint", "type", "size", "op", "ttl"]


def _texts(value: Any) -> Any:
    """Return the columns with numbers as texts."""
    if not isinstance(value, dict):
        return value
    return {n: str(v) if type(v) is int else v for n, v in value.items()}


class TraceType(Table):
    """What an object type of a trace stands for."""

    endpoint: KeyedEndpoint
    cache_type: str | None = None

    @model_validator(mode="after")
    def _cache_type_is_the_endpoints_own(self, info: ValidationInfo) -> Self:
        reads = endpoints_of(info)[self.endpoint].primary
        expected = [read.cache_type for read in reads]
        if self.cache_type is not None and self.cache_type not in expected:
            raise ValueError(
                f"cache_type is {self.cache_type!r}; the key of {self.endpoint} feeds "
                f"{' and '.join(map(repr, expected)) or 'no cache'}"
            )
        return self


class TraceSource(Table):
    """A recorded trace whose keys replace the drawn ones.

    speed: how many times as fast as recorded the trace's own times run; time_unit: of those times,
    None to tell it by the values. format: of the file, None to tell it by the name's ending;
    columns: of a table or of JSON lines by field, names or numbers from 1 on. writes: whether its
    sets, deletes and TTLs reach the caches of a simulation.
    """

    file: str | None = None
    offset: Annotated[int, Field(ge=0)] | None = None
    limit: Positive | None = None
    speed: Annotated[float, Field(gt=0, le=MAX_SPEED)] = 1.0
    time_unit: TimeUnit | None = None
    format: TraceFormat | None = None
    columns: Annotated[dict[TraceField, str], BeforeValidator(_texts)] = Field(default_factory=dict)
    writes: bool = True
    default: TraceType = TraceType(endpoint="track", cache_type="lookup_data")
    types: dict[str, TraceType] = Field(default_factory=dict)
