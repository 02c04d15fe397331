"""Deliveries of results to the destination, several at once, each of a batch of rows."""

from __future__ import annotations

from typing import Any

import numpy as np

import sim.compiled.slots as s
from sim.compiled.agenda import make_ready, push
from sim.compiled.jit import part
from sim.compiled.outbox import drop_row, milliseconds, put_row
from sim.compiled.philox import at, sampled
from sim.compiled.sampling import profile, profile_failure
from sim.compiled.servers import occupy, with_faults
from sim.compiled.state import State

_LONGEST_WAIT = 3_600.0
_SOON = 0.001


@part
def is_hand_free(a: State) -> Any:
    """Return whether another delivery may run."""
    return a.si[s.S_FWD_RUNNING] + a.si[s.S_FWD_RESERVED] < a.ci[s.I_FWD_PARALLEL]


@part
def new_delivery(a: State, is_handed: Any) -> Any:
    """Begin a delivery, without rows as yet: they are handed to it, or it takes them itself."""
    dels = a.dels
    slot = 0
    while dels[slot, s.DI_BUSY]:
        slot += 1
    dels[slot, s.DI_BUSY] = 1
    dels[slot, s.DI_HANDED] = is_handed
    dels[slot, s.DI_ROWS] = 0
    dels[slot, s.DI_AT] = 0
    a.si[s.S_FWD_RUNNING] += 1
    make_ready(a, slot << 5 | s.R_FORWARD)
    return slot


@part
def hand_over(a: State, slot: Any, place: Any, since: Any, attempts: Any) -> Any:
    """Give a delivery one more row."""
    row = a.dels[slot, s.DI_ROWS]
    a.taken[slot, row, s.OB_PLACE], a.taken[slot, row, s.OB_SINCE] = place, since
    a.taken[slot, row, s.OB_ATTEMPTS] = attempts
    a.dels[slot, s.DI_ROWS] = row + 1


@part
def begin_delivery(a: State) -> Any:
    """Begin a delivery of what is due, now or as soon as another one ends."""
    if is_hand_free(a):
        new_delivery(a, 0)
    else:
        a.si[s.S_FWD_ASKED] = 1


@part
def deliver(a: State, now: Any, slot: Any) -> Any:
    """Send the next rows of a delivery, or end it where nothing is due."""
    dels, si = a.dels, a.si
    if dels[slot, s.DI_AT] == dels[slot, s.DI_ROWS]:
        if dels[slot, s.DI_HANDED] and dels[slot, s.DI_ROWS] > 0:
            make_ready(a, slot << 5 | s.R_FORWARD_ENDED)
            return
        _take(a, now, slot)
    if dels[slot, s.DI_ROWS] == 0:
        _set_timer(a, now)
        make_ready(a, slot << 5 | s.R_FORWARD_ENDED)
        return
    if dels[slot, s.DI_AT] == 0 and dels[slot, s.DI_ROWS] == a.ci[s.I_FWD_BATCH]:
        begin_delivery(a)  # there may be work for another
    dels[slot, s.DI_SENT] = _together(a, slot)
    consumer = a.ci[s.I_CONSUMER]
    address = (si[s.S_FWD_REQUESTS] * a.ci[s.I_PROCESSES] + consumer) * s.BATCH_WIDTH
    si[s.S_FWD_REQUESTS] += 1
    a.delf[slot, s.DF_STARTED] = now
    sent = occupy(a, consumer, now, a.cf[s.F_L3_CPU])
    latency = sampled(a.t_sent, at(a.seed, a.stream | s.P_DELIVERY, address))
    failed = False
    if a.ci[s.I_FAULTS]:
        u = at(a.seed, a.stream | s.P_DELIVERY_FATE, address)
        latency, failed = with_faults(a, 4.0, sent, latency, u)
    if latency > a.cf[s.F_SENT_TIMEOUT]:
        failed = True
        latency = a.cf[s.F_SENT_TIMEOUT]
    dels[slot, s.DI_FAILED] = failed
    when = sent + latency
    push(a, when if when > now else now, slot << 5 | s.E_SENT)


