"""The two parts of a query's time, told apart by waiting: round trips overlap, executions queue.

For a hypothetical execution time the waits of all queries follow from when they were at the
database (Lindley's recursion for a queue that serves first come first). The execution times, and
the number of servers, are those that leave the least of the observed times unexplained.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heapreplace

import numpy as np
from numpy.typing import NDArray

SERVERS = (1, 2, 4)
EVIDENCE = 12.0
"""Twice the gain in log-likelihood from which on waiting is told from chance (chi-square, p .002).
"""

_SERVER_EVIDENCE, _SERVER_SHARE = 40.0, 0.03
"""The same for more than one server, and the share of what is unexplained: twice the execution on
two servers looks much the same where executions or round trips vary."""

LEAST = 50
"""Queries below which nothing is told apart."""

_GRID = 9
_ROUNDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Queries:
    """Queries in the order of their middle; all columns have shape (n,).

    middle: half-way between its sending and its answer, which no waiting of a symmetric round trip
    moves apart from its execution; taken: from sending to answer, waiting included; wait: the part
    that the service says was waiting, None where it does not; is_write.
    """

    middle: NDArray[np.float64]
    taken: NDArray[np.float64]
    is_write: NDArray[np.bool_]
    wait: NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Seconds of execution of reads and writes, 0 where none can be told; servers; each wait.

    is_told: by reads (0) and writes (1), whether waiting on them was seen. waits: shape (n,).
    """

    execution: tuple[float, float]
    is_told: tuple[bool, bool]
    servers: int
    waits: NDArray[np.float64]


def waits_of(queries: Queries, execution: tuple[float, float], servers: int) -> list[float]:
    """Return the wait of each query if executions take so long, first come first served.

    With a middle m, an execution S and a wait w, a query arrives at m - (w + S) / 2 and its
    execution ends at m + (w + S) / 2. It waits until a server is free at f: w = 2 (f - m) + S, if
    that is more than 0.
    """
    each = np.where(queries.is_write, execution[1], execution[0]).tolist()
    waits = []
    if servers == 1:
        free = -math.inf
        for middle, lasts in zip(queries.middle.tolist(), each, strict=True):
            wait = 2 * (free - middle) + lasts
            if wait < 0.0:
                wait = 0.0
            waits.append(wait)
            free = middle + (wait + lasts) / 2
        return waits
    ends = [-math.inf] * servers
    for middle, lasts in zip(queries.middle.tolist(), each, strict=True):
        wait = max(0.0, 2 * (ends[0] - middle) + lasts)
        waits.append(wait)
        heapreplace(ends, middle + (wait + lasts) / 2)
    return waits


def split(queries: Queries) -> Split:
    """Return the execution times that explain the waiting best, if there is any to explain."""
    n = queries.middle.size
    none = Split(execution=(0.0, 0.0), is_told=(False, False), servers=1, waits=np.zeros(n))
    if n < LEAST:
        return none
    kinds = (bool((~queries.is_write).any()), bool(queries.is_write.any()))
    bounds = [_most(queries, kind) if there else 0.0 for kind, there in enumerate(kinds)]
    best = (_unexplained(queries, (0.0, 0.0), 1), (0.0, 0.0), 1)
    nothing = best[0]
    for servers in SERVERS:
        found = _search(queries, bounds, servers)
        is_plain = servers > 1 and found[0] > (1 - _SERVER_SHARE) * best[0]
        if not is_plain and _gain(best[0], found[0], n) > (_SERVER_EVIDENCE if servers > 1 else 0):
            best = (*found, servers)
    left, execution, servers = best
    if _gain(nothing, left, n) <= EVIDENCE:
        return none
    told = []
    for kind in (0, 1):
        without = (0.0, execution[1]) if kind == 0 else (execution[0], 0.0)
        told.append(_gain(_unexplained(queries, without, servers), left, n) > EVIDENCE)
    execution = (execution[0] if told[0] else 0.0, execution[1] if told[1] else 0.0)
    return Split(
        execution=execution,
        is_told=(told[0], told[1]),
        servers=servers,
        waits=np.array(waits_of(queries, execution, servers)),
    )


def _gain(before: float, after: float, n: int) -> float:
    """Return twice the gain in log-likelihood of *n* Laplace-distributed residuals."""
    if after > 0:
        return float(2 * n * math.log(before / after))
    return math.inf if before > 0 else 0.0


def _most(queries: Queries, kind: int) -> float:
    """Return the longest execution that the fastest queries of *kind* allow."""
    chosen = queries.is_write == bool(kind)
    taken = queries.taken if queries.wait is None else queries.taken - queries.wait
    return float(np.quantile(taken[chosen], 0.05))


def _unexplained(queries: Queries, execution: tuple[float, float], servers: int) -> float:
    """Return the mean distance of what waiting does not explain from its median.

    The median of each kind of query, or 0 where the service says what was waiting.
    """
    waits = np.array(waits_of(queries, execution, servers))
    if queries.wait is not None:
        return float(np.abs(queries.wait - waits).mean())
    rest = queries.taken - waits
    total = 0.0
    for kind in (False, True):
        of_kind = rest[queries.is_write == kind]
        if of_kind.size:
            total += float(np.abs(of_kind - np.median(of_kind)).sum())
    return float(total / rest.size)


def _search(
    queries: Queries, bounds: Sequence[float], servers: int
) -> tuple[float, tuple[float, float]]:
    """Return the least that is left unexplained and the executions that leave it.

    A grid, refined around its best point. Its points are close for short executions.
    """
    low, high = [0.0, 0.0], list(bounds)
    best = (math.inf, (0.0, 0.0))
    for turn in range(_ROUNDS):
        steps = np.linspace(0, 1, _GRID) ** (2 if turn == 0 else 1)
        axes = [
            (low[k] + steps * (high[k] - low[k])).tolist() if bounds[k] else [0.0] for k in (0, 1)
        ]
        for read in axes[0]:
            for write in axes[1]:
                left = _unexplained(queries, (read, write), servers)
                if left < best[0]:
                    best = (left, (read, write))
        for k in (0, 1):
            at = axes[k].index(best[1][k]) if best[1][k] in axes[k] else 0
            low[k], high[k] = axes[k][max(0, at - 1)], axes[k][min(len(axes[k]) - 1, at + 1)]
    return best
