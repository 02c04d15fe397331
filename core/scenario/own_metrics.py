"""Stages and ratios of a scenario's own: what KPIs may name beside this service's."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, model_validator

from core.metrics.metric_table import BUILT_IN, MetricTable
from core.metrics.ratio import Ratio
from core.metrics.stage import Stage
from core.scenario.table import Table


def _said(title: str) -> str:
    if not title.strip():
        raise ValueError("it is empty; say what is timed or counted, as reports shall write it")
    return title


_Title = Annotated[str, Field(max_length=200), AfterValidator(_said)]
_Key = Annotated[str, Field(pattern=r'^[^\s,;"]{1,64}$')]
_Counts = Annotated[tuple[str, ...], Field(min_length=1, max_length=20)]


class OwnStage(Table):
    """A stage: a metric that a service sends in Server-Timing, or a kind of its profiler."""

    name: str
    title: _Title
    header: _Key | None = None
    profiler: _Key | None = None

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        if self.header is not None and self.profiler is not None:
            raise ValueError("header and profiler are both given; a stage comes from one of them")
        return self

    def described(self) -> Stage:
        """Return the stage."""
        if self.profiler is not None:
            return Stage(
                name=self.name, title=self.title, source="profiler", key=self.profiler
            )  # fmt: skip
        return Stage(name=self.name, title=self.title, key=self.header or "")


class OwnRatio(Table):
    """A ratio: counts of a record over counts of it."""

    name: str
    title: _Title
    alias: str = ""
    counted: _Counts
    of: _Counts

    @model_validator(mode="after")
    def _has_known_counts(self) -> Self:
        self.described()
        return self

    def described(self) -> Ratio:
        """Return the ratio; ValueError that lists the counts for one that there is not."""
        return Ratio(
            name=self.name, title=self.title, alias=self.alias, counted=self.counted, of=self.of
        )


class OwnMetrics(Table):
    """The stages and ratios that a scenario adds to this service's."""

    stages: tuple[OwnStage, ...] = ()
    ratios: tuple[OwnRatio, ...] = ()

    @model_validator(mode="after")
    def _names_are_free(self) -> Self:
        _ = self.table
        return self

    @cached_property
    def table(self) -> MetricTable:
        """What metrics may name: this service's stages and ratios, and then these."""
        if not (self.stages or self.ratios):
            return BUILT_IN
        return BUILT_IN.extended(
            stages=tuple(stage.described() for stage in self.stages),
            ratios=tuple(ratio.described() for ratio in self.ratios),
        )


def has_none(metrics: Any) -> bool:
    """Return whether *metrics* adds nothing; such a scenario is the same as without the field."""
    return bool(metrics == OwnMetrics())
