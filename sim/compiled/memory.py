"""L1 of every isolate: lists in order of use over dense places, as `MemoryCache` keeps them."""

from __future__ import annotations

from typing import Any

import numpy as np

from sim.compiled.jit import jit, leaf, part

ABSENT = -1e308
"""The expiry of a key that is not there; real ones may be negative."""

LONG_AGO = -1e307
"""The expiry of what has ended before the run."""

PLACE = np.dtype(
    [("expires", "f8"), ("next", "i4"), ("before", "i4"), ("flight", "i4"), ("size", "i4")]
)
"""A key in an isolate. Behind an isolate's keys stands the end of its list: next is the most
recently used key, before the least. flight: the load that others join, -1 for none."""


@leaf
def touch(places: Any, base: Any, key: Any, end: Any) -> Any:
    """Let *key* be the most recently used one of its isolate, whose places begin at *base*."""
    first = places[base + end]["next"]
    if first == key:
        return
    before, after = places[base + key]["before"], places[base + key]["next"]
    places[base + before]["next"] = after
    places[base + after]["before"] = before
    places[base + key]["next"] = first
    places[base + key]["before"] = end
    places[base + first]["before"] = key
    places[base + end]["next"] = key


@leaf
def remove(places: Any, held: Any, isolate: Any, base: Any, key: Any) -> Any:
    """Take *key*, which is there, away."""
    before, after = places[base + key]["before"], places[base + key]["next"]
    places[base + before]["next"] = after
    places[base + after]["before"] = before
    places[base + key]["expires"] = ABSENT
    held[isolate, 0] -= 1
    held[isolate, 1] -= places[base + key]["size"]


@part
def insert(
    places: Any, held: Any, isolate: Any, base: Any, key: Any, end: Any, expires: Any, size: Any
) -> Any:
    """Put *key*, which is not there, in as the most recently used one."""
    places[base + key]["expires"] = expires
    places[base + key]["size"] = size
    first = places[base + end]["next"]
    places[base + key]["next"] = first
    places[base + key]["before"] = end
    places[base + first]["before"] = key
    places[base + end]["next"] = key
    held[isolate, 0] += 1
    held[isolate, 1] += size
    if held[isolate, 1] > held[isolate, 2]:
        held[isolate, 2] = held[isolate, 1]


@part
def keep(
    places: Any, held: Any, isolate: Any, base: Any, key: Any, end: Any, expires: Any, size: Any,
    most: Any, most_bytes: Any,
) -> Any:  # fmt: skip
    """Put *key* in, of *size* bytes in all; return how many others had to go.

    held: by isolate its entries, their bytes, and the most bytes that there were.
    """
    if places[base + key]["expires"] > ABSENT:
        remove(places, held, isolate, base, key)
    gone = 0
    if size > most_bytes:
        return gone
    while held[isolate, 0] >= most or held[isolate, 1] + size > most_bytes:
        remove(places, held, isolate, base, places[base + end]["before"])
        gone += 1
    insert(places, held, isolate, base, key, end, expires, size)
    return gone


@jit
def fill_with_expired(
    places: Any, held: Any, lives: Any, isolate: Any, keys: Any, end: Any, sizes: Any, most: Any,
    most_bytes: Any,
) -> Any:  # fmt: skip
    """Put *keys* that have ended, the coldest first, into an empty L1, as far as they fit."""
    base = isolate * (end + 1)
    total = np.int64(0)
    for key in keys:
        total += sizes[key]
    first = 0
    while keys.size - first > most or total > most_bytes:
        total -= sizes[keys[first]]
        first += 1
    for place in range(first, keys.size):
        key = keys[place]
        places[base + key]["expires"] = LONG_AGO
        places[base + key]["size"] = sizes[key]
        newest = places[base + end]["next"]
        places[base + key]["next"] = newest
        places[base + key]["before"] = end
        places[base + newest]["before"] = key
        places[base + end]["next"] = key
        if lives.shape[0] > 1:
            lives[base + key, 0] = LONG_AGO
    held[isolate, 0] = keys.size - first
    held[isolate, 1] = total
    held[isolate, 2] = max(held[isolate, 2], total)
