"""What is written down of a request, and what counts as a failure."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from core.endpoint import Read
from core.endpoints import CDP
from core.wire import COLLAPSED, L1_HIT, L2_HIT, MISS, cache_status, server_timing
from scenarios.recorder import Recorder, judged_body
from scenarios.result import Kind
from tests.edgeproof.profile_endpoint import PROFILE
from tests.scenarios.answers import answered, sent
from tests.scenarios.loads import small_scenario


def test_rows_stand_in_the_order_of_sending() -> None:
    recorder = Recorder(small_scenario())
    positions = [sent(recorder, index=index) for index in (4, 2, 9)]
    answered(recorder, positions[2])
    rows = recorder.rows([7, 3])
    assert rows.index.tolist() == [4, 2, 9]
    assert rows.latency.tolist() == [math.inf, math.inf, 0.02]
    assert rows.kind.tolist() == [Kind.UNFINISHED, Kind.UNFINISHED, Kind.ANSWERED]
    assert rows.dropped.tolist() == [3, 7]
    assert (recorder.sent, recorder.done, recorder.in_flight) == (3, 1, 2)


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"status": 500}, Kind.STATUS),
        ({"status": 302}, Kind.STATUS),
        ({"body": b""}, Kind.EMPTY),
        ({"body": b"{nothing"}, Kind.NOT_JSON),
        ({"status": 202}, Kind.ANSWERED),
        ({"content_type": "text/html", "body": b"<p>"}, Kind.ANSWERED),
    ],
)
def test_answer_that_does_not_count_is_infinitely_slow(fields: dict[str, Any], kind: Kind) -> None:
    recorder = Recorder(small_scenario())
    assert answered(recorder, sent(recorder), **fields) == kind
    rows = recorder.rows(())
    assert math.isinf(rows.latency[0]) == (kind is not Kind.ANSWERED)
    assert rows.status[0] == fields.get("status", 200)
    assert recorder.failed == (kind is not Kind.ANSWERED)
    assert recorder.answered == 1


def test_reads_and_timings_are_kept() -> None:
    recorder = Recorder(small_scenario())
    stages = [("l1", 1e-6), ("l2", 0.004), ("l2", 0.005), ("cpu", 0.0001), ("total", 0.01)]
    for index, codes in enumerate([(L1_HIT, MISS), (L2_HIT, COLLAPSED), (L1_HIT, MISS)]):
        header = cache_status(zip(("config", "lookup"), codes, strict=True))
        position = sent(recorder, index=index)
        answered(recorder, position, cache_status=header, server_timing=server_timing(stages))
    rows = recorder.rows(())
    assert rows.reads.tolist() == [[L1_HIT, MISS], [L2_HIT, COLLAPSED], [L1_HIT, MISS]]
    assert rows.samples["l2"][0].tolist() == [0, 0, 1, 1, 2, 2]
    assert np.allclose(rows.samples["l2"][1], [0.004, 0.005] * 3)
    assert rows.samples["l3"][0].size == 0
    assert np.allclose(rows.cpu, 0.0001)
    assert np.allclose(rows.total, 0.01)


@pytest.mark.parametrize(
    ("endpoint", "fields", "reads"),
    [
        # With the cache key in `key`, as RFC 9211 has it, and no name of a read.
        (2, {"cache_status": 'L1; hit; key="/journey/u1"'}, [L1_HIT, 0]),
        (0, {"cache_status": 'L1; hit; key="lookup:u1"'}, [0, L1_HIT]),
        (2, {"cdn_header": ("X-Cache", "HIT")}, [L2_HIT, 0]),
        (0, {"cdn_header": ("X-Cache", "Miss from cloudfront")}, [0, MISS]),
        # Two reads of an endpoint that describes one.
        (2, {"cache_status": "L1; hit, L2; hit, L1; fwd=miss"}, [L1_HIT, L2_HIT]),
        (2, {"cache_status": "L1; hit; key=/journey/u1"}, [0, 0]),
    ],
)
def test_read_without_a_name_is_the_endpoints_primary_one(
    endpoint: int, fields: dict[str, Any], reads: list[int]
) -> None:
    recorder = Recorder(small_scenario())
    answered(recorder, sent(recorder, endpoint=endpoint), **fields)
    assert recorder.rows(()).reads.tolist() == [reads]


def test_reads_of_a_wider_table_are_kept_beside_those_that_are_not_named() -> None:
    reads = (
        Read(name="flags", cache_type="flags", key="none"),
        Read(name="terms", cache_type="terms", key="none"),
        Read(name="profile", cache_type="profiles"),
    )
    table = CDP.with_endpoint(replace(PROFILE, reads=reads))
    recorder = Recorder(small_scenario(endpoints=table))
    for endpoint, fields in (
        (4, {"cache_status": "L1; hit"}),
        (4, {"cache_status": "L2; hit; read=terms, L1; fwd=miss; read=terms"}),
        (4, {"cdn_header": ("X-Cache", "HIT")}),
        (2, {"cache_status": "L1; hit, L1; hit, L1; hit"}),
    ):
        answered(recorder, sent(recorder, endpoint=endpoint), **fields)
    assert recorder.rows(()).reads.tolist() == [
        [0, 0, L1_HIT], [0, L2_HIT, 0], [0, 0, L2_HIT], [L1_HIT] * 3,
    ]  # fmt: skip


def test_scenario_names_the_tiers_of_caches() -> None:
    recorder = Recorder(small_scenario(caches={"cloudflare": "l2", "L1": "none"}))
    answered(recorder, sent(recorder, endpoint=2), cache_status='cloudflare; hit; key="/a"')
    answered(recorder, sent(recorder, endpoint=2), cache_status="L1; hit")
    assert recorder.rows(()).reads.tolist() == [[L2_HIT, 0], [0, 0]]


def test_recent_quantiles_show_failures_as_none() -> None:
    recorder = Recorder(small_scenario())
    assert recorder.recent((0.5,)) == [None]
    for index in range(4):
        position = sent(recorder, index=index)
        if index == 3:
            recorder.fail(position, Kind.TIMEOUT)
        else:
            answered(recorder, position)
    assert recorder.recent((0.5, 1.0)) == [0.02, None]


@pytest.mark.parametrize(
    ("status", "content_type", "body", "kind"),
    [
        (200, "application/json; charset=utf-8", b"[1]", Kind.ANSWERED),
        (200, "application/problem+json", b"nothing", Kind.NOT_JSON),
        (200, "APPLICATION/JSON", b"", Kind.EMPTY),
        (202, "application/json", b" \r\n", Kind.EMPTY),
        (200, "application/json", b"\xff\xfe\x00", Kind.NOT_JSON),
        (200, "application/json", b"[" * 100_000, Kind.NOT_JSON),
        (202, "", b"", Kind.ANSWERED),
        # Without a body by definition, whatever a framework puts into the type.
        (204, "application/json", b"", Kind.ANSWERED),
        (205, "application/json", b"", Kind.ANSWERED),
        (304, "application/json", b"", Kind.ANSWERED),
    ],
)
def test_only_a_body_that_calls_itself_json_is_checked(
    status: int, content_type: str, body: bytes, kind: Kind
) -> None:
    assert judged_body(status, content_type, body) is kind


def test_what_got_no_answer_is_not_counted_as_answered() -> None:
    recorder = Recorder(small_scenario())
    for index, kind in enumerate((Kind.TIMEOUT, Kind.REFUSED, Kind.STALLED)):
        recorder.fail(sent(recorder, index=index), kind)
    answered(recorder, sent(recorder, index=3), status=429)
    answered(recorder, sent(recorder, index=4))
    assert (recorder.done, recorder.answered, recorder.failed) == (5, 2, 4)
