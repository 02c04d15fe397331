"""What the changes of one field do to a plan: how far each moves the knee, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from dataclasses import field as default
from typing import Any, Literal, Self

from core.metrics.kpi import Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One change, on the same random numbers as the scenario without it.

    field, before, after, meaning: the change, as `core.cost.next_values` names it. ratio: the knee
    with it over that without it, the mean over replications of the ratio of each, with its 95 %
    interval. bound: "at least" where the highest rate that may be tried still held, "at most" where
    the lowest one broke; the ratio is then of that rate, without an interval. rate: the knee with
    it. first: how many replications each KPI broke in first, "" where a server's queue grew.
    closed: where no rate holds, the share of the way to their targets that the missed KPIs go, a
    mean over them and the replications, with its interval; values: their means. costs: figures of
    cost by name, at the rate of `WhatHelps`.
    """

    field: str
    before: str
    after: str
    meaning: str
    ratio: float | None = None
    interval: Interval | None = None
    bound: Literal["", "at least", "at most"] = ""
    rate: float | None = None
    first: Mapping[str, int] = default(default_factory=dict)
    closed: float | None = None
    values: Mapping[str, float] = default(default_factory=dict)
    costs: Mapping[str, float] = default(default_factory=dict)

    @property
    def name(self) -> str:
        """The change in short."""
        return f"{self.field} {self.before} → {self.after}"

    @property
    def size(self) -> float:
        """What effects are ranked by: the ratio, or else 1 and the share of the way."""
        return self.ratio if self.ratio is not None else 1.0 + (self.closed or 0.0)

    @property
    def is_sure(self) -> bool:
        """Whether the interval lies on one side of no effect, or the effect is beyond a bound."""
        if self.interval is None:
            return self.bound != ""
        none = 0.0 if self.ratio is None else 1.0
        return not self.interval[0] <= none <= self.interval[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class IsolateSplit:
    """Who answers the cache reads with so many isolates: shares of all reads, and intervals."""

    isolates: int
    shares: Mapping[str, float]
    intervals: Mapping[str, Interval] = default(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatHelps:
    """The effects of the changes that were tried, the one that helps most first.

    little: the changes that move the knee by less than *threshold*, as one replication found.
    untried: changes that were not tried, with the reason. runs: replications of an effect. rate:
    requests/s of the costs and the splits, costs: those without a change. missed: where no rate
    holds, the KPIs that miss their targets at that rate, with their means. interrupted: whether
    changes are left that were not tried.
    """

    effects: tuple[Effect, ...]
    little: tuple[str, ...]
    untried: Mapping[str, str]
    threshold: float
    runs: int
    rate: float
    costs: Mapping[str, float]
    missed: Mapping[str, float] = default(default_factory=dict)
    splits: tuple[IsolateSplit, ...] = ()
    interrupted: bool = False

    @property
    def best(self) -> Effect | None:
        """The change that helps most and surely, None if none does."""
        sure = (e for e in self.effects if e.is_sure and e.size > 1 and e.bound != "at most")
        return next(sure, None)

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return what `to_json` wrote; KeyError or TypeError if it is something else."""
        effects = tuple(Effect(**{**e, "interval": _pair(e["interval"])}) for e in data["effects"])
        splits = tuple(
            IsolateSplit(
                isolates=split["isolates"],
                shares=split["shares"],
                intervals={n: (ends[0], ends[1]) for n, ends in split["intervals"].items()},
            )
            for split in data["splits"]
        )
        return cls(
            **{**data, "effects": effects, "splits": splits, "little": tuple(data["little"])}
        )


def _pair(ends: Any) -> Interval | None:
    return None if ends is None else (float(ends[0]), float(ends[1]))
