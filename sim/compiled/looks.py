"""Looks at the queues during a run, and whether one of them only grows."""

from __future__ import annotations

from typing import Any

import sim.compiled.slots as s
from sim.compiled.agenda import push
from sim.compiled.jit import part
from sim.compiled.state import State


@part
def look_around(a: State, row: Any, now: Any) -> Any:
    """Write to a row of *growth*: the time, the memory, what waits, and the work done so far."""
    ci, growth, servers, cpu_free, seen = a.ci, a.growth, a.servers, a.cpu_free, a.seen
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
        counted = a.in_flight[process, 1] * ci[s.I_IN_FLIGHT]
        for isolate in range(process * ci[s.I_PER], (process + 1) * ci[s.I_PER]):
            counted += a.held[isolate, 2]
        if a.cf[s.F_ROWS_TTL]:
            counted += a.rows_held[process, 2]
        buckets = 0
        for name in range(seen.shape[1]):
            for place in range(seen.shape[2]):
                buckets += int(seen[process, name, place])
        most = max(most, counted + buckets * ci[s.I_BUCKET])
    growth[row, 1] = most


@part
def look(a: State, now: Any) -> Any:
    """Look around for the loads and the growth of the run."""
    look_around(a, a.si[s.S_LOOKS], now)
    a.si[s.S_LOOKS] += 1


@part
def check(a: State, now: Any) -> Any:
    """End the run if a queue has only grown since the start; else check again later."""
    look_around(a, 2, now)
    arrived, every = a.si[s.S_NEXT], a.cf[s.F_LOOK_EVERY]
    while arrived < a.ci[s.I_N] and a.intended_ns[arrived] / 1e9 <= now:
        arrived += 1
    if _only_grows(a, arrived):
        a.si[s.S_WHY] = s.WHY_SATURATED
    elif now + every < a.cf[s.F_END]:
        push(a, now + every, s.E_CHECK)


@part
def _only_grows(a: State, arrived: Any) -> Any:
    ci, cf, growth, in_flight = a.ci, a.cf, a.growth, a.in_flight
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
