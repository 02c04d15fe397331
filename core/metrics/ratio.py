"""The ratios that a KPI may name: each is described here, and only here."""

from __future__ import annotations

import re
from dataclasses import dataclass

from core.wire import READ_OUTCOMES

_READS = tuple(f"reads.{outcome}" for outcome in READ_OUTCOMES[1:])
_REQUESTS = (
    "requests",
    "requests.failed",
    "requests.attempts",
    "requests.first_failed",
    "requests.cold",
)
COUNTS = (*_REQUESTS, "reads", *_READS, "reads.negative", "reads.stale", "reads.outdated")
"""The counts of a record, but for its domain counters, which are counters.NAME."""

_COUNTER = re.compile(r"counters\.[A-Za-z_][A-Za-z0-9_]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """One ratio, the metric ratio(NAME): the sum of some of a record's counts over that of others.

    title: what is counted, as reports write it ("share of TITLE"). counted, of: names of `COUNTS`,
    or counters.NAME. reads are those of all outcomes; reads.negative and reads.stale are among the
    hits. is_rest: the ratio is 1 less what these give. alias: a short name for the metric. Raise
    ValueError that lists the counts for one that there is not.
    """

    name: str
    title: str
    counted: tuple[str, ...]
    of: tuple[str, ...]
    is_rest: bool = False
    alias: str = ""

    def __post_init__(self) -> None:
        for count in (*self.counted, *self.of):
            if count not in COUNTS and not _COUNTER.fullmatch(count):
                raise ValueError(
                    f"{count[:60]!r} is no count of a record; use {', '.join(COUNTS)} or "
                    "counters.NAME"
                )
        if not (self.counted and self.of):
            raise ValueError(f"ratio {self.name} needs counts: name some in counted and in of")

    @property
    def has_reads(self) -> bool:
        """Whether it depends on cache reads."""
        return any(count.partition(".")[0] == "reads" for count in (*self.counted, *self.of))

    @property
    def is_of_requests(self) -> bool:
        """Whether each request tells it, so that a part of a run has it, too."""
        return all(count in COUNTS for count in (*self.counted, *self.of))


_HITS = ("reads.l1", "reads.l2")

RATIOS = (
    Ratio(
        name="hit", alias="hit_ratio", counted=_HITS, of=("reads",),
        title="cache reads answered by the memory cache (L1) or the key-value store (L2)",
    ),
    Ratio(
        name="error", alias="error_ratio", counted=("requests.failed",), of=("requests",),
        title="requests that failed, timed out or were never sent",
    ),
    Ratio(
        name="l1", counted=("reads.l1",), of=("reads",),
        title="cache reads answered by the memory cache (L1)",
    ),
    Ratio(
        name="l2", counted=("reads.l2",), of=("reads",),
        title="cache reads answered by the key-value store (L2)",
    ),
    Ratio(
        name="miss", counted=_HITS, of=("reads",), is_rest=True,
        title="cache reads that had to go to the database",
    ),
    Ratio(
        name="goodput", counted=("requests.failed",), of=("requests",), is_rest=True,
        title="requests that were answered in time, by whichever attempt",
    ),
    Ratio(
        name="attempts", counted=("requests.attempts",), of=("requests",),
        title="attempts over requests (250 % are 2.5 attempts each)",
    ),
    Ratio(
        name="firsttry", counted=("requests.first_failed",), of=("requests",),
        title="requests whose first attempt failed",
    ),
)  # fmt: skip
"""The ratios of every scenario."""
