"""The exact miss-ratio curve of LRU for every size at once, by stack distances.

An access is a hit in an LRU cache of C entries if its stack distance is C or less: the number of
distinct keys since the last access of its key, that key included (Mattson, Gecsei, Slutz and
Traiger, IBM Systems Journal 9(2), 1970). The keys' last accesses are bits in the order of time;
a distance is the number of ones from a bit on, counted over words, blocks and blocks of blocks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim.curves.machine import jit, popcount

_BLOCK = 4  # 2^4 words of 64 bits
_SUPER = 5  # 2^5 blocks


def distances(keys: NDArray[np.int32], key_count: int, *, start: int = 0) -> NDArray[np.int64]:
    """Return how many accesses have each stack distance, shape (key_count + 1,).

    Element d counts those of distance d; element 0 counts first accesses, which always miss. keys:
    dense numbers, shape (n,), below *key_count*. Accesses before number *start* are not counted.
    """
    last = np.full(key_count, -1, np.int32)
    found = np.zeros(key_count + 1, np.int64)
    # Bits of keys that came again are dropped when the slots are full, a third of them live.
    slots = 1 << max(6 + _BLOCK + _SUPER, int(3 * key_count - 1).bit_length())
    words = np.zeros(slots >> 6, np.uint64)
    blocks = np.zeros(slots >> (6 + _BLOCK), np.int32)
    supers = np.zeros(slots >> (6 + _BLOCK + _SUPER), np.int32)
    _distances(keys, start, last, found, np.empty(slots, np.int32), words, blocks, supers)
    return found


def hits_by_size(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the hits of an LRU cache of 0, 1, 2, ... entries, shape as *counts*."""
    reused = counts.copy()
    reused[0] = 0
    return np.cumsum(reused)


@jit
def _distances(keys, start, last, found, order, words, blocks, supers):  # type: ignore[no-untyped-def]
    now = 0
    for place in range(len(keys)):
        if now == len(order):
            now = _dropped(last, order, words, blocks, supers)
        key = keys[place]
        before = last[key]
        if before < 0:
            if place >= start:
                found[0] += 1
        else:
            word = before >> 6
            bit = np.uint64(before & 63)
            ones = np.int64(popcount(words[word] >> bit))
            # Bits beyond now are 0, so that whole words and blocks are counted.
            end = (now >> 6) + 1
            stop = min(end, ((word >> _BLOCK) + 1) << _BLOCK)
            for at in range(word + 1, stop):
                ones += np.int64(popcount(words[at]))
            if stop < end:
                block = stop >> _BLOCK
                end = (now >> (6 + _BLOCK)) + 1
                stop = min(end, ((block + (1 << _SUPER) - 1) >> _SUPER) << _SUPER)
                for at in range(block, stop):
                    ones += blocks[at]
                for at in range(stop >> _SUPER, (now >> (6 + _BLOCK + _SUPER)) + 1):
                    # Where stop is end, the last block of blocks has been counted.
                    if at << _SUPER >= stop:
                        ones += supers[at]
            if place >= start:
                found[ones] += 1
            words[word] &= ~(np.uint64(1) << bit)
            blocks[before >> (6 + _BLOCK)] -= 1
            supers[before >> (6 + _BLOCK + _SUPER)] -= 1
        last[key] = now
        order[now] = key
        _set(now, words, blocks, supers)
        now += 1


@jit
def _set(slot, words, blocks, supers):  # type: ignore[no-untyped-def]
    words[slot >> 6] |= np.uint64(1) << np.uint64(slot & 63)
    blocks[slot >> (6 + _BLOCK)] += 1
    supers[slot >> (6 + _BLOCK + _SUPER)] += 1


@jit
def _dropped(last, order, words, blocks, supers):  # type: ignore[no-untyped-def]
    """Move the live slots together, in their order; return how many there are."""
    live = 0
    for slot in range(len(order)):
        key = order[slot]
        if last[key] == slot:
            last[key] = live
            order[live] = key
            live += 1
    words[:] = 0
    blocks[:] = 0
    supers[:] = 0
    for slot in range(live):
        _set(slot, words, blocks, supers)
    return live