@part
def _take(a: State, now: Any, slot: Any) -> Any:
    """Take what is due from the outbox, those that wait longest first."""
    si, dels, taken, outbox = a.si, a.dels, a.taken, a.outbox
    dels[slot, s.DI_ROWS] = dels[slot, s.DI_AT] = 0
    due = si[s.S_DRAINS_AT] if si[s.S_DRAINS] else milliseconds(now)
    dels[slot, s.DI_LEASE] = milliseconds(now) + a.ci[s.I_LEASE]
    size = 0
    while (
        dels[slot, s.DI_ROWS] < a.ci[s.I_FWD_BATCH]
        and si[s.S_OUT_COUNT] > 0
        and outbox[0, s.OB_DUE] <= due
    ):
        # In the order of the rows' ages, then of their ids.
        row = dels[slot, s.DI_ROWS]
        while row > 0 and (
            taken[slot, row - 1, s.OB_SINCE] > outbox[0, s.OB_SINCE]
            or (
                taken[slot, row - 1, s.OB_SINCE] == outbox[0, s.OB_SINCE]
                and taken[slot, row - 1, s.OB_KEY] > outbox[0, s.OB_KEY]
            )
        ):
            for column in range(s.OB_COUNT):
                taken[slot, row, column] = taken[slot, row - 1, column]
            row -= 1
        for column in range(s.OB_COUNT):
            taken[slot, row, column] = outbox[0, column]
        size += a.touch_count[outbox[0, s.OB_PLACE], 1] + 1
        dels[slot, s.DI_ROWS] += 1
        drop_row(a)
    if size * a.ci[s.I_TOUCH_BYTES] > a.ci[s.I_BODY]:
        for row in range(dels[slot, s.DI_ROWS]):
            a.bodies[si[s.S_BODIES]] = taken[slot, row, s.OB_PLACE]
            si[s.S_BODIES] += 1
        a.bodies[si[s.S_BODIES]] = -1
        si[s.S_BODIES] += 1


@part
def _together(a: State, slot: Any) -> Any:
    """Return how many of a delivery's rows go in one request: fewer, the more often they failed."""
    first, end = a.dels[slot, s.DI_AT], a.dels[slot, s.DI_ROWS]
    room, count = a.ci[s.I_FWD_BATCH], 0
    while first + count < end:
        attempts, fits = a.taken[slot, first + count, s.OB_ATTEMPTS], 1
        if attempts == 0 or attempts + 1 < a.ci[s.I_FWD_ATTEMPTS]:
            fits = max(1, a.ci[s.I_FWD_BATCH] >> min(attempts, 62))
        if count > 0 and count >= min(room, fits):
            break
        count += 1
        room = min(room, fits) if count > 1 else fits
    return count


@part
def end_request(a: State, now: Any, slot: Any) -> Any:
    """End a request to the destination; rows that it did not take are due again later."""
    dels = a.dels
    first, count = dels[slot, s.DI_AT], dels[slot, s.DI_SENT]
    dels[slot, s.DI_AT] = first + count
    if dels[slot, s.DI_FAILED]:
        profile_failure(a, s.KIND_EXTERNAL)
        _put_back(a, now, slot, first, count)
    else:
        took = now - a.delf[slot, s.DF_STARTED]
        profile(a, a.ci[s.I_CONSUMER], s.Q_SENT, s.KIND_EXTERNAL, took)
        a.cnt[s.C_FORWARDED] += count
    make_ready(a, slot << 5 | s.R_FORWARD)


@part
def _put_back(a: State, now: Any, slot: Any, first: Any, count: Any) -> Any:
    waits = 0
    for row in range(first, first + count):
        attempts = a.taken[slot, row, s.OB_ATTEMPTS]
        if attempts >= a.ci[s.I_FWD_ATTEMPTS] - 1:
            a.cnt[s.C_FWD_GIVEN_UP] += 1
            continue
        waits += 1
        wait = min(a.cf[s.F_FWD_DELAY] * 2.0**attempts, _LONGEST_WAIT)
        due = milliseconds(now) + int(np.rint(1000 * wait))
        place, since = a.taken[slot, row, s.OB_PLACE], a.taken[slot, row, s.OB_SINCE]
        put_row(a, place, due, since, attempts + 1)
    a.cnt[s.C_FWD_RETRIES] += waits
    if waits > 0:
        _set_timer(a, now)


@part
def _set_timer(a: State, now: Any) -> Any:
    """Wake when the next row is due, or a lease ends; while the run ends, only what is due goes."""
    si, dels, bats = a.si, a.dels, a.bats
    if si[s.S_DRAINS]:
        return
    next_at = s.NEVER
    if si[s.S_OUT_COUNT] > 0:
        next_at = a.outbox[0, s.OB_DUE]
    for slot in range(dels.shape[0]):
        if dels[slot, s.DI_BUSY] and dels[slot, s.DI_AT] < dels[slot, s.DI_ROWS]:
            next_at = min(next_at, dels[slot, s.DI_LEASE])
    for number in range(bats.shape[0]):
        batch = bats[number, s.BI_NUMBER]
        holds = batch >= 0 and bats[number, s.BI_WRITES] and bats[number, s.BI_HELD]
        if holds and a.touch_from[batch, s.B_IS_STORED]:
            next_at = min(next_at, bats[number, s.BI_LEASE])
    if next_at < s.NEVER:
        seconds = max(_SOON, (next_at - milliseconds(now)) / 1000)
        si[s.S_WAKE] += 1
        push(a, now + seconds, si[s.S_WAKE] << 5 | s.E_WAKE)


@part
def wake(a: State, number: Any) -> Any:
    """Begin a delivery of what has become due, unless the time was set anew."""
    if number == a.si[s.S_WAKE]:
        begin_delivery(a)


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
