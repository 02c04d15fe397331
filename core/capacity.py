"""What a capacity plan found: the KPIs at each arrival rate that was tried."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from core.kpi import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacityPoint:
    """One simulated arrival rate: requests/s, every KPI's value in SI units and its outcome."""

    rate: float
    values: Mapping[str, float]
    outcomes: Mapping[str, str]

    @property
    def holds(self) -> bool:
        """Whether every KPI that could be measured meets its target at this rate."""
        return all(o in (Outcome.PASS, Outcome.NOT_MEASURED) for o in self.outcomes.values())

    @property
    def broken(self) -> tuple[str, ...]:
        """The KPIs that miss their target at this rate."""
        return tuple(
            name
            for name, outcome in self.outcomes.items()
            if outcome not in (Outcome.PASS, Outcome.NOT_MEASURED)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacityPlan:
    """The rates tried, ascending, and between which two of them the first KPI breaks.

    highest_rate: the highest rate tried at which every KPI holds, None if none did.
    breaking_rate: the lowest rate above it at which one breaks, None if none was found.
    breaks_first: the KPIs that break there. replications: runs per rate, on common random numbers.
    """

    scenario: str
    scenario_hash: str
    seed: int
    replications: int
    points: tuple[CapacityPoint, ...]
    highest_rate: float | None
    breaking_rate: float | None
    breaks_first: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain data; an infinite latency is written as text, JSON has none."""
        data = {"schema": "edgeproof/capacity-plan", "schema_version": 1, **asdict(self)}
        for point in data["points"]:
            point["values"] = {
                name: "Infinity" if math.isinf(value) else value
                for name, value in point["values"].items()
            }
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return the plan that `to_json` wrote; KeyError or ValueError if it is none."""
        if data.get("schema") != "edgeproof/capacity-plan" or data["schema_version"] != 1:
            raise ValueError("not a capacity plan of schema version 1")
        fields = {name: data[name] for name in cls.__dataclass_fields__}
        fields["points"] = tuple(
            CapacityPoint(
                rate=point["rate"],
                values={name: float(value) for name, value in point["values"].items()},
                outcomes=point["outcomes"],
            )
            for point in data["points"]
        )
        fields["breaks_first"] = tuple(data["breaks_first"])
        return cls(**fields)
