"""The CPU of every process and the database's servers, first come first served, and faults."""

from __future__ import annotations

from typing import Any

import numpy as np

import sim.compiled.slots as s
from sim.compiled.jit import leaf, part
from sim.compiled.philox import at, sampled
from sim.compiled.state import State


@leaf
def occupy(a: State, process: Any, now: Any, seconds: Any) -> Any:
    """Occupy a process's CPU; return when the work ends. Work of 0 s does not queue."""
    if seconds == 0.0:
        return now
    cpu_free = a.cpu_free
    cpu_free[process, 1] += seconds
    free = cpu_free[process, 0]
    if free < now:
        free = now
    free += seconds
    cpu_free[process, 0] = free
    return free


@leaf
def reserve(a: State, now: Any, seconds: Any) -> Any:
    """Take the database's first free server; return when the execution ends."""
    if seconds == 0.0:
        return now
    servers = a.servers
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


@part
def with_faults(a: State, tier: Any, sent: Any, seconds: Any, u: Any) -> Any:
    """Return how long an operation takes that is sent at *sent*, and whether it fails."""
    failed, faults = False, a.faults
    for which in range(a.ci[s.I_FAULTS]):
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


@leaf
def allows(a: State, process: Any, now: Any) -> Any:
    """Return whether the breaker lets a read of L2 through: in a row, retry at, is open."""
    breaker = a.breaker
    if breaker[process, 2] == 0.0:
        return True
    if now < breaker[process, 1]:
        return False
    breaker[process, 1] = now + a.cf[s.F_OPEN_FOR]
    return True


@part
def send_read(a: State, now: Any, slot: Any, process: Any) -> Any:
    """Send the read of L2 of the request at *slot*; return when it ends, and whether it fails."""
    seconds = a.cf[s.F_L2_CPU]
    sent = occupy(a, process, now, seconds)
    if seconds != 0.0:
        a.reqf[slot, s.RF_CPU] += seconds
    address = a.reqi[slot, s.RI_REQUEST] * a.ci[s.I_WIDTH] + a.reqi[slot, s.RI_SLOT]
    u = at(a.seed, a.stream | s.P_L2_READ, address)
    if a.hot[process, a.reqi[slot, s.RI_KEY]] <= sent:
        latency = sampled(a.t_cold, u)
    else:
        latency = sampled(a.t_read, u)
    a.cnt[s.C_L2_OPERATIONS] += 1
    failed = False
    if a.ci[s.I_FAULTS]:
        u = at(a.seed, a.stream | s.P_READ_FATE, address)
        latency, failed = with_faults(a, 2.0, sent, latency, u)
    if latency > a.cf[s.F_L2_TIMEOUT]:
        failed = True
        latency = a.cf[s.F_L2_TIMEOUT]
    when = sent + latency
    return when if when > now else now, failed


@part
def count_failure(a: State, process: Any, now: Any) -> Any:
    """Let the breaker count a failed read of L2; enough in a row open it."""
    breaker, most = a.breaker, a.ci[s.I_BREAKER]
    breaker[process, 0] += 1.0
    if most and breaker[process, 0] >= most:
        if breaker[process, 2] == 0.0:
            a.cnt[s.C_OPENINGS] += 1
            breaker[process, 2] = 1.0
        breaker[process, 1] = now + a.cf[s.F_OPEN_FOR]
