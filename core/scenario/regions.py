"""The regions of a scenario: where requests come from, and how far the stores are from there."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from core.metrics.stage import NAME
from core.scenario.table import Table
from core.units import Duration


class Region(Table):
    """A point of presence with a share of the traffic.

    share: of all regions' together. to_database: seconds that a round trip to the primary database
    takes more from here; to_store: the same to L2's central store, for what is not hot here.
    """

    name: Annotated[str, Field(pattern=f"^{NAME.pattern}$")]
    share: Annotated[float, Field(gt=0)]
    to_database: Annotated[Duration, Field(ge=0)] = 0.0
    to_store: Annotated[Duration, Field(ge=0)] = 0.0


def with_points(data: dict[str, Any]) -> dict[str, Any]:
    """Return the data of a scenario with a point of presence for each of its regions."""
    regions, topology = data.get("regions"), data.get("topology", {})
    if not regions or not isinstance(regions, list | tuple) or not isinstance(topology, dict):
        return data
    return {**data, "topology": {"points_of_presence": len(regions), **topology}}
