"""Hits of a bounded cache on a trace by eviction policy, with TTLs and sizes, compiled.

Room is counted in entries or in bytes. An access of a key that is held and alive is a hit; any
other is a miss, after which the key is held. A life begins at a miss and is not prolonged by hits.
What has expired leaves when it is asked for or evicted. What is larger than the whole room is not
held.

- LRU: the key whose last access is the longest ago.
- FIFO: the key that has been held for the longest time.
- SIEVE: Zhang, Yang, Yue, Vigfusson and Rashmi, NSDI 2024.
- S3-FIFO: Yang, Zhang, Qiu, Yue and Rashmi, SOSP 2023; a tenth of the room is the small queue, a
  key that was hit twice there goes on to the main queue, and as many ghosts as the main queue has
  room for.
- 2Q: Johnson and Shasha, VLDB 1994, full version; A1in has a quarter of the room, A1out half.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sim.curves.machine import jit

Policy = Literal["LRU", "FIFO", "SIEVE", "S3-FIFO", "2Q"]
POLICIES: tuple[Policy, ...] = ("LRU", "FIFO", "SIEVE", "S3-FIFO", "2Q")


# Arrays have no single truth value: a generated __eq__ could only raise.
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Accesses:
    """The reads of a trace in their order; every array has shape (n,).

    keys: dense numbers below key_count. times: seconds, non-decreasing, and ttls: seconds from a
    miss of that access on, inf for no end, which need times. sizes: bytes of the value.
    """

    keys: NDArray[np.int32]
    key_count: int
    times: NDArray[np.float64] | None = None
    ttls: NDArray[np.float64] | None = None
    sizes: NDArray[np.int64] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hits:
    """What a cache answered: accesses, and bytes where the trace has sizes (else as accesses)."""

    hits: int
    hit_bytes: int


def simulated(
    accesses: Accesses, policy: Policy, room: int, *, by_bytes: bool = False, start: int = 0
) -> Hits:
    """Return the hits of a cache of *room* entries, or bytes, under *policy*.

    It is empty at first; accesses before number *start* fill it and are not counted.

    Raise ValueError if *room* is below 1, if there are TTLs without times, or if bytes are
    asked for without sizes.
    """
    if room < 1:
        raise ValueError(f"room is {room}; a cache has room for 1 or more")
    if accesses.times is None and accesses.ttls is not None:
        raise ValueError("TTLs need times, and these accesses have none")
    if by_bytes and accesses.sizes is None:
        raise ValueError("a room in bytes needs the sizes of the accesses")
    none = np.empty(0, np.float64)
    times = none if accesses.times is None else accesses.times
    ttls = none if accesses.ttls is None else accesses.ttls
    sizes = np.empty(0, np.int64) if accesses.sizes is None else accesses.sizes
    out = np.zeros(2, np.int64)
    count = accesses.key_count
    if policy == "LRU" and not ttls.size and not by_bytes:
        last = np.full(count, -1, np.int32)
        _recent(accesses.keys.view(np.uint32), sizes, last, room, start, out)
        out = np.array([accesses.keys[start:].size, sizes[start:].sum()]) - out
    else:
        _LOOPS[policy](
            accesses.keys, times, ttls, sizes, by_bytes, room, start,
            np.full((count + 3, 2), -1, np.int32), np.zeros(count, np.uint8),
            np.zeros(count, np.int64), np.empty(count if ttls.size else 0, np.float64), out,
        )  # fmt: skip
    return Hits(hits=int(out[0]), hit_bytes=int(out[1]) if sizes.size else int(out[0]))


@jit
def _recent(keys, sizes, last, room, start, out):  # type: ignore[no-untyped-def]
    """Count the misses of LRU in entries, and their bytes, without a list.

    It holds the keys whose last access is not before *oldest*. Each last access is passed at most
    once, so that an access costs two look-ups. Places are unsigned: an index that may be negative
    would be tested at each of them, which took a third of the time.
    """
    one = np.uint64(1)
    count = np.uint64(len(keys))
    counted_from = np.uint64(start)
    is_sized = len(sizes) > 0
    misses, missed_bytes, held = 0, 0, 0
    place = np.uint64(0)
    while place < count and held < room:  # nothing leaves yet
        key = keys[place]
        if last[key] < 0:
            held += 1
            if place >= counted_from:
                misses += 1
                if is_sized:
                    missed_bytes += sizes[place]
        last[key] = np.int32(place)
        place += one
    oldest = np.uint64(0)
    while place < count:
        key = keys[place]
        before = last[key]
        last[key] = np.int32(place)
        if before < np.int64(oldest):
            while np.int64(last[keys[oldest]]) != np.int64(oldest):
                oldest += one
            oldest += one
            if place >= counted_from:
                misses += 1
                if is_sized:
                    missed_bytes += sizes[place]
        place += one
    out[0] = misses
    out[1] = missed_bytes


@jit
def _link(links, key, head):  # type: ignore[no-untyped-def]
    """Put *key* first in the list of *head*; links are (newer, older) by key."""
    first = links[head, 1]
    links[key, 0] = head
    links[key, 1] = first
    links[first, 0] = key
    links[head, 1] = key


@jit
def _unlink(links, key):  # type: ignore[no-untyped-def]
    newer = links[key, 0]
    older = links[key, 1]
    links[newer, 1] = older
    links[older, 0] = newer


@jit
def _open(links, head):  # type: ignore[no-untyped-def]
    links[head, 0] = head
    links[head, 1] = head


@jit
def _weight(sizes, place, by_bytes):  # type: ignore[no-untyped-def]
    return sizes[place] if by_bytes else 1


@jit
def _lru(  # type: ignore[no-untyped-def]
    keys, times, ttls, sizes, by_bytes, room, start, links, states, weights, expiries, out
):
    _ordered(
        keys, times, ttls, sizes, by_bytes, room, start, links, states, weights, expiries, out, True
    )


@jit
def _fifo(  # type: ignore[no-untyped-def]
    keys, times, ttls, sizes, by_bytes, room, start, links, states, weights, expiries, out
):
    _ordered(
        keys,
        times,
        ttls,
        sizes,
        by_bytes,
        room,
        start,
        links,
        states,
        weights,
        expiries,
        out,
        False,
    )


@jit
def _ordered(  # type: ignore[no-untyped-def]
    keys, times, ttls, sizes, by_bytes, room, start, links, states, weights, expiries, out, moves
):
    head = len(states)
    _open(links, head)
    used = 0
    for place in range(len(keys)):
        key = keys[place]
        if states[key]:
            if len(ttls) == 0 or expiries[key] > times[place]:
                if place >= start:
                    out[0] += 1
                    if len(sizes):
                        out[1] += sizes[place]
                if moves and links[head, 1] != key:
                    _unlink(links, key)
                    _link(links, key, head)
                continue
            _unlink(links, key)
            states[key] = 0
            used -= weights[key]
        weight = _weight(sizes, place, by_bytes)
        if weight > room:
            continue
        while used + weight > room:
            victim = links[head, 0]
            _unlink(links, victim)
            states[victim] = 0
            used -= weights[victim]
        if len(ttls):
            expiries[key] = times[place] + ttls[place]
        states[key] = 1
        weights[key] = weight
        used += weight
        _link(links, key, head)


@jit
def _sieve(  # type: ignore[no-untyped-def]
    keys, times, ttls, sizes, by_bytes, room, start, links, states, weights, expiries, out
):
    """A key's state: 0 not held, 1 held, 3 visited since the hand passed it."""
    head = len(states)
    _open(links, head)
    used = 0
    hand = head
    for place in range(len(keys)):
        key = keys[place]
        if states[key]:
            if len(ttls) == 0 or expiries[key] > times[place]:
                if place >= start:
                    out[0] += 1
                    if len(sizes):
                        out[1] += sizes[place]
                states[key] = 3
                continue
            if hand == key:
                hand = links[key, 0]
            _unlink(links, key)
            states[key] = 0
            used -= weights[key]
        weight = _weight(sizes, place, by_bytes)
        if weight > room:
            continue
        while used + weight > room:
            victim = hand
            if victim == head:
                victim = links[head, 0]
            while states[victim] == 3:
                states[victim] = 1
                victim = links[victim, 0]
                if victim == head:
                    victim = links[head, 0]
            hand = links[victim, 0]
            _unlink(links, victim)
            states[victim] = 0
            used -= weights[victim]
        if len(ttls):
            expiries[key] = times[place] + ttls[place]
        states[key] = 1
        weights[key] = weight
        used += weight
        _link(links, key, head)


