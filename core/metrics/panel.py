"""Lines over one field: what a study of sizes, TTLs or any other setting found, for a figure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

Unit = Literal["number", "ratio", "seconds", "bytes", "rate", "dollars"]
"""How a value is written: number and rate as they are, ratio in percent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Values at a panel's places, nan where there is none, and their 95 % intervals, if any.

    is_aside: drawn thin and dashed, as what the others are held against.
    """

    name: str
    values: tuple[float, ...]
    intervals: tuple[tuple[float, float], ...] = ()
    is_aside: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One figure: lines over *places*, which ascend.

    name: of its files, a word. finding: what it shows, a sentence. how: what was done. target: a
    level that is drawn across, in the unit of the values. mark: a place that is drawn upright.
    """

    name: str
    heading: str
    finding: str
    how: str
    x_label: str
    y_label: str
    places: tuple[float, ...]
    lines: tuple[Line, ...]
    x_unit: Unit = "number"
    y_unit: Unit = "ratio"
    target: float | None = None
    mark: float | None = None

    def __post_init__(self) -> None:
        for line in self.lines:
            if len(line.values) != len(self.places):
                raise ValueError(
                    f"{line.name} has {len(line.values)} values at {len(self.places)} places"
                )
            if line.intervals and len(line.intervals) != len(self.places):
                raise ValueError(f"{line.name} has {len(line.intervals)} intervals")

    def to_json(self) -> dict[str, Any]:
        """Return the panel as JSON holds it; a value that is no number is null."""
        data = asdict(self)
        for line in data["lines"]:
            line["values"] = [_finite(value) for value in line["values"]]
            line["intervals"] = [[_finite(low), _finite(high)] for low, high in line["intervals"]]
        return data


def panel_from_json(data: Mapping[str, Any]) -> Panel:
    """Return the panel that `Panel.to_json` gave."""
    lines = tuple(
        Line(
            name=line["name"],
            values=tuple(math.nan if value is None else value for value in line["values"]),
            intervals=tuple(
                (math.nan if low is None else low, math.inf if high is None else high)
                for low, high in line["intervals"]
            ),
            is_aside=line["is_aside"],
        )
        for line in data["lines"]
    )
    return Panel(**{**data, "places": tuple(data["places"]), "lines": lines})


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
