"""The loop of the compiled engine: what the shipped application does to a run's requests, in the
order in which the reference does it.

Equal to the reference request by request: timed events go by (time, sequence), arrivals come last
at their instant, what is ready runs before the next timed event, and every sum is formed in the
reference's order. The engine returns whenever it needs room or a size that only Python knows, and
goes on from there.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import sim.compiled.slots as s
from sim.compiled.jit import jit
from sim.compiled.memory import keep
from sim.compiled.philox import at, bit_length, sampled

HOT_KEYS = 200_000
"""As `core.emulation.kv` bounds them."""

_MICROSECONDS = 4_294_967_295


@jit
def bucket(seconds: Any) -> Any:
    """Return the whole nanoseconds of a sample and its bucket, as `LatencyHistogram` has them."""
    value: Any = np.int64(math.floor(seconds * 1e9 + 0.5))
    if value < 0:
        value = 0
    if value < 512:
        return value, value
    shift = bit_length(value) - 9
    return value, (shift << 8) + (value >> shift)


@jit
def sample(
    cf: Any, ci: Any, parts: Any, hist: Any, sums: Any, stage: Any, intended: Any, seconds: Any
) -> Any:
    """Count a sample of a request in the whole run, and in the parts that it falls into."""
    if intended < cf[s.F_WARM]:
        return
    value, place = bucket(seconds)
    hist[0, stage, place] += 1
    sums[0, stage, 0] += value
    if value > sums[0, stage, 1]:
        sums[0, stage, 1] = value
    for part in range(ci[s.I_PARTS]):
        if parts[part, 0] <= intended < parts[part, 1]:
            hist[part + 1, stage, place] += 1
            sums[part + 1, stage, 0] += value
            if value > sums[part + 1, stage, 1]:
                sums[part + 1, stage, 1] = value


@jit
def profile(
    si: Any, seen: Any, phist: Any, psums: Any, process: Any, name: Any, kind: Any, seconds: Any
) -> Any:
    """Count a sample of the profiler; its buckets are remembered by process and name."""
    value, place = bucket(seconds)
    seen[process, name, place] = 1
    if value > psums[kind, 1]:
        psums[kind, 1] = value
    if si[s.S_SNAPPED]:
        phist[kind, place] += 1
        psums[kind, 0] += value


@jit
def occupy(cpu_free: Any, process: Any, now: Any, seconds: Any) -> Any:
    """Occupy a process's CPU; return when the work ends. Work of 0 s does not queue."""
    if seconds == 0.0:
        return now
    cpu_free[process, 1] += seconds
    free = cpu_free[process, 0]
    if free < now:
        free = now
    free += seconds
    cpu_free[process, 0] = free
    return free


@jit
def reserve(servers: Any, now: Any, seconds: Any) -> Any:
    """Take the database's first free server; return when the execution ends."""
    if seconds == 0.0:
        return now
    last = servers.size - 1  # behind the servers stands their work
    servers[last] += seconds
    best = 0
    for server in range(1, last):
        if servers[server] < servers[best]:
            best = server
    free = servers[best]
    if free < now:
        free = now
    free += seconds
    servers[best] = free
    return free


@jit
def with_faults(ci: Any, faults: Any, tier: Any, sent: Any, seconds: Any, u: Any) -> Any:
    """Return how long an operation takes that is sent at *sent*, and whether it fails."""
    failed = False
    for which in range(ci[s.I_FAULTS]):
        if faults[which, s.X_TIER] != tier:
            continue
        if faults[which, s.X_FROM] <= sent < faults[which, s.X_UNTIL]:
            kind = int(faults[which, s.X_KIND])
            if kind == s.FAULT_SLOW:
                if seconds != np.inf:
                    seconds = seconds * faults[which, s.X_VALUE]
            elif kind == s.FAULT_ERROR:
                failed = failed or u < faults[which, s.X_VALUE]
            else:
                seconds = np.inf
    return seconds, failed


@jit
def allows(breaker: Any, process: Any, now: Any, cf: Any) -> Any:
    """Return whether the breaker lets a read of L2 through: in a row, retry at, is open."""
    if breaker[process, 2] == 0.0:
        return True
    if now < breaker[process, 1]:
        return False
    breaker[process, 1] = now + cf[s.F_OPEN_FOR]
    return True


