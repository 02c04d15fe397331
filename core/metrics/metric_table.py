"""The table of what a metric may name: endpoints, stages and ratios, this service's and others'."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from core.endpoints import CDP
from core.metrics.ratio import RATIOS, Ratio
from core.metrics.stage import NAME, STAGES, Stage

_SHORT_ENDPOINTS = ("track", "attribution")  # p95_track is short for p95(track)
_ALIAS = re.compile(r"[a-z][a-z0-9_]{0,31}")


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricTable:
    """What metrics may name; a value that is passed on, with this service's things by default.

    Raise ValueError for a name that cannot be one or is taken.
    """

    endpoints: tuple[str, ...] = CDP.names
    stages: tuple[Stage, ...] = STAGES
    ratios: tuple[Ratio, ...] = RATIOS

    def __post_init__(self) -> None:
        _check("stage", [stage.name for stage in self.stages], self.endpoints)
        _check("ratio", [ratio.name for ratio in self.ratios], ())
        aliases = [*_fixed_aliases(self), *(r.alias for r in self.ratios if r.alias)]
        for alias in aliases:
            if not _ALIAS.fullmatch(alias):
                raise ValueError(
                    f"alias {alias[:40]!r} cannot be one; use a to z, digits and _, a letter first"
                )
            if aliases.count(alias) > 1:
                raise ValueError(f"alias {alias} is taken; use another one")
        told = [(stage.source == "profiler", stage.told_as) for stage in self.stages]
        for stage, place in zip(self.stages, told, strict=True):
            if told.count(place) > 1:
                raise ValueError(
                    f"stage {stage.name}: {stage.told_as} is another stage's, too; name each once"
                )

    def extended(
        self, *, stages: tuple[Stage, ...] = (), ratios: tuple[Ratio, ...] = ()
    ) -> MetricTable:
        """Return this table with *stages* and *ratios* of one's own behind its own."""
        return MetricTable(
            endpoints=self.endpoints,
            stages=(*self.stages, *stages),
            ratios=(*self.ratios, *ratios),
        )

    def of_endpoints(self, names: tuple[str, ...]) -> MetricTable:
        """Return this table for the endpoints called *names*; ValueError if a stage is, too."""
        if names == self.endpoints:
            return self
        return MetricTable(endpoints=names, stages=self.stages, ratios=self.ratios)

    @property
    def series(self) -> tuple[str, ...]:
        """What there are times of: endpoints and stages."""
        return (*self.endpoints, *(stage.name for stage in self.stages))

    def stage(self, name: str) -> Stage | None:
        """Return the stage *name*, None if it is none."""
        return next((stage for stage in self.stages if stage.name == name), None)

    def ratio(self, name: str) -> Ratio | None:
        """Return the ratio *name*, None if it is none."""
        return next((ratio for ratio in self.ratios if ratio.name == name), None)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of the profiler whose times are a stage's."""
        return tuple(stage.told_as for stage in self.stages if stage.source == "profiler")

    def aliases(self) -> Mapping[str, str]:
        """Return the general notation of each short name."""
        return _aliases(self)


@lru_cache(maxsize=64)
def _aliases(table: MetricTable) -> Mapping[str, str]:
    named = {ratio.alias: f"ratio({ratio.name})" for ratio in table.ratios if ratio.alias}
    return named | _fixed_aliases(table)


def _fixed_aliases(table: MetricTable) -> dict[str, str]:
    short = [name for name in table.endpoints if name in _SHORT_ENDPOINTS]
    short += [stage.name for stage in table.stages if stage.has_alias]
    return {**{f"p95_{name}": f"p95({name})" for name in short}, "peak_memory": "peak(memory)"}


def _check(what: str, names: list[str], others: tuple[str, ...]) -> None:
    for name in names:
        if not NAME.fullmatch(name):
            raise ValueError(
                f"{what} {name[:40]!r} cannot be named so; use a to z and digits, a letter first, "
                "at most 32"
            )
        if names.count(name) > 1 or name in others:
            raise ValueError(f"{what} {name} is taken; use another name")


BUILT_IN = MetricTable()
"""What there is without anything of one's own."""
