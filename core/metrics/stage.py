"""The stages that a request or a service is timed in: each is described here, and only here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Source = Literal["header", "request", "profiler", "simulated", "region"]

NAME = re.compile(r"[a-z][a-z0-9]{0,31}")
"""What a stage or ratio of one's own may be called: metrics are written with it, as p95(NAME)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One stage, whose times are the series NAME of p50(NAME), p95(NAME), mean(NAME), max(NAME).

    title: what is timed, in the plural, as reports write it ("95 % of TITLE take at most ...").
    source: where the times come from. "header": a metric of Server-Timing, of which a request may
    have several; "request": one time of each request, measured around it; "profiler": a kind of
    the profiler, as the service's statistics give it; "simulated": only a simulation knows them;
    "region": the latencies of the requests of a region.
    key: the header's metric or the profiler's kind, by default the stage's name. waits: the wait
    that the times leave out ("for the CPU").
    has_alias: whether p95_NAME is short for p95(NAME). is_kept_empty: whether a simulation's record
    has the stage without a sample, too.
    """

    name: str
    title: str
    source: Source = "header"
    key: str = ""
    waits: str = ""
    has_alias: bool = False
    is_kept_empty: bool = False

    @property
    def told_as(self) -> str:
        """The metric of Server-Timing or the kind of the profiler."""
        return self.key or self.name


STAGES = (
    Stage(
        name="query", source="profiler", has_alias=True, is_kept_empty=True,
        title="database queries (waiting and round trip included)",
    ),
    Stage(
        name="queue", source="profiler", has_alias=True, is_kept_empty=True,
        title="queue batches (from hand-over to the last stored result; the wait before not)",
        waits="before the hand-over",
    ),
    Stage(
        name="external", source="profiler",
        title="requests to the destination of finished conversions",
    ),
    Stage(
        name="cpu", source="request", has_alias=True,
        title="requests' CPU times (waiting for the CPU not included)",
        waits="for the CPU",
    ),
    Stage(name="l1", title="reads of the memory cache (L1)"),
    Stage(name="l2", title="reads of the key-value store (L2)"),
    Stage(
        name="l3", title="executions in the database (L3; waiting not included)",
        waits="for the database",
    ),
    Stage(name="l3wait", title="waits for the database"),
    Stage(name="total", source="request", title="requests, timed inside the service"),
)  # fmt: skip
"""The stages of this service."""


def in_header(stages: tuple[Stage, ...] = STAGES) -> tuple[Stage, ...]:
    """Return those of *stages* that Server-Timing tells, those of one time a request last."""
    told = [stage for stage in stages if stage.source == "header"]
    return (*told, *(stage for stage in stages if stage.source == "request"))
