"""What a scenario comes to with fields at several values: a cell for each combination of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from core.metrics.capacity import kpi_from_json, kpi_to_json
from core.metrics.kpi import Interval, Kpi, Outcome, Verdict, judge, overall
from core.metrics.panel import Unit

SCHEMA = "edgeproof/sweep"
SCHEMA_VERSION = 1
COST = "cost_per_million"


@dataclass(frozen=True, slots=True, kw_only=True)
class SweptField:
    """A field and its values, as the command line writes them, in its order.

    numbers: the values in SI units, None where one is no number. unit: of the numbers.
    """

    name: str
    values: tuple[str, ...]
    numbers: tuple[float, ...] | None = None
    unit: Unit = "number"


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepCell:
    """One combination of values: means over its replications, in SI units, by name.

    values: of each field. runs: replications; 0 where none was made. intervals: 95 %, of the means
    of two runs or more. outcomes: of the KPIs. saturated: servers whose queues only grew; the
    figures are then those of a beginning.
    """

    values: tuple[str, ...]
    scenario_hash: str
    runs: int
    figures: Mapping[str, float]
    intervals: Mapping[str, Interval]
    outcomes: Mapping[str, str]
    saturated: tuple[str, ...] = ()

    @property
    def outcome(self) -> Outcome:
        """What all KPIs come to; FAIL if a server cannot keep up."""
        if self.saturated:
            return Outcome.FAIL
        return overall(Outcome(each) for each in self.outcomes.values())

    @property
    def is_met(self) -> bool:
        """Whether every KPI that was measured passes, with all of its interval."""
        return self.outcome is Outcome.PASS

    @property
    def cost(self) -> float | None:
        """Dollars of a million requests at list prices, None where they are not known."""
        return self.figures.get(COST)

    def broken(self) -> tuple[str, ...]:
        """Return the KPIs that were measured and do not pass."""
        fine = (Outcome.PASS, Outcome.NOT_MEASURED)
        return tuple(name for name, each in self.outcomes.items() if Outcome(each) not in fine)

    def verdict(self, kpi: Kpi) -> Verdict:
        """Judge *kpi* on the mean and its interval."""
        value, ends = self.figures.get(kpi.name), self.intervals.get(kpi.name)
        return judge(kpi, value, ends, runs=self.runs)

    def to_json(self) -> dict[str, Any]:
        """Return plain data; an infinite figure is written as text, JSON has none."""
        data = asdict(self)
        data["figures"] = {name: _plain(value) for name, value in self.figures.items()}
        data["intervals"] = {
            name: [_plain(end) for end in ends] for name, ends in self.intervals.items()
        }
        data["outcome"] = str(self.outcome) if self.runs else None
        return data


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """All cells of a sweep, in the order of the fields' values; the last field changes first.

    kpis: those of the scenario as it was. replications: those that every cell was to have.
    interrupted: whether some were not made.
    """

    scenario: str
    scenario_hash: str
    seed: int
    fields: tuple[SweptField, ...]
    replications: int
    kpis: tuple[Kpi, ...]
    cells: tuple[SweepCell, ...]
    interrupted: bool = False

    def seen(self) -> Iterator[SweepCell]:
        """Yield the cells that have a run."""
        return (cell for cell in self.cells if cell.runs)

    def to_json(self) -> dict[str, Any]:
        """Return plain data; an infinite figure is written as text, JSON has none."""
        data = {"schema": SCHEMA, "schema_version": SCHEMA_VERSION, **asdict(self)}
        data["kpis"] = [kpi_to_json(kpi) for kpi in self.kpis]
        data["cells"] = [cell.to_json() for cell in self.cells]
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return the sweep that `to_json` wrote; KeyError or ValueError if it is none."""
        if data.get("schema") != SCHEMA:
            raise ValueError("not a sweep")
        if (version := data["schema_version"]) != SCHEMA_VERSION:
            raise ValueError(f"schema version {version}, this program reads {SCHEMA_VERSION}")
        fields = {name: data[name] for name in cls.__dataclass_fields__}
        fields["fields"] = tuple(_field(each) for each in data["fields"])
        fields["kpis"] = tuple(kpi_from_json(each) for each in data["kpis"])
        fields["cells"] = tuple(cell_from_json(each) for each in data["cells"])
        return cls(**fields)


def _plain(value: float) -> float | str:
    return value if math.isfinite(value) else "Infinity" if value > 0 else "-Infinity"


def _field(data: Mapping[str, Any]) -> SweptField:
    numbers = data["numbers"]
    return SweptField(
        name=data["name"],
        values=tuple(data["values"]),
        numbers=None if numbers is None else tuple(numbers),
        unit=data["unit"],
    )


def cell_from_json(data: Mapping[str, Any]) -> SweepCell:
    """Return the cell that `SweepCell.to_json` wrote; KeyError or ValueError if it is none."""
    return SweepCell(
        values=tuple(data["values"]),
        scenario_hash=data["scenario_hash"],
        runs=data["runs"],
        figures={name: float(value) for name, value in data["figures"].items()},
        intervals={
            name: (float(low), float(high)) for name, (low, high) in data["intervals"].items()
        },
        outcomes=dict(data["outcomes"]),
        saturated=tuple(data["saturated"]),
    )
