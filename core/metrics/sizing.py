"""The smallest value of a field, or the cheapest of several, that meets every KPI."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from core.metrics.sweep import Sweep, SweepCell, cell_from_json

SCHEMA = "edgeproof/size"
SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizing:
    """What was tried and what was found.

    sweep: of one field every value that was tried, of several the scan. bounds: of each field, as
    the command line writes values. rate: requests/s, None where a trace's times decide. found: the
    cell that was looked for, None where none within the bounds meets every KPI. smaller: for each
    field, with the others as found, the next smaller value that was tried and does not do it; None
    where that is beyond the bound. holes: larger values of one field that do not do it.
    """

    sweep: Sweep
    bounds: tuple[tuple[str, str], ...]
    rate: float | None
    found: SweepCell | None = None
    smaller: tuple[SweepCell | None, ...] = ()
    holes: tuple[str, ...] = ()

    @property
    def decides(self) -> tuple[str, ...]:
        """The KPIs that a smaller value of some field breaks."""
        broken = (cell.broken() for cell in self.smaller if cell is not None)
        return tuple(dict.fromkeys(name for names in broken for name in names))

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        names = [field.name for field in self.sweep.fields]
        return {
            "schema": SCHEMA,
            "schema_version": SCHEMA_VERSION,
            "bounds": {name: [*ends] for name, ends in zip(names, self.bounds, strict=True)},
            "rate": self.rate,
            "found": None
            if self.found is None
            else dict(zip(names, self.found.values, strict=True)),
            "decides": [*self.decides],
            "found_cell": None if self.found is None else self.found.to_json(),
            "next_smaller": [None if cell is None else cell.to_json() for cell in self.smaller],
            "holes": [*self.holes],
            "sweep": self.sweep.to_json(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return the sizing that `to_json` wrote; KeyError or ValueError if it is none."""
        if data.get("schema") != SCHEMA:
            raise ValueError("not a size")
        if (version := data["schema_version"]) != SCHEMA_VERSION:
            raise ValueError(f"schema version {version}, this program reads {SCHEMA_VERSION}")
        found = data["found_cell"]
        return cls(
            sweep=Sweep.from_json(data["sweep"]),
            bounds=tuple((low, high) for low, high in data["bounds"].values()),
            rate=data["rate"],
            found=None if found is None else cell_from_json(found),
            smaller=tuple(
                None if each is None else cell_from_json(each) for each in data["next_smaller"]
            ),
            holes=tuple(data["holes"]),
        )
