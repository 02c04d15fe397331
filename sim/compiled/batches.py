"""The queue of conversions: collected to batches, which read journeys and store results."""

from __future__ import annotations

from typing import Any

import numpy as np

import sim.compiled.slots as s
from sim.compiled.agenda import make_ready, push
from sim.compiled.asks import look_for_model
from sim.compiled.deliveries import begin_delivery, is_hand_free, new_delivery
from sim.compiled.jit import part
from sim.compiled.journeys import in_order, touches_of
from sim.compiled.queries import receive, send
from sim.compiled.sampling import profile
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
        touch_from[si[s.S_FORMED], 1] = si[s.S_COLLECTED]
        si[s.S_FORMED] += 1
        touch_from[si[s.S_FORMED], 0] = si[s.S_COLLECTED]
        si[s.S_COLLECTING] = 0
    hand_out(a)


@part
def hand_out(a: State) -> Any:
    """Begin the batches that are closed, as many as run at once."""
    si = a.si
    while si[s.S_HANDED] < si[s.S_FORMED] and si[s.S_RUNNING] < a.ci[s.I_PARALLEL]:
        make_ready(a, si[s.S_HANDED] << 5 | s.R_BATCH)
        si[s.S_HANDED] += 1
        si[s.S_RUNNING] += 1
        a.cnt[s.C_BATCHES] += 1


@part
def begin_batch(a: State, now: Any, batch: Any) -> Any:
    """Begin a batch: it reads the journeys of its conversions."""
    bats = a.bats
    number = 0
    while bats[number, s.BI_NUMBER] >= 0:
        number += 1
    bats[number, s.BI_NUMBER] = batch
    bats[number, s.BI_WRITES] = 0
    a.batf[number, s.BF_SINCE] = now
    _send(a, now, number, a.t_rx, 0.0)


@part
def receive_batch(a: State, now: Any, number: Any) -> Any:
    """Let a batch's statement reach the database, which has the journeys as they are now."""
    receive(a, a.batf, number, a.ci[s.I_CONSUMER], now, s.E_BATCH_OUT)
    if a.bats[number, s.BI_WRITES] == 0:
        _read_journeys(a, number)
        return
    bats, si, touch_from = a.bats, a.si, a.touch_from
    batch = bats[number, s.BI_NUMBER]
    touch_from[si[s.S_STORED], 2] = batch
    si[s.S_STORED] += 1
    if a.ci[s.I_FORWARDS]:
        in_order(a.converted, touch_from[batch, 0], touch_from[batch, 1], a.order, a.order_keys)
        for place in range(bats[number, s.BI_HELD], bats[number, s.BI_SIZE]):
            a.outbox[si[s.S_OUT_LAST] % a.outbox.size] = a.order[place]
            si[s.S_OUT_LAST] += 1


@part
def _read_journeys(a: State, number: Any) -> Any:
    bats, si, touch_from, touch_count = a.bats, a.si, a.touch_from, a.touch_count
    batch = bats[number, s.BI_NUMBER]
    untouched, touches, channels = 0, 0, np.int64(0)
    for place in range(touch_from[batch, 0], touch_from[batch, 1]):
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
    bats[number, s.BI_SIZE] = touch_from[batch, 1] - touch_from[batch, 0]


@part
def go_on_with_batch(a: State, now: Any, number: Any) -> Any:
    """Let a batch write its results once it has read, and end once it has written."""
    bats, consumer = a.bats, a.ci[s.I_CONSUMER]
    took = now - a.batf[number, s.O_QUERY]
    if bats[number, s.BI_WRITES]:
        profile(a, consumer, s.Q_STORED, s.KIND_QUERY, took)
        _end(a, now, number)
        return
    profile(a, consumer, s.Q_WAITING, s.KIND_QUERY, took)
    bats[number, s.BI_WRITES] = 1
    look_for_model(a, consumer, now, bats[number, s.BI_NUMBER], 1)
    bats[number, s.BI_HELD] = 0
    if a.ci[s.I_FORWARDS] and is_hand_free(a):
        _hold(a, number)
    size, touches = bats[number, s.BI_SIZE], bats[number, s.BI_TOUCHES]
    rows = 2 * size
    if a.ci[s.I_FORWARDS]:
        rows += size
    if touches > 0:
        rows += touches + a.ci[s.I_MODELS] * bats[number, s.BI_CHANNELS]
    _send(a, now, number, a.t_wx, a.cf[s.F_SHARE_WRITE] * (rows - 1) if rows > 1 else 0.0)


@part
def _send(a: State, now: Any, number: Any, executions: Any, more: Any) -> Any:
    consumer = a.ci[s.I_CONSUMER]
    row = a.bats[number, s.BI_NUMBER] * a.ci[s.I_PROCESSES] + consumer
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
        first, end = a.touch_from[batch, 0], a.touch_from[batch, 1]
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
            new_delivery(a, rows, 1)
        else:
            begin_delivery(a)
    a.cnt[s.C_PROCESSED] += bats[number, s.BI_SIZE]
    a.cnt[s.C_UNTOUCHED] += bats[number, s.BI_UNTOUCHED]
    si[s.S_BATCHES_SINCE] += 1
    if a.ci[s.I_FIT_EVERY] and si[s.S_BATCHES_SINCE] >= a.ci[s.I_FIT_EVERY]:
        si[s.S_WHY] = s.WHY_FIT
    took = now - a.batf[number, s.BF_SINCE]
    profile(a, a.ci[s.I_CONSUMER], s.Q_BATCHES, s.KIND_QUEUE, took)
    bats[number, s.BI_NUMBER] = -1
    make_ready(a, s.R_BATCH_ENDED)


@part
def follow_batch(a: State) -> Any:
    """Begin the next batch in the place of one that has ended."""
    si = a.si
    si[s.S_RUNNING] -= 1
    hand_out(a)
    if si[s.S_MAIN] == 2 and si[s.S_RUNNING] == 0 and si[s.S_HANDED] == si[s.S_FORMED]:
        make_ready(a, s.R_MAIN)
