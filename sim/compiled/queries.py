"""A statement's way to the database and back, and what a load finds there."""

from __future__ import annotations

from typing import Any

import sim.compiled.slots as s
from sim.compiled.agenda import push
from sim.compiled.jit import leaf, part
from sim.compiled.journeys import journey_size
from sim.compiled.philox import at, sampled
from sim.compiled.servers import occupy, reserve, with_faults
from sim.compiled.state import Array, State


@leaf
def send(
    a: State, rows: Array, number: Any, process: Any, now: Any, purpose: Any, address: Any,
    executions: Array, more: Any, code: Any,
) -> Any:  # fmt: skip
    """Send a statement for *number* of *rows*; the event *code* is its arrival at the database.

    purpose: of the round trip's random number; the execution's is the next. executions: the table
    of execution times. more: seconds of execution on top.
    """
    sent = occupy(a, process, now, a.cf[s.F_L3_CPU])
    trip = sampled(a.t_trip, at(a.seed, a.stream | purpose, address))
    execution = sampled(executions, at(a.seed, a.stream | (purpose + 1), address)) + more
    if a.ci[s.I_FAULTS]:
        execution, _ = with_faults(a, 3.0, sent, execution, 1.0)
    timeout = a.cf[s.F_L3_TIMEOUT]
    rows[number, s.O_TRIP], rows[number, s.O_EXECUTION] = trip, execution
    rows[number, s.O_QUERY], rows[number, s.O_OUT] = now, sent + timeout
    when = sent + trip / 2
    if when > sent + timeout:
        when = sent + timeout
    push(a, when if when > now else now, number << 5 | code)


@leaf
def send_query(a: State, now: Any, slot: Any, named: Any, executions: Any, more: Any) -> Any:
    """Send a request's statement, whose random numbers stand at the slot *named*."""
    seconds = a.cf[s.F_L3_CPU]
    if seconds != 0.0:
        a.reqf[slot, s.RF_CPU] += seconds
    process = a.reqi[slot, s.RI_PROCESS]
    address = a.reqi[slot, s.RI_REQUEST] * a.ci[s.I_WIDTH] + named
    send(a, a.reqf, slot, process, now, s.P_TRIP, address, executions, more, s.E_DB_IN)


@leaf
def receive(a: State, rows: Array, number: Any, process: Any, now: Any, code: Any) -> Any:
    """Let a statement of *process* reach the database; return when its execution ends.

    The event *code* is its answer's arrival.
    """
    a.in_flight[process, 2] += 1
    done = reserve(a, now, rows[number, s.O_EXECUTION])
    back = done + rows[number, s.O_TRIP] / 2
    if back >= rows[number, s.O_OUT]:
        a.si[s.S_WHY], a.si[s.S_STOP] = s.WHY_DATABASE_LIMIT, 1
    push(a, back, number << 5 | code)
    return done


@part
def loaded_size(a: State, key: Any, kind: Any, user: Any, at_row: Any) -> Any:
    """Return the bytes of a loaded entry as the database has it now, -1 where Python must tell."""
    sized = a.tyi[kind, s.YI_SIZED]
    if sized == s.SIZED_JOURNEY:
        return a.kbase[key] + journey_size(a, user)
    size = a.ksize[key]
    if size < 0:
        a.si[s.S_STOP] = 1
        a.si[s.S_NEED_KIND] = 1 if sized == s.SIZED_FIXED else 2
        a.si[s.S_NEED_KEY], a.si[s.S_NEED_AT] = key, at_row
    return size
