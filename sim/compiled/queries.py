"""A statement's way to the database and back, and what a load finds there."""

from __future__ import annotations

from typing import Any

import numpy as np

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
    rows[number, s.O_FAULTY] = 0.0
    if a.ci[s.I_FAULTS]:
        fate = s.P_L3_FATE if purpose == s.P_TRIP else s.P_BATCH_FATE
        u = at(a.seed, a.stream | fate, address)
        execution, failed = with_faults(a, 3.0, sent, execution, u)
        if failed or execution == np.inf:
            rows[number, s.O_FAULTY] = 1.0
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

    The event *code* is its answer's arrival, at its time limit at the latest. A statement takes
    effect, even one that is given up later, unless a fault lets it fail.
    """
    a.in_flight[process, 2] += 1
    execution, limit = rows[number, s.O_EXECUTION], rows[number, s.O_OUT]
    done = back = limit
    if execution != np.inf:  # operations on a dead database do not queue
        done = reserve(a, now, execution)
        back = done + rows[number, s.O_TRIP] / 2
    rows[number, s.O_FAILED] = s.FAILED if rows[number, s.O_FAULTY] else s.SUCCEEDED
    if back >= limit:
        back = limit
        rows[number, s.O_FAILED] = s.TIMED_OUT
    push(a, back, number << 5 | code)
    return done


@part
def rows_of(a: State, key: Any, kind: Any, user: Any) -> Any:
    """Return the bytes of the rows behind *key*, as the database has them now, and a cache them.

    Those of channels are told by Python with the size of their page.
    """
    size = a.krows[key]
    if a.tyi[kind, s.YI_SIZED] == s.SIZED_JOURNEY:
        events = a.users[user, s.U_COUNT_NEWEST]
        size += a.users[user, s.U_BYTES] + a.ci[s.I_ROWS_OF_EVENT] * events
    return size


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
