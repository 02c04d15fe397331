"""Hit ratios of bounded caches on a trace, with a TTL for each key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, sleep

import numpy as np

from bench.peers import Cache, Library, Pace
from core.context import Purpose
from core.scenario.trace import read_trace
from core.streams import Stream

TTLS = (30.0, 300.0, 3600.0)
RATE = 100.0  # accesses per second of a replay's own time
REAL_STEP = 20e-6  # seconds between accesses of a replay in real time
MAX_TRACE = 500_000
SHARE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Accesses:
    """A trace with its TTLs, at RATE from time 0, and the bound of the caches that replay it."""

    pairs: tuple[tuple[str, float], ...]
    capacity: int
    description: str


class FakePace:
    """A replay's own time: it passes only when an access is due."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._now = 0.0

    def now(self) -> float:
        """Return the time of the access that was reached last."""
        return self._now

    def reach(self, number: int) -> None:
        """Advance to the time of access *number*."""
        self._now = number / self._rate

    def ttl(self, seconds: float) -> float:
        """Return *seconds*."""
        return seconds


class RealPace:
    """Real time, in which accesses follow each other in REAL_STEP, and TTLs shrink alike."""

    def __init__(self, rate: float) -> None:
        self._scale = rate * REAL_STEP
        self._started = perf_counter()

    def reach(self, number: int) -> None:
        """Wait until access *number* is due."""
        if number == 0:
            self._started = perf_counter()
        due = self._started + number * REAL_STEP
        while perf_counter() < due:
            sleep(0)  # so that a library's own threads can work

    def ttl(self, seconds: float) -> float:
        """Return *seconds* on the scale of this replay."""
        return seconds * self._scale


def synthetic(keys: int = 20_000, accesses: int = 200_000, exponent: float = 0.9) -> Accesses:
    """Return accesses whose keys are independent of each other, with popularity by Zipf's law."""
    weights = np.arange(1, keys + 1) ** -exponent
    uniforms = Stream(1, Purpose.DATA).rows(0, accesses)[:, 0]
    cumulative = np.cumsum(weights) / weights.sum()
    drawn = np.minimum(np.searchsorted(cumulative, uniforms, side="right"), keys - 1)
    return _accesses(
        drawn.tolist(), (drawn % len(TTLS)).tolist(), int(keys * SHARE),
        f"Zipf({exponent:g}) over {keys:,} keys, {accesses:,} independent accesses; TTLs by key",
    )  # fmt: skip


def recorded(path: Path) -> Accesses:
    """Return the first MAX_TRACE reads of a trace; InputError if it cannot be used.

    TTLs of the trace stand in place of those by class where an access has one.
    """
    trace = read_trace(path, stop=MAX_TRACE)
    types = trace.keys if trace.types is None else trace.types
    by = "key" if trace.types is None else "type"
    return _accesses(
        trace.keys.tolist(), (types % len(TTLS)).tolist(), max(1, int(trace.key_count * SHARE)),
        f"{trace.source}: the first {trace.keys.size:,} reads of {trace.key_count:,} real keys "
        f"in their own order; TTLs {'of the trace, or ' if trace.ttls is not None else ''}assigned "
        f"by {by}, times at a constant rate",
        None if trace.ttls is None else trace.ttls.tolist(),
    )  # fmt: skip


def _accesses(
    keys: Sequence[int],
    classes: Sequence[int],
    capacity: int,
    description: str,
    own: Sequence[float] | None = None,
) -> Accesses:
    names = {key: f"k{key}" for key in set(keys)}
    pairs = tuple(
        (names[key], ttl or TTLS[kind])
        for key, kind, ttl in zip(keys, classes, own or [0.0] * len(keys), strict=True)
    )
    return Accesses(pairs=pairs, capacity=max(1, capacity), description=description)


def hit_ratio(library: Library, accesses: Accesses, *, in_real_time: bool = False) -> float:
    """Return the share of hits in the second half of *accesses*; the first half warms the cache."""
    if in_real_time or not library.takes_time:
        real = RealPace(RATE)
        return _share(library.open(accesses.capacity, None), accesses, real)
    fake = FakePace(RATE)
    return _share(library.open(accesses.capacity, fake.now), accesses, fake)


def _share(cache: Cache, accesses: Accesses, pace: Pace) -> float:
    try:
        hits = cache.replay(accesses.pairs, pace)
    finally:
        cache.close()
    warm = hits[len(hits) // 2 :]
    return sum(warm) / len(warm)
