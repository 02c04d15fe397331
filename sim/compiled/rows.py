"""The cache of query rows of every process, as `core.query.cache.QueryCache` keeps them."""

from __future__ import annotations

from typing import Any

import sim.compiled.slots as s
from sim.compiled.jit import part
from sim.compiled.memory import ABSENT, insert, remove, touch
from sim.compiled.state import Array, State


@part
def finds_rows(a: State, process: Any, key: Any, now: Any) -> Any:
    """Return whether a process has the rows behind *key*; they become the last used ones."""
    base = process * (a.ci[s.I_KEYS] + 1)
    expires = a.rows[base + key]["expires"]
    if expires > now:
        touch(a.rows, base, key, a.ci[s.I_KEYS])
        a.cnt[s.C_ROWS_HITS] += 1
        return True
    if expires > ABSENT:
        remove(a.rows, a.rows_held, process, base, key)
    return False


@part
def keep_rows(a: State, process: Any, key: Any, now: Any, size: Any, value: Any) -> Any:
    """Keep the rows behind *key*, of *size* bytes; a load of them comes to *value* bytes."""
    a.rows_value[process, key] = value
    put(
        a.rows, a.rows_held, process, key, a.ci[s.I_KEYS], now + a.cf[s.F_ROWS_TTL], size,
        a.ci[s.I_ROWS_CAP], a.ci[s.I_ROWS_BYTES],
    )  # fmt: skip


@part
def put(
    rows: Array, held: Array, process: Any, key: Any, end: Any, expires: Any, size: Any, most: Any,
    most_bytes: Any,
) -> Any:  # fmt: skip
    """Put the rows behind *key* in; as many others go as have no room any more.

    The bytes are counted with those that go then.
    """
    base = process * (end + 1)
    if rows[base + key]["expires"] > ABSENT:
        remove(rows, held, process, base, key)
    if size > most_bytes:
        return
    insert(rows, held, process, base, key, end, expires, size)
    while held[process, 0] > most or held[process, 1] > most_bytes:
        remove(rows, held, process, base, rows[base + end]["before"])
