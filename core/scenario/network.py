"""The network of a scenario: what lies between the clients and the service."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from core.distributions import Latency, constant
from core.scenario.table import Table


class Network(Table):
    """round_trip: seconds of each request, to the service and back, that overlap with others'."""

    round_trip: Latency = Field(default_factory=lambda: constant(0.0))


def is_near(network: Any) -> bool:
    """Return whether nothing lies between: such a scenario is the same with and without it."""
    return isinstance(network, Network) and network.round_trip.mean == 0
