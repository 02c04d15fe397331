"""The outbox: rows that wait for their delivery, by when they are due, then by their ids."""

from __future__ import annotations

from typing import Any

import sim.compiled.slots as s
from sim.compiled.jit import part
from sim.compiled.journeys import text_order
from sim.compiled.state import State


@part
def milliseconds(now: Any) -> Any:
    """Return *now* as the clock's whole milliseconds."""
    return int(now * 1000)


@part
def put_row(a: State, place: Any, due: Any, since: Any, attempts: Any) -> Any:
    """Put the conversion at *place* in, due and enqueued at these milliseconds."""
    rows, key = a.outbox, text_order(a.converted[place])
    at = a.si[s.S_OUT_COUNT]
    a.si[s.S_OUT_COUNT] = at + 1
    while at > 0:
        above = (at - 1) >> 1
        if rows[above, s.OB_DUE] < due or (
            rows[above, s.OB_DUE] == due and rows[above, s.OB_KEY] < key
        ):
            break
        for column in range(s.OB_COUNT):
            rows[at, column] = rows[above, column]
        at = above
    rows[at, s.OB_PLACE], rows[at, s.OB_DUE], rows[at, s.OB_KEY] = place, due, key
    rows[at, s.OB_SINCE], rows[at, s.OB_ATTEMPTS] = since, attempts


@part
def drop_row(a: State) -> Any:
    """Take the first row away; it is to be read before."""
    rows = a.outbox
    count = a.si[s.S_OUT_COUNT] - 1
    a.si[s.S_OUT_COUNT] = count
    due, key = rows[count, s.OB_DUE], rows[count, s.OB_KEY]
    at = 0
    while True:
        below = 2 * at + 1
        if below >= count:
            break
        if below + 1 < count and _is_before(a, below + 1, below):
            below += 1
        if due < rows[below, s.OB_DUE] or (
            due == rows[below, s.OB_DUE] and key < rows[below, s.OB_KEY]
        ):
            break
        for column in range(s.OB_COUNT):
            rows[at, column] = rows[below, column]
        at = below
    for column in range(s.OB_COUNT):
        rows[at, column] = rows[count, column]


@part
def _is_before(a: State, one: Any, other: Any) -> Any:
    rows = a.outbox
    if rows[one, s.OB_DUE] != rows[other, s.OB_DUE]:
        return rows[one, s.OB_DUE] < rows[other, s.OB_DUE]
    return rows[one, s.OB_KEY] < rows[other, s.OB_KEY]
