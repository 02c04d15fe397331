"""How long a service keeps what it has loaded, told from repeats that had to load it again."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from core.scenario.scenario import Scenario
from core.wire import L1_HIT, L2_HIT, MISS
from scenarios.result import Rows

FEWEST = 3
"""Repeats that had to load an entry again before its stated life was over."""

_WRONG = 0.1
"""Share of the repeats that a life may contradict."""


def lives_of(
    scenario: Scenario, rows: Rows, codes: NDArray[np.int64], places: NDArray[np.int64]
) -> dict[str, float]:
    """Return the seconds that entries live in L1 and L2 together, by cache type.

    Only of types that were loaded again sooner than the scenario's TTLs say, at an age that parts
    hits from misses. The exact life lies between the oldest hit and the youngest miss: it is that
    of L1 where this fits, else the middle.
    """
    seen = _repeats(scenario, rows, codes, places)
    lives = {}
    for name, repeats in seen.items():
        stated = scenario.tiers.l2.ttl.of(name)
        early = [age for age, is_hit in repeats if not is_hit and age < 0.98 * stated]
        if len(early) < FEWEST:
            continue
        life = _life(repeats, scenario.tiers.l1.ttl)
        wrong = sum(is_hit != (age < life) for age, is_hit in repeats)
        if life < stated and wrong <= max(1, _WRONG * len(early)):
            lives[name] = life
    is_l2_seen = bool((codes[places] == L2_HIT).any())
    if lives and not is_l2_seen and len(set(lives.values())) == 1:
        # One cache without an L2 behind it: what holds for the types that were seen holds for all.
        life = next(iter(lives.values()))
        for name, ages in seen.items():
            is_kept = any(is_hit and age > life for age, is_hit in ages)
            if not is_kept and life < scenario.tiers.l2.ttl.of(name):
                lives.setdefault(name, life)
    return lives


def _repeats(
    scenario: Scenario, rows: Rows, codes: NDArray[np.int64], places: NDArray[np.int64]
) -> dict[str, list[tuple[float, bool]]]:
    """Return for each repeat the seconds since its entry was loaded and whether it was a hit."""
    loaded: dict[tuple[str, int], float] = {}
    seen: dict[str, list[tuple[float, bool]]] = defaultdict(list)
    table, sites = scenario.endpoints, scenario.traffic.sites
    for row in places[np.argsort(rows.intended_ns[places], kind="stable")].tolist():
        endpoint, subject = table.endpoints[rows.endpoint[row]], int(rows.subject[row])
        time = rows.intended_ns[row] / 1e9
        for read, code in zip(endpoint.reads, codes[row].tolist(), strict=False):
            key = (read.cache_type, read.number(subject, sites))
            if key in loaded and code in (L1_HIT, L2_HIT, MISS):
                age = time - loaded[key]
                if code != MISS or age > scenario.timeout:  # else the load may be under way
                    seen[read.cache_type].append((age, code != MISS))
            if code == MISS:  # its stay begins once it is loaded
                loaded[key] = time + float(np.nan_to_num(rows.latency[row], posinf=0.0))
    return seen


def _life(repeats: list[tuple[float, bool]], l1_ttl: float) -> float:
    """Return the age that parts hits below it from misses above with the fewest exceptions."""
    ordered = sorted(repeats)
    ages = np.array([age for age, _ in ordered])
    hits = np.array([is_hit for _, is_hit in ordered])
    wrong = np.concatenate(([0], np.cumsum(~hits))) + int(hits.sum())
    wrong -= np.concatenate(([0], np.cumsum(hits)))
    best = np.flatnonzero(wrong == wrong.min())
    low = float(ages[best[0] - 1]) if best[0] else 0.0
    high = float(ages[best[-1]]) if best[-1] < ages.size else float("inf")
    if low <= l1_ttl <= high:
        return l1_ttl
    return round((low + high) / 2, 3) if np.isfinite(high) else low
