"""Dense numbers for the ids of a trace, in order of first appearance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim.curves.machine import jit

_FIRST_BITS = 16
_FIRST, _SECOND = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93)
_HALF = np.uint64(32)


def numbered(ids: NDArray[np.uint64]) -> tuple[NDArray[np.int32], int]:
    """Return the dense numbers of *ids*, shape (n,), and how many ids there are.

    One pass over an open-addressed table, at most half full. *ids* may be a strided view.
    """
    keys = np.empty(ids.size, np.int32)
    bits = _FIRST_BITS
    table = np.full(1 << bits, -1, np.int32)
    known = np.empty(1 << (bits - 1), np.uint64)
    done, count = 0, 0
    while done < ids.size:
        done, count = _number(ids, done, count, keys, table, known, np.uint64(64 - bits))
        if done < ids.size:  # the table is half full: four times as large, filled anew
            bits += 2
            table = np.full(1 << bits, -1, np.int32)
            larger = np.empty(1 << (bits - 1), np.uint64)
            larger[:count] = known[:count]
            known = larger
            _fill(known, count, table, np.uint64(64 - bits))
    return keys, count


@jit
def _place(word, shift):  # type: ignore[no-untyped-def]
    """Hash by two multiplications: by one alone, ids that step by its inverse would meet."""
    mixed = word * _FIRST
    mixed = (mixed ^ (mixed >> _HALF)) * _SECOND
    return np.int64(mixed >> shift)


@jit
def _number(ids, done, count, keys, table, known, shift):  # type: ignore[no-untyped-def]
    mask = len(table) - 1
    for place in range(done, len(ids)):
        word = ids[place]
        at = _place(word, shift)
        number = table[at]
        while number >= 0 and known[number] != word:
            at = (at + 1) & mask
            number = table[at]
        if number < 0:
            if count == len(known):
                return place, count
            number = count
            table[at] = number
            known[number] = word
            count += 1
        keys[place] = number
    return len(ids), count


@jit
def _fill(known, count, table, shift):  # type: ignore[no-untyped-def]
    mask = len(table) - 1
    for number in range(count):
        at = _place(known[number], shift)
        while table[at] >= 0:
            at = (at + 1) & mask
        table[at] = number
