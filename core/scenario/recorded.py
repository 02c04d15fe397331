"""What a recorded trace does to the caches beside its reads: sets, deletes, TTLs of accesses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.scenario.scenario import Scenario
from core.scenario.trace import Trace
from core.texts import count_of


# Arrays have no single truth value: a generated __eq__ could only raise.
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Effects:
    """The writes beside some reads, in the order of the trace, and the reads' TTLs.

    ttls: seconds of the entry that each read would fill, 0 where it is the cache type's; None:
    all are. Of each write: how many of the reads stand before it (after), when it happened in
    seconds of the run, what it is about as in a Workload, whether it deletes, and its TTL.
    """

    ttls: NDArray[np.float64] | None
    after: NDArray[np.int64]
    seconds: NDArray[np.float64]
    endpoint: NDArray[np.uint8]
    subject: NDArray[np.uint32]
    is_delete: NDArray[np.bool_]
    write_ttls: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recorded:
    """The effects of a whole trace.

    unread: writes of keys that no read asks for; uncached: those about endpoints that read no
    cache by key.
    """

    effects: Effects | None
    unread: int = 0
    uncached: int = 0

    def part(self, start: int, stop: int) -> Effects | None:
        """Return the effects beside the reads from *start* to *stop*; None if there are none.

        A write stands beside the read before it; those before the first read belong to it.
        """
        if (whole := self.effects) is None:
            return None
        first = start if start == 0 else start + 1
        chosen = (whole.after >= first) & (whole.after <= stop)
        ttls = None if whole.ttls is None else whole.ttls[start:stop]
        if ttls is not None and not ttls.any():
            ttls = None
        if ttls is None and not chosen.any():
            return None
        return Effects(
            ttls=ttls,
            after=whole.after[chosen] - start,
            seconds=whole.seconds[chosen],
            endpoint=whole.endpoint[chosen],
            subject=whole.subject[chosen],
            is_delete=whole.is_delete[chosen],
            write_ttls=whole.write_ttls[chosen],
        )

    def notes(self, start: int, stop: int) -> Sequence[str]:
        """Return what a reader has to know of the effects beside the reads of a run."""
        found = []
        if self.unread:
            found.append(
                f"{count_of(self.unread, 'write')} of the trace left out: no read asks for the key."
            )
        if self.uncached:
            found.append(
                f"{count_of(self.uncached, 'write')} of the trace left out: about endpoints "
                "that read no "
                "cache by key."
            )
        if (part := self.part(start, stop)) is None:
            return found
        if count := part.after.size:
            deletes = int(np.count_nonzero(part.is_delete))
            found.append(
                f"{count_of(count - deletes, 'set')} and {count_of(deletes, 'delete')} of the "
                "trace are "
                "no requests: a simulation applies them to the caches, a load leaves them out."
            )
        if part.ttls is not None:
            found.append(
                f"{count_of(int(np.count_nonzero(part.ttls)), 'read has', 'reads have')} TTLs "
                "of the trace, in a simulation in "
                "place of their cache type's."
            )
        return found


def recorded_effects(
    scenario: Scenario,
    trace: Trace,
    endpoint: NDArray[np.uint8],
    subject: NDArray[np.uint32],
    seconds: NDArray[np.float64],
    *,
    written: NDArray[np.uint8] | None,
) -> Recorded:
    """Return what *trace* does to the caches beside its reads.

    endpoint, subject and seconds: of the reads that the run knows, from the trace's first one on;
    written: the endpoint of each of the trace's writes.
    """
    writes, count = trace.writes, subject.size
    is_cached = np.array([bool(each.primary) for each in scenario.endpoints])
    ttls = None if trace.ttls is None else np.where(is_cached[endpoint], trace.ttls[:count], 0.0)
    if not scenario.trace.writes or (writes is None and ttls is None):
        return Recorded(effects=None)
    if writes is None or written is None:
        nothing = np.zeros(0, np.int64)
        return Recorded(
            effects=Effects(
                ttls=ttls, after=nothing, seconds=np.zeros(0), endpoint=nothing.astype(np.uint8),
                subject=nothing.astype(np.uint32), is_delete=nothing.astype(np.bool_),
                write_ttls=np.zeros(0),
            )
        )  # fmt: skip
    inside = writes.after <= count
    number = np.full(writes.keys.size, -1, np.int64)
    for name in ("user", "conversion", *scenario.subjects):
        members = [code for code, e in enumerate(scenario.endpoints) if e.subject == name]
        of_key = np.full(trace.key_count, -1, np.int64)
        read = np.isin(endpoint, members)
        of_key[trace.keys[:count][read]] = subject[read]
        chosen = np.isin(written, members)
        number[chosen] = of_key[writes.keys[chosen]]
    read_at_all = inside & (number >= 0)
    known = read_at_all & is_cached[written]
    after = writes.after[known]
    at = seconds[np.maximum(after, 1) - 1] if count else np.zeros(after.size)
    if writes.times is not None and trace.times is not None and count:
        # Beside the read before it, by as much as the recording has, at the run's speed.
        since = writes.times[known] - trace.times[np.maximum(after, 1) - 1]
        at = at + np.where(after > 0, since, 0.0) / scenario.trace.speed
    return Recorded(
        unread=int(np.count_nonzero(inside & (number < 0))),
        uncached=int(np.count_nonzero(read_at_all & ~known)),
        effects=Effects(
            ttls=ttls,
            after=after,
            seconds=at,
            endpoint=written[known],
            subject=number[known].astype(np.uint32),
            is_delete=writes.is_delete[known],
            write_ttls=writes.ttls[known],
        ),
    )
