"""Looks for a newer model in the background, at most one a process in `attribution.refresh`."""

from __future__ import annotations

from typing import Any

import sim.compiled.slots as s
from sim.compiled.agenda import end_background, make_ready
from sim.compiled.jit import part
from sim.compiled.queries import receive, send
from sim.compiled.sampling import profile, profile_failure
from sim.compiled.state import State


@part
def look_for_model(a: State, process: Any, now: Any, row: Any, is_batch: Any) -> Any:
    """Begin a look for a newer model if one is due; *row* is its request or batch."""
    if not now >= a.due[process]:
        return
    asks, si = a.asks, a.si
    a.due[process] = now + a.cf[s.F_REFRESH]
    ask = si[s.S_FREE_A]
    si[s.S_FREE_A] = asks[ask, s.AI_NEXT]
    si[s.S_USED_A] += 1
    asks[ask, s.AI_ROW] = row
    asks[ask, s.AI_IS_BATCH] = is_batch
    asks[ask, s.AI_PROCESS] = process
    a.background[process] += 1
    si[s.S_STOP] = 1
    make_ready(a, ask << 5 | s.R_ASK)


@part
def send_ask(a: State, now: Any, number: Any) -> Any:
    """Send a look to the database."""
    process, row = a.asks[number, s.AI_PROCESS], a.asks[number, s.AI_ROW]
    purpose, address = s.P_TRIP, row * a.ci[s.I_WIDTH] + s.STORE_SLOT
    if a.asks[number, s.AI_IS_BATCH]:
        row = row * a.ci[s.I_PROCESSES] + process
        purpose, address = s.P_BATCH_TRIP, row * s.BATCH_WIDTH + s.MODEL_SLOT
    send(a, a.askf, number, process, now, purpose, address, a.t_rx, 0.0, s.E_ASK_IN)


@part
def receive_ask(a: State, now: Any, number: Any) -> Any:
    """Let a look reach the database."""
    receive(a, a.askf, number, a.asks[number, s.AI_PROCESS], now, s.E_ASK_OUT)


@part
def end_ask(a: State, now: Any, number: Any) -> Any:
    """End a look, which finds nothing newer, or fails."""
    process = a.asks[number, s.AI_PROCESS]
    if a.askf[number, s.O_FAILED]:
        profile_failure(a, s.KIND_QUERY)
        a.cnt[s.C_L3_ERRORS] += 1
    else:
        profile(a, process, s.Q_NEWER, s.KIND_QUERY, now - a.askf[number, s.O_QUERY])
    a.asks[number, s.AI_NEXT] = a.si[s.S_FREE_A]
    a.si[s.S_FREE_A] = number
    a.si[s.S_USED_A] -= 1
    end_background(a, process)
