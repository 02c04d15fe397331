"""The lives of isolates: when they are evicted, and how long a new one takes to start."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from core.distributions import Latency, constant
from core.scenario.table import Table
from core.units import Duration


class Eviction(Table):
    """An isolate ends after *idle* seconds without a request, and after a drawn life.

    lifetime: the mean of exponential lives. 0 s of either: it does not end isolates. cold_start: of
    the isolate that the next request starts.
    """

    idle: Annotated[Duration, Field(ge=0)] = 0.0
    lifetime: Annotated[Duration, Field(ge=0)] = 0.0
    cold_start: Latency = Field(default_factory=lambda: constant(0.0))

    @property
    def evicts(self) -> bool:
        """Whether isolates end by themselves."""
        return self.idle > 0 or self.lifetime > 0


def is_off(eviction: Any) -> bool:
    """Return whether isolates live for ever and start at once: the same as without the table."""
    return isinstance(eviction, Eviction) and not eviction.evicts and eviction.cold_start.mean == 0
