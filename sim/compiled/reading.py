"""A request's reads, one after the other: L1, L2 behind it, and the load behind both."""

from __future__ import annotations

from typing import Any

import sim.compiled.slots as s
from sim.compiled.agenda import make_ready, push
from sim.compiled.aparts import begin_apart
from sim.compiled.asks import look_for_model
from sim.compiled.flights import answer, begin_flight, fail_flight, follow
from sim.compiled.jit import leaf, part
from sim.compiled.loads import begin_load
from sim.compiled.memory import ABSENT, remove, touch
from sim.compiled.puts import free_put, new_put, seal, send_put
from sim.compiled.queries import send_query
from sim.compiled.rows import finds_rows, keep_rows
from sim.compiled.sampling import profile, profile_failure, sample, sample_l1
from sim.compiled.servers import allows, count_failure, send_read
from sim.compiled.state import State
from sim.compiled.tiers import (
    drop,
    fall_back,
    heat,
    is_retained,
    lifetime,
    look_up,
    promote,
    renews_early,
)


@leaf
def read(a: State, now: Any, slot: Any) -> Any:
    """Read on until L1 does not answer; return the request's next state."""
    reqi, ci = a.reqi, a.ci
    e, isolate = reqi[slot, s.RI_ENDPOINT], reqi[slot, s.RI_ISOLATE]
    request, about = reqi[slot, s.RI_REQUEST], reqi[slot, s.RI_SUBJECT]
    base, end = isolate * (ci[s.I_KEYS] + 1), ci[s.I_KEYS]
    place = reqi[slot, s.RI_AT]
    while place < a.epi[e, s.EI_READS]:
        is_first = place == 0 and a.epi[e, s.EI_LOOKS]
        if is_first and about % ci[s.I_MODELS] == ci[s.I_DATA_DRIVEN]:
            look_for_model(a, reqi[slot, s.RI_PROCESS], now, request, 0)
        keyed, key = a.reads[e, place, s.QI_KEYED], a.reads[e, place, s.QI_BASE]
        if keyed == s.KEYED_SUBJECT:
            key += about
        elif keyed == s.KEYED_SITE:
            key += about % ci[s.I_SITES]
        sample_l1(a, a.reqf[slot, s.RF_INTENDED])
        if not ci[s.I_REQUEST_SCOPE]:
            expires = a.places[base + key]["expires"]
            if expires > now:
                touch(a.places, base, key, end)
                a.codes[request, place] = s.L1
                place += 1
                continue
            if expires > ABSENT:
                code = _read_expired(a, now, request, e, place, isolate, key)
                if code > 0:
                    a.codes[request, place] = code
                    place += 1
                    continue
        reqi[slot, s.RI_AT] = place
        reqi[slot, s.RI_KEY] = key
        reqi[slot, s.RI_SLOT] = a.reads[e, place, s.QI_SLOT]
        return _miss(a, now, slot, base + key)
    reqi[slot, s.RI_AT] = place
    return s.T_AFTER


@part
def _read_expired(
    a: State, now: Any, request: Any, e: Any, place: Any, isolate: Any, key: Any
) -> Any:
    """Return the code of a read of what has expired in L1 and may be served still, else 0."""
    base = isolate * (a.ci[s.I_KEYS] + 1)
    a.cnt[s.C_EXPIRED] += 1
    if not a.ci[s.I_KEEPS] or a.lives[base + key, 0] <= now:
        remove(a.places, a.held, isolate, base, key)
        return 0
    lives, slot = a.lives, a.reads[e, place, s.QI_SLOT]
    fresh, stays, load = lives[base + key, 1], lives[base + key, 2], lives[base + key, 3]
    is_paused = now < lives[base + key, 4]  # its load has just failed
    if now < stays:
        address = request * a.ci[s.I_WIDTH] + slot
        renews = not is_paused and renews_early(a, address, now, fresh, load)
    elif is_paused and a.cf[s.F_SIE] and now < fresh + a.cf[s.F_SIE]:
        renews = False
    elif stays == fresh and now < fresh + a.cf[s.F_SWR]:
        renews = not is_paused
    else:
        return 0
    if renews and a.places[base + key]["flight"] < 0:
        begin_load(a, key, request, slot, a.reads[e, place, s.QI_TYPE], isolate)
    touch(a.places, base, key, a.ci[s.I_KEYS])
    if now >= fresh:
        a.cnt[s.C_STALE] += 1
        return s.L1 | s.STALE
    return s.L1


