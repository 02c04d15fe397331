"""The queue of conversions: collected to batches, which read journeys and store results."""

from __future__ import annotations

from typing import Any

import numpy as np

import sim.compiled.slots as s
from sim.compiled.agenda import make_ready, push
from sim.compiled.asks import look_for_model
from sim.compiled.deliveries import begin_delivery, hand_over, is_hand_free, new_delivery
from sim.compiled.jit import part
from sim.compiled.journeys import in_order, touches_of
from sim.compiled.outbox import milliseconds, put_row
from sim.compiled.queries import receive, send
from sim.compiled.sampling import profile, profile_failure
from sim.compiled.state import State


@part
def collect(a: State, now: Any, request: Any) -> Any:
    """Put a conversion into the queue."""
    si = a.si
    si[s.S_STOP] = 1
    a.converted[si[s.S_COLLECTED]] = request
    si[s.S_COLLECTED] += 1
    si[s.S_COLLECTING] += 1
    if si[s.S_COLLECTING] >= a.ci[s.I_BATCH]:
        close_batch(a)
    elif not si[s.S_TIMER_ON]:
        si[s.S_TIMER_ON] = 1
        si[s.S_TIMER] += 1
        push(a, now + a.cf[s.F_WAIT], si[s.S_TIMER] << 5 | s.E_TIMER)


@part
def end_wait(a: State, number: Any) -> Any:
    """Close the batch whose time is up, unless it was closed before."""
    if a.si[s.S_TIMER_ON] and number == a.si[s.S_TIMER]:
        close_batch(a)


@part
def close_batch(a: State) -> Any:
    """Close the batch: its conversions are those collected."""
    si, touch_from = a.si, a.touch_from
    si[s.S_TIMER_ON] = 0
    if si[s.S_COLLECTING] > 0:
        batch = si[s.S_FORMED]
        touch_from[batch, s.B_END] = si[s.S_COLLECTED]
        touch_from[batch + 1, s.B_FIRST] = si[s.S_COLLECTED]
        si[s.S_FORMED] = batch + 1
        si[s.S_COLLECTING] = 0
        a.begun[batch] = -1.0
        _wait(a, batch)
    hand_out(a)


@part
def _wait(a: State, batch: Any) -> Any:
    """Let a batch wait behind those that wait already."""
    last = a.si[s.S_LAST_WAITING]
    a.waiting[last % a.waiting.size] = batch
    a.si[s.S_LAST_WAITING] = last + 1


@part
def is_busy(a: State) -> Any:
    """Return whether a batch runs, waits or is put off."""
    si = a.si
    is_waiting = si[s.S_FIRST_WAITING] < si[s.S_LAST_WAITING]
    return si[s.S_RUNNING] > 0 or is_waiting or si[s.S_PUT_OFF] > 0


@part
def hand_out(a: State) -> Any:
    """Begin the batches that wait, as many as run at once."""
    si, bats = a.si, a.bats
    while si[s.S_FIRST_WAITING] < si[s.S_LAST_WAITING] and si[s.S_RUNNING] < a.ci[s.I_PARALLEL]:
        number = 0
        while bats[number, s.BI_NUMBER] >= 0:
            number += 1
        bats[number, s.BI_NUMBER] = a.waiting[si[s.S_FIRST_WAITING] % a.waiting.size]
        bats[number, s.BI_ROW] = a.cnt[s.C_BATCHES]
        si[s.S_FIRST_WAITING] += 1
        si[s.S_RUNNING] += 1
        a.cnt[s.C_BATCHES] += 1
        make_ready(a, number << 5 | s.R_BATCH)


@part
def begin_batch(a: State, now: Any, number: Any) -> Any:
    """Begin an attempt of a batch: it reads the journeys of its conversions.

    Its time starts with its first attempt.
    """
    batch = a.bats[number, s.BI_NUMBER]
    a.bats[number, s.BI_WRITES] = 0
    if a.begun[batch] < 0.0:
        a.begun[batch] = now
    _send(a, now, number, a.t_rx, 0.0)


@part
def receive_batch(a: State, now: Any, number: Any) -> Any:
    """Let a batch's statement reach the database, which has the journeys as they are now."""
    receive(a, a.batf, number, a.ci[s.I_CONSUMER], now, s.E_BATCH_OUT)
    if a.batf[number, s.O_FAULTY]:
        return
    bats, si, touch_from = a.bats, a.si, a.touch_from
    batch = bats[number, s.BI_NUMBER]
    if bats[number, s.BI_WRITES] == 0:
        if not touch_from[batch, s.B_IS_STORED]:
            _read_journeys(a, number)
        return
    touch_from[si[s.S_STORED], s.B_STORED] = batch
    touch_from[batch, s.B_IS_STORED] = 1
    si[s.S_STORED] += 1
    if a.ci[s.I_FORWARDS]:
        in_order(
            a.converted,
            touch_from[batch, s.B_FIRST],
            touch_from[batch, s.B_END],
            a.order,
            a.order_keys,
        )
        for place in range(bats[number, s.BI_HELD], bats[number, s.BI_SIZE]):
            since = bats[number, s.BI_SINCE]
            put_row(a, a.order[place], since, since, 0)


