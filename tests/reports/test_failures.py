"""The table of failed requests: only columns that say something, and honest counts."""

from __future__ import annotations

from dataclasses import replace

from core.metrics.failures import Cause, Failure
from reports.failures import answered, data, failures_table, lines, text
from tests.reports import records


def _one(cause: Cause, *, early: int = 0) -> tuple[Failure, ...]:
    return (Failure(endpoint="track", cause=cause, count=3, in_warm_up=early, first=1.5),)


def test_column_that_would_be_empty_is_left_out() -> None:
    alone = replace(records.measured(), failures=_one(Cause.REFUSED))
    assert failures_table(None, alone) == [
        ("endpoint", "failed", "first at", "reason"),
        ("track", "3", "1.50 s", "connection refused"),
    ]
    both = failures_table(records.predicted(), replace(alone, failures=_one(Cause.RESET, early=2)))
    assert both[0] == ("endpoint", "side", "failed", "in warm-up", "first at", "reason")
    assert both[1] == ("track", "measured", "3", "2", "1.50 s", "connection reset")


def test_answered_counts_what_was_answered() -> None:
    record = records.measured()
    total = sum(histogram.count for histogram in record.latencies.values())
    refused = replace(record, failures=_one(Cause.REFUSED))
    assert answered(refused) == {"judged": total, "answered": total - 3, "failed": 3}
    status = replace(record, failures=_one(Cause.NOT_JSON))
    assert answered(status) == {"judged": total, "answered": total, "failed": 3}
    (line,) = lines(None, refused)
    assert line.endswith(f"{total - 3:,} of {total:,} answered, 3 failed.")


def test_record_from_before_reasons_were_kept_claims_no_number_of_answers() -> None:
    unknown = Failure(endpoint="track", cause=Cause.UNKNOWN, count=3, first=None)
    record = replace(records.measured(), failures=(unknown,))
    assert answered(record) is None
    assert lines(None, record) == []
    assert failures_table(None, record)[1] == ("track", "3", "—", "reason not recorded")
    assert data(None, record)["requests"] == {"measured": None}


def test_no_failure_is_no_text() -> None:
    assert text(None, records.measured()) == ""
