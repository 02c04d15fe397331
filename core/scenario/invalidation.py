"""Writes that outdate cached values during a run, and how isolates learn of them."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema, model_validator

from core.distributions import Distribution, parse_distribution
from core.endpoints import EndpointTable
from core.scenario.by_endpoint import listed
from core.scenario.table import Share, Table

Broadcast = Annotated[
    Distribution | None,
    BeforeValidator(lambda value: None if value in (None, "none") else parse_distribution(value)),
    PlainSerializer(lambda value: "none" if value is None else value.source),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "object"}], "default": "none"}),
]
"""How long a message takes to the other isolates; None: nobody sends any."""


class Invalidation(Table):
    """What outdates values of the caches, by cache type.

    rates: writes per second, each of one key, drawn as the type's reads are. events: the share of
    events that outdate their user's value. broadcast: until the other isolates drop it from L1.
    """

    rates: dict[str, Annotated[float, Field(gt=0, le=100_000)]] = Field(default_factory=dict)
    events: dict[str, Share] = Field(default_factory=dict)
    broadcast: Broadcast = None

    @property
    def is_on(self) -> bool:
        """Whether anything is invalidated."""
        return bool(self.rates or self.events)

    @model_validator(mode="after")
    def _broadcasts_something(self) -> Self:
        if self.broadcast is not None and not self.is_on:
            raise ValueError("broadcast needs what is invalidated: give rates or events")
        return self

    def check(self, endpoints: EndpointTable) -> None:
        """Raise ValueError for a cache type that there is not, or that is of no user."""
        for name in (*self.rates, *self.events):
            if name not in endpoints.cache_types:
                raise ValueError(
                    f"invalidation: {name} is no cache type; use "
                    f"{listed(list(endpoints.cache_types), 'or')}"
                )
        of_users = {
            read.cache_type
            for endpoint in endpoints
            for read in endpoint.reads
            if endpoint.subject == "user" and read.key == "subject"
        }
        for name in self.events:
            if name not in of_users:
                raise ValueError(
                    f"invalidation.events: {name} holds no user's values; give it a rate, or name "
                    f"{listed(sorted(of_users), 'or')}"
                )
        if self.events and not endpoints.writers:
            raise ValueError("invalidation.events: no endpoint writes events; leave them out")


def is_idle(invalidation: Any) -> bool:
    """Return whether nothing is invalidated: the same as without the table."""
    return isinstance(invalidation, Invalidation) and not invalidation.is_on
