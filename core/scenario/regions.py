"""The regions of a scenario: where requests come from, and how far the stores are from there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from core.metrics.stage import NAME
from core.scenario.table import Table
from core.units import Duration

if TYPE_CHECKING:
    from core.scenario.scenario import Scenario
    from core.scenario.tiers import Tiers


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


def region_of(scenario: Scenario, position: int) -> Region | None:
    """Return the region of a process, None where there are none, and for a separate consumer."""
    place = position // scenario.topology.processes
    return scenario.regions[place] if place < len(scenario.regions) else None


def tiers_of(scenario: Scenario, position: int) -> Tiers:
    """Return the tiers as they are seen from a process: farther away in its region."""
    tiers, region = scenario.tiers, region_of(scenario, position)
    if region is None:
        return tiers
    l2 = tiers.l2.model_copy(
        update={
            "cold_read": tiers.l2.cold_read.shifted(region.to_store),
            "write": tiers.l2.write.shifted(region.to_store),
        }
    )
    l3 = tiers.l3.model_copy(update={"round_trip": tiers.l3.round_trip.shifted(region.to_database)})
    return tiers.model_copy(update={"l2": l2, "l3": l3})


def isolate_shares(scenario: Scenario) -> NDArray[np.float64]:
    """Return which share of the requests each isolate answers; shape (isolate_count,)."""
    count = scenario.topology.isolate_count
    if not scenario.regions:
        return np.full(count, 1 / count)
    shares = np.array([region.share for region in scenario.regions])
    own = count // len(scenario.regions)
    return np.repeat(shares / shares.sum() / own, own)


def region_numbers(scenario: Scenario, isolates: NDArray[np.uint16]) -> NDArray[np.int64]:
    """Return the position of the region that each of *isolates* is in."""
    own = scenario.topology.isolate_count // len(scenario.regions)
    return isolates.astype(np.int64) // own
