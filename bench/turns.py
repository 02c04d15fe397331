"""Two caches timed in turns, so that both meet the machine at the same speed."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from time import process_time

from bench.peers import Cache, Library
from core.context import Purpose
from core.streams import Stream

CHUNK = 1_000  # keys in a turn: shorter than the periods of constant machine speed


def keys_from(first: int, count: int) -> list[str]:
    """Return *count* keys as the application makes them, numbered from *first*."""
    return [f"lookup:u{number:06d}" for number in range(first, first + count)]


def filled(library: Library, capacity: int, keys: Sequence[str]) -> Cache:
    """Return a cache of *library* that was given *keys*; its owner closes it."""
    cache = library.open(capacity, None)
    cache.write(keys)
    return cache


def timed_pair(
    plain: Callable[[Sequence[str]], None],
    other: Callable[[Sequence[str]], None],
    warm_up: Sequence[str],
    keys: Sequence[str],
) -> tuple[float, float]:
    """Return the seconds of CPU time that each takes for *keys*, in turns of CHUNK keys."""
    gc.disable()
    try:
        _turns(plain, other, warm_up)
        return _turns(plain, other, keys)
    finally:
        gc.enable()


def _turns(
    plain: Callable[[Sequence[str]], None],
    other: Callable[[Sequence[str]], None],
    keys: Sequence[str],
) -> tuple[float, float]:
    totals = [0.0, 0.0]
    for first in range(0, len(keys), CHUNK):
        chunk = keys[first : first + CHUNK]
        for key in chunk:
            hash(key)  # a caller has just made its key: it is in the processor's cache
        turn = ((0, plain), (1, other))
        for index, run in turn if first // CHUNK % 2 else turn[::-1]:
            started = process_time()
            run(chunk)
            totals[index] += process_time() - started
    return totals[0], totals[1]


def beside(
    ours: Library, theirs: Library, *, entries: int, rounds: int
) -> dict[str, tuple[float, ...]]:
    """Return the ratios of our hit, and of our insert with eviction, to theirs, one per round.

    Both get the same keys, in a new order each round; the keys of inserts are new.
    """
    keys = keys_from(0, entries)
    orders = Stream(3, Purpose.DATA, width=entries).rows(0, rounds).argsort(axis=1)
    held, full = (
        [filled(library, room, keys) for library in (theirs, ours)]
        for room in (2 * entries, entries)
    )
    found: dict[str, list[float]] = {"hit": [], "insert+evict": []}
    for number, order in enumerate(orders.tolist()):
        gc.collect()
        shuffled = [keys[index] for index in order]
        new, newer = (keys_from((2 * number + n) * entries, entries) for n in (1, 2))
        for name, calls, warm_up, asked in (
            ("hit", (held[0].read, held[1].read), shuffled, shuffled),
            ("insert+evict", (full[0].write, full[1].write), new, newer),
        ):
            plain, taken = timed_pair(*calls, warm_up, asked)
            found[name].append(taken / plain)
    for cache in (*held, *full):
        cache.close()
    return {name: tuple(ratios) for name, ratios in found.items()}
