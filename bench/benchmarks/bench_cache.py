"""The cost of a hit in L1, with and without recording it, of a hit in L2 and of a full miss."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count

from pytest_benchmark.fixture import BenchmarkFixture

from bench.benchmarks.fixtures import Tiers, finish
from core.application.cache_entries import journey_key
from core.caching.kv import MemoryKV
from core.caching.memory import MemoryCache
from core.caching.redis_kv import embedded_kv
from core.clock import ManualClock
from core.context import Span
from core.wire import L1_HIT, L2_HIT, MISS

USER = "u7"
KEY = journey_key(USER)


def test_l1_hit_of_the_memory_cache_alone(benchmark: BenchmarkFixture) -> None:
    cache = MemoryCache(max_entries=10_000, max_bytes=16_000_000)
    for number in range(5_000):
        cache.set(f"key:{number}", b"value", expires=60.0, size=5)
    entry = benchmark(cache.get, "key:4000", 1.0)
    assert entry is not None
    assert entry.value == b"value"


def test_set_that_evicts_from_the_memory_cache(benchmark: BenchmarkFixture) -> None:
    cache = MemoryCache(max_entries=5_000, max_bytes=16_000_000)
    numbers = count()

    def keep() -> None:
        cache.set(f"key:{next(numbers)}", b"value", expires=60.0, size=5)

    for _ in range(5_000):
        keep()
    benchmark(keep)
    assert len(cache) == 5_000
    assert cache.statistics.evicted > 0


def test_peek_without_a_span(benchmark: BenchmarkFixture) -> None:
    tiers, value = _filled(l1_ttl=60.0)
    kind = tiers.cdp.entries.kind("user_journeys")
    assert benchmark(tiers.cache.peek, kind, KEY) is value


def test_peek_with_a_span(benchmark: BenchmarkFixture) -> None:
    tiers, value = _filled(l1_ttl=60.0)
    kind = tiers.cdp.entries.kind("user_journeys")

    def peek() -> tuple[bytes, Span]:
        span = Span()
        return tiers.cache.peek(kind, KEY, span, "journey"), span

    answer, span = benchmark(peek)
    assert answer is value
    assert span.reads == [("journey", L1_HIT)]
    assert [name for name, _ in span.stages] == ["l1"]


def test_l1_hit_through_the_tiers(benchmark: BenchmarkFixture) -> None:
    tiers, value = _filled(l1_ttl=60.0)
    answer, span = benchmark(_reader(tiers))
    assert answer is value
    assert span.reads == [("journey", L1_HIT)]


def test_l2_hit_in_memory(benchmark: BenchmarkFixture) -> None:
    tiers, value = _filled(l1_ttl=0.0)  # L1 drops entries at once
    answer, span = benchmark(_reader(tiers))
    assert answer == value
    assert span.reads == [("journey", L2_HIT)]


def test_l2_hit_in_embedded_fakeredis(benchmark: BenchmarkFixture) -> None:
    kv = embedded_kv()
    tiers = Tiers(kv, ManualClock(), l1_ttl=0.0)
    kind = tiers.cdp.entries.kind("user_journeys")

    async def get(span: Span) -> bytes:
        value: bytes = await tiers.cache.get(kind, KEY, _unexpected, span, "journey")
        return value

    with asyncio.Runner() as runner:
        loop = runner.get_loop()

        def read() -> tuple[bytes, Span]:
            span = Span()
            return loop.run_until_complete(get(span)), span

        value = runner.run(tiers.cache.get(kind, KEY, lambda: _load(tiers), Span(), "journey"))
        answer, span = benchmark(read)
        runner.run(kv.close())
    assert answer == value
    assert span.reads == [("journey", L2_HIT)]


def test_full_miss(benchmark: BenchmarkFixture) -> None:
    clock = ManualClock()
    tiers = Tiers(MemoryKV(clock.now), clock, l1_ttl=60.0)
    kind = tiers.cdp.entries.kind("user_journeys")

    def read() -> tuple[bytes, Span]:
        clock.advance(kind.ttl + 1.0)  # nothing lives that long
        span = Span()
        load = tiers.cache.get(kind, KEY, lambda: _load(tiers), span, "journey")
        return finish(load), span

    answer, span = benchmark(read)
    assert answer == finish(_load(tiers))
    assert span.reads == [("journey", MISS)]


def _filled(*, l1_ttl: float) -> tuple[Tiers, bytes]:
    """Return tiers over a store in memory that hold KEY, and its value."""
    clock = ManualClock()
    tiers = Tiers(MemoryKV(clock.now), clock, l1_ttl=l1_ttl)
    kind = tiers.cdp.entries.kind("user_journeys")
    load = tiers.cache.get(kind, KEY, lambda: _load(tiers), Span(), "journey")
    return tiers, finish(load)


def _reader(tiers: Tiers) -> Callable[[], tuple[bytes, Span]]:
    """Return a function that reads KEY, without a load, and returns the tier that had it."""
    kind = tiers.cdp.entries.kind("user_journeys")

    def read() -> tuple[bytes, Span]:
        span = Span()
        return finish(tiers.cache.get(kind, KEY, _unexpected, span, "journey")), span

    return read


async def _load(tiers: Tiers) -> bytes:
    document = await tiers.cdp.entries.load_journey(USER)
    assert document is not None
    return document


def _unexpected() -> Awaitable[bytes]:
    raise AssertionError("a hit does not load")
