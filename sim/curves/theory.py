"""Closed forms of a tiered cache whose reads are independent: L1s with LRU and TTLs, one L2.

Reads of a key are Poisson at rate r, shared out among W isolates; stores take no time.

- L2 keeps a key for T2 from its load on: of its reads 1/(1 + r T2) go to the database, whatever W,
  L1's size and L1's TTL are (Jung, Berger and Balakrishnan, INFOCOM 2003), because no entry of L1
  outlives the one of L2 that filled it.
- L1 without want of room: an isolate's fills between two loads are a renewal process whose cycle
  is T1 and an exponential time.
- LRU with room for C entries: Che's characteristic time Tc (Che, Tung and Wang, JSAC 20(7) 2002;
  Fricker, Robert and Roberts, ITC 24, 2012), and the hits of a fill that lives for T:
  M(T) = integral from 0 to min(T, Tc) of r exp(-r x) (1 + M(T - x)) dx.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammainc, gammaln

Floats = NDArray[np.float64]

_GRID = 64
_TERMS = 2_000
"""Cycles of L1 within a life of L2; with more, where L2's life ends hardly matters."""
_SETTLED = 15.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Popularity:
    """How often keys are read; columns of shape (n,), a row for a key or for several alike.

    keys: how many keys a row stands for. shares: of all reads that are theirs. rates: reads/s of
    one of them. seen: reads/s of its key beside it, as a read meets them. kinds: which TTL of L2.
    """

    keys: Floats
    shares: Floats
    rates: Floats
    seen: Floats
    kinds: NDArray[np.int64]


def database_share(popularity: Popularity, l2_ttls: Floats) -> float:
    """Return the share of reads that neither L1 nor L2 answers; l2_ttls: seconds by kind."""
    ends = l2_ttls[popularity.kinds]
    return float((popularity.shares / (1 + popularity.seen * ends)).sum())


def l1_miss(
    popularity: Popularity, *, room: float, l1_ttl: float, l2_ttls: Floats, isolates: int
) -> float:
    """Return the share of reads that L1 does not answer; room: entries of each isolate's L1."""
    each = popularity.rates / isolates
    time = characteristic_time(each, popularity.keys, room)
    seen = popularity.seen / isolates
    hits = np.zeros(seen.size)
    for kind, l2_ttl in enumerate(l2_ttls.tolist()):
        mine = (popularity.kinds == kind) & (seen > 0)
        if mine.any():
            lives = _lives(seen[mine], l1_ttl, l2_ttl, isolates)
            found = _hits_of_a_fill(seen[mine] * lives, seen[mine] * time)
            hits[mine] = found / (1 + found)
    return float((popularity.shares * (1 - hits)).sum())


def characteristic_time(rates: Floats, keys: Floats, room: float) -> float:
    """Return how long an entry that nobody asks for stays in an LRU cache; inf if all fit."""
    asked = rates > 0
    if room >= float(keys[asked].sum()):
        return math.inf
    low, high = 0.0, 1.0
    while float((keys * -np.expm1(-rates * high)).sum()) < room:
        high *= 2
    for _ in range(60):
        time = (low + high) / 2
        if float((keys * -np.expm1(-rates * time)).sum()) < room:
            low = time
        else:
            high = time
    return low


def _lives(rates: Floats, l1_ttl: float, l2_ttl: float, isolates: int) -> Floats:
    """Return the life of L1 that would give the hits which L1 has under L2, if no room is wanted.

    Between two loads an isolate fills L1 at the first read after each end; the one that loaded
    began with the load.
    """
    if l2_ttl / l1_ttl > _TERMS:
        return np.full(rates.size, l1_ttl)
    grid = rates
    if rates.size > _GRID:
        grid = np.geomspace(rates.min(), max(rates.max(), rates.min() * (1 + 1e-9)), _GRID)
    leader, other = np.zeros(grid.size), np.zeros(grid.size)
    cycle = 1
    while (cycle - 1) * l1_ttl < l2_ttl:
        other += gammainc(cycle, grid * (l2_ttl - (cycle - 1) * l1_ttl))
        if cycle * l1_ttl < l2_ttl:
            leader += gammainc(cycle, grid * (l2_ttl - cycle * l1_ttl))
        cycle += 1
    fills = 1 + leader + (isolates - 1) * other
    reads = 1 + isolates * grid * l2_ttl
    lives = np.maximum(reads / fills - 1, 0.0) / grid
    if grid is rates:
        return lives
    found: Floats = np.interp(np.log(rates), np.log(grid), lives)
    return found


def _hits_of_a_fill(lives: Floats, times: Floats) -> Floats:
    """Return M, the hits of a fill: its life and the characteristic time in mean gaps.

    With A = 1 + M and q = exp(-c): A'(x) = 1 - q A(x - c), so that A is a sum over n of
    (-q)^n [(x - nc)^n / n! + (x - nc)^(n+1) / (n+1)!], nc <= x; its limit is exp(c).
    """
    hits = lives.copy()  # no gap within the life is too long
    short = times < lives
    if not short.any():
        return hits
    x, c = lives[short], times[short]
    q = np.exp(-c)
    is_settled = q * x > _SETTLED
    total = np.zeros(x.size)
    for n in range(200):
        left = x - n * c
        inside = (left > 0) & ~is_settled
        if not inside.any():
            break
        log = np.log(np.where(inside, left, 1.0))
        term = np.exp(n * (log - c) - gammaln(n + 1)) + np.exp(
            (n + 1) * log - n * c - gammaln(n + 2)
        )
        total += np.where(inside, term if n % 2 == 0 else -term, 0.0)
    limit = np.exp(np.minimum(c, 700.0))
    settled = np.where(is_settled, limit, np.minimum(total, limit))
    hits[short] = np.maximum(settled - 1, 0.0)
    return hits