@part
def _miss(a: State, now: Any, slot: Any, place: Any) -> Any:
    """Join the load of a key that is at *place* of L1, or read L2; return the next state."""
    reqi, reqf = a.reqi, a.reqf
    if a.ci[s.I_SINGLE]:
        flight = a.places[place]["flight"]
        if flight >= 0:
            follow(a, flight, slot)
            reqi[slot, s.RI_STATE] = s.T_FOLLOWS
            return s.T_WAITS
        reqi[slot, s.RI_FLIGHT] = begin_flight(a, place)
    reqf[slot, s.RF_BEGAN] = now
    reqi[slot, s.RI_BYPASS] = reqi[slot, s.RI_FOUND] = 0
    process = reqi[slot, s.RI_PROCESS]
    if not allows(a, process, now):
        a.cnt[s.C_SKIPPED] += 1
        return s.T_BYPASS
    if a.cf[s.F_SOFT] and a.cf[s.F_SIE] and is_retained(a, place, now):
        begin_apart(a, now, slot)
        reqi[slot, s.RI_STATE] = s.T_APART
        return s.T_WAITS
    when, failed = send_read(a, now, slot, process)
    reqi[slot, s.RI_FAILED] = failed
    push(a, when, slot << 5 | s.E_L2)
    reqi[slot, s.RI_STATE] = s.T_L2
    return s.T_WAITS


@part
def _end_read(a: State, slot: Any, code: Any) -> Any:
    """Note how a read was answered, and let those that wait for its value go on."""
    reqi, place = a.reqi, a.reqi[slot, s.RI_AT]
    a.codes[reqi[slot, s.RI_REQUEST], place] = code
    at_key = reqi[slot, s.RI_ISOLATE] * (a.ci[s.I_KEYS] + 1) + reqi[slot, s.RI_KEY]
    answer(a, at_key, reqi[slot, s.RI_FLIGHT])
    reqi[slot, s.RI_FLIGHT] = -1
    reqi[slot, s.RI_AT] = place + 1


@part
def end_read_of_l2(a: State, now: Any, slot: Any) -> Any:
    """Let L2 answer, or fail; return the request's next state."""
    key, process = a.reqi[slot, s.RI_KEY], a.reqi[slot, s.RI_PROCESS]
    if a.reqi[slot, s.RI_FAILED]:
        a.cnt[s.C_L2_ERRORS] += 1
        count_failure(a, process, now)
        return s.T_BYPASS
    heat(a, process, key, now + a.cf[s.F_CACHE_TTL], now)
    found, fresh, load, size = look_up(a, process, key, now)
    return _take(a, now, slot, found, fresh, load, size)


@part
def end_read_apart(a: State, now: Any, slot: Any) -> Any:
    """Take what L2 has answered within the soft limit; return the request's next state."""
    reqi, reqf = a.reqi, a.reqf
    if reqi[slot, s.RI_FAILED]:
        count_failure(a, reqi[slot, s.RI_PROCESS], now)
        return s.T_BYPASS
    found, size = reqi[slot, s.RI_FOUND] > 0, reqi[slot, s.RI_SIZE]
    return _take(a, now, slot, found, reqf[slot, s.RF_FRESH], reqf[slot, s.RF_LOAD], size)


@part
def _take(a: State, now: Any, slot: Any, found: Any, fresh: Any, load: Any, size: Any) -> Any:
    """Take what L2 has, if it may be served; return the request's next state."""
    reqi, key, isolate = a.reqi, a.reqi[slot, s.RI_KEY], a.reqi[slot, s.RI_ISOLATE]
    process = reqi[slot, s.RI_PROCESS]
    if a.breaker[process, 0] != 0.0:
        a.breaker[process, 0] = 0.0
        a.breaker[process, 2] = 0.0
    sample(a, s.STAGE_L2, a.reqf[slot, s.RF_INTENDED], now - a.reqf[slot, s.RF_BEGAN])
    if not (found and now < fresh + a.cf[s.F_BOUND]):
        return s.T_LOAD
    promote(a, isolate, key, now, fresh, load, size)
    if not now < fresh + a.cf[s.F_SWR]:
        reqi[slot, s.RI_FOUND], a.reqf[slot, s.RF_FRESH] = 1, fresh
        return s.T_LOAD
    code = s.L2
    if a.ci[s.I_KEEPS]:
        request, named = reqi[slot, s.RI_REQUEST], reqi[slot, s.RI_SLOT]
        if now >= fresh:
            renews = True
            code |= s.STALE
            a.cnt[s.C_STALE] += 1
        else:
            renews = renews_early(a, request * a.ci[s.I_WIDTH] + named, now, fresh, load)
        flight = a.places[isolate * (a.ci[s.I_KEYS] + 1) + key]["flight"]
        if renews and (flight < 0 or flight == reqi[slot, s.RI_FLIGHT]):
            kind = a.reads[reqi[slot, s.RI_ENDPOINT], reqi[slot, s.RI_AT], s.QI_TYPE]
            begin_load(a, key, request, named, kind, isolate)
    _end_read(a, slot, code)
    return s.T_READ


