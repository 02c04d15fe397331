"""The loop of the compiled engine: what the shipped application does to a run's requests, in the
order in which the reference does it.

Equal to the reference request by request: timed events go by (time, sequence), arrivals come last
at their instant, what is ready runs before the next timed event, and every sum is formed in the
reference's order. The loop returns whenever it needs room or a size that only Python knows, and
goes on from there.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import sim.compiled.slots as s
from sim.compiled.address import address_of
from sim.compiled.agenda import make_ready, pop
from sim.compiled.aparts import end_apart, end_limit, send_apart
from sim.compiled.asks import end_ask, receive_ask, send_ask
from sim.compiled.batches import (
    begin_batch,
    end_wait,
    follow_batch,
    go_on_with_batch,
    receive_batch,
    take_up,
)
from sim.compiled.deliveries import deliver, end_delivery, end_request, wake
from sim.compiled.ending import end
from sim.compiled.jit import jit, leaf, part
from sim.compiled.loads import go_on_with_load, receive_load
from sim.compiled.looks import check, look
from sim.compiled.puts import begin_drop, begin_put, end_put
from sim.compiled.request import arrive, go_on, receive_query
from sim.compiled.state import State


@jit
def run(until: Any, *arrays: Any) -> Any:
    """Go on until the arrival number *until*, the end, or what Python has to do; return which."""
    a = address_of(State(*arrays))
    si, n = a.si, a.ci[s.I_N]
    arrives = _arrives(a, si[s.S_NEXT]) if si[s.S_NEXT] < n else np.inf
    now = 0.0
    head = si[s.S_TAIL]
    if n == 0 and si[s.S_MAIN] == 0:
        si[s.S_MAIN] = 1
        make_ready(a, s.R_MAIN)
    while True:
        if head != si[s.S_TAIL]:
            code = a.ready[head & (a.ready.size - 1)]
            head += 1
            kind, number = code & 31, code >> 5
        else:
            # A safe place: nothing is half done.
            is_arrival = si[s.S_HEAP] == 0 or a.times[0] > arrives
            if is_arrival or si[s.S_STOP]:
                si[s.S_STOP] = 0
                why = _interruption(a, until)
                if why >= 0:
                    si[s.S_STOP] = 1
                    return why
            if is_arrival:
                if si[s.S_NEXT] >= n:
                    return s.OUT_STUCK
                # An arrival, which is last at its instant.
                now = arrives
                place = si[s.S_NEXT]
                arrive(a, a.arrivals[place] if a.ci[s.I_IS_ORDERED] else place, now)
                si[s.S_NEXT] = place + 1
                arrives = _arrives(a, place + 1) if place + 1 < n else np.inf
                continue
            now, code = a.times[0], a.events[0]
            pop(a)
            kind, number = code & 31, code >> 5
            if kind != s.E_START and kind != s.E_L2 and kind != s.E_DB_OUT:  # noqa: PLR1714
                _happen(a, now, kind, number)
                continue
            kind = s.R_REQUEST  # it goes on at once: nothing else is ready
        if kind == s.R_REQUEST:
            go_on(a, now, number)
        else:
            _go_on(a, now, kind, number)


@leaf
def _arrives(a: State, place: Any) -> Any:
    """Return when the request arrives that is number *place* in the order of arrival."""
    if a.ci[s.I_IS_ORDERED]:
        return a.intended_ns[a.arrivals[place]] / 1e9 + a.cf[s.F_AHEAD]
    return a.intended_ns[place] / 1e9


@part
def _count(a: State) -> Any:
    """Note all counters: what was played before the run counts for nothing."""
    for which in range(a.cnt.size):
        a.counted[which] = a.cnt[which]
    a.counted[s.C_COUNT] = a.si[s.S_FWD_REQUESTS]
    for process in range(a.in_flight.shape[0]):
        a.counted[s.C_COUNT + 1] += a.in_flight[process, 2]


@leaf
def _interruption(a: State, until: Any) -> Any:
    """Return why Python has to do something before the run goes on, -1 if nothing is to be done."""
    si = a.si
    if si[s.S_MAIN] == 9:
        return s.OUT_DONE
    if si[s.S_WHY] >= 0:
        return s.OUT_REFUSED
    if si[s.S_BODIES] > 0:
        return s.OUT_BODIES
    if si[s.S_NEED_KIND] > 0:
        return s.OUT_SIZE if si[s.S_NEED_KIND] == 1 else s.OUT_CHANNELS
    if until <= si[s.S_NEXT] < a.ci[s.I_N]:
        return s.OUT_PROGRESS
    # Room for all that the requests in flight may do before the next one arrives.
    requests = si[s.S_USED_R] + 2
    reads = requests * (a.ci[s.I_READS] + 1)
    others = a.ci[s.I_PARALLEL] + a.ci[s.I_FWD_PARALLEL] + a.ci[s.I_ALL] + 16
    if requests >= a.reqi.shape[0] or 3 * reads + others >= a.ready.size:
        return s.OUT_GROW_REQUESTS
    if si[s.S_USED_F] + reads >= a.flights.shape[0]:
        return s.OUT_GROW_FLIGHTS
    if si[s.S_USED_P] + si[s.S_USED_N] + 2 * reads >= a.puts.shape[0]:
        return s.OUT_GROW_PUTS
    if si[s.S_USED_D] + reads >= a.aparts.shape[0]:
        return s.OUT_GROW_APARTS
    if si[s.S_USED_N] + reads >= a.news.shape[0]:
        return s.OUT_GROW_LOADS
    if si[s.S_HEAP] + 4 * reads + others >= a.times.size:
        return s.OUT_GROW_HEAP
    if si[s.S_USED_A] + a.ci[s.I_ALL] + 1 >= a.asks.shape[0]:
        return s.OUT_GROW_ASKS
    if si[s.S_OUT_COUNT] + 4 * a.ci[s.I_BATCH] + a.taken.size >= a.outbox.shape[0]:
        return s.OUT_GROW_OUTBOX
    return -1


@leaf
def _happen(a: State, now: Any, kind: Any, number: Any) -> Any:
    """Let a timed event happen, other than one that a request waits for."""
    if kind == s.E_DB_IN:
        receive_query(a, now, number)
        return
    if kind == s.E_PUT:
        end_put(a, now, number)
        return
    a.si[s.S_STOP] = 1
    if kind == s.E_TIMER:
        end_wait(a, number)
    elif kind == s.E_BATCH_IN:
        receive_batch(a, now, number)
    elif kind == s.E_BATCH_OUT:
        make_ready(a, number << 5 | s.R_BATCH_ON)
    elif kind == s.E_ASK_IN:
        receive_ask(a, now, number)
    elif kind == s.E_ASK_OUT:
        end_ask(a, now, number)
    elif kind == s.E_SENT:
        end_request(a, now, number)
    elif kind == s.E_SNAP:
        a.si[s.S_SNAPPED] = 1
    elif kind == s.E_LOOK:
        look(a, now)
    elif kind == s.E_CHECK:
        check(a, now)
    elif kind == s.E_NEW_IN:
        receive_load(a, now, number)
    elif kind == s.E_NEW_OUT:
        make_ready(a, number << 5 | s.R_NEW_ON)
    elif kind == s.E_WAKE:
        wake(a, number)
    elif kind == s.E_COUNT:
        _count(a)
    elif kind == s.E_RETRY:
        take_up(a, number)
    elif kind == s.E_LIMIT:
        end_limit(a, number)
    elif kind == s.E_APART:
        end_apart(a, now, number)


@part
def _go_on(a: State, now: Any, kind: Any, number: Any) -> Any:
    """Let what is ready go on, other than a request."""
    if kind == s.R_PUT:
        begin_put(a, now, number)
    elif kind == s.R_DROP:
        begin_drop(a, now, number)
    elif kind == s.R_NEW or kind == s.R_NEW_ON:  # noqa: PLR1714  # quicker
        go_on_with_load(a, now, number, kind == s.R_NEW)
    elif kind == s.R_ASK:
        send_ask(a, now, number)
    elif kind == s.R_BATCH:
        begin_batch(a, now, number)
    elif kind == s.R_BATCH_ON:
        go_on_with_batch(a, now, number)
    elif kind == s.R_BATCH_ENDED:
        follow_batch(a)
    elif kind == s.R_FORWARD:
        deliver(a, now, number)
    elif kind == s.R_FORWARD_ENDED:
        end_delivery(a, number)
    elif kind == s.R_MAIN:
        end(a, now)
    elif kind == s.R_APART:
        send_apart(a, now, number)
