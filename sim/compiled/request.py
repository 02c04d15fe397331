"""A request from its arrival to its answer: its reads, and then its queries and writes."""

from __future__ import annotations

from typing import Any

import numpy as np

import sim.compiled.slots as s
from sim.compiled.agenda import make_ready, push
from sim.compiled.batches import collect
from sim.compiled.jit import leaf
from sim.compiled.journeys import add, event_of
from sim.compiled.queries import loaded_size, receive, rows_of, send_query
from sim.compiled.reading import (
    begin_loading,
    end_bypass,
    end_following,
    end_load,
    end_query_of_load,
    end_read_apart,
    end_read_of_l2,
    read,
)
from sim.compiled.sampling import profile, profile_failure, sample
from sim.compiled.servers import occupy
from sim.compiled.state import State


@leaf
def arrive(a: State, request: Any, now: Any) -> Any:
    """Let a request arrive: it waits for its process's CPU."""
    si, reqf, reqi, in_flight = a.si, a.reqf, a.reqi, a.in_flight
    e, isolate = a.endpoint[request], a.isolate[request]
    process = isolate // a.ci[s.I_PER]
    slot = si[s.S_FREE_R]
    si[s.S_FREE_R] = reqi[slot, s.RI_NEXT]
    si[s.S_USED_R] += 1
    in_flight[process, 0] += 1
    if in_flight[process, 0] > in_flight[process, 1]:
        in_flight[process, 1] = in_flight[process, 0]
    seconds = a.epf[e]
    reqf[slot, s.RF_CPU] = seconds
    reqf[slot, s.RF_INTENDED] = now
    reqi[slot, s.RI_REQUEST] = request
    reqi[slot, s.RI_ENDPOINT] = e
    reqi[slot, s.RI_SUBJECT] = a.subject[request]
    reqi[slot, s.RI_ISOLATE] = isolate
    reqi[slot, s.RI_PROCESS] = process
    reqi[slot, s.RI_AT] = 0
    reqi[slot, s.RI_STEP] = 0
    reqi[slot, s.RI_STATE] = s.T_READ
    reqi[slot, s.RI_FLIGHT] = -1
    push(a, occupy(a, process, now, seconds), slot << 5 | s.E_START)


@leaf
def go_on(a: State, now: Any, slot: Any) -> Any:
    """Let a request go on until it has to wait, or is answered."""
    state = a.reqi[slot, s.RI_STATE]
    while state != s.T_WAITS:
        if state == s.T_READ:
            state = read(a, now, slot)
        elif state == s.T_AFTER:
            state = _go_on_after_reads(a, now, slot)
        elif state == s.T_FOLLOWS:
            state = end_following(a, now, slot)
        elif state == s.T_L2:
            state = end_read_of_l2(a, now, slot)
        elif state == s.T_BYPASS:
            state = end_bypass(a, now, slot)
        elif state == s.T_LOAD:
            state = begin_loading(a, now, slot)
        elif state == s.T_LOADING:
            state = end_query_of_load(a, now, slot)
        elif state == s.T_LOADED:
            state = end_load(a, now, slot)
        elif state == s.T_APART:
            state = end_read_apart(a, now, slot)
        else:
            _end(a, now, slot, a.reqi[slot, s.RI_FAILURE])
            state = s.T_WAITS


