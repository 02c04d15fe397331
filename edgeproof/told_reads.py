"""A prediction beside a measurement: only the cache reads that the service tells of."""

from __future__ import annotations

from dataclasses import dataclass

from core.metrics.record import Requests, RunRecord, without_reads
from core.wire import READ_OUTCOMES

SELDOM = 0.9
"""Share of the predicted reads below which a service tells of a read too seldom."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldReads:
    """The prediction without what the service lacks, and what a reader has to know of it."""

    record: RunRecord
    requests: Requests
    notes: tuple[str, ...]


def with_told_reads(predicted: RunRecord, requests: Requests, measured: RunRecord) -> ToldReads:
    """Return *predicted* and its *requests* without cache reads that *measured* has none of.

    A service that tells of no read at all is not compared: the prediction stays as it is.
    """
    notes = seldom_told(predicted, measured)
    lacking = sorted(set(predicted.reads) - set(measured.reads))
    if lacking and measured.reads:
        notes.append(
            f"The service told nothing of the cache reads {', '.join(lacking)}: the prediction's "
            "hit ratios leave them out."
        )
        predicted, requests = without_reads(predicted, requests, lacking)
    return ToldReads(record=predicted, requests=requests, notes=tuple(notes))


def seldom_told(predicted: RunRecord, measured: RunRecord) -> list[str]:
    """Return a line for each cache read that the service told of far more seldom than it is made.

    Its answers then weigh less in the measured hit ratio than in the predicted one.
    """
    lines = []
    for name in sorted(set(predicted.reads) & set(measured.reads)):
        made, told = (
            sum(record.reads[name].get(outcome, 0) for outcome in READ_OUTCOMES[1:])
            for record in (predicted, measured)
        )
        if told < SELDOM * made:
            lines.append(
                f"The service told of {told:,} of {made:,} cache reads {name}: they weigh less in "
                "its hit ratio than in the prediction's."
            )
    return lines
