"""The timed events: a binary heap by time, then by the sequence in which they were pushed."""

from __future__ import annotations

from typing import Any

from sim.compiled.jit import jit


@jit
def push(
    times: Any, sequences: Any, codes: Any, count: Any, time: Any, sequence: Any, code: Any
) -> Any:
    """Push an event; return how many there are."""
    place = count
    while place > 0:
        parent = (place - 1) >> 1
        # A new event has the highest sequence: it goes behind all others of its time.
        if times[parent] <= time:
            break
        times[place] = times[parent]
        sequences[place] = sequences[parent]
        codes[place] = codes[parent]
        place = parent
    times[place] = time
    sequences[place] = sequence
    codes[place] = code
    return count + 1


@jit
def pop(times: Any, sequences: Any, codes: Any, count: Any) -> Any:
    """Take the first of *count* events away; its time and code are to be read before."""
    count -= 1
    if count > 0:
        time, sequence, code = times[count], sequences[count], codes[count]
        place = 0
        while True:
            child = 2 * place + 1
            if child >= count:
                break
            other = child + 1
            if other < count and (
                times[other] < times[child]
                or (times[other] == times[child] and sequences[other] < sequences[child])
            ):
                child = other
            if time < times[child] or (time == times[child] and sequence < sequences[child]):
                break
            times[place] = times[child]
            sequences[place] = sequences[child]
            codes[place] = codes[child]
            place = child
        times[place] = time
        sequences[place] = sequence
        codes[place] = code
    return count
