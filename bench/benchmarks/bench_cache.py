"""A hit in L1, a hit in L2 and a full miss."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from pytest_benchmark.fixture import BenchmarkFixture

from bench.benchmarks.fixtures import Tiers, finish
from core.caching.kv import MemoryKV, embedded_kv
from core.caching.memory import MemoryCache
from core.cdp import journey_key
from core.clock import ManualClock
from core.span import Span
from core.wire import L1_HIT, L2_HIT, MISS

USER = "u7"
KEY = journey_key(USER)


def test_l1_hit_of_the_memory_cache_alone(benchmark: BenchmarkFixture) -> None:
    cache = MemoryCache(max_entries=10_000, max_bytes=16_000_000)
    for number in range(5_000):
        cache.set(f"key:{number}", b"value", expires=60.0, size=5)
    entry = benchmark(cache.get, "key:4000", 1.0)
    assert entry is not None
    assert entry[0] == b"value"


def test_l1_hit_through_the_tiers(benchmark: BenchmarkFixture) -> None:
    clock = ManualClock()
    tiers = Tiers(MemoryKV(clock.now), clock, l1_ttl=60.0)
    kind = tiers.cdp.kind("user_journeys")

    def read() -> tuple[bytes, Span]:
        span = Span()
        return finish(tiers.cache.get(span, "journey", kind, KEY, _unexpected)), span

    value = finish(tiers.cache.get(Span(), "journey", kind, KEY, lambda: _load(tiers)))
    answer, span = benchmark(read)
    assert answer is value
    assert span.reads == [("journey", L1_HIT)]


def test_l2_hit_in_memory(benchmark: BenchmarkFixture) -> None:
    clock = ManualClock()
    tiers = Tiers(MemoryKV(clock.now), clock, l1_ttl=0.0)  # L1 forgets at once
    kind = tiers.cdp.kind("user_journeys")

    def read() -> tuple[bytes, Span]:
        span = Span()
        return finish(tiers.cache.get(span, "journey", kind, KEY, _unexpected)), span

    value = finish(tiers.cache.get(Span(), "journey", kind, KEY, lambda: _load(tiers)))
    answer, span = benchmark(read)
    assert answer == value
    assert span.reads == [("journey", L2_HIT)]


def test_l2_hit_in_embedded_fakeredis(benchmark: BenchmarkFixture) -> None:
    kv = embedded_kv()
    tiers = Tiers(kv, ManualClock(), l1_ttl=0.0)
    kind = tiers.cdp.kind("user_journeys")

    async def get(span: Span) -> bytes:
        value: bytes = await tiers.cache.get(span, "journey", kind, KEY, _unexpected)
        return value

    with asyncio.Runner() as runner:
        loop = runner.get_loop()

        def read() -> tuple[bytes, Span]:
            span = Span()
            return loop.run_until_complete(get(span)), span

        value = runner.run(tiers.cache.get(Span(), "journey", kind, KEY, lambda: _load(tiers)))
        answer, span = benchmark(read)
        runner.run(kv.close())
    assert answer == value
    assert span.reads == [("journey", L2_HIT)]


def test_full_miss(benchmark: BenchmarkFixture) -> None:
    clock = ManualClock()
    tiers = Tiers(MemoryKV(clock.now), clock, l1_ttl=60.0)
    kind = tiers.cdp.kind("user_journeys")

    def read() -> tuple[bytes, Span]:
        clock.advance(kind.ttl + 1.0)  # nothing lives that long
        span = Span()
        return finish(tiers.cache.get(span, "journey", kind, KEY, lambda: _load(tiers))), span

    answer, span = benchmark(read)
    assert answer == finish(_load(tiers))
    assert span.reads == [("journey", MISS)]


async def _load(tiers: Tiers) -> bytes:
    document = await tiers.cdp.load_journey(USER)
    assert document is not None
    return document


def _unexpected() -> Awaitable[bytes]:
    raise AssertionError("a hit does not load")