@leaf
def _go_on_after_reads(a: State, now: Any, slot: Any) -> Any:
    """Go on with what stands beside the reads: queries (step 1), writes (2), the event (3)."""
    reqi, e = a.reqi, a.reqi[slot, s.RI_ENDPOINT]
    step = reqi[slot, s.RI_STEP]
    if step > 0 and a.reqf[slot, s.O_FAILED]:
        profile_failure(a, s.KIND_QUERY)
        a.cnt[s.C_L3_ERRORS] += 1
        reqi[slot, s.RI_FAILURE] = int(a.reqf[slot, s.O_FAILED])
        return s.T_FAILED
    if step > 0:
        name = s.Q_STATED if step == 1 else s.Q_STATED_WRITE if step == 2 else s.Q_EVENT
        process = reqi[slot, s.RI_PROCESS]
        profile(a, process, name, s.KIND_QUERY, now - a.reqf[slot, s.O_QUERY])
        reqi[slot, s.RI_LEFT] -= 1
        if step == 3:
            step = 4
    else:
        reqi[slot, s.RI_LEFT] = 0
    while step < 3 and reqi[slot, s.RI_LEFT] == 0:
        step += 1
        if step == 1:
            reqi[slot, s.RI_LEFT] = a.epi[e, s.EI_QUERIES]
        elif step == 2:
            reqi[slot, s.RI_LEFT] = a.epi[e, s.EI_STORES]
    if step == 3 and a.epi[e, s.EI_WRITES] == 0:
        step = 4
    reqi[slot, s.RI_STEP] = step
    if step == 4:
        _end(a, now, slot, s.SUCCEEDED)
    elif step == 1:
        send_query(a, now, slot, s.STORE_SLOT, a.t_rx, 0.0)
    else:
        more = 0.0
        if step == 3:
            converts, channel = event_of(a, reqi[slot, s.RI_REQUEST])
            reqi[slot, s.RI_CONVERTS] = converts
            reqi[slot, s.RI_CHANNEL] = channel
            if converts:  # the event, the conversion, its row in the queue
                more = a.cf[s.F_SHARE_WRITE] * 2
        send_query(a, now, slot, s.STORE_SLOT, a.t_wx, more)
    reqi[slot, s.RI_STATE] = s.T_AFTER
    return s.T_WAITS


@leaf
def receive_query(a: State, now: Any, slot: Any) -> Any:
    """Let a request's statement reach the database."""
    reqf, reqi = a.reqf, a.reqi
    process = reqi[slot, s.RI_PROCESS]
    done = receive(a, reqf, slot, process, now, s.E_DB_OUT)
    execution, intended = reqf[slot, s.O_EXECUTION], reqf[slot, s.RF_INTENDED]
    if execution != np.inf:
        sample(a, s.STAGE_L3, intended, reqf[slot, s.O_TRIP] + execution)
        sample(a, s.STAGE_WAIT, intended, done - execution - now)
    if reqf[slot, s.O_FAULTY]:
        return
    user = reqi[slot, s.RI_SUBJECT]
    if reqi[slot, s.RI_STATE] == s.T_LOADING:
        kind = a.reads[reqi[slot, s.RI_ENDPOINT], reqi[slot, s.RI_AT], s.QI_TYPE]
        reqi[slot, s.RI_SIZE] = loaded_size(a, reqi[slot, s.RI_KEY], kind, user, slot)
        reqi[slot, s.RI_ROWS] = rows_of(a, reqi[slot, s.RI_KEY], kind, user)
    elif reqi[slot, s.RI_STEP] == 3:
        add(
            a, reqi[slot, s.RI_REQUEST], user, reqi[slot, s.RI_CONVERTS],
            reqi[slot, s.RI_CHANNEL],
        )  # fmt: skip


@leaf
def _end(a: State, now: Any, slot: Any, failure: Any) -> Any:
    """Answer a request, with an error if it is a failure."""
    si, reqi = a.si, a.reqi
    request, e = reqi[slot, s.RI_REQUEST], reqi[slot, s.RI_ENDPOINT]
    if failure:
        a.failure[request] = failure
    elif a.epi[e, s.EI_WRITES] == 1 and reqi[slot, s.RI_CONVERTS]:
        collect(a, now, request)
    intended = a.reqf[slot, s.RF_INTENDED]
    took = now - intended
    a.total[request] = took
    sample(a, s.STAGE_TOTAL, intended, took)
    if a.epi[e, s.EI_CPU_STATED]:
        sample(a, s.STAGE_CPU, intended, a.reqf[slot, s.RF_CPU])
    a.in_flight[reqi[slot, s.RI_PROCESS], 0] -= 1
    reqi[slot, s.RI_REQUEST] = -1
    reqi[slot, s.RI_NEXT] = si[s.S_FREE_R]
    si[s.S_FREE_R] = slot
    si[s.S_USED_R] -= 1
    si[s.S_LEFT] -= 1
    if si[s.S_LEFT] == 0:
        si[s.S_MAIN] = si[s.S_STOP] = 1
        make_ready(a, s.R_MAIN)
