"""Reads of L2 that a request gives up after a soft time limit, while they go on without it."""

from __future__ import annotations

from typing import Any

import sim.compiled.slots as s
from sim.compiled.agenda import end_background, make_ready, push
from sim.compiled.jit import part
from sim.compiled.servers import send_read
from sim.compiled.state import State
from sim.compiled.tiers import heat, look_up


@part
def begin_apart(a: State, now: Any, slot: Any) -> Any:
    """Begin a read of L2 for the request at *slot*, which waits for it for so long only."""
    aparts, si = a.aparts, a.si
    number = si[s.S_FREE_D]
    si[s.S_FREE_D] = aparts[number, s.PA_NEXT]
    si[s.S_USED_D] += 1
    aparts[number, s.PA_OF] = slot
    aparts[number, s.PA_KEY] = a.reqi[slot, s.RI_KEY]
    aparts[number, s.PA_PROCESS] = a.reqi[slot, s.RI_PROCESS]
    aparts[number, s.PA_IS_AWAITED] = 1
    aparts[number, s.PA_LEFT] = 2  # the limit, and the answer
    a.background[aparts[number, s.PA_PROCESS]] += 1
    push(a, now + a.cf[s.F_SOFT], number << 5 | s.E_LIMIT)
    make_ready(a, number << 5 | s.R_APART)


@part
def send_apart(a: State, now: Any, number: Any) -> Any:
    """Send the read; its request still waits for it."""
    slot, process = a.aparts[number, s.PA_OF], a.aparts[number, s.PA_PROCESS]
    when, failed = send_read(a, now, slot, process)
    a.aparts[number, s.PA_FAILED] = failed
    push(a, when, number << 5 | s.E_APART)


@part
def end_apart(a: State, now: Any, number: Any) -> Any:
    """Let L2 answer, or fail, whether the request waits for it still or not."""
    aparts = a.aparts
    slot, key, process = (
        aparts[number, s.PA_OF],
        aparts[number, s.PA_KEY],
        aparts[number, s.PA_PROCESS],
    )
    failed = aparts[number, s.PA_FAILED]
    found, fresh, load, size = False, 0.0, 0.0, 0
    if failed:
        a.cnt[s.C_L2_ERRORS] += 1
    else:
        heat(a, process, key, now + a.cf[s.F_CACHE_TTL], now)
        found, fresh, load, size = look_up(a, process, key, now)
    if aparts[number, s.PA_IS_AWAITED]:
        aparts[number, s.PA_IS_AWAITED] = 0
        a.reqi[slot, s.RI_FAILED] = failed
        a.reqi[slot, s.RI_FOUND] = found
        a.reqi[slot, s.RI_SIZE] = size
        a.reqf[slot, s.RF_FRESH], a.reqf[slot, s.RF_LOAD] = fresh, load
        make_ready(a, slot << 5 | s.R_REQUEST)
    end_background(a, process)
    _free(a, number)


@part
def end_limit(a: State, number: Any) -> Any:
    """Let the request give up, unless L2 has answered."""
    if a.aparts[number, s.PA_IS_AWAITED]:
        a.aparts[number, s.PA_IS_AWAITED] = 0
        slot = a.aparts[number, s.PA_OF]
        a.reqi[slot, s.RI_FAILED] = 1
        make_ready(a, slot << 5 | s.R_REQUEST)
    _free(a, number)


@part
def _free(a: State, number: Any) -> Any:
    """Give the place back once the limit and the answer have come."""
    a.aparts[number, s.PA_LEFT] -= 1
    if a.aparts[number, s.PA_LEFT] == 0:
        a.aparts[number, s.PA_NEXT] = a.si[s.S_FREE_D]
        a.si[s.S_FREE_D] = number
        a.si[s.S_USED_D] -= 1
