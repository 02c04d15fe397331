"""Puts of loaded values to L2: in the background, or awaited by a request."""

from __future__ import annotations

import math
from typing import Any

import sim.compiled.slots as s
from sim.compiled.agenda import end_background, make_ready, push
from sim.compiled.jit import part
from sim.compiled.philox import at, sampled
from sim.compiled.servers import occupy, with_faults
from sim.compiled.state import State
from sim.compiled.tiers import forget_l2

_MICROSECONDS = 4_294_967_295


@part
def new_put(a: State, key: Any, request: Any, slot: Any, of: Any, process: Any) -> Any:
    """Return a new put of *key*: for the request in flight *of* (-1: for none), in a process."""
    puts, si = a.puts, a.si
    put = si[s.S_FREE_P]
    si[s.S_FREE_P] = puts[put, s.PI_NEXT]
    si[s.S_USED_P] += 1
    puts[put, s.PI_KEY] = key
    puts[put, s.PI_REQUEST] = request
    puts[put, s.PI_SLOT] = slot
    puts[put, s.PI_OF] = of
    puts[put, s.PI_PROCESS] = process
    puts[put, s.PI_AWAITED] = 0
    return put


@part
def free_put(a: State, put: Any) -> Any:
    """Give the place of a put back."""
    a.puts[put, s.PI_NEXT] = a.si[s.S_FREE_P]
    a.si[s.S_FREE_P] = put
    a.si[s.S_USED_P] -= 1


@part
def seal(a: State, now: Any, put: Any, fresh: Any, load: Any, size: Any) -> Any:
    """Seal a loaded value: its times are whole milliseconds and microseconds, as in envelopes."""
    life = fresh + a.cf[s.F_BOUND] - now
    putf = a.putf
    putf[put, s.PF_LIFE] = math.ceil(life) if a.ci[s.I_EVENTUAL] else life
    putf[put, s.PF_FRESH] = int(fresh * 1000) / 1000
    took = int(load * 1e6)
    if took > _MICROSECONDS:
        took = _MICROSECONDS
    putf[put, s.PF_LOAD] = took / 1e6
    a.puts[put, s.PI_SIZE] = size


@part
def send_put(a: State, now: Any, put: Any) -> Any:
    """Send a put; return whether it goes, as it does unless an open breaker keeps it back."""
    puts, ci, cf = a.puts, a.ci, a.cf
    process = puts[put, s.PI_PROCESS]
    if a.breaker[process, 2] != 0.0:
        a.cnt[s.C_SKIPPED] += 1
        return False
    seconds = cf[s.F_L2_CPU]
    sent = occupy(a, process, now, seconds)
    of = puts[put, s.PI_OF]
    if of >= 0 and a.reqi[of, s.RI_REQUEST] == puts[put, s.PI_REQUEST]:
        a.reqf[of, s.RF_CPU] += seconds
    place = puts[put, s.PI_REQUEST] * ci[s.I_WIDTH] + puts[put, s.PI_SLOT]
    latency = sampled(a.t_write, at(a.seed, a.stream | s.P_L2_WRITE, place))
    a.cnt[s.C_L2_OPERATIONS] += 1
    failed = False
    if ci[s.I_FAULTS]:
        u = at(a.seed, a.stream | s.P_WRITE_FATE, place)
        latency, failed = with_faults(a, 2.0, sent, latency, u)
    if latency > cf[s.F_L2_TIMEOUT]:
        failed = True
        latency = cf[s.F_L2_TIMEOUT]
    a.putf[put, s.PF_SENT] = sent
    puts[put, s.PI_FAILED] = failed
    when = sent + latency
    push(a, when if when > now else now, put << 5 | s.E_PUT)
    return True


@part
def begin_put(a: State, now: Any, put: Any) -> Any:
    """Begin a put that was left to the background."""
    if not send_put(a, now, put):
        end_background(a, a.puts[put, s.PI_PROCESS])
        free_put(a, put)


@part
def begin_drop(a: State, now: Any, put: Any) -> Any:
    """Delete from L2, in the background, what is not worth a put."""
    process = a.puts[put, s.PI_PROCESS]
    forget_l2(a, process, a.puts[put, s.PI_KEY], now)
    end_background(a, process)
    free_put(a, put)


@part
def end_put(a: State, now: Any, put: Any) -> Any:
    """Let a put reach the store, and go on with what waits for it."""
    _store(a, now, put)
    if a.puts[put, s.PI_AWAITED]:
        make_ready(a, a.puts[put, s.PI_OF] << 5 | s.R_REQUEST)
    else:
        end_background(a, a.puts[put, s.PI_PROCESS])
    free_put(a, put)


@part
def _store(a: State, now: Any, put: Any) -> Any:
    putf, puts, ci, central = a.putf, a.puts, a.ci, a.central
    key = puts[put, s.PI_KEY]
    life, fresh, load = putf[put, s.PF_LIFE], putf[put, s.PF_FRESH], putf[put, s.PF_LOAD]
    if puts[put, s.PI_FAILED]:
        a.cnt[s.C_L2_ERRORS] += 1
        a.cnt[s.C_WRITE_ERRORS] += 1
        return
    if not ci[s.I_EVENTUAL]:
        took = now - putf[put, s.PF_SENT]
        if life > took:
            central[key, 0] = now + (life - took)
            central[key, 1] = fresh
            central[key, 2] = load
            central[key, 3] = puts[put, s.PI_SIZE]
        else:
            central[key, 0] = -1.0
        return
    if ci[s.I_CLAMP] and life < 60.0:
        life = 60.0
    if math.floor(life) < 60.0 or now - a.written[key] < 1.0:
        a.cnt[s.C_WRITE_ERRORS] += 1
        return
    end = float(math.floor(now) + math.floor(life))
    a.written[key] = now
    central[key, 0] = now + (end - now)
    central[key, 1] = fresh
    central[key, 2] = load
    central[key, 3] = puts[put, s.PI_SIZE]
    a.ends[key] = end
    edge, pop = a.edge, puts[put, s.PI_PROCESS] // ci[s.I_PER_POP]
    edge[pop, key, 0] = now + a.cf[s.F_CACHE_TTL]
    edge[pop, key, 1] = end
    edge[pop, key, 2] = fresh
    edge[pop, key, 3] = load
    a.edge_sizes[pop, key] = puts[put, s.PI_SIZE]
