"""What a search for the highest rate found: the KPIs at each arrival rate that was tried."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

from core.endpoints import CDP
from core.metrics.growth import Forecast
from core.metrics.kpi import Interval, Kpi, Outcome, parse_kpi
from core.metrics.metric_table import BUILT_IN
from core.metrics.ratio import RATIOS, Ratio
from core.metrics.stage import STAGES, Stage
from core.metrics.what_helps import WhatHelps

SCHEMA_VERSION = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacityPoint:
    """One arrival rate: requests/s, every KPI's value in SI units and its outcome.

    values: means over the runs. saturated: the servers that cannot keep up, because their queues
    still grew as the run ended. runs, intervals: how many there were, where that is known, and the
    95 % interval of each mean that has one. utilisation: of each server, where it was simulated.
    costs: means of the figures of cost (`core.metrics.charge`) by name, where they are known.
    """

    rate: float
    values: Mapping[str, float]
    outcomes: Mapping[str, str]
    saturated: tuple[str, ...] = ()
    runs: int | None = None
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    utilisation: Mapping[str, float] = field(default_factory=dict)
    costs: Mapping[str, float] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        """Whether every KPI was measured and meets its target, and every server keeps up."""
        outcomes = self.outcomes.values()
        is_met = bool(outcomes) and all(outcome == Outcome.PASS for outcome in outcomes)
        return is_met and not self.saturated

    @property
    def broken(self) -> tuple[str, ...]:
        """The KPIs that miss their target at this rate, or could not be measured."""
        return tuple(n for n, outcome in self.outcomes.items() if outcome != Outcome.PASS)

    @property
    def missed(self) -> tuple[str, ...]:
        """The KPIs that were measured and miss their target."""
        others = (Outcome.NOT_MEASURED, Outcome.INCONCLUSIVE)
        return tuple(n for n in self.broken if self.outcomes[n] not in others)

    @property
    def undecided(self) -> tuple[str, ...]:
        """The KPIs whose interval reaches beyond their target."""
        return tuple(n for n in self.broken if self.outcomes[n] == Outcome.INCONCLUSIVE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Knee:
    """The rate at which the first KPI breaks, as a mean over replications.

    rate, interval: requests/s, the mean of the replications' knees and its 95 % interval. runs: the
    replications. first: how many of them each KPI broke in first; "" where a server's queue grew.
    each: the knee of each replication, in their order.
    """

    rate: float
    interval: Interval
    runs: int
    first: Mapping[str, int]
    each: tuple[float, ...] = ()

    @property
    def half_width(self) -> float:
        """Half the interval over the rate."""
        return (self.interval[1] - self.interval[0]) / 2 / self.rate


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacityPlan:
    """The rates tried, ascending, and between which two of them the first KPI breaks.

    kpis: what was judged. highest_rate: the highest rate tried at which every KPI holds, None if
    none did.
    breaking_rate: the lowest rate above it at which one breaks, None if none was found.
    breaks_first: the KPIs that break there. replications: runs per rate, on common random numbers.
    bound: the rate beyond which none is tried. unmeasured: the KPIs that the plan says nothing
    about, with the reason. interrupted: whether the search was ended early. eased: the KPIs that
    no rate meets and that are nearest their target at the bound, so that more traffic may help.
    engine: whether the rates were simulated or loaded. ended: why the search ended before the two
    rates were close enough, or before the highest was held; "" if it did not. knee: where the first
    KPI breaks, with its interval, None if no bracket was found. today: the scenario's own rate.
    refused: what the platform would refuse at the rate of `cost_point`: each finding in
    short, and with what follows.
    """

    scenario: str
    scenario_hash: str
    seed: int
    replications: int
    kpis: tuple[Kpi, ...]
    points: tuple[CapacityPoint, ...]
    highest_rate: float | None
    breaking_rate: float | None
    breaks_first: tuple[str, ...]
    bound: float | None = None
    unmeasured: Mapping[str, str] = field(default_factory=dict)
    interrupted: bool = False
    eased: tuple[str, ...] = ()
    engine: Literal["simulate", "load"] = "simulate"
    ended: str = ""
    knee: Knee | None = None
    today: float | None = None
    helps: WhatHelps | None = None
    forecast: Forecast | None = None
    refused: Mapping[str, str] = field(default_factory=dict)

    @property
    def cost_point(self) -> CapacityPoint | None:
        """What was found at today's rate, or else at the lowest rate whose cost is known."""
        told = [p for p in self.points if p.costs]
        return next((p for p in told if p.rate == self.today), told[0] if told else None)

    @property
    def headroom(self) -> float | None:
        """How many times today's rate the knee is, or the highest rate that holds."""
        most = self.highest_rate if self.knee is None else self.knee.rate
        return most / self.today if most and self.today else None

    @property
    def is_held(self) -> bool:
        """Whether the highest rate was loaded several times, and the means judged."""
        return self.engine == "load" and any(
            p.rate == self.highest_rate and len(p.intervals) > 0 for p in self.points
        )

    @property
    def breaking_point(self) -> CapacityPoint | None:
        """What was found at the breaking rate."""
        return next((p for p in self.points if p.rate == self.breaking_rate), None)

    @property
    def never_met(self) -> tuple[str, ...]:
        """The KPIs that miss their target at every rate tried, if several were."""
        if len(self.points) < 2:
            return ()
        names = dict.fromkeys(name for point in self.points for name in point.outcomes)
        return tuple(n for n in names if all(n in point.missed for point in self.points))

    def to_json(self) -> dict[str, Any]:
        """Return plain data; an infinite latency is written as text, JSON has none."""
        data = {
            "schema": "edgeproof/capacity-plan",
            "schema_version": SCHEMA_VERSION,
            **asdict(self),
        }
        data["kpis"] = [kpi_to_json(kpi) for kpi in self.kpis]
        for point in data["points"]:
            point["values"] = {
                name: "Infinity" if math.isinf(value) else value
                for name, value in point["values"].items()
            }
            point["intervals"] = {
                name: ["Infinity" if math.isinf(end) else end for end in ends]
                for name, ends in point["intervals"].items()
            }
        for point in data["points"]:
            if self.engine == "simulate" and not point["intervals"]:
                del point["runs"], point["intervals"], point["utilisation"]
            if not point["costs"]:
                del point["costs"]
        if self.engine == "simulate":
            del data["engine"], data["ended"]
        for name in ("helps", "forecast", "refused"):
            if not data[name]:
                del data[name]
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return the plan that `to_json` wrote; KeyError or ValueError if it is none."""
        if data.get("schema") != "edgeproof/capacity-plan":
            raise ValueError("not a capacity plan")
        version = data["schema_version"]
        if version != SCHEMA_VERSION:
            raise ValueError(f"schema version {version}, this program reads {SCHEMA_VERSION}")
        later: dict[str, Any] = {
            "engine": "simulate",
            "ended": "",
            "knee": None,
            "today": None,
            "helps": None,
            "forecast": None,
            "refused": {},
        }
        fields = {name: {**later, **data}[name] for name in cls.__dataclass_fields__}
        fields["points"] = tuple(
            CapacityPoint(
                rate=point["rate"],
                values={name: float(value) for name, value in point["values"].items()},
                outcomes=point["outcomes"],
                saturated=tuple(point["saturated"]),
                runs=point.get("runs"),
                utilisation=point.get("utilisation", {}),
                costs=point.get("costs", {}),
                intervals={
                    name: (float(low), float(high))
                    for name, (low, high) in point.get("intervals", {}).items()
                },
            )
            for point in data["points"]
        )
        fields["kpis"] = tuple(kpi_from_json(kpi) for kpi in data["kpis"])
        if (knee := fields["knee"]) is not None:
            pairs = {name: tuple(knee.get(name, ())) for name in ("interval", "each")}
            fields["knee"] = Knee(**{**knee, **pairs})
        if fields["helps"] is not None:
            fields["helps"] = WhatHelps.from_json(fields["helps"])
        if fields["forecast"] is not None:
            fields["forecast"] = Forecast.from_json(fields["forecast"])
        for name in ("breaks_first", "eased"):
            fields[name] = tuple(data[name])
        return cls(**fields)


def kpi_to_json(kpi: Kpi) -> dict[str, Any]:
    """Return *kpi* as plain data; with what describes its series, if that is a scenario's own."""
    data = {"metric": kpi.name, "target": kpi.target_text, "alert": kpi.alert_text}
    what = kpi.metric.what
    if isinstance(what, Stage) and what not in STAGES:
        return {**data, "stage": asdict(what)}
    if isinstance(what, Ratio) and what not in RATIOS:
        return {**data, "ratio": asdict(what)}
    if kpi.metric.unit == "seconds" and what is None and kpi.metric.series not in CDP:
        return {**data, "endpoint": kpi.metric.series}
    return data


def kpi_from_json(data: Mapping[str, Any]) -> Kpi:
    """Return the KPI that `kpi_to_json` wrote; KeyError or ValueError if it is none."""
    table = BUILT_IN
    if "endpoint" in data:
        table = table.of_endpoints((str(data["endpoint"]),))
    if "stage" in data:
        table = table.extended(stages=(Stage(**data["stage"]),))
    if "ratio" in data:
        counts = {name: tuple(data["ratio"][name]) for name in ("counted", "of")}
        table = table.extended(ratios=(Ratio(**{**data["ratio"], **counts}),))
    return parse_kpi(data["metric"], data["target"], data["alert"], table)
