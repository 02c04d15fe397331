"""Reads and writes of many keys of one type: one round trip per tier."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from inspect import isawaitable
from typing import Any

from core.caching import stale
from core.caching.envelope import Envelope
from core.caching.invalidation_log import LOADED, Selector
from core.caching.isolate import Isolate
from core.caching.policy import CacheType, V
from core.caching.read import MISSED, CacheRead, Load
from core.context import Span
from core.errors import StoreError
from core.wire import BYPASS, L2_HIT, MISS, NEGATIVE

LoadMany = Callable[[Sequence[str]], Awaitable[Mapping[str, V | None]] | Mapping[str, V | None]]
"""Loads the values of keys, as a coroutine function or a plain one.

A key that it leaves out, or gives None, has no value.
"""


async def get_many(
    cache: Isolate,
    kind: CacheType[Any],
    keys: Sequence[str],
    load: LoadMany[Any],
    span: Span | None,
    name: str,
    tags: tuple[str, ...],
) -> tuple[dict[str, Any], list[CacheRead]]:
    """Return the values of *keys*, and the reads that have none yet: others load their keys."""
    values = {key: cache.peek(kind, key, span, name) for key in dict.fromkeys(keys)}
    reads = [
        CacheRead(kind, key, _one(load, key), span, name, tags)
        for key, value in values.items()
        if value is MISSED
    ]
    led: list[CacheRead] = []
    if reads:
        reads[0].begin()  # a read near its end draws
    for read in reads:
        values[read.key] = stale.serve(cache, read)
        if values[read.key] is MISSED and not (cache.shares_loads and read.key in cache.flights):
            read.flight = cache.flights.begin(read.key, tags)
            led.append(read)
    if led:
        values.update(await _lead(cache, led, load))
    return values, [read for read in reads if values[read.key] is MISSED]


def _one(load: LoadMany[Any], key: str) -> Load:
    async def load_one() -> Any:
        found = load((key,))
        return (await found if isawaitable(found) else found).get(key)

    return load_one


async def _lead(cache: Isolate, reads: Sequence[CacheRead], load: LoadMany[Any]) -> dict[str, Any]:
    """Read the keys of *reads*, which lead flights, for everybody who waits for one of them."""
    try:
        return await _read(cache, reads, load)
    except BaseException as error:
        for read in reads:
            if (flight := read.flight) is not None:
                cache.flights.end(flight)
                flight.fail(error)
        raise


async def _read(cache: Isolate, reads: Sequence[CacheRead], load: LoadMany[Any]) -> dict[str, Any]:
    outcome, envelopes = MISS, list[Envelope | None]()
    started = cache.now()
    try:
        envelopes = await cache.l2.read_many(reads[0].kind, [read.key for read in reads])
    except StoreError:
        outcome, envelopes = BYPASS, [None] * len(reads)
    reads[0].note_stage("l2", cache.now() - started)
    values: dict[str, Any] = {}
    missing = []
    for read, envelope in zip(reads, envelopes, strict=True):
        if envelope is not None and cache.admit(read.key, envelope, cache.now(), stale_bound=0.0):
            values[read.key] = envelope.value
            cache.count(read, L2_HIT if envelope.value is not None else L2_HIT | NEGATIVE)
        elif outcome == BYPASS and (value := stale.extend(cache, read)) is not MISSED:
            values[read.key] = value
        else:
            missing.append(read)
            continue
        cache.answer(read, values[read.key])  # nobody else waits for the load of other keys
    if missing:
        values.update(await _load(cache, missing, load, outcome))
    return values


async def _load(
    cache: Isolate, reads: Sequence[CacheRead], load: LoadMany[Any], outcome: int
) -> dict[str, Any]:
    stamp, loading = cache.invalidator.log.load(), cache.now()
    cache.statistics.loads += 1
    try:
        LOADED.set(stamp)
        loaded = load(tuple(read.key for read in reads))
        found = await loaded if isawaitable(loaded) else loaded
        stamp = LOADED.get() or stamp
        values = {read.key: read.kind.frozen(found.get(read.key)) for read in reads}
        kept = [
            cache.keep_loaded(read.kind, read.key, values[read.key], stamp, loading, read.tags)
            for read in reads
        ]
    except Exception:
        cache.statistics.load_errors += 1
        values = {read.key: stale.fall_back(cache, read) for read in reads}
        if any(value is MISSED for value in values.values()):
            for read in reads:
                if values[read.key] is MISSED:
                    cache.count(read, outcome)
            raise
        for read in reads:
            cache.answer(read, values[read.key])
        return values
    for read in reads:
        cache.count(read, outcome)
        cache.answer(read, values[read.key])
    if outcome != BYPASS:
        await cache.store(*(item for item in kept if item is not None))
        if cache.keeps:  # what L2 has for the others is not to be served stale any more
            ended = (read.key for read, item in zip(reads, kept, strict=True) if item is None)
            await cache.l2.drop(*ended)
    return values


async def set_many(
    cache: Isolate, kind: CacheType[Any], values: Mapping[str, Any], tags: tuple[str, ...]
) -> None:
    """Do what `TieredCache.set_many` says."""
    if not values:
        return
    frozen = {key: kind.frozen(value) for key, value in values.items()}
    target = Selector(keys=tuple(frozen))
    cache.invalidator.forget(target)  # loads in flight began before this
    stamp, now = cache.invalidator.log.load(), cache.now()
    items = {
        key: cache.keep_loaded(kind, key, value, stamp, now, tags) for key, value in frozen.items()
    }
    await cache.l2.write(*(item for item in items.values() if item is not None))
    await cache.l2.drop(*(key for key, item in items.items() if item is None))
    await cache.invalidator.publish(target)


def as_written(load: LoadMany[V], written: Mapping[str, str]) -> LoadMany[V]:
    """Return *load* for whole keys, which *written* maps to the keys that *load* is given."""

    async def load_whole(keys: Sequence[str]) -> dict[str, V | None]:
        loaded = load(tuple(written[key] for key in keys))
        found = await loaded if isawaitable(loaded) else loaded
        return {key: found.get(written[key]) for key in keys}

    return load_whole