@jit
def heat(hot: Any, hots: Any, process: Any, key: Any, until: Any, now: Any) -> Any:
    """Make *key* hot in a process, whose table is bounded as the reference's is."""
    if hots[process] >= HOT_KEYS:
        for other in range(hot.shape[1]):
            if hot[process, other] >= 0.0 and not hot[process, other] > now:
                hot[process, other] = -1.0
                hots[process] -= 1
        if hots[process] >= HOT_KEYS:
            for other in range(hot.shape[1]):
                hot[process, other] = -1.0
            hots[process] = 0
    if hot[process, key] < 0.0:
        hots[process] += 1
    hot[process, key] = until


@jit
def promote(
    cf: Any, ci: Any, cnt: Any, places: Any, held: Any, lives: Any, isolate: Any, key: Any,
    now: Any, l1_until: Any, fresh: Any, load: Any, size: Any,
) -> Any:  # fmt: skip
    """Put an entry into L1 until *l1_until*, within its life."""
    if ci[s.I_REQUEST_SCOPE]:
        return
    if fresh < l1_until:
        l1_until = fresh
    expires = l1_until
    end = ci[s.I_KEYS]
    base = isolate * (end + 1)
    if ci[s.I_KEEPS]:
        early = fresh - cf[s.F_EARLY] * load
        if early < expires:
            expires = early
        lives[base + key, 0] = fresh + cf[s.F_BOUND]
        lives[base + key, 1] = fresh
        lives[base + key, 2] = l1_until
        lives[base + key, 3] = load
    cnt[s.C_EVICTED] += keep(
        places, held, isolate, base, key, end, expires, size, ci[s.I_CAP], ci[s.I_CAP_BYTES]
    )


@jit
def renews_early(
    cf: Any, seed: Any, stream: Any, place: Any, now: Any, fresh: Any, load: Any
) -> Any:
    """Return whether a read renews a fresh value."""
    if now + cf[s.F_EARLY] * load < fresh:
        return False
    u = at(seed, stream | s.P_EARLY, place)
    return now - cf[s.F_BETA] * load * math.log(1 - u) >= fresh


@jit
def answer(
    places: Any,
    base: Any,
    key: Any,
    flights: Any,
    si: Any,
    flight: Any,
    requests: Any,
    ready: Any,
    tail: Any,
) -> Any:
    """End a flight and make those that wait for it ready, in their order; return the new tail."""
    if flight < 0:
        return tail
    if places[base + key]["flight"] == flight:
        places[base + key]["flight"] = -1
    mask = ready.size - 1
    follower = flights[flight, 0]
    while follower >= 0:
        ready[tail & mask] = follower << 5 | s.R_REQUEST
        tail += 1
        follower = requests[follower, s.RI_NEXT]
    flights[flight, 2] = si[s.S_FREE_F]
    si[s.S_FREE_F] = flight
    si[s.S_USED_F] -= 1
    return tail


@jit
def begin_flight(places: Any, base: Any, key: Any, flights: Any, si: Any) -> Any:
    """Begin a load that reads of *key* join from now on; return its number."""
    flight = si[s.S_FREE_F]
    si[s.S_FREE_F] = flights[flight, 2]
    si[s.S_USED_F] += 1
    flights[flight, 0] = -1
    flights[flight, 1] = -1
    places[base + key]["flight"] = flight
    return flight


@jit
def take_put(si: Any, puts: Any) -> Any:
    """Return a free place for a put."""
    put = si[s.S_FREE_P]
    si[s.S_FREE_P] = puts[put, s.PI_NEXT]
    si[s.S_USED_P] += 1
    return put


@jit
def free_put(si: Any, puts: Any, put: Any) -> Any:
    """Give a place for a put back."""
    puts[put, s.PI_NEXT] = si[s.S_FREE_P]
    si[s.S_FREE_P] = put
    si[s.S_USED_P] -= 1


