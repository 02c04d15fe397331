"""Reads of a scenario through L1s, LRU with TTLs, above one L2 with TTLs: who answers them.

What `core.caching.tiered` does, in one pass over the reads: an entry of L1 ends with its own TTL
or that of L2, whichever comes first; L2's begins when the load does; a read that comes while its
isolate fetches the key joins that fetch. Reads and writes of L2 and loads take the times that the
simulation draws for them, and wait for no server.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.curves.machine import jit

_L1, _L2, _LOADED, _JOINED, _EVICTED = range(5)


# Arrays have no single truth value: a generated __eq__ could only raise.
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reads:
    """Cache reads in the order of their requests' times; the columns have shape (n,).

    times: seconds, those before 0 warm the caches up and take no time. keys: dense numbers below
    key_count. isolates: 0 to isolate_count - 1. counted: whether the read counts. goes_on: whether
    the request makes the next read once it has the answer. takes: seconds
    of L2 for it, hot or cold, of the load of its key, and of the write to L2; of the last reads,
    those from 0 on, shape (m, 4).
    """

    times: NDArray[np.float64]
    keys: NDArray[np.int32]
    isolates: NDArray[np.int32]
    counted: NDArray[np.bool_]
    goes_on: NDArray[np.bool_]
    takes: NDArray[np.float32]
    key_count: int
    isolate_count: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Start:
    """What the caches hold when the first read comes; ends are in the reads' seconds, -inf: none.

    l2_until and hot_until: by key, shape (key_count,). order: the keys of each L1, the coldest
    first, shape (isolate_count, m); l1_until: their ends, of the same shape.
    """

    l2_until: NDArray[np.float64]
    hot_until: NDArray[np.float64]
    order: NDArray[np.int32]
    l1_until: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tiers:
    """Times of the tiers in seconds.

    ttls: of L2 by key. cache_ttl: for so long a key that its process has read from L2
    is hot. per_process: isolates of a process.
    """

    l1_ttl: float
    ttls: NDArray[np.float64]
    cache_ttl: float
    per_process: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """How many counted reads were answered by whom.

    loaded: by a load from the database; joined: by the fetch of another read, which counts as a
    miss; evicted: entries that L1 dropped for want of room over the whole pass.
    """

    l1: int
    l2: int
    loaded: int
    joined: int
    evicted: int = 0

    @property
    def reads(self) -> int:
        """All counted reads."""
        return self.l1 + self.l2 + self.loaded + self.joined


def answered(reads: Reads, start: Start, tiers: Tiers, room: int) -> Answered:
    """Return who answers *reads* where each isolate's L1 has room for *room* entries.

    room: 0 for an L1 that dies with its request. ValueError if it is negative.
    """
    if room < 0:
        raise ValueError(f"room is {room}; an L1 has room for 0 entries or more")
    keys, isolates = reads.key_count, reads.isolate_count
    places = isolates * (keys + 1)
    processes = -(-isolates // tiers.per_process)
    out, most = np.zeros(5, np.int64), len(reads.takes) + 1
    _pass(
        reads.times, reads.keys, reads.isolates, reads.counted, reads.goes_on,
        start.order, start.l1_until,
        start.l2_until.copy(), np.tile(start.hot_until, (processes, 1)), tiers.ttls, reads.takes,
        keys, isolates, room, tiers.l1_ttl, tiers.cache_ttl, tiers.per_process,
        np.full(places, -np.inf), np.zeros(places, np.bool_),
        np.empty((places, 2), np.int32),
        np.zeros(isolates, np.int64), np.full(keys, -np.inf), np.empty(most),
        np.empty(most, np.int64), np.full((places, 2), -1, np.int32),
        np.full(reads.times.size, -1, np.int32), out,
    )  # fmt: skip
    l1, l2, loaded, joined, evicted = out.tolist()
    return Answered(l1=l1, l2=l2, loaded=loaded, joined=joined, evicted=evicted)


@jit
def _put_first(links: Any, base: Any, head: Any, key: Any) -> None:
    first = links[base + head, 1]
    links[base + key, 0] = head
    links[base + key, 1] = first
    links[base + first, 0] = key
    links[base + head, 1] = key


@jit
def _take_out(links: Any, base: Any, key: Any) -> None:
    newer = links[base + key, 0]
    older = links[base + key, 1]
    links[base + newer, 1] = older
    links[base + older, 0] = newer


@jit
def _fill(expires, links, held, isolate, head, key, until, room, out):  # type: ignore[no-untyped-def]
    """Put *key*, which is not there, into an L1 that has some room."""
    base = isolate * (head + 1)
    if held[isolate] >= room:
        victim = links[base + head, 0]
        _take_out(links, base, victim)
        expires[base + victim] = -np.inf
        out[_EVICTED] += 1
    else:
        held[isolate] += 1
    _put_first(links, base, head, key)
    expires[base + key] = until


@jit
def _push(due, events, count, time, event):  # type: ignore[no-untyped-def]
    """Add an event to a binary heap of *count*, the earliest first."""
    place = count
    while place:
        above = (place - 1) >> 1
        if due[above] <= time:
            break
        due[place] = due[above]
        events[place] = events[above]
        place = above
    due[place] = time
    events[place] = event


@jit
def _pop(due, events, count):  # type: ignore[no-untyped-def]
    """Take the earliest of *count* events out of the heap."""
    last = count - 1
    time = due[last]
    event = events[last]
    place = 0
    while True:
        below = 2 * place + 1
        if below >= last:
            break
        if below + 1 < last and due[below + 1] < due[below]:
            below += 1
        if time <= due[below]:
            break
        due[place] = due[below]
        events[place] = events[below]
        place = below
    due[place] = time
    events[place] = event


@jit
def _ask(  # type: ignore[no-untyped-def]
    read, now, first, keys, isolates, counted, goes_on, l2_until, hot, ttls, takes, head, room,
    l1_ttl, cache_ttl, per_process, expires, busy, links, held, due, events, waiting, queues,
    behind, out,
):  # fmt: skip
    """Make *read* and the further ones of its request until one has to wait; return *waiting*."""
    while True:
        key = keys[read]
        isolate = isolates[read]
        base = isolate * (head + 1)
        place = base + key
        one = 1 if counted[read] else 0
        if busy[place]:
            out[_JOINED] += one
            last = queues[place, 1]
            if last < 0:
                queues[place, 0] = read
            else:
                behind[last] = read
            queues[place, 1] = read
            return waiting
        end = expires[place]
        if end > now:
            out[_L1] += one
            if links[base + head, 1] != key:
                _take_out(links, base, key)
                _put_first(links, base, head, key)
        else:
            if end > -np.inf:
                _take_out(links, base, key)
                expires[place] = -np.inf
                held[isolate] -= 1
            process = isolate // per_process
            if read >= first:
                took = takes[read - first, 0 if hot[process, key] > now else 1]
                _push(due, events, waiting, now + took, 2 * read)
                busy[place] = True
                return waiting + 1
            hot[process, key] = now + cache_ttl
            if l2_until[key] > now:
                out[_L2] += one
            else:
                out[_LOADED] += one
                l2_until[key] = now + ttls[key]
            if room:
                until = min(now + l1_ttl, l2_until[key])
                _fill(expires, links, held, isolate, head, key, until, room, out)
        if not goes_on[read]:
            return waiting
        read += 1


@jit
def _pass(  # type: ignore[no-untyped-def]
    times, keys, isolates, counted, goes_on, order, l1_until, l2_until, hot, ttls, takes,
    key_count, count, room, l1_ttl, cache_ttl, per_process, expires, busy, links, held, l2_from,
    due, events, queues, behind, out,
):  # fmt: skip
    """expires: -inf where an L1 does not hold the key; busy: while an isolate fetches it.

    events: a read's number times 2 when L2 answers it, and 1 more when its load ends. queues: the
    first and the last read that wait for a fetch, behind: the one after each; -1 for none.
    """
    head = key_count
    for isolate in range(count):
        base = isolate * (head + 1)
        links[base + head, 0] = head
        links[base + head, 1] = head
        found = order.shape[1]
        for place in range(max(0, found - room), found):
            key = order[isolate, place]
            _put_first(links, base, head, key)
            expires[base + key] = l1_until[isolate, place]
            held[isolate] += 1
    first = len(times) - len(takes)
    waiting = 0
    number = 0
    while number <= len(times):
        now = times[number] if number < len(times) else np.inf
        while waiting and due[0] <= now:
            came = due[0]
            event = events[0]
            _pop(due, events, waiting)
            waiting -= 1
            read = event >> 1
            key = keys[read]
            isolate = isolates[read]
            one = 1 if counted[read] else 0
            if event & 1:
                fresh = came - takes[read - first, 2] + ttls[key]
                there = came + takes[read - first, 3]
                if l2_until[key] > came:  # the write of another load is on its way, or there
                    l2_from[key] = min(l2_from[key], there)
                else:
                    l2_from[key] = there
                l2_until[key] = max(l2_until[key], fresh)
            else:
                hot[isolate // per_process, key] = came + cache_ttl
                fresh = l2_until[key]
                if not l2_from[key] <= came < fresh:
                    out[_LOADED] += one
                    _push(due, events, waiting, came + takes[read - first, 2], event + 1)
                    waiting += 1
                    continue
                out[_L2] += one
            place = isolate * (head + 1) + key
            busy[place] = False
            if room and fresh > came:
                until = min(came + l1_ttl, fresh)
                _fill(expires, links, held, isolate, head, key, until, room, out)
            after = queues[place, 0]
            queues[place, 0] = -1
            queues[place, 1] = -1
            while read >= 0:
                if goes_on[read]:
                    waiting = _ask(
                        read + 1, came, first, keys, isolates, counted, goes_on, l2_until, hot,
                        ttls, takes, head, room, l1_ttl, cache_ttl, per_process, expires, busy,
                        links, held, due, events, waiting, queues, behind, out,
                    )  # fmt: skip
                read = after
                if read >= 0:
                    after = behind[read]
                    behind[read] = -1
        if number == len(times):
            break
        waiting = _ask(
            number, now, first, keys, isolates, counted, goes_on, l2_until, hot, ttls, takes, head,
            room, l1_ttl, cache_ttl, per_process, expires, busy, links, held, due, events, waiting,
            queues, behind, out,
        )  # fmt: skip
        while goes_on[number]:
            number += 1
        number += 1