@jit
def _s3fifo(  # type: ignore[no-untyped-def]
    keys, times, ttls, sizes, by_bytes, room, start, links, states, weights, expiries, out
):
    """A key's state: 0 unknown, 1 ghost, 4 + hits in the small queue, 8 + hits in the main one."""
    small = len(states)
    main = small + 1
    ghosts = small + 2
    _open(links, small)
    _open(links, main)
    _open(links, ghosts)
    small_room = max(1, room // 10)
    ghost_room = room - small_room
    small_used = 0
    main_used = 0
    ghost_used = 0
    for place in range(len(keys)):
        key = keys[place]
        state = states[key]
        if state >= 4:
            if len(ttls) == 0 or expiries[key] > times[place]:
                if place >= start:
                    out[0] += 1
                    if len(sizes):
                        out[1] += sizes[place]
                if state & 3 < 3:
                    states[key] = state + 1
                continue
            _unlink(links, key)
            if state < 8:
                small_used -= weights[key]
            else:
                main_used -= weights[key]
            states[key] = 0
            state = 0
        weight = _weight(sizes, place, by_bytes)
        if weight > room:
            continue
        was_ghost = state == 1
        if was_ghost:
            _unlink(links, key)
            ghost_used -= weights[key]
            states[key] = 0
        while small_used + main_used + weight > room:
            if small_used >= small_room or main_used == 0:
                victim = links[small, 0]
                _unlink(links, victim)
                small_used -= weights[victim]
                if states[victim] & 3 > 1:
                    states[victim] = 8
                    main_used += weights[victim]
                    _link(links, victim, main)
                else:
                    states[victim] = 1
                    ghost_used += weights[victim]
                    _link(links, victim, ghosts)
                    while ghost_used > ghost_room:
                        oldest = links[ghosts, 0]
                        _unlink(links, oldest)
                        states[oldest] = 0
                        ghost_used -= weights[oldest]
            else:
                victim = links[main, 0]
                _unlink(links, victim)
                if states[victim] & 3:
                    states[victim] -= 1
                    _link(links, victim, main)
                else:
                    states[victim] = 0
                    main_used -= weights[victim]
        if len(ttls):
            expiries[key] = times[place] + ttls[place]
        weights[key] = weight
        if was_ghost:
            states[key] = 8
            main_used += weight
            _link(links, key, main)
        else:
            states[key] = 4
            small_used += weight
            _link(links, key, small)


@jit
def _two_queues(  # type: ignore[no-untyped-def]
    keys, times, ttls, sizes, by_bytes, room, start, links, states, weights, expiries, out
):
    """A key's state: 0 unknown, 1 in A1out (a ghost), 2 in A1in, 3 in Am."""
    entered = len(states)
    main = entered + 1
    ghosts = entered + 2
    _open(links, entered)
    _open(links, main)
    _open(links, ghosts)
    entered_room = max(1, room // 4)
    ghost_room = max(1, room // 2)
    entered_used = 0
    main_used = 0
    ghost_used = 0
    for place in range(len(keys)):
        key = keys[place]
        state = states[key]
        if state >= 2:
            if len(ttls) == 0 or expiries[key] > times[place]:
                if place >= start:
                    out[0] += 1
                    if len(sizes):
                        out[1] += sizes[place]
                if state == 3 and links[main, 1] != key:
                    _unlink(links, key)
                    _link(links, key, main)
                continue
            _unlink(links, key)
            if state == 2:
                entered_used -= weights[key]
            else:
                main_used -= weights[key]
            states[key] = 0
            state = 0
        weight = _weight(sizes, place, by_bytes)
        if weight > room:
            continue
        was_ghost = state == 1
        if was_ghost:
            _unlink(links, key)
            ghost_used -= weights[key]
            states[key] = 0
        while entered_used + main_used + weight > room:
            if entered_used > entered_room or main_used == 0:
                victim = links[entered, 0]
                _unlink(links, victim)
                entered_used -= weights[victim]
                states[victim] = 1
                ghost_used += weights[victim]
                _link(links, victim, ghosts)
                while ghost_used > ghost_room:
                    oldest = links[ghosts, 0]
                    _unlink(links, oldest)
                    states[oldest] = 0
                    ghost_used -= weights[oldest]
            else:
                victim = links[main, 0]
                _unlink(links, victim)
                states[victim] = 0
                main_used -= weights[victim]
        if len(ttls):
            expiries[key] = times[place] + ttls[place]
        weights[key] = weight
        if was_ghost:
            states[key] = 3
            main_used += weight
            _link(links, key, main)
        else:
            states[key] = 2
            entered_used += weight
            _link(links, key, entered)


_LOOPS: dict[Policy, Callable[..., Any]] = {
    "LRU": _lru, "FIFO": _fifo, "SIEVE": _sieve, "S3-FIFO": _s3fifo, "2Q": _two_queues,
}  # fmt: skip