@jit
def forget_l2(
    ci: Any, cf: Any, central: Any, edge: Any, hot: Any, hots: Any, process: Any, key: Any, now: Any
) -> Any:
    """Delete *key* from L2 at once."""
    if hot[process, key] >= 0.0:
        hot[process, key] = -1.0
        hots[process] -= 1
    central[key, 0] = -1.0
    if ci[s.I_EVENTUAL]:
        pop_ = process // ci[s.I_PER_POP]
        edge[pop_, key, 0] = now + cf[s.F_CACHE_TTL]
        edge[pop_, key, 1] = 0.0


@jit
def start_put(
    cf: Any, ci: Any, si: Any, cnt: Any, seed: Any, stream: Any, faults: Any, breaker: Any,
    cpu_free: Any, t_write: Any, now: Any, put: Any, putf: Any, puts: Any, reqf: Any, reqi: Any,
) -> Any:  # fmt: skip
    """Send a put; return when it lands, or -1.0 if an open breaker keeps it back."""
    process = puts[put, s.PI_PROCESS]
    if breaker[process, 2] != 0.0:
        cnt[s.C_SKIPPED] += 1
        return -1.0
    seconds = cf[s.F_L2_CPU]
    sent = occupy(cpu_free, process, now, seconds)
    of = puts[put, s.PI_OF]
    if of >= 0 and reqi[of, s.RI_REQUEST] == puts[put, s.PI_REQUEST]:
        reqf[of, s.RF_CPU] += seconds
    place = puts[put, s.PI_REQUEST] * ci[s.I_WIDTH] + puts[put, s.PI_SLOT]
    latency = sampled(t_write, at(seed, stream | s.P_L2_WRITE, place))
    cnt[s.C_L2_OPERATIONS] += 1
    failed = False
    if ci[s.I_FAULTS]:
        u = at(seed, stream | s.P_WRITE_FATE, place)
        latency, failed = with_faults(ci, faults, 2.0, sent, latency, u)
    if latency > cf[s.F_L2_TIMEOUT]:
        failed = True
        latency = cf[s.F_L2_TIMEOUT]
    putf[put, s.PF_SENT] = sent
    puts[put, s.PI_FAILED] = failed
    when = sent + latency
    return when if when > now else now


@jit
def land_put(
    cf: Any, ci: Any, cnt: Any, central: Any, edge: Any, sizes: Any, edge_sizes: Any,
    written: Any, now: Any, put: Any, putf: Any, puts: Any,
) -> Any:  # fmt: skip
    """Let a put reach the store."""
    key = puts[put, s.PI_KEY]
    life, fresh, load = putf[put, s.PF_LIFE], putf[put, s.PF_FRESH], putf[put, s.PF_LOAD]
    if puts[put, s.PI_FAILED]:
        cnt[s.C_L2_ERRORS] += 1
        cnt[s.C_WRITE_ERRORS] += 1
        return
    if not ci[s.I_EVENTUAL]:
        took = now - putf[put, s.PF_SENT]
        if life > took:
            central[key, 0] = now + (life - took)
            central[key, 1] = fresh
            central[key, 2] = load
            sizes[key] = puts[put, s.PI_SIZE]
        else:
            central[key, 0] = -1.0
        return
    if ci[s.I_CLAMP] and life < 60.0:
        life = 60.0
    if math.floor(life) < 60.0 or now - written[key] < 1.0:
        cnt[s.C_WRITE_ERRORS] += 1
        return
    end = float(math.floor(now) + math.floor(life))
    written[key] = now
    central[key, 0] = now + (end - now)
    central[key, 1] = fresh
    central[key, 2] = load
    central[key, 3] = end
    sizes[key] = puts[put, s.PI_SIZE]
    pop_ = puts[put, s.PI_PROCESS] // ci[s.I_PER_POP]
    edge[pop_, key, 0] = now + cf[s.F_CACHE_TTL]
    edge[pop_, key, 1] = end
    edge[pop_, key, 2] = fresh
    edge[pop_, key, 3] = load
    edge_sizes[pop_, key] = puts[put, s.PI_SIZE]


