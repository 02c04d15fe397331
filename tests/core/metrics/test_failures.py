"""Reasons of failed requests: counted once each, bounded in number, read back as written."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from core.endpoints import CDP
from core.errors import Overloaded, StoreError, StoreTimeout
from core.metrics.failures import CAUSES, MOST_ROWS, Cause, Failure, counted, merged, reason_text
from core.metrics.record import RunRecord
from tests.reports import records


def failure(endpoint: str, cause: Cause, count: int, first: float = 1.0, **more: Any) -> Failure:
    return Failure(endpoint=endpoint, cause=cause, count=count, first=first, **more)


def test_each_failed_request_is_in_one_row_before_or_after_the_warm_up() -> None:
    causes = [Cause.TIMEOUT, Cause.STATUS, Cause.STATUS, Cause.STATUS, Cause.TIMEOUT]
    found = counted(
        endpoint=np.array([0, 0, 0, 2, 0], dtype=np.uint8),
        cause=np.array([CAUSES.index(cause) for cause in causes], dtype=np.uint8),
        status=np.array([0, 429, 429, 500, 0], dtype=np.uint16),
        intended=np.array([3.0, 0.5, 2.5, 4.0, 2.0]),
        after=1.0,
        endpoints=CDP.names,
    )
    assert found == (
        failure("track", Cause.TIMEOUT, 2, 2.0),
        failure("track", Cause.STATUS, 1, 0.5, status=429, in_warm_up=1),
        failure("journey", Cause.STATUS, 1, 4.0, status=500),
    )


def test_rows_are_bounded_and_lose_no_request() -> None:
    many = [
        failure(endpoint, Cause.STATUS, 1 + status % 7, status=status)
        for endpoint in ("track", "journey")
        for status in range(100, 600)
    ]
    found = merged([*many, failure("track", Cause.OTHER, 9_999)])
    assert len(found) <= MOST_ROWS
    assert sum(f.count for f in found) == sum(f.count for f in many) + 9_999
    assert len({(f.endpoint, f.cause, f.status) for f in found}) == len(found)


@pytest.mark.parametrize(
    ("cause", "status", "text"),
    [
        (Cause.STATUS, 429, "status 429 (too many requests)"),
        (Cause.STATUS, 301, "status 301 (redirect, not followed)"),
        (Cause.STATUS, 299, "status 299"),
        (Cause.TIMEOUT, None, "timed out after 3 s"),
        (Cause.STALLED, None, "answer not complete after 3 s"),
        (Cause.DROPPED, None, "no free connection"),
    ],
)
def test_a_reason_is_told_in_words(cause: Cause, status: int | None, text: str) -> None:
    assert reason_text(cause, status, timeout=3.0) == text


def test_every_cause_has_words() -> None:
    texts = [reason_text(cause, 500, timeout=1.0) for cause in Cause]
    assert len(set(texts)) == len(texts)


def test_record_keeps_the_reasons() -> None:
    record = records.measured(failed=0.1)
    assert sum(f.count for f in record.failures) == sum(h.failed for h in record.latencies.values())
    data = json.loads(json.dumps(record.to_json()))
    assert RunRecord.from_json(data).failures == record.failures


def test_record_from_before_reasons_were_kept_says_so() -> None:
    record = records.measured(failed=0.1)
    data = record.to_json()
    del data["failures"]
    read = RunRecord.from_json(data).failures
    assert {f.cause for f in read} == {Cause.UNKNOWN}
    assert {f.endpoint: f.count for f in read} == {
        name: h.failed for name, h in record.latencies.items() if h.failed
    }


@pytest.mark.parametrize(
    ("error", "status"), [(StoreError, 503), (Overloaded, 503), (StoreTimeout, 504)]
)
def test_errors_of_stores_carry_the_status_they_are_answered_with(
    error: type[StoreError], status: int
) -> None:
    assert error.http_status == status
