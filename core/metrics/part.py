"""A part of a run that a KPI judges by itself: a stage of the traffic, or a window of time."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

from core.metrics.doubt import Doubt
from core.metrics.histogram import LatencyHistogram
from core.metrics.retried import Tries
from core.units import parse_duration

_GRACE = 1e-9
"""Seconds: sums of decimal seconds are not exact."""

REMEDY = "write a stage as 'stage 2', or a window of time as '60s..120s'"


@dataclass(frozen=True, slots=True)
class Part:
    """Which part of a run a metric is about.

    stage: the position in traffic.stages, from 1; None for a window. start, end: of a window, in
    seconds from the start of arrivals, the warm-up included, as faults count them.
    """

    stage: int | None = None
    start: float = 0.0
    end: float = 0.0

    @property
    def name(self) -> str:
        """The notation: "stage 2" or "60s..120s"."""
        if self.stage is not None:
            return f"stage {self.stage}"
        return f"{_seconds(self.start)}..{_seconds(self.end)}"


def _seconds(value: float) -> str:
    return f"{int(value) if value.is_integer() else value!r}s"


def parse_part(text: str) -> Part:
    """Return the part that *text* names; ValueError if it names none."""
    if match := re.fullmatch(r"\s*stage\s+(\d{1,6})\s*", text):
        if int(match[1]) == 0:
            raise ValueError("there is no stage 0; stages count from 1")
        return Part(stage=int(match[1]))
    if match := re.fullmatch(r"\s*(\S+?)\s*\.\.\s*(\S+)\s*", text):
        start, end = parse_duration(match[1]), parse_duration(match[2])
        if not 0 <= start < end:
            raise ValueError(f"the window {text.strip()} ends before it begins; swap its times")
        return Part(start=start, end=end)
    raise ValueError(f"{text.strip()!r} is no part of a run; {REMEDY}")


class StageLike(Protocol):
    """What is asked of a stage of the traffic: its length, None for the last, open one."""

    @property
    def duration(self) -> float | None:
        """Seconds."""


def seconds_of(
    part: Part, *, stages: Sequence[StageLike], warm_up: float, total: float
) -> tuple[float, float]:
    """Return when *part* of a run of *total* seconds is judged, from its start on.

    Of a stage that begins in the warm-up the rest is judged. Raise ValueError, with the remedy, if
    the run has no such stage, or a window reaches into the warm-up or beyond the end.
    """
    judged = f"{_seconds(warm_up)}..{_seconds(total)}"
    if part.stage is None:
        if part.start < warm_up - _GRACE or part.end > total + _GRACE:
            raise ValueError(
                f"the window {part.name} is not within what is judged, {judged} from the start of "
                f"arrivals (the first {_seconds(warm_up)} are warm-up); give one within it"
            )
        return part.start, part.end
    if part.stage > len(stages):
        there = "there is 1 stage" if len(stages) == 1 else f"there are {len(stages)} stages"
        raise ValueError(
            f"there is no {part.name}: {there} in traffic.stages, counted from 1; name one of "
            "them, or a window of time"
        )
    start = math.fsum(stage.duration or 0.0 for stage in stages[: part.stage - 1])
    length = stages[part.stage - 1].duration
    end = total if length is None else min(total, start + length)
    if end <= warm_up + _GRACE:
        raise ValueError(
            f"{part.name} ends at {_seconds(end)}, within the warm-up of {_seconds(warm_up)}, so "
            "nothing of it is judged; shorten the warm-up, or judge another stage"
        )
    return max(start, warm_up), end


@dataclass(frozen=True, slots=True, kw_only=True)
class PartOfRun:
    """What a run found between *start* and *end*, in seconds from the start of arrivals.

    Each request counts where it was to be sent. The fields are those of `RunRecord`; the doubt is
    about the requests of the part.
    """

    start: float
    end: float
    latencies: Mapping[str, LatencyHistogram]
    stages: Mapping[str, LatencyHistogram]
    reads: Mapping[str, Mapping[str, int]]
    doubt: Doubt | None = None
    tries: Tries | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain data; equal parts give equal data in equal order."""
        return {
            "start": self.start,
            "end": self.end,
            "latencies": {name: h.to_json() for name, h in sorted(self.latencies.items())},
            "stages": {name: h.to_json() for name, h in sorted(self.stages.items())},
            "reads": {name: dict(sorted(r.items())) for name, r in sorted(self.reads.items())},
            **({} if self.doubt is None else {"doubt": self.doubt.to_json()}),
            **({} if self.tries is None else {"tries": self.tries.to_json()}),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return the part that `to_json` wrote; KeyError or ValueError if it is none."""
        read = LatencyHistogram.from_json
        return cls(
            start=data["start"],
            end=data["end"],
            latencies={name: read(h) for name, h in data["latencies"].items()},
            stages={name: read(h) for name, h in data["stages"].items()},
            reads=data["reads"],
            doubt=Doubt.from_json(data["doubt"]) if "doubt" in data else None,
            tries=Tries.from_json(data["tries"]) if "tries" in data else None,
        )
