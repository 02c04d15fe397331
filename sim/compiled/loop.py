"""The compiled engine's loop: one function, because its state then stays in registers."""

from __future__ import annotations

from typing import Any

import numpy as np

import sim.compiled.slots as s
from core.emulation.database import ROW_SHARE
from core.ledger.stored_credits import TOUCHES_PER_ROW
from sim.compiled.engine import (
    allows,
    answer,
    begin_flight,
    fill_put,
    forget_l2,
    free_put,
    heat,
    land_put,
    lifetime,
    look_around,
    look_up,
    occupy,
    only_grows,
    profile,
    promote,
    renews_early,
    reserve,
    sample,
    start_put,
    take_put,
    with_faults,
)
from sim.compiled.heap import pop, push
from sim.compiled.jit import jit
from sim.compiled.journeys import add, event_of, event_size, in_order, journey_size, touches_of
from sim.compiled.memory import ABSENT, remove, touch
from sim.compiled.philox import at, sampled

_L1, _L2, _MISS, _COLLAPSED, _BYPASS, _STALE = 1, 2, 3, 4, 5, 32


@jit
def run(
    until: Any, cf: Any, ci: Any, si: Any, cnt: Any, seed: Any, stream: Any,
    intended_ns: Any, endpoint: Any, subject: Any, isolate: Any, total: Any, codes: Any,
    epf: Any, epi: Any, reads: Any, tyf: Any, tyi: Any, kbase: Any, ksize: Any,
    faults: Any, parts: Any,
    t_read: Any, t_cold: Any, t_write: Any, t_trip: Any, t_rx: Any, t_wx: Any, t_sent: Any,
    times: Any, sequences: Any, events: Any, ready: Any,
    reqf: Any, reqi: Any, flights: Any, putf: Any, puts: Any, newf: Any, news: Any,
    askf: Any, asks: Any, batf: Any, bats: Any, delf: Any, dels: Any,
    places: Any, held: Any, lives: Any, central: Any, edge: Any, sizes: Any, edge_sizes: Any,
    written: Any, hot: Any, hots: Any, cpu_free: Any, servers: Any, breaker: Any, due: Any,
    background: Any, in_flight: Any,
    hist: Any, sums: Any, seen: Any, phist: Any, psums: Any, growth: Any,
    seed_times: Any, seed_kinds: Any, seed_channels: Any, seed_lengths: Any, channel_lengths: Any,
    users: Any, newest: Any, before: Any, converted: Any, touch_from: Any, touch_count: Any,
    log: Any, outbox: Any, bodies: Any, order: Any, order_keys: Any,
) -> Any:  # fmt: skip
    """Go on until the arrival number *until*, the end, or what Python has to do; return which."""
    n, width, end = ci[s.I_N], ci[s.I_WIDTH], ci[s.I_KEYS]
    per, sites = ci[s.I_PER], ci[s.I_SITES]
    consumer, seeded = ci[s.I_CONSUMER], ci[s.I_SEEDED]
    keeps, single = ci[s.I_KEEPS], ci[s.I_SINGLE]
    has_faults, scoped = ci[s.I_FAULTS] > 0, ci[s.I_REQUEST_SCOPE] > 0
    l1_ttl, cache_ttl, swr = cf[s.F_L1_TTL], cf[s.F_CACHE_TTL], cf[s.F_SWR]
    l2_cpu, l3_cpu = cf[s.F_L2_CPU], cf[s.F_L3_CPU]
    l2_timeout, l3_timeout = cf[s.F_L2_TIMEOUT], cf[s.F_L3_TIMEOUT]
    i, m, sq = si[s.S_NEXT], si[s.S_HEAP], si[s.S_SEQ]
    mask = ready.size - 1
    arrives = intended_ns[i] / 1e9 if i < n else np.inf
    now = 0.0
    out = -1
    head = tail = 0
    if n == 0 and si[s.S_MAIN] == 0:
        si[s.S_MAIN] = 1
        ready[tail & mask] = s.R_MAIN
        tail += 1
    while True:
        if head == tail:
            # A safe place: nothing is half done.
            if si[s.S_MAIN] == 9:
                out = s.OUT_DONE
            elif si[s.S_WHY] >= 0:
                out = s.OUT_REFUSED
            elif si[s.S_BODIES] > 0:
                out = s.OUT_BODIES
            elif si[s.S_NEED_KIND] > 0:
                out = s.OUT_SIZE if si[s.S_NEED_KIND] == 1 else s.OUT_CHANNELS
            elif i >= until and i < n:
                out = s.OUT_PROGRESS
            elif m + 6 * reqi.shape[0] >= times.size:
                out = s.OUT_GROW_HEAP
            elif si[s.S_USED_R] + 2 >= reqi.shape[0]:
                out = s.OUT_GROW_REQUESTS
            elif si[s.S_USED_F] + reqi.shape[0] >= flights.shape[0]:
                out = s.OUT_GROW_FLIGHTS
            elif si[s.S_USED_P] + reqi.shape[0] + 8 >= puts.shape[0]:
                out = s.OUT_GROW_PUTS
            elif si[s.S_USED_N] + reqi.shape[0] + 8 >= news.shape[0]:
                out = s.OUT_GROW_LOADS
            elif si[s.S_USED_A] + ci[s.I_ALL] + 1 >= asks.shape[0]:
                out = s.OUT_GROW_ASKS
            elif si[s.S_OUT_LAST] - si[s.S_OUT_FIRST] + 4 * ci[s.I_BATCH] >= outbox.size:
                out = s.OUT_GROW_OUTBOX
            if out >= 0:
                si[s.S_NEXT], si[s.S_HEAP], si[s.S_SEQ] = i, m, sq
                return out
            if m == 0 or times[0] > arrives:
                if i >= n:
                    si[s.S_NEXT], si[s.S_HEAP], si[s.S_SEQ] = i, m, sq
                    return s.OUT_STUCK
                # An arrival, which is last at its instant.
                now = arrives
                e = endpoint[i]
                w = isolate[i]
                process = w // per
                slot = si[s.S_FREE_R]
                si[s.S_FREE_R] = reqi[slot, s.RI_NEXT]
                si[s.S_USED_R] += 1
                in_flight[process, 0] += 1
                if in_flight[process, 0] > in_flight[process, 1]:
                    in_flight[process, 1] = in_flight[process, 0]
                when = occupy(cpu_free, process, now, epf[e])
                reqf[slot, s.RF_CPU] = epf[e]
                reqf[slot, s.RF_INTENDED] = now
                reqi[slot, s.RI_REQUEST] = i
                reqi[slot, s.RI_ENDPOINT] = e
                reqi[slot, s.RI_SUBJECT] = subject[i]
                reqi[slot, s.RI_ISOLATE] = w
                reqi[slot, s.RI_AT] = 0
                reqi[slot, s.RI_STEP] = 0
                reqi[slot, s.RI_STATE] = s.T_READ
                reqi[slot, s.RI_FLIGHT] = -1
                m = push(times, sequences, events, m, when, sq, slot << 5 | s.E_START)
                sq += 1
                i += 1
                arrives = intended_ns[i] / 1e9 if i < n else np.inf
                continue
            now = times[0]
            code = events[0]
            m = pop(times, sequences, events, m)
            kind, number = code & 31, code >> 5
            if kind == s.E_START or kind == s.E_L2 or kind == s.E_DB_OUT:  # noqa: PLR1714  # quicker
                ready[tail & mask] = number << 5 | s.R_REQUEST
                tail += 1
            elif kind == s.E_DB_IN:
                # A request's operation reaches the database.
                slot = number
                execution, trip = reqf[slot, s.RF_EXECUTION], reqf[slot, s.RF_TRIP]
                in_flight[reqi[slot, s.RI_ISOLATE] // per, 2] += 1
                done = reserve(servers, now, execution)
                intended = reqf[slot, s.RF_INTENDED]
                sample(cf, ci, parts, hist, sums, s.STAGE_L3, intended, trip + execution)
                sample(cf, ci, parts, hist, sums, s.STAGE_WAIT, intended, done - execution - now)
                done = done + trip / 2
                if done >= reqf[slot, s.RF_OUT]:
                    si[s.S_WHY] = s.WHY_DATABASE_LIMIT
                m = push(times, sequences, events, m, done, sq, slot << 5 | s.E_DB_OUT)
                sq += 1
                request = reqi[slot, s.RI_REQUEST]
                if reqi[slot, s.RI_STATE] == s.T_LOADING:
                    key = reqi[slot, s.RI_KEY]
                    sized = tyi[
                        reads[reqi[slot, s.RI_ENDPOINT], reqi[slot, s.RI_AT], s.QI_TYPE], s.YI_SIZED
                    ]
                    if sized == s.SIZED_FIXED:
                        if ksize[key] < 0:
                            si[s.S_NEED_KIND], si[s.S_NEED_KEY], si[s.S_NEED_AT] = 1, key, slot
                    elif sized == s.SIZED_JOURNEY:
                        reqi[slot, s.RI_SIZE] = kbase[key] + journey_size(
                            ci, cf, seed, stream, reqi[slot, s.RI_SUBJECT], users, newest,
                            before, seed_lengths, channel_lengths,
                        )  # fmt: skip
                    elif ksize[key] < 0:
                        si[s.S_NEED_KIND], si[s.S_NEED_KEY], si[s.S_NEED_AT] = 2, key, slot
                    else:
                        reqi[slot, s.RI_SIZE] = ksize[key]
                elif reqi[slot, s.RI_STEP] == 3:
                    size = event_size(
                        ci,
                        request,
                        reqi[slot, s.RI_CONVERTS],
                        reqi[slot, s.RI_CHANNEL],
                        channel_lengths,
                    )
                    add(
                        seeded + request, reqi[slot, s.RI_SUBJECT], size, seeded, seed_times,
                        intended_ns, users, newest, before,
                    )  # fmt: skip
            elif kind == s.E_PUT:
                land_put(
                    cf, ci, cnt, central, edge, sizes, edge_sizes, written, now, number, putf, puts
                )
                if puts[number, s.PI_RENEWS] == 2:  # a request waits for it
                    ready[tail & mask] = puts[number, s.PI_OF] << 5 | s.R_REQUEST
                    tail += 1
                else:
                    process = puts[number, s.PI_PROCESS]
                    background[process] -= 1
                    if (
                        background[process] == 0
                        and si[s.S_MAIN] == 3
                        and si[s.S_MAIN_PROCESS] == process
                    ):
                        ready[tail & mask] = s.R_MAIN
                        tail += 1
                free_put(si, puts, number)
            elif kind == s.E_TIMER:
                if si[s.S_TIMER_ON] and number == si[s.S_TIMER]:
                    si[s.S_TIMER_ON] = 0
                    # The batch is closed: its conversions are those collected.
                    if si[s.S_COLLECTING] > 0:
                        touch_from[si[s.S_FORMED], 1] = si[s.S_COLLECTED]
                        si[s.S_FORMED] += 1
                        touch_from[si[s.S_FORMED], 0] = si[s.S_COLLECTED]
                        si[s.S_COLLECTING] = 0
                    while si[s.S_HANDED] < si[s.S_FORMED] and si[s.S_RUNNING] < ci[s.I_PARALLEL]:
                        ready[tail & mask] = si[s.S_HANDED] << 5 | s.R_BATCH
                        tail += 1
                        si[s.S_HANDED] += 1
                        si[s.S_RUNNING] += 1
                        cnt[s.C_BATCHES] += 1
            elif kind == s.E_BATCH_IN:
                execution, trip = batf[number, s.BF_EXECUTION], batf[number, s.BF_TRIP]
                in_flight[consumer, 2] += 1
                done = reserve(servers, now, execution) + trip / 2
                if done >= batf[number, s.BF_OUT]:
                    si[s.S_WHY] = s.WHY_DATABASE_LIMIT
                m = push(times, sequences, events, m, done, sq, number << 5 | s.E_BATCH_OUT)
                sq += 1
                batch = bats[number, s.BI_NUMBER]
                if bats[number, s.BI_WRITES] == 0:
                    # The journeys, as they are now.
                    untouched, touches, channels = 0, 0, np.int64(0)
                    for place in range(touch_from[batch, 0], touch_from[batch, 1]):
                        request = converted[place]
                        found, used = touches_of(
                            ci, cf, seed, stream, request, subject[request], intended_ns,
                            seed_times, seed_kinds, seed_channels, users, before, log,
                            si[s.S_TOUCHES],
                        )  # fmt: skip
                        touch_count[place, 0] = si[s.S_TOUCHES]
                        touch_count[place, 1] = found
                        si[s.S_TOUCHES] += found
                        untouched += found == 0
                        touches += found
                        channels |= used
                    bats[number, s.BI_UNTOUCHED] = untouched
                    bats[number, s.BI_TOUCHES] = touches
                    count = 0
                    while channels:
                        channels &= channels - 1
                        count += 1
                    bats[number, s.BI_CHANNELS] = count
                    bats[number, s.BI_SIZE] = touch_from[batch, 1] - touch_from[batch, 0]
                else:
                    log_at = si[s.S_STORED]
                    touch_from[log_at, 2] = batch
                    si[s.S_STORED] += 1
                    if ci[s.I_FORWARDS]:
                        in_order(
                            converted, touch_from[batch, 0], touch_from[batch, 1], order, order_keys
                        )
                        for place in range(bats[number, s.BI_HELD], bats[number, s.BI_SIZE]):
                            outbox[si[s.S_OUT_LAST] % outbox.size] = order[place]
                            si[s.S_OUT_LAST] += 1
            elif kind == s.E_BATCH_OUT:
                ready[tail & mask] = number << 5 | s.R_BATCH_ON
                tail += 1
            elif kind == s.E_ASK_IN:
                execution, trip = askf[number, s.AF_EXECUTION], askf[number, s.AF_TRIP]
                in_flight[asks[number, s.AI_PROCESS], 2] += 1
                done = reserve(servers, now, execution) + trip / 2
                if done >= askf[number, s.AF_OUT]:
                    si[s.S_WHY] = s.WHY_DATABASE_LIMIT
                m = push(times, sequences, events, m, done, sq, number << 5 | s.E_ASK_OUT)
                sq += 1
            elif kind == s.E_ASK_OUT:
                process = asks[number, s.AI_PROCESS]
                profile(
                    si,
                    seen,
                    phist,
                    psums,
                    process,
                    s.Q_NEWER,
                    s.KIND_QUERY,
                    now - askf[number, s.AF_QUERY],
                )
                asks[number, s.AI_NEXT] = si[s.S_FREE_A]
                si[s.S_FREE_A] = number
                si[s.S_USED_A] -= 1
                background[process] -= 1
                if (
                    background[process] == 0
                    and si[s.S_MAIN] == 3
                    and si[s.S_MAIN_PROCESS] == process
                ):
                    ready[tail & mask] = s.R_MAIN
                    tail += 1
            elif kind == s.E_SENT:
                profile(
                    si,
                    seen,
                    phist,
                    psums,
                    consumer,
                    s.Q_SENT,
                    s.KIND_EXTERNAL,
                    now - delf[number, s.DF_STARTED],
                )
                cnt[s.C_FORWARDED] += dels[number, s.DI_ROWS]
                dels[number, s.DI_ROWS] = 0
                ready[tail & mask] = number << 5 | (
                    s.R_FORWARD_ENDED if dels[number, s.DI_HANDED] else s.R_FORWARD
                )
                tail += 1
            elif kind == s.E_SNAP:
                si[s.S_SNAPPED] = 1
            elif kind == s.E_LOOK:
                look_around(
                    ci, growth, si[s.S_LOOKS], now, servers, cpu_free, held, seen, in_flight
                )
                si[s.S_LOOKS] += 1
            elif kind == s.E_CHECK:
                look_around(ci, growth, 2, now, servers, cpu_free, held, seen, in_flight)
                arrived = i
                while arrived < n and intended_ns[arrived] / 1e9 <= now:
                    arrived += 1
                if only_grows(ci, cf, growth, in_flight, arrived):
                    si[s.S_WHY] = s.WHY_SATURATED
                elif now + cf[s.F_LOOK_EVERY] < cf[s.F_END]:
                    m = push(times, sequences, events, m, now + cf[s.F_LOOK_EVERY], sq, s.E_CHECK)
                    sq += 1
            elif kind == s.E_NEW_IN:
                execution, trip = newf[number, s.NF_EXECUTION], newf[number, s.NF_TRIP]
                in_flight[news[number, s.NI_ISOLATE] // per, 2] += 1
                done = reserve(servers, now, execution) + trip / 2
                if done >= newf[number, s.NF_OUT]:
                    si[s.S_WHY] = s.WHY_DATABASE_LIMIT
                m = push(times, sequences, events, m, done, sq, number << 5 | s.E_NEW_OUT)
                sq += 1
                key = news[number, s.NI_KEY]
                sized = tyi[news[number, s.NI_TYPE], s.YI_SIZED]
                if sized == s.SIZED_FIXED:
                    if ksize[key] < 0:
                        si[s.S_NEED_KIND], si[s.S_NEED_KEY], si[s.S_NEED_AT] = 1, key, -1 - number
                elif sized == s.SIZED_JOURNEY:
                    news[number, s.NI_SIZE] = kbase[key] + journey_size(
                        ci, cf, seed, stream, subject[news[number, s.NI_REQUEST]], users, newest,
                        before, seed_lengths, channel_lengths,
                    )  # fmt: skip
                elif ksize[key] < 0:
                    si[s.S_NEED_KIND], si[s.S_NEED_KEY], si[s.S_NEED_AT] = 2, key, -1 - number
                else:
                    news[number, s.NI_SIZE] = ksize[key]
            elif kind == s.E_NEW_OUT:
                ready[tail & mask] = number << 5 | s.R_NEW_ON
                tail += 1
            si[s.S_EVENTS] += 1
            continue

        # What is ready, in its order.
        item = ready[head & mask]
        head += 1
        what, number = item & 31, item >> 5
        if what == s.R_REQUEST:
            slot = number
            request = reqi[slot, s.RI_REQUEST]
            e = reqi[slot, s.RI_ENDPOINT]
            about = reqi[slot, s.RI_SUBJECT]
            w = reqi[slot, s.RI_ISOLATE]
            process = w // per
            base = w * (end + 1)
            intended = reqf[slot, s.RF_INTENDED]
            place = reqi[slot, s.RI_AT]
            state = reqi[slot, s.RI_STATE]
            key = reqi[slot, s.RI_KEY]
            address = request * width
            while True:
                if state == s.T_READ:
                    if place >= epi[e, s.EI_READS]:
                        state = s.T_AFTER
                        continue
                    if (  # noqa: SIM102
                        place == 0
                        and epi[e, s.EI_LOOKS]
                        and about % ci[s.I_MODELS] == ci[s.I_DATA_DRIVEN]
                    ):
                        if now >= due[process]:
                            due[process] = now + cf[s.F_REFRESH]
                            ask = si[s.S_FREE_A]
                            si[s.S_FREE_A] = asks[ask, s.AI_NEXT]
                            si[s.S_USED_A] += 1
                            asks[ask, s.AI_ROW] = request
                            asks[ask, s.AI_IS_BATCH] = 0
                            asks[ask, s.AI_PROCESS] = process
                            background[process] += 1
                            ready[tail & mask] = ask << 5 | s.R_ASK
                            tail += 1
                    keyed = reads[e, place, s.QI_KEYED]
                    key = reads[e, place, s.QI_BASE]
                    if keyed == s.KEYED_SUBJECT:
                        key += about
                    elif keyed == s.KEYED_SITE:
                        key += about % sites
                    if intended >= cf[s.F_WARM]:  # an L1 read takes no time
                        hist[0, s.STAGE_L1, 0] += 1
                        for part in range(ci[s.I_PARTS]):
                            if parts[part, 0] <= intended < parts[part, 1]:
                                hist[part + 1, s.STAGE_L1, 0] += 1
                    if not scoped:
                        expires = places[base + key]["expires"]
                        if expires > now:
                            touch(places, base, key, end)
                            codes[request, place] = _L1
                            place += 1
                            continue
                        if expires > ABSENT:
                            cnt[s.C_EXPIRED] += 1
                            if not keeps or lives[base + key, 0] <= now:
                                remove(places, held, w, base, key)
                            else:
                                # Retained: it may be served, and renewed in the background.
                                fresh, load = lives[base + key, 1], lives[base + key, 3]
                                stays = lives[base + key, 2]
                                served, renew = False, False
                                if now < stays:
                                    served = True
                                    renew = renews_early(
                                        cf,
                                        seed,
                                        stream,
                                        address + reads[e, place, s.QI_SLOT],
                                        now,
                                        fresh,
                                        load,
                                    )
                                elif stays == fresh and now < fresh + swr:
                                    served, renew = True, True
                                if served:
                                    if renew and places[base + key]["flight"] < 0:
                                        new = si[s.S_FREE_N]
                                        si[s.S_FREE_N] = news[new, s.NI_NEXT]
                                        si[s.S_USED_N] += 1
                                        news[new, s.NI_KEY] = key
                                        news[new, s.NI_REQUEST] = request
                                        news[new, s.NI_SLOT] = reads[e, place, s.QI_SLOT]
                                        news[new, s.NI_TYPE] = reads[e, place, s.QI_TYPE]
                                        news[new, s.NI_ISOLATE] = w
                                        news[new, s.NI_FLIGHT] = begin_flight(
                                            places, base, key, flights, si
                                        )
                                        cnt[s.C_REFRESHES] += 1
                                        background[process] += 1
                                        ready[tail & mask] = new << 5 | s.R_NEW
                                        tail += 1
                                    touch(places, base, key, end)
                                    if now >= fresh:
                                        codes[request, place] = _L1 | _STALE
                                        cnt[s.C_STALE] += 1
                                    else:
                                        codes[request, place] = _L1
                                    place += 1
                                    continue
                    reqi[slot, s.RI_KEY] = key
                    reqi[slot, s.RI_SLOT] = reads[e, place, s.QI_SLOT]
                    if single:
                        flight = places[base + key]["flight"]
                        if flight >= 0:
                            reqi[slot, s.RI_NEXT] = -1
                            if flights[flight, 0] < 0:
                                flights[flight, 0] = slot
                            else:
                                reqi[flights[flight, 1], s.RI_NEXT] = slot
                            flights[flight, 1] = slot
                            state = s.T_FOLLOWS
                            break
                        reqi[slot, s.RI_FLIGHT] = begin_flight(places, base, key, flights, si)
                    reqf[slot, s.RF_BEGAN] = now
                    reqi[slot, s.RI_BYPASS] = 0
                    if not allows(breaker, process, now, cf):
                        cnt[s.C_SKIPPED] += 1
                        state = s.T_BYPASS
                        continue
                    sent = occupy(cpu_free, process, now, l2_cpu)
                    if l2_cpu != 0.0:
                        reqf[slot, s.RF_CPU] += l2_cpu
                    u = at(seed, stream | s.P_L2_READ, address + reqi[slot, s.RI_SLOT])
                    if hot[process, key] <= sent:
                        latency = sampled(t_cold, u)
                    else:
                        latency = sampled(t_read, u)
                    cnt[s.C_L2_OPERATIONS] += 1
                    failed = False
                    if has_faults:
                        u = at(seed, stream | s.P_READ_FATE, address + reqi[slot, s.RI_SLOT])
                        latency, failed = with_faults(ci, faults, 2.0, sent, latency, u)
                    if latency > l2_timeout:
                        failed = True
                        latency = l2_timeout
                    reqi[slot, s.RI_FAILED] = failed
                    when = sent + latency
                    m = push(
                        times,
                        sequences,
                        events,
                        m,
                        when if when > now else now,
                        sq,
                        slot << 5 | s.E_L2,
                    )
                    sq += 1
                    state = s.T_L2
                    break
                if state == s.T_FOLLOWS:
                    codes[request, place] = _COLLAPSED
                    place += 1
                    state = s.T_READ
                    continue
                if state == s.T_L2:
                    if reqi[slot, s.RI_FAILED]:
                        cnt[s.C_L2_ERRORS] += 1
                        breaker[process, 0] += 1.0
                        if ci[s.I_BREAKER] and breaker[process, 0] >= ci[s.I_BREAKER]:
                            if breaker[process, 2] == 0.0:
                                cnt[s.C_OPENINGS] += 1
                                breaker[process, 2] = 1.0
                            breaker[process, 1] = now + cf[s.F_OPEN_FOR]
                        state = s.T_BYPASS
                        continue
                    heat(hot, hots, process, key, now + cache_ttl, now)
                    found, fresh, load, size = look_up(
                        cf, ci, central, edge, sizes, edge_sizes, process, key, now
                    )
                    if breaker[process, 0] != 0.0:
                        breaker[process, 0] = 0.0
                        breaker[process, 2] = 0.0
                    sample(
                        cf,
                        ci,
                        parts,
                        hist,
                        sums,
                        s.STAGE_L2,
                        intended,
                        now - reqf[slot, s.RF_BEGAN],
                    )
                    if found and now < fresh + cf[s.F_BOUND]:
                        promote(
                            cf,
                            ci,
                            cnt,
                            places,
                            held,
                            lives,
                            w,
                            key,
                            now,
                            now + l1_ttl,
                            fresh,
                            load,
                            size,
                        )
                        if now < fresh + swr:
                            outcome = _L2
                            renew = False
                            if keeps:
                                if now >= fresh:
                                    renew = True
                                    outcome |= _STALE
                                    cnt[s.C_STALE] += 1
                                else:
                                    renew = renews_early(
                                        cf,
                                        seed,
                                        stream,
                                        address + reqi[slot, s.RI_SLOT],
                                        now,
                                        fresh,
                                        load,
                                    )
                            if renew:
                                flight = places[base + key]["flight"]
                                if flight < 0 or flight == reqi[slot, s.RI_FLIGHT]:
                                    new = si[s.S_FREE_N]
                                    si[s.S_FREE_N] = news[new, s.NI_NEXT]
                                    si[s.S_USED_N] += 1
                                    news[new, s.NI_KEY] = key
                                    news[new, s.NI_REQUEST] = request
                                    news[new, s.NI_SLOT] = reqi[slot, s.RI_SLOT]
                                    news[new, s.NI_TYPE] = reads[e, place, s.QI_TYPE]
                                    news[new, s.NI_ISOLATE] = w
                                    news[new, s.NI_FLIGHT] = begin_flight(
                                        places, base, key, flights, si
                                    )
                                    cnt[s.C_REFRESHES] += 1
                                    background[process] += 1
                                    ready[tail & mask] = new << 5 | s.R_NEW
                                    tail += 1
                            codes[request, place] = outcome
                            tail = answer(
                                places,
                                base,
                                key,
                                flights,
                                si,
                                reqi[slot, s.RI_FLIGHT],
                                reqi,
                                ready,
                                tail,
                            )
                            reqi[slot, s.RI_FLIGHT] = -1
                            place += 1
                            state = s.T_READ
                            continue
                    state = s.T_LOAD
                    continue
                if state == s.T_BYPASS:
                    sample(
                        cf,
                        ci,
                        parts,
                        hist,
                        sums,
                        s.STAGE_L2,
                        intended,
                        now - reqf[slot, s.RF_BEGAN],
                    )
                    reqi[slot, s.RI_BYPASS] = 1
                    if keeps and ci[s.I_SIE] and not scoped:
                        expires = places[base + key]["expires"]
                        if (
                            ABSENT < expires <= now < lives[base + key, 0]
                            and now < lives[base + key, 1]
                        ):
                            touch(places, base, key, end)
                            codes[request, place] = _L1
                            cnt[s.C_EXTENDED] += 1
                            tail = answer(
                                places,
                                base,
                                key,
                                flights,
                                si,
                                reqi[slot, s.RI_FLIGHT],
                                reqi,
                                ready,
                                tail,
                            )
                            reqi[slot, s.RI_FLIGHT] = -1
                            place += 1
                            state = s.T_READ
                            continue
                    state = s.T_LOAD
                    continue
                if state == s.T_LOAD:
                    cnt[s.C_LOADS] += 1
                    reqf[slot, s.RF_LOADING] = now
                    kind = reads[e, place, s.QI_TYPE]
                    reqi[slot, s.RI_LEFT] = tyi[kind, s.YI_QUERIES]
                    reqi[slot, s.RI_SIZE] = ksize[key]
                    state = s.T_LOADING
                    if reqi[slot, s.RI_LEFT] == 0:
                        state = s.T_LOADED
                        continue
                elif state == s.T_LOADING:
                    kind = reads[e, place, s.QI_TYPE]
                    profile(
                        si, seen, phist, psums, process, tyi[kind, s.YI_PROFILE], s.KIND_QUERY,
                        now - reqf[slot, s.RF_QUERY],
                    )  # fmt: skip
                    reqi[slot, s.RI_LEFT] -= 1
                    if reqi[slot, s.RI_LEFT] == 0:
                        state = s.T_LOADED
                        continue
                elif state == s.T_LOADED:
                    kind = reads[e, place, s.QI_TYPE]
                    loading = reqf[slot, s.RF_LOADING]
                    fresh = loading + lifetime(
                        cf, ci, seed, stream, address + reqi[slot, s.RI_SLOT], tyf[kind]
                    )
                    bypassed = reqi[slot, s.RI_BYPASS]
                    load = now - loading
                    size = reqi[slot, s.RI_SIZE]
                    if tyi[kind, s.YI_SIZED] == s.SIZED_FIXED:
                        size = ksize[key]
                    put = -1
                    is_kept = fresh > now
                    if is_kept:
                        promote(
                            cf,
                            ci,
                            cnt,
                            places,
                            held,
                            lives,
                            w,
                            key,
                            now,
                            now + l1_ttl,
                            fresh,
                            load,
                            size,
                        )
                    elif not scoped and places[base + key]["expires"] > ABSENT:
                        remove(places, held, w, base, key)
                    codes[request, place] = _BYPASS if bypassed else _MISS
                    tail = answer(
                        places, base, key, flights, si, reqi[slot, s.RI_FLIGHT], reqi, ready, tail
                    )
                    reqi[slot, s.RI_FLIGHT] = -1
                    place += 1
                    state = s.T_READ
                    if bypassed or not (is_kept or keeps):
                        continue
                    put = take_put(si, puts)
                    puts[put, s.PI_KEY] = key
                    puts[put, s.PI_REQUEST] = request
                    puts[put, s.PI_SLOT] = reqi[slot, s.RI_SLOT]
                    puts[put, s.PI_OF] = slot
                    puts[put, s.PI_PROCESS] = process
                    puts[put, s.PI_RENEWS] = 0
                    if not is_kept:
                        background[process] += 1
                        ready[tail & mask] = put << 5 | s.R_DROP
                        tail += 1
                        continue
                    fill_put(cf, ci, now, put, putf, puts, fresh, load, size)
                    if not ci[s.I_AWAIT]:
                        background[process] += 1
                        ready[tail & mask] = put << 5 | s.R_PUT
                        tail += 1
                        continue
                    puts[put, s.PI_RENEWS] = 2
                    when = start_put(
                        cf, ci, si, cnt, seed, stream, faults, breaker, cpu_free, t_write, now, put,
                        putf, puts, reqf, reqi,
                    )  # fmt: skip
                    if when < 0.0:
                        free_put(si, puts, put)
                        continue
                    m = push(times, sequences, events, m, when, sq, put << 5 | s.E_PUT)
                    sq += 1
                    break
                elif state == s.T_AFTER:
                    # Queries (step 1), writes (2) and the event (3) beside the reads.
                    step = reqi[slot, s.RI_STEP]
                    if step > 0:
                        name = (
                            s.Q_STATED
                            if step == 1
                            else s.Q_STATED_WRITE
                            if step == 2
                            else s.Q_EVENT
                        )
                        profile(
                            si,
                            seen,
                            phist,
                            psums,
                            process,
                            name,
                            s.KIND_QUERY,
                            now - reqf[slot, s.RF_QUERY],
                        )
                        reqi[slot, s.RI_LEFT] -= 1
                        if step == 3:
                            step = 4
                    elif step == 0:
                        reqi[slot, s.RI_LEFT] = 0
                    while step < 3 and reqi[slot, s.RI_LEFT] == 0:
                        step += 1
                        if step == 1:
                            reqi[slot, s.RI_LEFT] = epi[e, s.EI_QUERIES]
                        elif step == 2:
                            reqi[slot, s.RI_LEFT] = epi[e, s.EI_STORES]
                    if step == 3 and epi[e, s.EI_WRITES] == 0:
                        step = 4
                    reqi[slot, s.RI_STEP] = step
                    reqi[slot, s.RI_SLOT] = s.STORE_SLOT
                    if step == 4:
                        if epi[e, s.EI_WRITES] == 1:  # noqa: SIM102
                            if reqi[slot, s.RI_CONVERTS]:
                                converted[si[s.S_COLLECTED]] = request
                                si[s.S_COLLECTED] += 1
                                si[s.S_COLLECTING] += 1
                                if si[s.S_COLLECTING] >= ci[s.I_BATCH]:
                                    si[s.S_TIMER_ON] = 0
                                    touch_from[si[s.S_FORMED], 1] = si[s.S_COLLECTED]
                                    si[s.S_FORMED] += 1
                                    touch_from[si[s.S_FORMED], 0] = si[s.S_COLLECTED]
                                    si[s.S_COLLECTING] = 0
                                    while (
                                        si[s.S_HANDED] < si[s.S_FORMED]
                                        and si[s.S_RUNNING] < ci[s.I_PARALLEL]
                                    ):
                                        ready[tail & mask] = si[s.S_HANDED] << 5 | s.R_BATCH
                                        tail += 1
                                        si[s.S_HANDED] += 1
                                        si[s.S_RUNNING] += 1
                                        cnt[s.C_BATCHES] += 1
                                elif not si[s.S_TIMER_ON]:
                                    si[s.S_TIMER_ON] = 1
                                    si[s.S_TIMER] += 1
                                    m = push(
                                        times, sequences, events, m, now + cf[s.F_WAIT], sq,
                                        si[s.S_TIMER] << 5 | s.E_TIMER,
                                    )  # fmt: skip
                                    sq += 1
                        took = now - intended
                        total[request] = took
                        sample(cf, ci, parts, hist, sums, s.STAGE_TOTAL, intended, took)
                        if epi[e, s.EI_CPU_STATED]:
                            sample(
                                cf,
                                ci,
                                parts,
                                hist,
                                sums,
                                s.STAGE_CPU,
                                intended,
                                reqf[slot, s.RF_CPU],
                            )
                        in_flight[process, 0] -= 1
                        reqi[slot, s.RI_REQUEST] = -1
                        reqi[slot, s.RI_NEXT] = si[s.S_FREE_R]
                        si[s.S_FREE_R] = slot
                        si[s.S_USED_R] -= 1
                        si[s.S_LEFT] -= 1
                        if si[s.S_LEFT] == 0:
                            si[s.S_MAIN] = 1
                            ready[tail & mask] = s.R_MAIN
                            tail += 1
                        break
                # An operation of the database.
                reqf[slot, s.RF_QUERY] = now
                sent = occupy(cpu_free, process, now, l3_cpu)
                if l3_cpu != 0.0:
                    reqf[slot, s.RF_CPU] += l3_cpu
                trip = sampled(t_trip, at(seed, stream | s.P_TRIP, address + reqi[slot, s.RI_SLOT]))
                u = at(seed, stream | s.P_EXECUTION, address + reqi[slot, s.RI_SLOT])
                if state == s.T_AFTER and reqi[slot, s.RI_STEP] >= 2:
                    execution = sampled(t_wx, u)
                    if reqi[slot, s.RI_STEP] == 3:
                        converts, channel = event_of(ci, cf, seed, stream, request)
                        reqi[slot, s.RI_CONVERTS] = converts
                        reqi[slot, s.RI_CHANNEL] = channel
                        if converts:  # the event, the conversion, its row in the queue
                            execution = execution + cf[s.F_SHARE_WRITE] * 2
                else:
                    execution = sampled(t_rx, u)
                if has_faults:
                    execution, _ = with_faults(ci, faults, 3.0, sent, execution, 1.0)
                reqf[slot, s.RF_TRIP], reqf[slot, s.RF_EXECUTION] = trip, execution
                reqf[slot, s.RF_OUT] = sent + l3_timeout
                when = sent + trip / 2
                if when > sent + l3_timeout:
                    when = sent + l3_timeout
                m = push(
                    times,
                    sequences,
                    events,
                    m,
                    when if when > now else now,
                    sq,
                    slot << 5 | s.E_DB_IN,
                )
                sq += 1
                break
            if reqi[slot, s.RI_REQUEST] >= 0:
                reqi[slot, s.RI_AT] = place
                reqi[slot, s.RI_STATE] = state
        elif what == s.R_PUT:
            when = start_put(
                cf, ci, si, cnt, seed, stream, faults, breaker, cpu_free, t_write, now, number,
                putf, puts, reqf, reqi,
            )  # fmt: skip
            if when >= 0.0:
                m = push(times, sequences, events, m, when, sq, number << 5 | s.E_PUT)
                sq += 1
            else:
                process = puts[number, s.PI_PROCESS]
                background[process] -= 1
                if (
                    background[process] == 0
                    and si[s.S_MAIN] == 3
                    and si[s.S_MAIN_PROCESS] == process
                ):
                    ready[tail & mask] = s.R_MAIN
                    tail += 1
                free_put(si, puts, number)
        elif what == s.R_DROP:
            process = puts[number, s.PI_PROCESS]
            forget_l2(ci, cf, central, edge, hot, hots, process, puts[number, s.PI_KEY], now)
            cnt[s.C_L2_OPERATIONS] += 1
            background[process] -= 1
            if background[process] == 0 and si[s.S_MAIN] == 3 and si[s.S_MAIN_PROCESS] == process:
                ready[tail & mask] = s.R_MAIN
                tail += 1
            free_put(si, puts, number)
        elif what == s.R_NEW or what == s.R_NEW_ON:  # noqa: PLR1714
            # A load in the background.
            key, w = news[number, s.NI_KEY], news[number, s.NI_ISOLATE]
            process, base = w // per, w * (end + 1)
            kind = news[number, s.NI_TYPE]
            address = news[number, s.NI_REQUEST] * width + news[number, s.NI_SLOT]
            if what == s.R_NEW:
                cnt[s.C_LOADS] += 1
                newf[number, s.NF_LOADING] = now
                news[number, s.NI_LEFT] = tyi[kind, s.YI_QUERIES]
                news[number, s.NI_SIZE] = ksize[key]
            else:
                profile(
                    si, seen, phist, psums, process, tyi[kind, s.YI_PROFILE], s.KIND_QUERY,
                    now - newf[number, s.NF_QUERY],
                )  # fmt: skip
                news[number, s.NI_LEFT] -= 1
            if news[number, s.NI_LEFT] > 0:
                newf[number, s.NF_QUERY] = now
                sent = occupy(cpu_free, process, now, l3_cpu)
                trip = sampled(t_trip, at(seed, stream | s.P_TRIP, address))
                execution = sampled(t_rx, at(seed, stream | s.P_EXECUTION, address))
                if has_faults:
                    execution, _ = with_faults(ci, faults, 3.0, sent, execution, 1.0)
                newf[number, s.NF_TRIP], newf[number, s.NF_EXECUTION] = trip, execution
                newf[number, s.NF_OUT] = sent + l3_timeout
                when = sent + trip / 2
                if when > sent + l3_timeout:
                    when = sent + l3_timeout
                m = push(
                    times,
                    sequences,
                    events,
                    m,
                    when if when > now else now,
                    sq,
                    number << 5 | s.E_NEW_IN,
                )
                sq += 1
                continue
            loading = newf[number, s.NF_LOADING]
            fresh = loading + lifetime(cf, ci, seed, stream, address, tyf[kind])
            load = now - loading
            size = news[number, s.NI_SIZE]
            if tyi[kind, s.YI_SIZED] == s.SIZED_FIXED:
                size = ksize[key]
            put = take_put(si, puts)
            puts[put, s.PI_KEY] = key
            puts[put, s.PI_REQUEST] = news[number, s.NI_REQUEST]
            puts[put, s.PI_SLOT] = news[number, s.NI_SLOT]
            puts[put, s.PI_OF] = -1
            puts[put, s.PI_PROCESS] = process
            puts[put, s.PI_RENEWS] = 1
            is_kept = fresh > now
            when = -1.0
            if is_kept:
                promote(
                    cf, ci, cnt, places, held, lives, w, key, now, now + l1_ttl, fresh, load, size
                )
                fill_put(cf, ci, now, put, putf, puts, fresh, load, size)
            elif not scoped and places[base + key]["expires"] > ABSENT:
                remove(places, held, w, base, key)
            tail = answer(
                places, base, key, flights, si, news[number, s.NI_FLIGHT], reqi, ready, tail
            )
            if is_kept:
                when = start_put(
                    cf, ci, si, cnt, seed, stream, faults, breaker, cpu_free, t_write, now, put,
                    putf, puts, reqf, reqi,
                )  # fmt: skip
            else:
                forget_l2(ci, cf, central, edge, hot, hots, process, key, now)
                cnt[s.C_L2_OPERATIONS] += 1
            if when >= 0.0:
                m = push(times, sequences, events, m, when, sq, put << 5 | s.E_PUT)
                sq += 1
            else:
                background[process] -= 1
                if (
                    background[process] == 0
                    and si[s.S_MAIN] == 3
                    and si[s.S_MAIN_PROCESS] == process
                ):
                    ready[tail & mask] = s.R_MAIN
                    tail += 1
                free_put(si, puts, put)
            news[number, s.NI_NEXT] = si[s.S_FREE_N]
            si[s.S_FREE_N] = number
            si[s.S_USED_N] -= 1
        elif what == s.R_ASK:
            process = asks[number, s.AI_PROCESS]
            askf[number, s.AF_QUERY] = now
            sent = occupy(cpu_free, process, now, l3_cpu)
            if asks[number, s.AI_IS_BATCH]:
                row = asks[number, s.AI_ROW] * ci[s.I_PROCESSES] + process
                address = row * s.BATCH_WIDTH + s.MODEL_SLOT
                trip = sampled(t_trip, at(seed, stream | s.P_BATCH_TRIP, address))
                execution = sampled(t_rx, at(seed, stream | s.P_BATCH_EXECUTION, address))
            else:
                address = asks[number, s.AI_ROW] * width + s.STORE_SLOT
                trip = sampled(t_trip, at(seed, stream | s.P_TRIP, address))
                execution = sampled(t_rx, at(seed, stream | s.P_EXECUTION, address))
            if has_faults:
                execution, _ = with_faults(ci, faults, 3.0, sent, execution, 1.0)
            askf[number, s.AF_TRIP], askf[number, s.AF_EXECUTION] = trip, execution
            askf[number, s.AF_OUT] = sent + l3_timeout
            when = sent + trip / 2
            if when > sent + l3_timeout:
                when = sent + l3_timeout
            m = push(
                times,
                sequences,
                events,
                m,
                when if when > now else now,
                sq,
                number << 5 | s.E_ASK_IN,
            )
            sq += 1
        elif what == s.R_BATCH or what == s.R_BATCH_ON:  # noqa: PLR1714
            if what == s.R_BATCH:
                batch = number
                number = 0
                while bats[number, s.BI_NUMBER] >= 0:
                    number += 1
                bats[number, s.BI_NUMBER] = batch
                bats[number, s.BI_WRITES] = 0
                batf[number, s.BF_SINCE] = now
            else:
                name = s.Q_STORED if bats[number, s.BI_WRITES] else s.Q_WAITING
                profile(
                    si,
                    seen,
                    phist,
                    psums,
                    consumer,
                    name,
                    s.KIND_QUERY,
                    now - batf[number, s.BF_QUERY],
                )
                if bats[number, s.BI_WRITES]:
                    # Stored: the deliveries begin, and the batch has ended.
                    if ci[s.I_FORWARDS]:
                        rows = bats[number, s.BI_HELD]
                        if rows > 0:
                            si[s.S_FWD_RESERVED] -= 1
                            slot = 0
                            while dels[slot, s.DI_BUSY]:
                                slot += 1
                            dels[slot, s.DI_BUSY] = 1
                            dels[slot, s.DI_HANDED] = 1
                            dels[slot, s.DI_ROWS] = rows
                            si[s.S_FWD_RUNNING] += 1
                            ready[tail & mask] = slot << 5 | s.R_FORWARD
                            tail += 1
                        elif si[s.S_FWD_RUNNING] + si[s.S_FWD_RESERVED] >= ci[s.I_FWD_PARALLEL]:
                            si[s.S_FWD_ASKED] = 1
                        else:
                            slot = 0
                            while dels[slot, s.DI_BUSY]:
                                slot += 1
                            dels[slot, s.DI_BUSY] = 1
                            dels[slot, s.DI_HANDED] = 0
                            dels[slot, s.DI_ROWS] = 0
                            si[s.S_FWD_RUNNING] += 1
                            ready[tail & mask] = slot << 5 | s.R_FORWARD
                            tail += 1
                    cnt[s.C_PROCESSED] += bats[number, s.BI_SIZE]
                    cnt[s.C_UNTOUCHED] += bats[number, s.BI_UNTOUCHED]
                    si[s.S_BATCHES_SINCE] += 1
                    if ci[s.I_FIT_EVERY] and si[s.S_BATCHES_SINCE] >= ci[s.I_FIT_EVERY]:
                        si[s.S_WHY] = s.WHY_FIT
                    profile(
                        si,
                        seen,
                        phist,
                        psums,
                        consumer,
                        s.Q_BATCHES,
                        s.KIND_QUEUE,
                        now - batf[number, s.BF_SINCE],
                    )
                    bats[number, s.BI_NUMBER] = -1
                    ready[tail & mask] = s.R_BATCH_ENDED
                    tail += 1
                    continue
                bats[number, s.BI_WRITES] = 1
                if now >= due[consumer]:
                    due[consumer] = now + cf[s.F_REFRESH]
                    ask = si[s.S_FREE_A]
                    si[s.S_FREE_A] = asks[ask, s.AI_NEXT]
                    si[s.S_USED_A] += 1
                    asks[ask, s.AI_ROW] = bats[number, s.BI_NUMBER]
                    asks[ask, s.AI_IS_BATCH] = 1
                    asks[ask, s.AI_PROCESS] = consumer
                    background[consumer] += 1
                    ready[tail & mask] = ask << 5 | s.R_ASK
                    tail += 1
                bats[number, s.BI_HELD] = 0
                if (
                    ci[s.I_FORWARDS]
                    and si[s.S_FWD_RUNNING] + si[s.S_FWD_RESERVED] < ci[s.I_FWD_PARALLEL]
                ):
                    si[s.S_FWD_RESERVED] += 1
                    bats[number, s.BI_HELD] = min(bats[number, s.BI_SIZE], ci[s.I_FWD_BATCH])
                    size = bats[number, s.BI_SIZE] + bats[number, s.BI_TOUCHES]
                    if size * ci[s.I_TOUCH_BYTES] > ci[s.I_BODY]:
                        batch = bats[number, s.BI_NUMBER]
                        in_order(
                            converted, touch_from[batch, 0], touch_from[batch, 1], order, order_keys
                        )
                        for place in range(bats[number, s.BI_HELD]):
                            bodies[si[s.S_BODIES]] = order[place]
                            si[s.S_BODIES] += 1
                        bodies[si[s.S_BODIES]] = -1
                        si[s.S_BODIES] += 1
            batf[number, s.BF_QUERY] = now
            sent = occupy(cpu_free, consumer, now, l3_cpu)
            row = bats[number, s.BI_NUMBER] * ci[s.I_PROCESSES] + consumer
            address = row * s.BATCH_WIDTH + bats[number, s.BI_WRITES]
            trip = sampled(t_trip, at(seed, stream | s.P_BATCH_TRIP, address))
            u = at(seed, stream | s.P_BATCH_EXECUTION, address)
            if bats[number, s.BI_WRITES]:
                size = bats[number, s.BI_SIZE]
                executions, rows = 2, 2 * size
                if ci[s.I_FORWARDS]:
                    executions += 1
                    rows += size
                if bats[number, s.BI_TOUCHES] > 0:
                    executions += 2
                    rows += bats[number, s.BI_CHANNELS]
                    batch = bats[number, s.BI_NUMBER]
                    for place in range(touch_from[batch, 0], touch_from[batch, 1]):
                        rows += (touch_count[place, 1] + TOUCHES_PER_ROW - 1) // TOUCHES_PER_ROW
                more = cf[s.F_SHARE_WRITE] * (executions - 1 + ROW_SHARE * (rows - executions))
                execution = sampled(t_wx, u) + more
            else:
                execution = sampled(t_rx, u) + 0.0
            if has_faults:
                execution, _ = with_faults(ci, faults, 3.0, sent, execution, 1.0)
            batf[number, s.BF_TRIP], batf[number, s.BF_EXECUTION] = trip, execution
            batf[number, s.BF_OUT] = sent + l3_timeout
            when = sent + trip / 2
            if when > sent + l3_timeout:
                when = sent + l3_timeout
            m = push(
                times,
                sequences,
                events,
                m,
                when if when > now else now,
                sq,
                number << 5 | s.E_BATCH_IN,
            )
            sq += 1
        elif what == s.R_BATCH_ENDED:
            si[s.S_RUNNING] -= 1
            while si[s.S_HANDED] < si[s.S_FORMED] and si[s.S_RUNNING] < ci[s.I_PARALLEL]:
                ready[tail & mask] = si[s.S_HANDED] << 5 | s.R_BATCH
                tail += 1
                si[s.S_HANDED] += 1
                si[s.S_RUNNING] += 1
                cnt[s.C_BATCHES] += 1
            if si[s.S_MAIN] == 2 and si[s.S_RUNNING] == 0 and si[s.S_HANDED] == si[s.S_FORMED]:
                ready[tail & mask] = s.R_MAIN
                tail += 1
        elif what == s.R_FORWARD:
            slot = number
            if not dels[slot, s.DI_HANDED]:
                # Take what is due.
                rows = min(si[s.S_OUT_LAST] - si[s.S_OUT_FIRST], ci[s.I_FWD_BATCH])
                dels[slot, s.DI_ROWS] = rows
                size = 0
                first = si[s.S_BODIES]
                for _ in range(rows):
                    place = outbox[si[s.S_OUT_FIRST] % outbox.size]
                    size += touch_count[place, 1] + 1
                    bodies[si[s.S_BODIES]] = place
                    si[s.S_BODIES] += 1
                    si[s.S_OUT_FIRST] += 1
                if size * ci[s.I_TOUCH_BYTES] > ci[s.I_BODY]:
                    bodies[si[s.S_BODIES]] = -1
                    si[s.S_BODIES] += 1
                else:
                    si[s.S_BODIES] = first
            rows = dels[slot, s.DI_ROWS]
            if rows == 0:
                ready[tail & mask] = slot << 5 | s.R_FORWARD_ENDED
                tail += 1
                continue
            if rows == ci[s.I_FWD_BATCH]:
                # There may be work for another hand.
                if si[s.S_FWD_RUNNING] + si[s.S_FWD_RESERVED] >= ci[s.I_FWD_PARALLEL]:
                    si[s.S_FWD_ASKED] = 1
                else:
                    other = 0
                    while dels[other, s.DI_BUSY]:
                        other += 1
                    dels[other, s.DI_BUSY] = 1
                    dels[other, s.DI_HANDED] = 0
                    dels[other, s.DI_ROWS] = 0
                    si[s.S_FWD_RUNNING] += 1
                    ready[tail & mask] = other << 5 | s.R_FORWARD
                    tail += 1
            row = si[s.S_FWD_REQUESTS] * ci[s.I_PROCESSES] + consumer
            si[s.S_FWD_REQUESTS] += 1
            delf[slot, s.DF_STARTED] = now
            sent = occupy(cpu_free, consumer, now, l3_cpu)
            latency = sampled(t_sent, at(seed, stream | s.P_DELIVERY, row * s.BATCH_WIDTH))
            when = sent + latency
            m = push(
                times, sequences, events, m, when if when > now else now, sq, slot << 5 | s.E_SENT
            )
            sq += 1
        elif what == s.R_FORWARD_ENDED:
            dels[number, s.DI_BUSY] = 0
            si[s.S_FWD_RUNNING] -= 1
            if si[s.S_FWD_ASKED]:
                si[s.S_FWD_ASKED] = 0
                if si[s.S_FWD_RUNNING] + si[s.S_FWD_RESERVED] >= ci[s.I_FWD_PARALLEL]:
                    si[s.S_FWD_ASKED] = 1
                else:
                    other = 0
                    while dels[other, s.DI_BUSY]:
                        other += 1
                    dels[other, s.DI_BUSY] = 1
                    dels[other, s.DI_HANDED] = 0
                    dels[other, s.DI_ROWS] = 0
                    si[s.S_FWD_RUNNING] += 1
                    ready[tail & mask] = other << 5 | s.R_FORWARD
                    tail += 1
            if si[s.S_MAIN] == 4 and si[s.S_FWD_RUNNING] == 0:
                ready[tail & mask] = s.R_MAIN
                tail += 1
        elif what == s.R_MAIN:
            # The end: process after process, its queue, its background work, its deliveries.
            while True:
                process = si[s.S_MAIN_PROCESS]
                if process >= ci[s.I_ALL]:
                    si[s.S_MAIN] = 9
                    break
                state = si[s.S_MAIN]
                if state == 1:
                    si[s.S_MAIN] = 2
                    if process == consumer and si[s.S_COLLECTING] > 0:
                        si[s.S_TIMER_ON] = 0
                        touch_from[si[s.S_FORMED], 1] = si[s.S_COLLECTED]
                        si[s.S_FORMED] += 1
                        touch_from[si[s.S_FORMED], 0] = si[s.S_COLLECTED]
                        si[s.S_COLLECTING] = 0
                        while (
                            si[s.S_HANDED] < si[s.S_FORMED] and si[s.S_RUNNING] < ci[s.I_PARALLEL]
                        ):
                            ready[tail & mask] = si[s.S_HANDED] << 5 | s.R_BATCH
                            tail += 1
                            si[s.S_HANDED] += 1
                            si[s.S_RUNNING] += 1
                            cnt[s.C_BATCHES] += 1
                elif state == 2:
                    if process == consumer and (
                        si[s.S_RUNNING] > 0 or si[s.S_HANDED] < si[s.S_FORMED]
                    ):
                        break
                    si[s.S_MAIN] = 3
                elif state == 3:
                    if background[process] > 0:
                        break
                    si[s.S_MAIN] = 5
                    if process == consumer and ci[s.I_FORWARDS]:
                        si[s.S_MAIN] = 4
                        if si[s.S_FWD_RUNNING] + si[s.S_FWD_RESERVED] >= ci[s.I_FWD_PARALLEL]:
                            si[s.S_FWD_ASKED] = 1
                        else:
                            other = 0
                            while dels[other, s.DI_BUSY]:
                                other += 1
                            dels[other, s.DI_BUSY] = 1
                            dels[other, s.DI_HANDED] = 0
                            dels[other, s.DI_ROWS] = 0
                            si[s.S_FWD_RUNNING] += 1
                            ready[tail & mask] = other << 5 | s.R_FORWARD
                            tail += 1
                elif state == 4:
                    if si[s.S_FWD_RUNNING] > 0:
                        break
                    si[s.S_MAIN] = 5
                else:
                    si[s.S_MAIN_PROCESS] = process + 1
                    si[s.S_MAIN] = 1
