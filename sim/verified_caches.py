"""The caches of the simulation against closed forms: Che's approximation and TTL formulas."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.caching.memory import MemoryCache
from core.context import Purpose
from core.scenario.file import parse_scenario
from core.scenario.replay import prepare
from core.scenario.scenario import Scenario
from core.scenario.warm_start import warm_state
from core.streams import Stream
from sim.model import Replication, SeededDatabase


def zipf(keys: int, exponent: float) -> NDArray[np.float64]:
    """Return the popularity of *keys* keys."""
    weights = np.arange(1, keys + 1, dtype=np.float64) ** -exponent
    return weights / float(weights.sum())


def che(popularity: NDArray[np.float64], capacity: int) -> float:
    """Return the hit ratio of an LRU of *capacity* entries (Che, Tung and Wang 2002)."""
    low, high = 0.0, 1e12
    for _ in range(200):
        time = (low + high) / 2
        if float((-np.expm1(-popularity * time)).sum()) < capacity:
            low = time
        else:
            high = time
    return float((popularity * -np.expm1(-popularity * low)).sum())


def lru_hits(
    popularity: NDArray[np.float64], capacity: int, *, requests: int, replication: int
) -> float:
    """Return the hit ratio of L1 itself; its first half fills it and is not counted."""
    drawn = Stream(1, Purpose.ENDPOINTS, replication=replication).rows(0, requests)[:, 0]
    keys = np.searchsorted(np.cumsum(popularity), drawn, side="right").clip(0, popularity.size - 1)
    cache = MemoryCache(max_entries=capacity, max_bytes=10**12)
    names = [f"k:{key}" for key in range(popularity.size)]
    hits, half = 0, requests // 2
    for place, key in enumerate(keys.tolist()):
        name = names[key]
        if cache.get(name, 0.0) is not None:
            hits += place >= half
        else:
            cache.set(name, 1, 1.0, 8)
    return hits / (requests - half)


def ttl_scenario(
    *, isolates: int, seconds: float, rate: float = 200.0, keys: int = 100, ttl: float = 2.0
) -> Scenario:
    """Return one of which all keys are read alike and all stores are instant."""
    instant = {"read": "1ns", "cold_read": "1ns", "write": "1ns", "put": "await", "cpu": "0s"}
    own: dict[str, Any] = {
        "track": {"weight": 0, "cpu": "0s"}, "attribution": {"weight": 0, "cpu": "0s"},
        "channels": {"weight": 0, "cpu": "0s"}, "journey": {"weight": 1, "cpu": "0s"},
    }  # fmt: skip
    return parse_scenario(
        {
            "name": "verify", "duration": f"{seconds}s", "warm_up": "2s", "endpoints": own,
            "traffic": {
                "stages": [{"rate": rate}], "popularity": {"law": "uniform"},
                "users": keys, "conversions": keys,
            },
            "tiers": {
                "l1": {"ttl": "60s"},
                "l2": {**instant, "ttl": {"user_journeys": f"{ttl}s"}},
                "l3": {
                    "round_trip": "1ns", "read_execution": "1ns", "write_execution": "1ns",
                    "concurrency": 1000, "cpu": "0s",
                },
            },
            "topology": {"isolates": isolates},
        },
        source="verify",
    )  # fmt: skip


def misses(scenario: Scenario, *, replication: int, seeded: SeededDatabase) -> float:
    """Return the share of reads that went to the origin in a whole simulation of *scenario*."""
    prepared = prepare(scenario, replication=replication)
    state = warm_state(scenario, prepared, replication=replication)
    run = Replication(scenario, prepared, state, seeded, replication=replication)
    try:
        requests = run.run().requests
    finally:
        run.loop.close()
    reads = requests.reads[np.asarray(requests.intended) >= scenario.warm_up, 0]
    return float(np.mean(reads >= 3))
