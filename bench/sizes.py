"""Measure the sizes that memory accounting counts: `python -m bench.sizes`.

Each is printed with the constant in use; see docs/decisions/0006-the-memory-kpi.md.
"""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Callable

from core.caching.kv import MemoryKV
from core.caching.memory import ENTRY_OVERHEAD, MemoryCache
from core.caching.policy import CachePolicy, CacheType, Text
from core.caching.tiered import TieredCache
from core.clock import ManualClock
from core.context import Purpose, Span
from core.distributions import quantiles
from core.metrics.profiler import BUCKET_BYTES, LatencyProfiler
from core.streams import Stream
from sim.process import IN_FLIGHT_BYTES

_ENTRIES = 100_000
_REQUESTS = 2_000
_VALUE_BYTES = 200


def traced(build: Callable[[], object]) -> int:
    """Return the bytes held by the result of *build*."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        kept = build()
        held = tracemalloc.get_traced_memory()[0] - before
        del kept
    finally:
        tracemalloc.stop()
    return held


def entry_overhead() -> float:
    """Return the bytes per L1 entry beyond the characters of its key and its encoded value."""

    def fill() -> MemoryCache:
        cache = MemoryCache(max_entries=_ENTRIES, max_bytes=10**9)
        for number in range(_ENTRIES):
            key = f"lookup:u{number:06d}"
            cache.set(key, bytes(_VALUE_BYTES), expires=float(number), size=_VALUE_BYTES)
        return cache

    return traced(fill) / _ENTRIES - _VALUE_BYTES - len("lookup:u000000")


def bucket_bytes() -> float:
    """Return the bytes per bucket of one profiled name after 100,000 latencies."""
    latencies = quantiles({"p50": 0.010, "p99": 0.200})
    uniforms = Stream(1, Purpose.DATA).rows(0, 100_000)[:, 0].tolist()

    def fill() -> LatencyProfiler:
        profiler = LatencyProfiler()
        for uniform in uniforms:
            profiler.record("query", "site", latencies.sample(uniform))
        return profiler

    return traced(fill) / len(fill().histogram("query").counts)


def in_flight_bytes() -> float:
    """Return the bytes of one request that waits for its load, body and task included."""

    async def measure() -> float:
        clock = ManualClock()
        policy = CachePolicy(l1_ttl=60, negative_ttl=0, single_flight=True, await_put=False)
        cache = TieredCache(
            MemoryCache(max_entries=_ENTRIES, max_bytes=10**9),
            MemoryKV(clock.now),
            clock,
            policy,
            retain=lambda _: None,
        )
        kind = CacheType(name="lookup_data", ttl=600.0, codec=Text())
        gate: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        async def request(number: int) -> object:
            body = bytes(1_000)
            answer = await cache.get(
                kind, f"lookup:u{number}", lambda: asyncio.shield(gate), Span(number), "lookup"
            )
            return body, answer

        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        tasks = [asyncio.create_task(request(number)) for number in range(_REQUESTS)]
        while cache.l1.statistics.misses < _REQUESTS:
            await asyncio.sleep(0)
        held = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return held / _REQUESTS

    return asyncio.run(measure())


def main() -> None:
    """Print each size and the constant that counts for it."""
    print(
        f"L1 entry beyond key and value: {entry_overhead():,.0f} bytes (counted {ENTRY_OVERHEAD})"
    )
    print(f"histogram bucket: {bucket_bytes():,.0f} bytes (counted {BUCKET_BYTES})")
    print(f"request in flight: {in_flight_bytes():,.0f} bytes (counted {IN_FLIGHT_BYTES:,})")


if __name__ == "__main__":
    main()
