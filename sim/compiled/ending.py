"""The end of a run: process after process, its queue, its background work, its deliveries."""

from __future__ import annotations

from typing import Any

import sim.compiled.slots as s
from sim.compiled.batches import close_batch, is_busy
from sim.compiled.deliveries import begin_delivery
from sim.compiled.jit import part
from sim.compiled.outbox import milliseconds
from sim.compiled.state import State


@part
def end(a: State, now: Any) -> Any:
    """Go on with the end as far as nothing has to be waited for."""
    si, ci = a.si, a.ci
    si[s.S_STOP] = 1
    while True:
        process, state = si[s.S_MAIN_PROCESS], si[s.S_MAIN]
        is_consumer = process == ci[s.I_CONSUMER]
        if process >= ci[s.I_ALL]:
            si[s.S_MAIN] = 9
            return
        if state == 1:
            si[s.S_MAIN] = 2
            if is_consumer and si[s.S_COLLECTING] > 0:
                close_batch(a)
        elif state == 2:
            if is_consumer and is_busy(a):
                return
            si[s.S_MAIN] = 3
        elif state == 3:
            if a.background[process] > 0:
                return
            si[s.S_MAIN] = 5
            if is_consumer and ci[s.I_FORWARDS]:
                si[s.S_MAIN] = 4
                si[s.S_DRAINS], si[s.S_DRAINS_AT] = 1, milliseconds(now)
                begin_delivery(a)
        elif state == 4:
            if si[s.S_FWD_RUNNING] > 0:
                return
            si[s.S_MAIN] = 5
        else:
            si[s.S_MAIN_PROCESS] = process + 1
            si[s.S_MAIN] = 1
