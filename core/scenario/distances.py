"""What regions do to a run: who answers which requests, and how far the stores are from there."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.scenario.regions import Region
from core.scenario.scenario import Scenario
from core.scenario.tiers import Tiers


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