@part
def end_bypass(a: State, now: Any, slot: Any) -> Any:
    """Go on without L2: with what L1 has still, or a load; return the request's next state."""
    reqi, key = a.reqi, a.reqi[slot, s.RI_KEY]
    sample(a, s.STAGE_L2, a.reqf[slot, s.RF_INTENDED], now - a.reqf[slot, s.RF_BEGAN])
    reqi[slot, s.RI_BYPASS] = 1
    base = reqi[slot, s.RI_ISOLATE] * (a.ci[s.I_KEYS] + 1)
    if a.cf[s.F_SIE] and is_retained(a, base + key, now) and now < a.lives[base + key, 1]:
        touch(a.places, base, key, a.ci[s.I_KEYS])
        a.cnt[s.C_EXTENDED] += 1
        _end_read(a, slot, s.L1)
        return s.T_READ
    return s.T_LOAD


@part
def begin_loading(a: State, now: Any, slot: Any) -> Any:
    """Begin a load; return the request's next state."""
    reqi = a.reqi
    kind = a.reads[reqi[slot, s.RI_ENDPOINT], reqi[slot, s.RI_AT], s.QI_TYPE]
    a.cnt[s.C_LOADS] += 1
    a.reqf[slot, s.RF_LOADING] = now
    reqi[slot, s.RI_LEFT] = a.tyi[kind, s.YI_QUERIES]
    reqi[slot, s.RI_SIZE] = a.ksize[reqi[slot, s.RI_KEY]]
    return _query_or_end(a, now, slot)


@part
def end_query_of_load(a: State, now: Any, slot: Any) -> Any:
    """End a query of a load; return the request's next state."""
    reqi = a.reqi
    kind = a.reads[reqi[slot, s.RI_ENDPOINT], reqi[slot, s.RI_AT], s.QI_TYPE]
    process = reqi[slot, s.RI_PROCESS]
    if a.reqf[slot, s.O_FAILED]:
        profile_failure(a, s.KIND_QUERY)
        a.cnt[s.C_L3_ERRORS] += 1
        return _fail_load(a, now, slot, int(a.reqf[slot, s.O_FAILED]))
    took = now - a.reqf[slot, s.O_QUERY]
    profile(a, process, a.tyi[kind, s.YI_PROFILE], s.KIND_QUERY, took)
    reqi[slot, s.RI_LEFT] -= 1
    if a.cf[s.F_ROWS_TTL] and a.tyi[kind, s.YI_HAS_ROWS]:
        key, rows = reqi[slot, s.RI_KEY], reqi[slot, s.RI_ROWS]
        if a.tyi[kind, s.YI_SIZED] == s.SIZED_FIXED:
            rows = a.krows[key]
        keep_rows(a, process, key, now, rows, reqi[slot, s.RI_SIZE])
    return _query_or_end(a, now, slot)


@part
def _fail_load(a: State, now: Any, slot: Any, failure: Any) -> Any:
    """Answer a read whose load failed with an older value, or let the request fail."""
    reqi, request, place = a.reqi, a.reqi[slot, s.RI_REQUEST], a.reqi[slot, s.RI_AT]
    at_key = reqi[slot, s.RI_ISOLATE] * (a.ci[s.I_KEYS] + 1) + reqi[slot, s.RI_KEY]
    code = fall_back(a, at_key, now)
    # L2 may have had what is too old to serve: it went into the request's own L1.
    has_own = a.ci[s.I_REQUEST_SCOPE] and reqi[slot, s.RI_FOUND]
    if has_own and now < a.reqf[slot, s.RF_FRESH] + a.cf[s.F_SIE]:
        a.cnt[s.C_STALE] += 1
        code = s.L1 | s.STALE
    if code > 0:
        _end_read(a, slot, code)
        return s.T_READ
    a.codes[request, place] = s.BYPASS if reqi[slot, s.RI_BYPASS] else s.MISS
    fail_flight(a, at_key, reqi[slot, s.RI_FLIGHT], failure)
    reqi[slot, s.RI_FLIGHT] = -1
    reqi[slot, s.RI_FAILURE] = failure
    return s.T_FAILED


