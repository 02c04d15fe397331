"""Claims about examples of failures, and the rates of a running load."""

from __future__ import annotations

import json

import numpy as np
import pytest

from core.endpoints import CDP
from core.metrics.failures import MOST_ROWS, Cause, Failure, merged
from core.scenario.workload import generate_workload
from core.secrets import Blotter
from core.wire import L1_HIT, L2_HIT, MISS, cache_status
from scenarios.arrivals import Arrivals
from scenarios.examples import MOST_TEXT, Examples
from scenarios.pace import Pace
from scenarios.recorder import Recorder
from scenarios.rendering import Request
from scenarios.result import Kind
from tests.scenarios.loads import small_scenario

SECRET = "s3cr3t-0123456789-abcdef"
REQUEST = Request(0, "GET", f"http://h:1/journey/u1?k={SECRET}", {}, None, 2, 1, 0)


def examples() -> Examples:
    return Examples(CDP.names, Blotter([SECRET]), timeouts=[2.0] * len(CDP))


def test_first_failure_of_each_reason_is_the_example() -> None:
    found = examples()
    for body in (b"first", b"second"):
        found.note(REQUEST, Kind.STATUS, 500, body=body)
    found.note(REQUEST, Kind.STATUS, 503, body=b"third")
    shown = found.most_frequent(1)[0]
    assert (shown["count"], shown["endpoint"]) == (2, "journey")
    assert shown["reason"] == "status 500 (internal server error)"
    assert shown["example"] == "GET /journey/u1?k=*** -> 500 first"
    assert [each["of_status"] for each in found.to_json()] == [500, 503]


def test_example_is_one_short_printable_line_without_the_secret() -> None:
    body = b"a\x1b[2J\r\nb\xff \xe2\x80\xae" + b"x " * 70 + SECRET.encode() + b"y" * 9000
    text = examples().example(REQUEST, Kind.STATUS, 500, body=body).text
    assert text.startswith("a?[2J b")
    assert text.isprintable()
    assert len(text) <= MOST_TEXT
    assert SECRET[:8] not in text


class CountingBlotter(Blotter):
    """Counts the texts that it is given."""

    texts = 0

    def blot(self, text: str, *, is_cut: bool = False) -> str:
        self.texts += 1
        return super().blot(text, is_cut=is_cut)


def test_secrets_are_blotted_when_an_example_is_told_and_not_as_requests_fail() -> None:
    blotter = CountingBlotter([SECRET])
    found = Examples(CDP.names, blotter, timeouts=[2.0] * len(CDP))
    for status in range(400, 440):
        for _ in range(status - 399):
            found.note(REQUEST, Kind.STATUS, status, body=SECRET.encode())
    assert blotter.texts == 0
    for _ in range(3):
        assert [each["count"] for each in found.most_frequent(3)] == [40, 39, 38]
    assert blotter.texts == 2 * 3  # request and answer of those that are shown, once
    assert SECRET not in repr(found.__dict__)
    told = found.to_json()
    assert len(told) == 40
    assert SECRET not in json.dumps(told)
    assert SECRET not in repr(told)
    found.to_json()
    assert blotter.texts == 2 * 40


def test_body_of_secrets_alone_that_is_cut_within_one_shows_no_part_of_it() -> None:
    text = examples().example(REQUEST, Kind.STATUS, 500, body=SECRET.encode() * 1000).text
    assert set(text) == {"*"}


def test_connection_that_failed_tells_what_the_system_said() -> None:
    error = ConnectionRefusedError(111, "Connection refused")
    example = examples().example(REQUEST, Kind.REFUSED, 0, error=error)
    assert example.line == "GET /journey/u1?k=*** -> connection refused"


def test_no_more_examples_are_kept_than_reasons_are_shown() -> None:
    found = examples()
    for status in range(300, 300 + 2 * MOST_ROWS):
        found.note(REQUEST, Kind.STATUS, status)
    assert len(found.to_json()) == MOST_ROWS
    assert len(found.most_frequent(1000)) == 2 * MOST_ROWS


def test_sum_of_failures_keeps_an_example_and_reads_it_back() -> None:
    example = examples().example(REQUEST, Kind.STATUS, 500, body=b"no")
    plain = Failure(endpoint="journey", cause=Cause.STATUS, status=500, count=1, first=1.0)
    with_one = Failure(
        endpoint="journey", cause=Cause.STATUS, status=500, count=2, first=2.0, example=example
    )
    (total,) = merged([plain, with_one])
    assert (total.count, total.example) == (3, example)
    assert Failure.from_json(total.to_json()) == total
    assert "example" not in plain.to_json()
    assert Failure.from_json(plain.to_json()) == plain


def test_achieved_rate_stands_beside_the_planned_one() -> None:
    workload = generate_workload(small_scenario(rate=100.0))
    recorder = Recorder(small_scenario())
    pace = Pace(Arrivals(workload.intended_ns), recorder, workload)
    assert pace.rates(-0.1) == (None, None)
    due = int(np.searchsorted(workload.intended_ns, 500_000_000))
    for index in range(due - 3):  # three of them are late
        recorder.send(index, REQUEST, 0.0)
    assert pace.rates(0.5) == pytest.approx(((due - 3) / 0.5, due / 0.5), abs=0.1)
    assert pace.rates(0.5) == (None, None)  # no time has passed


def test_recent_hits_are_shares_of_all_reads() -> None:
    recorder = Recorder(small_scenario())
    assert recorder.recent_hits() == {}
    for outcome in (L1_HIT, L1_HIT, L2_HIT, MISS):
        position = recorder.send(0, REQUEST, 0.0)
        recorder.answer(
            position, 0.01, status=200, content_type="", body=b"",
            cache_status=cache_status([("journey", outcome)]), server_timing="",
        )  # fmt: skip
    assert recorder.recent_hits() == {"l1": 0.5, "l2": 0.25}
