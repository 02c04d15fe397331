"""The faults of a scenario: what goes wrong for a while."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from core.scenario.by_endpoint import KeyedEndpoint
from core.scenario.table import Table
from core.units import Duration


class Fault(Table):
    """Something that goes wrong for a while; times count from the start of the run.

    With a tier, or with the traffic: hot_key turns a share of an endpoint's requests to one
    subject that no cache holds.
    """

    at: Duration
    for_: Annotated[Duration, Field(alias="for")]
    tier: Literal["l2", "l3", "destination"] | None = None
    kind: Literal["slow", "error", "dead", "hot_key"]
    endpoint: KeyedEndpoint | None = None
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
