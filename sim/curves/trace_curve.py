"""The miss-ratio curve of a trace: as it is, shuffled, in theory, by policy, TTL and isolates."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import fmean, stdev

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from core.context import Purpose
from core.metrics.panel import Line
from core.streams import Stream
from sim.curves.distances import distances, hits_by_size
from sim.curves.order import shuffled
from sim.curves.policies import POLICIES, Accesses, Policy, simulated

SHUFFLES = 5
_POINTS = 24


# Arrays have no single truth value: a generated __eq__ could only raise.
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TraceCurve:
    """Miss ratios of a trace; a size is a number of entries.

    exact: of LRU with 0, 1, 2, ... entries, shape (key_count + 1,), without expiry. lines: at
    `sizes`. by_isolates: of L1 alone, where so many isolates with a cache of that size each share
    the accesses out among them at random. by_ttl: of LRU, where every life has that many seconds.
    """

    source: str
    accesses: int
    counted: int
    key_count: int
    first_accesses: float
    sizes: tuple[int, ...]
    exact: NDArray[np.float64]
    real: Line
    shuffled: Line | None
    theory: Line
    policies: tuple[Line, ...]
    by_isolates: tuple[Line, ...]
    by_ttl: tuple[Line, ...]

    @property
    def locality_gap(self) -> tuple[float, ...]:
        """How much lower the real order's miss ratio is than the shuffled one's, by size."""
        other = self.theory if self.shuffled is None else self.shuffled
        return tuple(b - a for a, b in zip(self.real.values, other.values, strict=True))


def usual_sizes(key_count: int) -> tuple[int, ...]:
    """Return sizes from a thousandth of the keys to all of them, in equal ratios."""
    low = max(1, key_count // 1000)
    drawn = np.geomspace(low, key_count, _POINTS)
    return tuple(sorted({max(1, round(float(size))) for size in drawn}))


def trace_curve(
    source: str,
    accesses: Accesses,
    *,
    sizes: Sequence[int] = (),
    policies: Sequence[Policy] = POLICIES,
    ttls: Sequence[float] = (),
    isolates: Sequence[int] = (),
    start: int = 0,
    shuffles: int = SHUFFLES,
    seed: int = 1,
    tell: Callable[[str], None] = lambda step: None,
) -> TraceCurve:
    """Return the curve of *accesses*; those before number *start* fill the caches.

    Where accesses have TTLs, the policies and isolates heed them; the exact curve, the shuffled
    order and theory have none. ttls: seconds, of LRU with that life for every access (needs times).
    shuffles: how often the order is drawn anew, with *seed*; 0 leaves it out. Raise ValueError if a
    size is not 1 or more, nothing is left to count, or TTLs are asked for without times.
    """
    keys, count = accesses.keys, accesses.key_count
    counted = keys.size - start
    chosen = tuple(sorted(set(sizes))) or usual_sizes(count)
    if min(chosen) < 1:
        raise ValueError(f"size {min(chosen)} has no room for an entry; give 1 or more")
    if counted < 1 or start < 0:
        raise ValueError(f"{start} of {keys.size} accesses come before the count; none is left")
    if ttls and accesses.times is None:
        raise ValueError("TTLs need times, and the trace has none")
    tell("exact curve")
    found = distances(keys, count, start=start)
    exact = (counted - hits_by_size(found)) / counted
    mixed = None
    if shuffles:
        tell("shuffled orders")
        mixed = _shuffled(keys, count, chosen, start=start, shuffles=shuffles, seed=seed)
    tell("theory")
    theory = _theory(keys, count, chosen, start)
    lines = _simulated(accesses, chosen, policies, start, tell)
    by_ttl = _by_ttl(accesses, chosen, ttls, start, tell)
    tell("isolates")
    by_isolates = tuple(_isolated(accesses, chosen, each, start, seed) for each in isolates)
    return TraceCurve(
        source=source,
        accesses=keys.size,
        counted=counted,
        key_count=count,
        first_accesses=int(found[0]) / counted,
        sizes=chosen,
        exact=exact,
        real=Line(name="LRU, exact", values=_at(exact, chosen)),
        shuffled=mixed,
        theory=theory,
        policies=lines,
        by_isolates=by_isolates,
        by_ttl=by_ttl,
    )


def _at(exact: NDArray[np.float64], sizes: Sequence[int]) -> tuple[float, ...]:
    """Return the exact curve at *sizes*; beyond the last key more room changes nothing."""
    return tuple(float(exact[min(size, exact.size - 1)]) for size in sizes)


def _shuffled(
    keys: NDArray[np.int32], count: int, sizes: Sequence[int], *, start: int, shuffles: int,
    seed: int,
) -> Line:  # fmt: skip
    drawn = []
    for number in range(shuffles):
        mixed = shuffled(keys, seed=seed, draw=number)
        counted = keys.size - start
        exact = (counted - hits_by_size(distances(mixed, count, start=start))) / counted
        drawn.append(_at(exact, sizes))
    return _line("LRU, shuffled", list(zip(*drawn, strict=True)))


def _line(name: str, drawn: Sequence[Sequence[float]]) -> Line:
    """Return the means of each size's draws, with t-intervals of them where there are several."""
    means = tuple(fmean(each) for each in drawn)
    if len(drawn[0]) < 2:
        return Line(name=name, values=means)
    t = float(stdtrit(len(drawn[0]) - 1, 0.975))
    halves = [t * stdev(each) / math.sqrt(len(each)) for each in drawn]
    spans = tuple(
        (max(0.0, mean - half), min(1.0, mean + half))
        for mean, half in zip(means, halves, strict=True)
    )
    return Line(name=name, values=means, intervals=spans)