@part
def _read_journeys(a: State, number: Any) -> Any:
    bats, si, touch_from, touch_count = a.bats, a.si, a.touch_from, a.touch_count
    batch = bats[number, s.BI_NUMBER]
    untouched, touches, channels = 0, 0, np.int64(0)
    for place in range(touch_from[batch, s.B_FIRST], touch_from[batch, s.B_END]):
        request = a.converted[place]
        found, used = touches_of(a, request, a.subject[request], si[s.S_TOUCHES])
        touch_count[place, 0] = si[s.S_TOUCHES]
        touch_count[place, 1] = found
        si[s.S_TOUCHES] += found
        untouched += found == 0
        touches += found
        channels |= used
    count = 0
    while channels:
        channels &= channels - 1
        count += 1
    bats[number, s.BI_UNTOUCHED] = untouched
    bats[number, s.BI_TOUCHES] = touches
    bats[number, s.BI_CHANNELS] = count
    bats[number, s.BI_SIZE] = touch_from[batch, s.B_END] - touch_from[batch, s.B_FIRST]


@part
def go_on_with_batch(a: State, now: Any, number: Any) -> Any:
    """Let a batch write its results once it has read, and end once it has written."""
    bats, consumer = a.bats, a.ci[s.I_CONSUMER]
    if a.batf[number, s.O_FAILED]:
        profile_failure(a, s.KIND_QUERY)
        a.cnt[s.C_L3_ERRORS] += 1
        if bats[number, s.BI_WRITES]:
            _let_go(a, now, number)
        _fail(a, now, number)
        return
    took = now - a.batf[number, s.O_QUERY]
    if bats[number, s.BI_WRITES]:
        profile(a, consumer, s.Q_STORED, s.KIND_QUERY, took)
        _end(a, now, number)
        return
    profile(a, consumer, s.Q_WAITING, s.KIND_QUERY, took)
    if a.touch_from[bats[number, s.BI_NUMBER], s.B_IS_STORED]:
        # An earlier attempt has stored them, and did not hear of it: nothing is left to do.
        _succeed(a, now, number)
        return
    bats[number, s.BI_WRITES] = 1
    look_for_model(a, consumer, now, bats[number, s.BI_ROW], 1)
    bats[number, s.BI_HELD] = 0
    bats[number, s.BI_SINCE] = milliseconds(now)
    bats[number, s.BI_LEASE] = bats[number, s.BI_SINCE] + a.ci[s.I_LEASE]
    if a.ci[s.I_FORWARDS] and is_hand_free(a):
        _hold(a, number)
    batch, size = bats[number, s.BI_NUMBER], bats[number, s.BI_SIZE]
    executions, rows = 2, 2 * size
    if a.ci[s.I_FORWARDS]:
        executions += 1
        rows += size
    if bats[number, s.BI_TOUCHES] > 0:
        executions += 2
        rows += bats[number, s.BI_CHANNELS]
        for place in range(a.touch_from[batch, s.B_FIRST], a.touch_from[batch, s.B_END]):
            rows += (a.touch_count[place, 1] + s.TOUCHES_PER_ROW - 1) // s.TOUCHES_PER_ROW
    more = a.cf[s.F_SHARE_WRITE] * (executions - 1 + s.ROW_SHARE * (rows - executions))
    _send(a, now, number, a.t_wx, more)


@part
def _send(a: State, now: Any, number: Any, executions: Any, more: Any) -> Any:
    consumer = a.ci[s.I_CONSUMER]
    row = a.bats[number, s.BI_ROW] * a.ci[s.I_PROCESSES] + consumer
    address = row * s.BATCH_WIDTH + a.bats[number, s.BI_WRITES]
    send(a, a.batf, number, consumer, now, s.P_BATCH_TRIP, address, executions, more, s.E_BATCH_IN)


@part
def _hold(a: State, number: Any) -> Any:
    """Hold a batch's first results for a delivery that begins when they are stored."""
    bats, si = a.bats, a.si
    si[s.S_FWD_RESERVED] += 1
    bats[number, s.BI_HELD] = min(bats[number, s.BI_SIZE], a.ci[s.I_FWD_BATCH])
    size = bats[number, s.BI_SIZE] + bats[number, s.BI_TOUCHES]
    if size * a.ci[s.I_TOUCH_BYTES] > a.ci[s.I_BODY]:
        batch = bats[number, s.BI_NUMBER]
        first, end = a.touch_from[batch, s.B_FIRST], a.touch_from[batch, s.B_END]
        in_order(a.converted, first, end, a.order, a.order_keys)
        for place in range(bats[number, s.BI_HELD]):
            a.bodies[si[s.S_BODIES]] = a.order[place]
            si[s.S_BODIES] += 1
        a.bodies[si[s.S_BODIES]] = -1
        si[s.S_BODIES] += 1


