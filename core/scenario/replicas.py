"""Read replicas of the database: how many, how far behind, and what sessions do about it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from core.distributions import Latency, constant
from core.scenario.table import Table
from core.units import Duration


class Replicas(Table):
    """Copies of the database that requests read from; each write reaches each after a *lag*.

    sessions: what a user's read does after that user's own write. "none": nothing. "wait": it waits
    at the replica until the write is there. "primary": for *session* seconds it goes to the
    primary.
    """

    count: Annotated[int, Field(ge=0, le=64)] = 0
    lag: Latency = Field(default_factory=lambda: constant(0.0))
    sessions: Literal["none", "wait", "primary"] = "none"
    session: Annotated[Duration, Field(gt=0)] = 60.0


def has_none(replicas: Any) -> bool:
    """Return whether there are no replicas: the same as without the table."""
    return isinstance(replicas, Replicas) and replicas == Replicas()