def _theory(keys: NDArray[np.int32], count: int, sizes: Sequence[int], start: int) -> Line:
    """Return Che's approximation (Che, Tung and Wang, JSAC 20(7) 2002) of a warm cache.

    References are independent, with the popularity that the counted accesses have.
    """
    often = np.bincount(keys[start:], minlength=count).astype(np.float64)
    # Keys that are asked for equally often behave alike.
    rates, alike = np.unique(often[often > 0] / often.sum(), return_counts=True)
    weights = rates * alike
    ratios = []
    for size in sizes:
        if size >= int(alike.sum()):
            ratios.append(0.0)
            continue
        low, high = 0.0, 1.0
        while float((alike * -np.expm1(-rates * high)).sum()) < size:
            high *= 2
        for _ in range(60):
            time = (low + high) / 2
            if float((alike * -np.expm1(-rates * time)).sum()) < size:
                low = time
            else:
                high = time
        ratios.append(float((weights * np.exp(-rates * low)).sum()))
    return Line(name="LRU, theory", values=tuple(ratios))


def _simulated(
    accesses: Accesses, sizes: Sequence[int], policies: Sequence[Policy], start: int,
    tell: Callable[[str], None],
) -> tuple[Line, ...]:  # fmt: skip
    lines = []
    with ThreadPoolExecutor(max_workers=2) as pool:  # compiled loops hold no GIL
        for policy in policies:
            tell(policy)
            runs = [pool.submit(simulated, accesses, policy, size, start=start) for size in sizes]
            counted = accesses.keys.size - start
            lines.append(
                Line(
                    name=policy,
                    values=tuple((counted - run.result().hits) / counted for run in runs),
                )
            )
    return tuple(lines)


def _by_ttl(
    accesses: Accesses, sizes: Sequence[int], ttls: Sequence[float], start: int,
    tell: Callable[[str], None],
) -> tuple[Line, ...]:  # fmt: skip
    lines = []
    for ttl in ttls:
        alive = Accesses(
            keys=accesses.keys,
            key_count=accesses.key_count,
            times=accesses.times,
            ttls=np.full(accesses.keys.size, ttl),
        )
        (line,) = _simulated(alive, sizes, ("LRU",), start, tell)
        lines.append(Line(name=f"{ttl:g}", values=line.values))
    return tuple(lines)


def _isolated(
    accesses: Accesses, sizes: Sequence[int], isolates: int, start: int, seed: int
) -> Line:
    """Return the miss ratio of L1 by the size of each of *isolates* caches.

    Each access goes to a random isolate, as a platform that balances load does.
    """
    drawn = Stream(seed, Purpose.ISOLATES).rows(0, accesses.keys.size)[:, 0]
    isolate = (drawn * isolates).astype(np.int32)
    hits = [0] * len(sizes)
    for number in range(isolates):
        mine = np.flatnonzero(isolate == number)
        first = int(np.searchsorted(mine, start))
        part = Accesses(
            keys=accesses.keys[mine],
            key_count=accesses.key_count,
            times=None if accesses.ttls is None or accesses.times is None else accesses.times[mine],
            ttls=None if accesses.ttls is None else accesses.ttls[mine],
        )
        if part.ttls is None:
            by_size = hits_by_size(distances(part.keys, part.key_count, start=first))
            for place, size in enumerate(sizes):
                hits[place] += int(by_size[min(size, by_size.size - 1)])
        else:
            for place, size in enumerate(sizes):
                hits[place] += simulated(part, "LRU", size, start=first).hits
    counted = accesses.keys.size - start
    return Line(name=str(isolates), values=tuple((counted - each) / counted for each in hits))
