"""Values that L1 retains beyond their stay in it: served stale, renewed in the background, or kept
to fall back on while L2 or a load fails."""

from __future__ import annotations

import asyncio
from typing import Any

from core.caching.flights import Flight, LeaderLeft
from core.caching.isolate import Isolate
from core.caching.lifetime import Standing
from core.caching.memory import Life
from core.caching.read import MISSED, CacheRead
from core.wire import L1_HIT, NEGATIVE, STALE


def serve(cache: Isolate, read: CacheRead) -> Any:
    """Return a value that L1 retains, if it may be served without waiting, or MISSED."""
    now = cache.now()
    entry = cache.l1.retained(read.key, now)
    if entry is None or (life := entry.life) is None:
        return MISSED
    standing = cache.lifetime.standing(life, now)
    if standing is Standing.ENDED:
        return MISSED
    if standing is Standing.STALE or (
        standing is Standing.FRESH
        and now >= life.retry_at
        and cache.lifetime.renews_early(now, life.fresh_until, life.load_seconds)
    ):
        refresh(cache, read)
    _count(cache, read, entry.value, life, now)
    return entry.value


def extend(cache: Isolate, read: CacheRead) -> Any:
    """Return a value within its TTL whose stay in L1 is over, while L2 fails, or MISSED."""
    value = _retained_for_errors(cache, read, 0.0)
    if value is not MISSED:
        cache.statistics.l1_extended += 1
    return value


def fall_back(cache: Isolate, read: CacheRead) -> Any:
    """Return a value that may be served because its load failed, or MISSED."""
    value = _retained_for_errors(cache, read, cache.policy.stale_if_error)
    if value is not MISSED:
        _pause(cache, read.key)
    return value


def refresh(cache: Isolate, read: CacheRead) -> None:
    """Load in the background, unless somebody else loads the key already."""
    current = cache.flights.get(read.key)
    if current is not None and current is not read.flight:
        return
    flight = cache.flights.begin(read.key, read.tags)
    cache.statistics.refreshes += 1
    task = asyncio.get_running_loop().create_task(_renew(cache, read, flight))
    task.add_done_callback(lambda ended: _abandon(cache, flight) if ended.cancelled() else None)
    cache.retain(task)


def _retained_for_errors(cache: Isolate, read: CacheRead, bound: float) -> Any:
    if not cache.policy.stale_if_error:
        return MISSED
    now = cache.now()
    entry = cache.l1.retained(read.key, now)
    if entry is None or (life := entry.life) is None or now >= life.fresh_until + bound:
        return MISSED
    _count(cache, read, entry.value, life, now)
    return entry.value


def _count(cache: Isolate, read: CacheRead, value: Any, life: Life, now: float) -> None:
    cache.l1.touch(read.key)
    code = L1_HIT if value is not None else L1_HIT | NEGATIVE
    cache.count(read, code | STALE if now >= life.fresh_until else code)


def _pause(cache: Isolate, key: str) -> None:
    """Let *key* not be loaded again for a while: its load has failed."""
    now = cache.now()
    entry = cache.l1.retained(key, now)
    if entry is not None and entry.life is not None:
        retry_at = now + cache.policy.retry_pause
        cache.l1.replace_life(key, entry.life._replace(retry_at=retry_at))


def _abandon(cache: Isolate, flight: Flight) -> None:
    """End a flight whose task may have been cancelled before it began."""
    cache.flights.end(flight)
    flight.fail(LeaderLeft())


async def _renew(cache: Isolate, read: CacheRead, flight: Flight) -> None:
    read.begin_apart()
    try:
        value, item = await cache.load(read)
    except BaseException as error:
        cache.statistics.refresh_errors += 1
        _pause(cache, read.key)
        cache.flights.end(flight)
        flight.fail(error)
        if not isinstance(error, Exception):
            raise
        return
    cache.flights.end(flight)
    flight.resolve(value)
    if item is not None:
        await cache.l2.write(item)
    else:
        await cache.l2.drop(read.key)
