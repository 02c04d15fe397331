"""What a log tells of its requests: how many, when, how long they took, what the cache did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from core.metrics.histogram import LatencyHistogram
from scenarios.intake.chunk import NO_KEY, Cache, Chunk, Left

MINUTE = 60_000_000

REASONS = {
    Left.NO_RULE: "no endpoint's rule fits",
    Left.STATIC: "static files (.js, .css, .png ...); a rule takes them",
    Left.BAD_LINE: "the line is not of the format",
    Left.NO_REQUEST: "the line holds no HTTP request",
    Left.BAD_TIME: "the time cannot be read",
    Left.BAD_STATUS: "the status is no number of three digits",
    Left.AGENT: "the user agent is one to leave out (--ignore-agent)",
    Left.STATED: "a rule leaves them out",
    Left.LATE: "out of order by more than 5 minutes, or days from the lines around",
}


@dataclass(slots=True)
class EndpointFigures:
    """Of one endpoint; cache: counts of misses, hits and requests that passed the cache by."""

    count: int = 0
    failed: int = 0
    client_errors: int = 0
    redirects: int = 0
    unkeyed: int = 0
    latency: LatencyHistogram = field(default_factory=LatencyHistogram)
    cache: list[int] = field(default_factory=lambda: [0, 0, 0])

    @property
    def hit_ratio(self) -> float | None:
        """Hits of all reads of the cache; None if the log tells of none."""
        reads = self.cache[Cache.MISS] + self.cache[Cache.HIT]
        return self.cache[Cache.HIT] / reads if reads else None


@dataclass(slots=True)
class Figures:
    """Of a whole log.

    minutes: accesses by the minute since 1970; has_fractions: whether a latency is no whole second.
    """

    lines: int = 0
    left_out: Counter[Left] = field(default_factory=Counter)
    examples: dict[Left, str] = field(default_factory=dict)
    endpoints: list[EndpointFigures] = field(default_factory=list)
    minutes: Counter[int] = field(default_factory=Counter)
    without_zone: int = 0
    coarse: int = 0
    has_fractions: bool = False

    @property
    def accesses(self) -> int:
        """Requests of endpoints."""
        return sum(each.count for each in self.endpoints)

    def left(self, reason: Left, count: int, example: str) -> None:
        """Count lines that are left out."""
        if count:
            self.left_out[reason] += count
            self.examples.setdefault(reason, example)

    def add(self, chunk: Chunk, place: tuple[str, int], kept: NDArray[np.bool_]) -> None:
        """Count the rows of *chunk*; place: its file and first line; kept: which are accesses."""
        file, line = place
        self.lines += int(np.count_nonzero(chunk.rule != Left.COMMENT))
        self.without_zone += chunk.without_zone
        codes, first, counts = np.unique(chunk.rule, return_index=True, return_counts=True)
        for code, at, count in zip(codes.tolist(), first.tolist(), counts.tolist(), strict=True):
            if code < 0 and code != Left.COMMENT:
                self.left(Left(code), count, f"{file}:{line + at}")
        far = (chunk.rule >= 0) & ~kept
        if far.any():
            self.left(Left.LATE, int(far.sum()), f"{file}:{line + int(np.argmax(far))}")
        if not self.has_fractions:
            latency = chunk.latency[kept]
            self.has_fractions = bool((latency[latency > 0] % 10**6).any())
        rules = chunk.rule[kept]
        for position, figures in enumerate(self.endpoints):
            mine = np.flatnonzero(kept)[rules == position]
            if mine.size:
                _add(figures, chunk, mine)

    def add_times(self, times: NDArray[np.int64]) -> None:
        """Count accesses by minute."""
        minutes, counts = np.unique(times // MINUTE, return_counts=True)
        for minute, count in zip(minutes.tolist(), counts.tolist(), strict=True):
            self.minutes[minute] += count


def _add(figures: EndpointFigures, chunk: Chunk, mine: NDArray[np.int64]) -> None:
    figures.count += mine.size
    figures.unkeyed += int(np.count_nonzero(chunk.key[mine] == NO_KEY))
    status = chunk.status[mine]
    figures.failed += int(np.count_nonzero(status >= 500))
    figures.client_errors += int(np.count_nonzero((status >= 400) & (status < 500)))
    figures.redirects += int(np.count_nonzero((status >= 300) & (status < 400)))
    latency = chunk.latency[mine]
    if (known := latency[latency >= 0]).size:
        figures.latency.record_all(known / 1e6)
    cache = chunk.cache[mine]
    for kind in (Cache.MISS, Cache.HIT, Cache.PASSED):
        figures.cache[kind] += int(np.count_nonzero(cache == kind))


def busiest(minutes: Counter[int], length: int) -> tuple[int, int]:
    """Return the first minute of the *length* minutes with most accesses, and how many they are."""
    best, most = min(minutes), 0
    keys = sorted(minutes)
    counts = np.array([minutes[key] for key in keys])
    sums = np.concatenate(([0], np.cumsum(counts)))
    places = np.array(keys)
    ends = np.searchsorted(places, places + length)
    totals = sums[ends] - sums[:-1]
    at = int(np.argmax(totals))
    best, most = keys[at], int(totals[at])
    return best, most


def rates(times: NDArray[np.int64], span: float, most: int = 24) -> Sequence[tuple[float, float]]:
    """Return stages of (seconds, requests/s) of *times*, microseconds from 0 to *span* seconds.

    Neighbours that differ by no more than chance are one stage.
    """
    pieces = max(1, min(most, int(span // 10), times.size // 50))
    length = max(1, round(span / pieces)) if span >= 1 else span
    edges = np.append(np.arange(0.0, span, length), span)
    if edges.size > 2 and edges[-1] - edges[-2] < length / 2:
        edges = np.delete(edges, -2)
    counts, _ = np.histogram(times / 1e6, edges)
    stages: list[list[float]] = []
    for count, seconds in zip(counts.tolist(), np.diff(edges).tolist(), strict=True):
        if stages:
            before, lasted = stages[-1]
            expected = (before + count) / (lasted + seconds)
            if abs(count / seconds - before / lasted) < 2.5 * np.sqrt(
                max(expected, 1e-9) * (1 / seconds + 1 / lasted)
            ):
                stages[-1] = [before + count, lasted + seconds]
                continue
        stages.append([count, seconds])
    return [(seconds, count / seconds) for count, seconds in stages]


def zipf_exponent(counts: NDArray[np.int64]) -> float:
    """Return the exponent of Zipf's law that fits how often each key was asked for (likelihood).

    0 where the keys are too few, or asked for too rarely to tell.
    """
    ranked = np.sort(counts)[::-1].astype(np.float64)
    if ranked.size < 10 or ranked.sum() < 3 * ranked.size:
        return 0.0
    logs = np.log(np.arange(1, ranked.size + 1))
    seen = float((ranked * logs).sum() / ranked.sum())
    low, high = 0.0, 3.0
    for _ in range(40):
        middle = (low + high) / 2
        weights = np.exp(-middle * logs)
        if float((weights * logs).sum() / weights.sum()) > seen:
            low = middle
        else:
            high = middle
    return round(low, 2)