@part
def _end(a: State, now: Any, number: Any) -> Any:
    """End a batch, whose results are stored: their deliveries begin."""
    bats, si = a.bats, a.si
    if a.ci[s.I_FORWARDS]:
        rows = bats[number, s.BI_HELD]
        if rows > 0:
            si[s.S_FWD_RESERVED] -= 1
            slot, batch = new_delivery(a, 1), bats[number, s.BI_NUMBER]
            a.dels[slot, s.DI_LEASE] = bats[number, s.BI_LEASE]
            first, end = a.touch_from[batch, s.B_FIRST], a.touch_from[batch, s.B_END]
            in_order(a.converted, first, end, a.order, a.order_keys)
            for place in range(rows):
                hand_over(a, slot, a.order[place], bats[number, s.BI_SINCE], 0)
        else:
            begin_delivery(a)
    a.cnt[s.C_PROCESSED] += bats[number, s.BI_SIZE]
    a.cnt[s.C_UNTOUCHED] += bats[number, s.BI_UNTOUCHED]
    _succeed(a, now, number)


@part
def _succeed(a: State, now: Any, number: Any) -> Any:
    """Count a batch, and its time from its first attempt on."""
    si = a.si
    si[s.S_BATCHES_SINCE] += 1
    if a.ci[s.I_FIT_EVERY] and si[s.S_BATCHES_SINCE] >= a.ci[s.I_FIT_EVERY]:
        si[s.S_WHY] = s.WHY_FIT
    took = now - a.begun[a.bats[number, s.BI_NUMBER]]
    profile(a, a.ci[s.I_CONSUMER], s.Q_BATCHES, s.KIND_QUEUE, took)
    _leave(a, number)


@part
def _leave(a: State, number: Any) -> Any:
    """Make room for another batch."""
    a.bats[number, s.BI_NUMBER] = -1
    make_ready(a, s.R_BATCH_ENDED)


@part
def _let_go(a: State, now: Any, number: Any) -> Any:
    """Give up the results that were held for a delivery: their write has failed.

    If it has stored them all the same, they are due.
    """
    bats, si = a.bats, a.si
    rows, batch = bats[number, s.BI_HELD], bats[number, s.BI_NUMBER]
    if rows == 0:
        return
    si[s.S_FWD_RESERVED] -= 1
    if a.touch_from[batch, s.B_IS_STORED]:
        first, end = a.touch_from[batch, s.B_FIRST], a.touch_from[batch, s.B_END]
        in_order(a.converted, first, end, a.order, a.order_keys)
        for place in range(rows):
            put_row(a, a.order[place], milliseconds(now), bats[number, s.BI_SINCE], 0)
        si[s.S_FWD_ASKED] = 1
    if si[s.S_FWD_ASKED]:
        si[s.S_FWD_ASKED] = 0
        begin_delivery(a)


@part
def _fail(a: State, now: Any, number: Any) -> Any:
    """Try a batch again, at once or later, or give it up."""
    batch, attempts = a.bats[number, s.BI_NUMBER], a.touch_from
    attempts[batch, s.B_ATTEMPTS] += 1
    failed = attempts[batch, s.B_ATTEMPTS]
    if failed < a.ci[s.I_ATTEMPTS]:
        a.cnt[s.C_RETRIES] += 1
        delay = a.cf[s.F_RETRY_DELAY] * 2.0 ** (failed - 1)
        if delay <= 0.0:
            _wait(a, batch)
        else:
            a.si[s.S_PUT_OFF] += 1
            push(a, now + delay, batch << 5 | s.E_RETRY)
    else:
        profile_failure(a, s.KIND_QUEUE)
        if not attempts[batch, s.B_IS_STORED]:
            a.cnt[s.C_GIVEN_UP] += attempts[batch, s.B_END] - attempts[batch, s.B_FIRST]
    _leave(a, number)


@part
def take_up(a: State, batch: Any) -> Any:
    """Let a batch that was put off wait for its next attempt."""
    a.si[s.S_PUT_OFF] -= 1
    _wait(a, batch)
    hand_out(a)


@part
def follow_batch(a: State) -> Any:
    """Begin the next batch in the place of one that has ended."""
    a.si[s.S_RUNNING] -= 1
    hand_out(a)
    if a.si[s.S_MAIN] == 2 and not is_busy(a):
        make_ready(a, s.R_MAIN)
