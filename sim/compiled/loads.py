"""Loads in the background: of values that are stale, or renewed early."""

from __future__ import annotations

from typing import Any

import sim.compiled.slots as s
from sim.compiled.agenda import end_background, make_ready
from sim.compiled.flights import answer, begin_flight, fail_flight
from sim.compiled.jit import part
from sim.compiled.puts import free_put, new_put, seal, send_put
from sim.compiled.queries import loaded_size, receive, rows_of, send
from sim.compiled.rows import finds_rows, keep_rows
from sim.compiled.sampling import profile, profile_failure
from sim.compiled.state import State
from sim.compiled.tiers import drop, forget_l2, lifetime, pause, promote


@part
def begin_load(a: State, key: Any, request: Any, slot: Any, kind: Any, isolate: Any) -> Any:
    """Begin a load of *key*, a value of the type *kind*, in an isolate."""
    news, si = a.news, a.si
    new = si[s.S_FREE_N]
    si[s.S_FREE_N] = news[new, s.NI_NEXT]
    si[s.S_USED_N] += 1
    news[new, s.NI_KEY] = key
    news[new, s.NI_REQUEST] = request
    news[new, s.NI_SLOT] = slot
    news[new, s.NI_TYPE] = kind
    news[new, s.NI_ISOLATE] = isolate
    news[new, s.NI_FLIGHT] = begin_flight(a, isolate * (a.ci[s.I_KEYS] + 1) + key)
    a.cnt[s.C_REFRESHES] += 1
    a.background[isolate // a.ci[s.I_PER]] += 1
    make_ready(a, new << 5 | s.R_NEW)


@part
def go_on_with_load(a: State, now: Any, number: Any, is_first: Any) -> Any:
    """Send a load's first or next query, or end it."""
    news, newf = a.news, a.newf
    key, isolate, kind = news[number, s.NI_KEY], news[number, s.NI_ISOLATE], news[number, s.NI_TYPE]
    process = isolate // a.ci[s.I_PER]
    if is_first:
        a.cnt[s.C_LOADS] += 1
        newf[number, s.NF_LOADING] = now
        news[number, s.NI_LEFT] = a.tyi[kind, s.YI_QUERIES]
        news[number, s.NI_SIZE] = a.ksize[key]
    elif newf[number, s.O_FAILED]:
        _fail_load(a, now, number, int(newf[number, s.O_FAILED]))
        return
    else:
        took = now - newf[number, s.O_QUERY]
        profile(a, process, a.tyi[kind, s.YI_PROFILE], s.KIND_QUERY, took)
        news[number, s.NI_LEFT] -= 1
        if a.cf[s.F_ROWS_TTL] and a.tyi[kind, s.YI_HAS_ROWS]:
            rows = news[number, s.NI_ROWS]
            if a.tyi[kind, s.YI_SIZED] == s.SIZED_FIXED:
                rows = a.krows[key]
            keep_rows(a, process, key, now, rows, news[number, s.NI_SIZE])
    if (
        a.cf[s.F_ROWS_TTL]
        and news[number, s.NI_LEFT] > 0
        and a.tyi[kind, s.YI_HAS_ROWS]
        and finds_rows(a, process, key, now)
    ):
        profile(a, process, a.tyi[kind, s.YI_PROFILE], s.KIND_QUERY, 0.0)
        news[number, s.NI_SIZE] = a.rows_value[process, key]
        news[number, s.NI_LEFT] = 0
    if news[number, s.NI_LEFT] > 0:
        address = news[number, s.NI_REQUEST] * a.ci[s.I_WIDTH] + news[number, s.NI_SLOT]
        send(a, newf, number, process, now, s.P_TRIP, address, a.t_rx, 0.0, s.E_NEW_IN)
    else:
        _end_load(a, now, number)


@part
def receive_load(a: State, now: Any, number: Any) -> Any:
    """Let a load's query reach the database."""
    news = a.news
    process = news[number, s.NI_ISOLATE] // a.ci[s.I_PER]
    receive(a, a.newf, number, process, now, s.E_NEW_OUT)
    if a.newf[number, s.O_FAULTY]:
        return
    user, key, kind = (
        a.subject[news[number, s.NI_REQUEST]],
        news[number, s.NI_KEY],
        news[number, s.NI_TYPE],
    )
    news[number, s.NI_SIZE] = loaded_size(a, key, kind, user, -1 - number)
    news[number, s.NI_ROWS] = rows_of(a, key, kind, user)


@part
def _end_load(a: State, now: Any, number: Any) -> Any:
    news = a.news
    key, isolate, kind = news[number, s.NI_KEY], news[number, s.NI_ISOLATE], news[number, s.NI_TYPE]
    process = isolate // a.ci[s.I_PER]
    request, slot = news[number, s.NI_REQUEST], news[number, s.NI_SLOT]
    loading = a.newf[number, s.NF_LOADING]
    fresh = loading + lifetime(a, request * a.ci[s.I_WIDTH] + slot, a.tyf[kind])
    load = now - loading
    size = news[number, s.NI_SIZE]
    if a.tyi[kind, s.YI_SIZED] == s.SIZED_FIXED:
        size = a.ksize[key]
    put = new_put(a, key, request, slot, -1, process)
    is_kept = fresh > now
    if is_kept:
        promote(a, isolate, key, now, fresh, load, size)
        seal(a, now, put, fresh, load, size)
    else:
        a.cnt[s.C_OUTLIVED] += 1
        drop(a, isolate, key)
    answer(a, isolate * (a.ci[s.I_KEYS] + 1) + key, news[number, s.NI_FLIGHT])
    is_sent = False
    if is_kept:
        is_sent = send_put(a, now, put)
    else:
        forget_l2(a, process, key, now)
    if not is_sent:
        end_background(a, process)
        free_put(a, put)
    _free(a, number)


@part
def _fail_load(a: State, now: Any, number: Any, failure: Any) -> Any:
    news = a.news
    key, isolate = news[number, s.NI_KEY], news[number, s.NI_ISOLATE]
    place = isolate * (a.ci[s.I_KEYS] + 1) + key
    profile_failure(a, s.KIND_QUERY)
    a.cnt[s.C_L3_ERRORS] += 1
    pause(a, place, now)
    fail_flight(a, place, news[number, s.NI_FLIGHT], failure)
    end_background(a, isolate // a.ci[s.I_PER])
    _free(a, number)


@part
def _free(a: State, number: Any) -> Any:
    news = a.news
    news[number, s.NI_NEXT] = a.si[s.S_FREE_N]
    a.si[s.S_FREE_N] = number
    a.si[s.S_USED_N] -= 1
