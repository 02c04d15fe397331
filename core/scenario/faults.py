"""The faults of a scenario: what goes wrong for a while."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticKnownError

from core.scenario.by_endpoint import KeyedEndpoint, endpoints_of
from core.scenario.fault_kinds import BUILT_IN, FaultKind, FaultKinds, Tier
from core.scenario.table import Table
from core.units import Duration

CONTEXT = "fault_kinds"
"""Under this name pydantic's validation context holds the `FaultKinds` of a scenario."""


def _kind(value: object, info: ValidationInfo) -> FaultKind:
    if isinstance(value, FaultKind):
        return value
    context: dict[str, Any] = info.context or {}
    kinds: FaultKinds = context.get(CONTEXT, BUILT_IN)
    kind = kinds.find(value) if isinstance(value, str) else None
    if kind is None:
        raise PydanticKnownError("literal_error", {"expected": _listed(kinds.names(), "'")})
    return kind


def _listed(names: tuple[str, ...], quote: str) -> str:
    quoted = [f"{quote}{name}{quote}" for name in names]
    return " or ".join(filter(None, (", ".join(quoted[:-1]), quoted[-1])))


Kind = Annotated[
    FaultKind,
    BeforeValidator(_kind),
    PlainSerializer(lambda kind: kind.name, return_type=str),
    WithJsonSchema({"type": "string", "examples": [kind.name for kind in BUILT_IN]}),
]
"""A kind, by its name in files and data."""


class Fault(Table):
    """Something that goes wrong for a while; times count from the start of the run.

    With a tier, or with the traffic, as its kind has it.
    """

    at: Duration
    for_: Annotated[Duration, Field(alias="for")]
    tier: Tier | None = None
    kind: Kind
    endpoint: KeyedEndpoint | None = None
    value: Annotated[float, Field(ge=0)] = 1.0

    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, serialize_by_alias=True
    )

    @model_validator(mode="after")
    def _value_fits_kind(self, info: ValidationInfo) -> Self:
        kind = self.kind
        if not kind.least <= self.value <= kind.most:
            raise ValueError(f"value {self.value} is not {kind.value}")
        if kind.is_of_traffic and self.tier is not None:
            raise ValueError(
                f"{kind.name} is a fault of the traffic; leave out tier ({self.tier!r})"
            )
        if not kind.is_of_traffic:
            self._check_tier()
        elif self.asked_of is not None and self.asked_of not in endpoints_of(info):
            raise ValueError(
                f"{kind.name} is of {self.asked_of} requests, which there are none of; add endpoint"
            )
        elif self.asked_of is not None:
            subject = endpoints_of(info)[self.asked_of].subject
            if subject not in ("user", "conversion"):
                raise ValueError(
                    f"{kind.name} turns requests to another user or conversion; {self.asked_of} is "
                    f"about a {subject}: name another endpoint, or leave the fault out"
                )
        if self.at < 0 or self.for_ <= 0:
            raise ValueError("a fault starts at 0s or later and lasts more than 0s")
        return self

    def _check_tier(self) -> None:
        kind = self.kind
        if self.tier is None:
            raise ValueError(
                f"{kind.name} is a fault of a tier; add tier = {_listed(kind.tiers, chr(34))}"
            )
        if self.tier not in kind.tiers:
            raise ValueError(
                f"{kind.name} does not strike {self.tier}; use tier = "
                f"{_listed(kind.tiers, chr(34))}"
            )
        if self.endpoint is not None:
            of_traffic = [known.name for known in BUILT_IN if known.is_of_traffic]
            raise ValueError(
                f"endpoint belongs to {', '.join(of_traffic)}; leave it out for {kind.name}"
            )

    @property
    def asked_of(self) -> str | None:
        """The endpoint whose requests a fault of the traffic turns, None for all of them."""
        return self.endpoint or self.kind.endpoint

    @property
    def name(self) -> str:
        """What messages call it: "l2 slow", "track hot_key"."""
        where = self.asked_of if self.kind.is_of_traffic else self.tier
        return self.kind.name if where is None else f"{where} {self.kind.name}"
