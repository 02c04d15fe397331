"""Rows of D1 and bytes that the product's operations take, as functions of their sizes.

Rows and statements are those that D1's own engine counted (`core.query.row_counts`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from core.query.row_counts import row_counts

STATEMENTS: Mapping[str, str] = MappingProxyType(
    {
        "security_config": "site",
        "lookup_data": "user",
        "attribution": "conversion_journey",
        "user_journeys": "user_journey",
        "channel_metrics": "channel_performance",
    }
)
"""The statement that loads each cache type of the CDP."""

BYTES: Mapping[str, float] = MappingProxyType(
    {"event": 128.0, "conversion": 101.0, "credits": 441.0}
)
"""Bytes of a row with its indexes, on SQLite with this schema and ids of about 20 characters;
credits: all that the results of one conversion with 5 touches store. A test measures them."""

_RESULTS = re.compile(r"results of (\d+)")
_FORWARDED = re.compile(r"results of (\d+), forwarded")


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What D1 does for an operation: statements, rows read and rows written."""

    statements: float = 0.0
    read: float = 0.0
    written: float = 0.0

    def times(self, count: float) -> Work:
        """Return this work *count* times."""
        return Work(
            statements=self.statements * count,
            read=self.read * count,
            written=self.written * count,
        )

    def plus(self, other: Work) -> Work:
        """Return this work and the *other*."""
        return Work(
            statements=self.statements + other.statements,
            read=self.read + other.read,
            written=self.written + other.written,
        )


NOTHING = Work()


def statement(name: str, rows: float = 1.0) -> Work:
    """Return the work of one execution of a statement that returns or changes *rows* rows."""
    found = row_counts().statements[name]
    return Work(statements=1.0, read=found.read.at(rows), written=found.written.at(rows))


def results(size: float, *, has_queue: bool, is_forwarded: bool = False) -> Work:
    """Return the work of a batch of *size* conversions: reading journeys, storing results.

    Between the sizes that were measured, and beyond them, it is a line. has_queue: whether the
    conversions' rows of a queue in D1 are deleted, too. is_forwarded: whether documents are written
    to the outbox, and deleted from it when they are delivered.
    """
    work = _between(_measured(_RESULTS), size)
    if is_forwarded:
        ((number, forwarded),) = _measured(_FORWARDED)
        plain = dict(_measured(_RESULTS))[number]
        share = size / number
        work = work.plus(forwarded.times(share)).plus(plain.times(-share))
        work = work.plus(statement("delivered", size))
    if not has_queue:
        gone = statement("dequeue", size)
        work = work.plus(Work(read=-gone.read, written=-gone.written))
    return work


def taking(size: float) -> Work:
    """Return the work of leasing *size* conversions of a queue in D1."""
    return statement("lease", size)


@cache
def _measured(pattern: re.Pattern[str]) -> tuple[tuple[int, Work], ...]:
    """Return the sizes of the operations that *pattern* names, ascending, and their work."""
    found = {
        int(match[1]): Work(
            statements=operation.statements, read=operation.rows_read,
            written=operation.rows_written,
        )
        for name, operation in row_counts().operations.items()
        if (match := pattern.fullmatch(name))
    }  # fmt: skip
    return tuple(sorted(found.items()))


def _between(points: tuple[tuple[int, Work], ...], size: float) -> Work:
    above = next((at for at, (n, _) in enumerate(points) if n >= size), len(points) - 1)
    above = max(1, above)
    (low, left), (high, right) = points[above - 1], points[above]
    share = (size - low) / (high - low)
    return left.times(1 - share).plus(right.times(share))
