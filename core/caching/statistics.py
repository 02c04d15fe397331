"""The counts of a tiered cache: plain integers, so that a hit allocates nothing."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from core.wire import NEGATIVE, READ_OUTCOMES

COLUMNS = (*READ_OUTCOMES, "negative", "stale")
"""The columns of a type's counts; negative and stale count some of the hits once more."""

NEGATIVE_COLUMN = len(READ_OUTCOMES)
STALE_COLUMN = NEGATIVE_COLUMN + 1
OUTCOME_MASK = NEGATIVE - 1


class Outcomes(dict[str, list[int]]):
    """Reads by cache type and COLUMNS."""

    def __missing__(self, name: str) -> list[int]:
        counts = self[name] = [0] * len(COLUMNS)
        return counts


@dataclass(slots=True)
class TieredStatistics:
    """The events behind L1 since the cache was made.

    l2_reads, l2_writes: operations sent; l2_deletes: keys whose deletion was sent, beside those of
    invalidations; l2_errors: reads that failed or took too long, of which
    l2_late met the soft limit; l2_skipped: reads and writes that an open breaker kept from L2;
    l2_corrupt: entries that were no entries of this cache; l2_refused: entries older than an
    invalidation; bytes of envelopes read and written. loads, load_errors, refreshes (loads in the
    background), outlived (loads that took longer than their TTL) and overtaken (loads that an
    invalidation overtook): neither is kept.
    l1_extended: values within their TTL that L1 served beyond its own because L2 failed.
    """

    l2_reads: int = 0
    l2_writes: int = 0
    l2_deletes: int = 0
    l2_errors: int = 0
    l2_late: int = 0
    l2_skipped: int = 0
    l2_write_errors: int = 0
    l2_corrupt: int = 0
    l2_refused: int = 0
    l2_bytes_read: int = 0
    l2_bytes_written: int = 0
    loads: int = 0
    load_errors: int = 0
    refreshes: int = 0
    refresh_errors: int = 0
    outlived: int = 0
    overtaken: int = 0
    l1_extended: int = 0
    outcomes: Outcomes = field(default_factory=Outcomes)

    def add(self, other: TieredStatistics) -> None:
        """Add the counts of *other*."""
        for part in fields(self):
            if part.name != "outcomes":
                setattr(self, part.name, getattr(self, part.name) + getattr(other, part.name))
        for name, counts in other.outcomes.items():
            total = self.outcomes[name]
            for column, count in enumerate(counts):
                total[column] += count
