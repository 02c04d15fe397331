"""What is to happen: timed events by time, then by sequence, and what is ready, in its order."""

from __future__ import annotations

from typing import Any

import sim.compiled.slots as s
from sim.compiled.jit import leaf, part
from sim.compiled.state import State


@leaf
def push(a: State, time: Any, code: Any) -> Any:
    """Push a timed event; the events are a binary heap."""
    times, sequences, codes = a.times, a.sequences, a.events
    place, sequence = a.si[s.S_HEAP], a.si[s.S_SEQ]
    a.si[s.S_HEAP] = place + 1
    a.si[s.S_SEQ] = sequence + 1
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


@leaf
def pop(a: State) -> Any:
    """Take the first timed event away; its time and code are to be read before."""
    times, sequences, codes = a.times, a.sequences, a.events
    count = a.si[s.S_HEAP] - 1
    a.si[s.S_HEAP] = count
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


@leaf
def make_ready(a: State, code: Any) -> Any:
    """Put what goes on at this instant behind all that is ready already."""
    tail = a.si[s.S_TAIL]
    a.ready[tail & (a.ready.size - 1)] = code
    a.si[s.S_TAIL] = tail + 1


@part
def end_background(a: State, process: Any) -> Any:
    """End a background task of a process; the end of the run may have waited for it."""
    a.background[process] -= 1
    if a.background[process] == 0 and a.si[s.S_MAIN] == 3 and a.si[s.S_MAIN_PROCESS] == process:
        make_ready(a, s.R_MAIN)
