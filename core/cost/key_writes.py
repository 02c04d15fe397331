"""The most writes of one key of the key-value store within a second, from a run's requests."""

from __future__ import annotations

import numpy as np

from core.endpoints import EndpointTable
from core.metrics.record import Requests
from core.wire import MISS, NEGATIVE

_SECOND = 1.0


def most_key_writes(
    requests: Requests, *, after: float, endpoints: EndpointTable, sites: int
) -> int:
    """Return the most writes of one key within a second, of requests intended at *after* or later.

    A read that misses writes its entry as its request ends; requests of other isolates that miss
    the same key meanwhile write it, too.
    """
    rows, slots = _missed(requests)
    if not rows.size:
        return 0
    times, ends = requests.intended[rows], requests.latency[rows]
    is_judged = times >= after
    ends[~np.isfinite(ends)] = 0.0
    times += ends
    codes, subjects = requests.endpoint[rows], requests.subject[rows]
    types = list(endpoints.cache_types)
    most = 0
    kinds = np.full(rows.size, -1, dtype=np.int16)
    numbers = np.zeros(rows.size, dtype=np.uint32)
    for code, endpoint in enumerate(endpoints):
        for slot, read in enumerate(endpoint.reads):
            chosen = is_judged & (codes == code) & (slots == slot)
            kinds[chosen] = types.index(read.cache_type)
            if read.key == "subject":
                numbers[chosen] = subjects[chosen]
            elif read.key == "site":
                numbers[chosen] = subjects[chosen] % sites
    for kind in np.unique(kinds[kinds >= 0]).tolist():
        of_kind = kinds == kind
        most = max(most, _most_within(numbers[of_kind], times[of_kind]))
    return most


def _missed(requests: Requests) -> tuple[np.ndarray, np.ndarray]:
    """Return row and slot of every read that missed, in their order."""
    found, first = [], 0
    for part in requests.blocks():
        rows, slots = np.nonzero((part.reads & (NEGATIVE - 1)) == MISS)
        found.append(((rows + first).astype(np.int32), slots.astype(np.uint8)))
        first += len(part.intended)
    if not found:
        return np.empty(0, dtype=np.int32), np.empty(0, dtype=np.uint8)
    all_rows, all_slots = zip(*found, strict=True)
    return np.concatenate(all_rows), np.concatenate(all_slots)


def _most_within(keys: np.ndarray, times: np.ndarray) -> int:
    """Return the most of *times* of one key that lie within a second."""
    order = np.lexsort((times, keys))
    keys, times = keys[order], times[order]
    # Times of one key, moved so far from those of others that no second holds both.
    span = float(times[-1] if times.size == 1 else times.max()) + 2 * _SECOND
    rank = np.concatenate(([0], np.cumsum(keys[1:] != keys[:-1])))
    places = rank * span + times
    first = np.searchsorted(places, places - _SECOND, side="right")
    return int((np.arange(1, places.size + 1) - first).max())
