"""The sets and deletes of a trace, which are no reads, and the TTLs of its accesses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.scenario.trace_formats import DELETE, READ


# Arrays have no single truth value: a generated __eq__ could only raise.
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Writes:
    """The sets and deletes of a trace in file order; every array has shape (m,).

    after: how many of the trace's reads stand before each; keys, types, endpoints and times as
    those of its reads; is_delete: what is no set; ttls: seconds, 0 where it is the cache type's.
    """

    after: NDArray[np.int64]
    keys: NDArray[np.uint32]
    is_delete: NDArray[np.bool_]
    ttls: NDArray[np.float64]
    times: NDArray[np.float64] | None = None
    types: NDArray[np.uint16] | None = None
    endpoints: NDArray[np.uint16] | None = None

    def __len__(self) -> int:
        return int(self.after.size)


def writes_of(
    operations: NDArray[np.uint8],
    *,
    keys: NDArray[np.uint32],
    ttls: NDArray[np.float64] | None,
    times: NDArray[np.float64] | None,
    types: NDArray[np.uint16] | None,
    endpoints: NDArray[np.uint16] | None,
) -> Writes | None:
    """Return the sets and deletes among all accesses; None if there are none."""
    chosen = np.flatnonzero(operations != READ)
    if not chosen.size:
        return None
    return Writes(
        after=np.cumsum(operations == READ)[chosen],
        keys=keys[chosen],
        is_delete=operations[chosen] == DELETE,
        ttls=np.zeros(chosen.size) if ttls is None else ttls[chosen],
        times=None if times is None else times[chosen],
        types=None if types is None else types[chosen],
        endpoints=None if endpoints is None else endpoints[chosen],
    )


def carried(keys: NDArray[np.uint32], ttls: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Return the TTL that holds at each access; None if no access has one.

    An access without a TTL has its key's last one; before the first one it has that, because a
    client that sets on a miss states the TTL with the set. A key that never has one stays at 0.
    """
    stated = ttls > 0
    if not stated.any():
        return None
    order = np.argsort(keys, kind="stable")
    grouped, has = keys[order], stated[order]
    number = np.arange(order.size)
    last = np.maximum.accumulate(np.where(has, number, -1))
    begins = np.concatenate(([True], grouped[1:] != grouped[:-1]))
    first_of_group = np.maximum.accumulate(np.where(begins, number, 0))
    following = np.minimum.accumulate(np.where(has, number, order.size)[::-1])[::-1]
    ends = np.concatenate((begins[1:], [True]))
    last_of_group = np.minimum.accumulate(np.where(ends, number, order.size)[::-1])[::-1]
    source = np.where(
        last >= first_of_group, last, np.where(following <= last_of_group, following, -1)
    )
    sorted_ttls = ttls[order]
    found = np.zeros(ttls.size)
    found[order] = np.where(source >= 0, sorted_ttls[source], 0.0)
    return found
