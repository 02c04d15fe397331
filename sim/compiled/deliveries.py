"""Deliveries of results to the destination, several at once, each of a batch of rows."""

from __future__ import annotations

from typing import Any

import sim.compiled.slots as s
from sim.compiled.agenda import make_ready, push
from sim.compiled.jit import part
from sim.compiled.philox import at, sampled
from sim.compiled.sampling import profile
from sim.compiled.servers import occupy
from sim.compiled.state import State


@part
def is_hand_free(a: State) -> Any:
    """Return whether another delivery may run."""
    return a.si[s.S_FWD_RUNNING] + a.si[s.S_FWD_RESERVED] < a.ci[s.I_FWD_PARALLEL]


@part
def new_delivery(a: State, rows: Any, is_handed: Any) -> Any:
    """Begin a delivery of *rows* that were handed to it, or that it takes itself."""
    dels = a.dels
    slot = 0
    while dels[slot, s.DI_BUSY]:
        slot += 1
    dels[slot, s.DI_BUSY] = 1
    dels[slot, s.DI_HANDED] = is_handed
    dels[slot, s.DI_ROWS] = rows
    a.si[s.S_FWD_RUNNING] += 1
    make_ready(a, slot << 5 | s.R_FORWARD)


@part
def begin_delivery(a: State) -> Any:
    """Begin a delivery of what is due, now or as soon as another one ends."""
    if is_hand_free(a):
        new_delivery(a, 0, 0)
    else:
        a.si[s.S_FWD_ASKED] = 1


@part
def deliver(a: State, now: Any, slot: Any) -> Any:
    """Send the next rows of a delivery, or end it where nothing is due."""
    dels, si = a.dels, a.si
    if not dels[slot, s.DI_HANDED]:
        _take(a, slot)
    rows = dels[slot, s.DI_ROWS]
    if rows == 0:
        make_ready(a, slot << 5 | s.R_FORWARD_ENDED)
        return
    if rows == a.ci[s.I_FWD_BATCH]:  # there may be work for another
        begin_delivery(a)
    row = si[s.S_FWD_REQUESTS] * a.ci[s.I_PROCESSES] + a.ci[s.I_CONSUMER]
    si[s.S_FWD_REQUESTS] += 1
    a.delf[slot, s.DF_STARTED] = now
    sent = occupy(a, a.ci[s.I_CONSUMER], now, a.cf[s.F_L3_CPU])
    when = sent + sampled(a.t_sent, at(a.seed, a.stream | s.P_DELIVERY, row * s.BATCH_WIDTH))
    push(a, when if when > now else now, slot << 5 | s.E_SENT)


@part
def _take(a: State, slot: Any) -> Any:
    """Take what is due from the outbox."""
    si, bodies, outbox = a.si, a.bodies, a.outbox
    rows = min(si[s.S_OUT_LAST] - si[s.S_OUT_FIRST], a.ci[s.I_FWD_BATCH])
    a.dels[slot, s.DI_ROWS] = rows
    size = 0
    first = si[s.S_BODIES]
    for _ in range(rows):
        place = outbox[si[s.S_OUT_FIRST] % outbox.size]
        size += a.touch_count[place, 1] + 1
        bodies[si[s.S_BODIES]] = place
        si[s.S_BODIES] += 1
        si[s.S_OUT_FIRST] += 1
    if size * a.ci[s.I_TOUCH_BYTES] > a.ci[s.I_BODY]:
        bodies[si[s.S_BODIES]] = -1
        si[s.S_BODIES] += 1
    else:
        si[s.S_BODIES] = first


@part
def end_request(a: State, now: Any, slot: Any) -> Any:
    """End a request to the destination: rows that were handed over were all of its delivery."""
    dels = a.dels
    took = now - a.delf[slot, s.DF_STARTED]
    profile(a, a.ci[s.I_CONSUMER], s.Q_SENT, s.KIND_EXTERNAL, took)
    a.cnt[s.C_FORWARDED] += dels[slot, s.DI_ROWS]
    dels[slot, s.DI_ROWS] = 0
    make_ready(a, slot << 5 | (s.R_FORWARD_ENDED if dels[slot, s.DI_HANDED] else s.R_FORWARD))


@part
def end_delivery(a: State, slot: Any) -> Any:
    """End a delivery; another one may have waited for it, or the end of the run."""
    si = a.si
    a.dels[slot, s.DI_BUSY] = 0
    si[s.S_FWD_RUNNING] -= 1
    if si[s.S_FWD_ASKED]:
        si[s.S_FWD_ASKED] = 0
        begin_delivery(a)
    if si[s.S_MAIN] == 4 and si[s.S_FWD_RUNNING] == 0:
        make_ready(a, s.R_MAIN)