@part
def end_following(a: State, now: Any, slot: Any) -> Any:
    """Take what the load came to that a read waited for; return the request's next state."""
    reqi, place = a.reqi, a.reqi[slot, s.RI_AT]
    code = 0
    if reqi[slot, s.RI_FAILURE]:
        base = reqi[slot, s.RI_ISOLATE] * (a.ci[s.I_KEYS] + 1)
        code = fall_back(a, base + reqi[slot, s.RI_KEY], now)
    a.codes[reqi[slot, s.RI_REQUEST], place] = code if code > 0 else s.COLLAPSED
    if reqi[slot, s.RI_FAILURE] and code == 0:
        return s.T_FAILED
    reqi[slot, s.RI_AT] = place + 1
    return s.T_READ


@part
def _query_or_end(a: State, now: Any, slot: Any) -> Any:
    if a.reqi[slot, s.RI_LEFT] == 0:
        return s.T_LOADED
    if a.cf[s.F_ROWS_TTL]:
        reqi, process = a.reqi, a.reqi[slot, s.RI_PROCESS]
        kind = a.reads[reqi[slot, s.RI_ENDPOINT], reqi[slot, s.RI_AT], s.QI_TYPE]
        key = reqi[slot, s.RI_KEY]
        if a.tyi[kind, s.YI_HAS_ROWS] and finds_rows(a, process, key, now):
            profile(a, process, a.tyi[kind, s.YI_PROFILE], s.KIND_QUERY, 0.0)
            reqi[slot, s.RI_SIZE] = a.rows_value[process, key]
            return s.T_LOADED
    send_query(a, now, slot, a.reqi[slot, s.RI_SLOT], a.t_rx, 0.0)
    a.reqi[slot, s.RI_STATE] = s.T_LOADING
    return s.T_WAITS


@part
def end_load(a: State, now: Any, slot: Any) -> Any:
    """Keep a loaded value and begin its put to L2; return the request's next state."""
    reqi, key, isolate = a.reqi, a.reqi[slot, s.RI_KEY], a.reqi[slot, s.RI_ISOLATE]
    request, named = reqi[slot, s.RI_REQUEST], reqi[slot, s.RI_SLOT]
    kind = a.reads[reqi[slot, s.RI_ENDPOINT], reqi[slot, s.RI_AT], s.QI_TYPE]
    process = reqi[slot, s.RI_PROCESS]
    loading = a.reqf[slot, s.RF_LOADING]
    fresh = loading + lifetime(a, request * a.ci[s.I_WIDTH] + named, a.tyf[kind])
    load = now - loading
    size = reqi[slot, s.RI_SIZE]
    if a.tyi[kind, s.YI_SIZED] == s.SIZED_FIXED:
        size = a.ksize[key]
    is_kept = fresh > now
    if is_kept:
        promote(a, isolate, key, now, fresh, load, size)
    else:
        a.cnt[s.C_OUTLIVED] += 1
        drop(a, isolate, key)
    is_bypassed = reqi[slot, s.RI_BYPASS]
    _end_read(a, slot, s.BYPASS if is_bypassed else s.MISS)
    if is_bypassed or not (is_kept or a.ci[s.I_KEEPS]):
        return s.T_READ
    put = new_put(a, key, request, named, slot, process)
    if is_kept:
        seal(a, now, put, fresh, load, size)
    if is_kept and a.ci[s.I_AWAIT]:
        a.puts[put, s.PI_AWAITED] = 1
        if send_put(a, now, put):
            reqi[slot, s.RI_STATE] = s.T_READ
            return s.T_WAITS
        free_put(a, put)
        return s.T_READ
    a.background[process] += 1
    make_ready(a, put << 5 | (s.R_PUT if is_kept else s.R_DROP))
    return s.T_READ