@jit
def look_up(
    cf: Any, ci: Any, central: Any, edge: Any, sizes: Any, edge_sizes: Any, process: Any, key: Any,
    now: Any,
) -> Any:  # fmt: skip
    """Return whether L2 has *key* as the process sees it, its end, its load's time, its size."""
    if not ci[s.I_EVENTUAL]:
        if central[key, 0] > now:
            return True, central[key, 1], central[key, 2], sizes[key]
        return False, 0.0, 0.0, 0
    pop_ = process // ci[s.I_PER_POP]
    if not edge[pop_, key, 0] > now:
        edge[pop_, key, 0] = now + cf[s.F_CACHE_TTL]
        if central[key, 0] > now:
            edge[pop_, key, 1] = central[key, 3]
            edge[pop_, key, 2] = central[key, 1]
            edge[pop_, key, 3] = central[key, 2]
            edge_sizes[pop_, key] = sizes[key]
        else:
            edge[pop_, key, 1] = 0.0
    if edge[pop_, key, 1] > now:
        return True, edge[pop_, key, 2], edge[pop_, key, 3], edge_sizes[pop_, key]
    return False, 0.0, 0.0, 0


@jit
def lifetime(cf: Any, ci: Any, seed: Any, stream: Any, place: Any, ttl: Any) -> Any:
    """Return the TTL of a loaded value, its jitter drawn."""
    if cf[s.F_JITTER] != 0.0:
        ttl *= 1 - cf[s.F_JITTER] * at(seed, stream | s.P_JITTER, place)
    return ttl


@jit
def fill_put(
    cf: Any, ci: Any, now: Any, put: Any, putf: Any, puts: Any, fresh: Any, load: Any, size: Any
) -> Any:
    """Seal a loaded value: its times are whole milliseconds and microseconds, as in envelopes."""
    life = fresh + cf[s.F_BOUND] - now
    putf[put, s.PF_LIFE] = math.ceil(life) if ci[s.I_EVENTUAL] else life
    putf[put, s.PF_FRESH] = int(fresh * 1000) / 1000
    took = int(load * 1e6)
    if took > _MICROSECONDS:
        took = _MICROSECONDS
    putf[put, s.PF_LOAD] = took / 1e6
    puts[put, s.PI_SIZE] = size


@jit
def look_around(
    ci: Any, growth: Any, row: Any, now: Any, servers: Any, cpu_free: Any, held: Any, seen: Any,
    in_flight: Any,
) -> Any:  # fmt: skip
    """Write to a row of *growth*: the time, the memory, what waits, and the work done so far."""
    processes, count = cpu_free.shape[0], servers.size - 1
    backlog = 0.0
    for server in range(count):
        backlog += max(0.0, servers[server] - now)
    growth[row, 0] = now
    growth[row, 2] = backlog / count
    growth[row, 3 + processes] = servers[count] / count
    for process in range(processes):
        growth[row, 3 + process] = max(0.0, cpu_free[process, 0] - now)
        growth[row, 4 + processes + process] = cpu_free[process, 1]
    if row == 2:  # only for the memory's growth
        return
    most = 0
    for process in range(ci[s.I_PROCESSES]):
        counted = in_flight[process, 1] * ci[s.I_IN_FLIGHT]
        for isolate in range(process * ci[s.I_PER], (process + 1) * ci[s.I_PER]):
            counted += held[isolate, 2]
        buckets = 0
        for name in range(seen.shape[1]):
            for place in range(seen.shape[2]):
                buckets += seen[process, name, place]
        most = max(most, counted + buckets * ci[s.I_BUCKET])
    growth[row, 1] = most


@jit
def only_grows(ci: Any, cf: Any, growth: Any, in_flight: Any, arrived: Any) -> Any:
    """Return whether a queue of the last look has only grown since the start."""
    processes = in_flight.shape[0]
    now = growth[2, 0]
    least = max(cf[s.F_LEAST_WAIT], cf[s.F_LEAST_GROWTH] * now)
    operations = 0
    for process in range(processes):
        operations += in_flight[process, 2]
    own = arrived // ci[s.I_PROCESSES]
    for which in range(processes + 1):
        number = operations if which == 0 else own + in_flight[which - 1, 2]
        waiting, work = growth[2, 2 + which], growth[2, 3 + processes + which]
        if waiting >= least and waiting * number >= ci[s.I_LEAST_JOBS] * work:
            return True
    return False
