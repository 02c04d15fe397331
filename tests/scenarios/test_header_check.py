"""Claims about what `check-headers` says of one answer."""

from __future__ import annotations

import pytest

from core.metrics.stage import STAGES, Stage
from scenarios.header_check import check_headers

TIERS = {"L1": "l1", "L2": "l2", "front": "none"}


@pytest.mark.parametrize(
    ("value", "read", "ignored", "problem"),
    [
        ("L1; hit; read=journey", ["cache read journey: hit in L1"], [], ""),
        ("L1; hit; detail=stale; read=a", ["cache read a: hit in L1 (stale)"], [], ""),
        (
            "L2; fwd=miss, L1; fwd=miss",
            ["cache read without a name: miss; it counts as the endpoint's main one"], [], "",
        ),
        (
            "fastly; hit, front; fwd=miss, L2; fwd=bypass; read=a",
            ["cache read a: bypass"], ["fastly", "front"], "",
        ),
        (
            "L1; hit, L2; hit, L1; fwd=miss",
            ["cache read without a name: hit in L1", "cache read without a name: hit in L2"], [],
            "which read of the endpoint each group is can only be told by their order",
        ),
        (
            "L1; hit, L1; hit; read=a", ["cache read a: hit in L1",
            "cache read without a name: hit in L1"], [], "can only be told by their order",
        ),
        (
            "L1; hit, L1; hit, L1; hit", ["cache read without a name: hit in L1"] * 2, [],
            "more cache reads without a name than the 2 that are kept",
        ),
        ("fastly; hit", [], ["fastly"], "no cache in it is a tier: fastly"),
        ("L1; fwd=method", [], [], "no cache was asked for this request"),
        ("L1; hit; key=/a", [], [], "no structured field (RFC 9651), so that all of it is ignored"),
    ],
)  # fmt: skip
def test_cache_status_is_told_by_read(
    value: str, read: list[str], ignored: list[str], problem: str
) -> None:
    check, _ = check_headers([("cache-status", value)], TIERS)
    assert list(check.read) == read
    assert list(check.ignored) == ignored
    assert [problem in found.text for found in check.problems] == [True] * bool(problem)
    assert all(found.remedy for found in check.problems)


@pytest.mark.parametrize(
    ("fields", "read", "problem"),
    [
        ({}, [], "missing, so that no hit ratio can be seen"),
        ({"Age": "30"}, [], "Age alone tells of hits and not of misses"),
        (
            {"CF-Cache-Status": "HIT"}, ["CF-Cache-Status: hit in L2"],
            "CF-Cache-Status stands in for it as a weak substitute",
        ),
        ({"CF-Cache-Status": "DYNAMIC"}, [], "CF-Cache-Status tells no outcome of a cache"),
    ],
)  # fmt: skip
def test_what_stands_in_for_cache_status_is_called_weak(
    fields: dict[str, str], read: list[str], problem: str
) -> None:
    check, _ = check_headers([*fields.items()], TIERS)
    assert list(check.read) == read
    (found,) = check.problems
    assert problem in found.text


def test_lines_of_a_header_are_read_together() -> None:
    lines = [("Cache-Status", "L2; hit; read=a"), ("cache-status", "L1; fwd=uri-miss; read=a"),
             ("Server-Timing", "l3;dur=4"), ("Server-Timing", "l3wait;dur=1, db")]  # fmt: skip
    status, timing = check_headers(lines, TIERS)
    assert status.read == ("cache read a: hit in L2",)
    assert timing.read == ("l3 4.00 ms", "l3wait 1.00 ms")
    assert timing.ignored == ("db",)


@pytest.mark.parametrize(
    ("value", "read", "problem"),
    [
        ("l3;dur=4", ["l3 4.00 ms, taken to include waiting"], ""),
        ("l3, total;dur=5", ["total 5.00 ms"], "l3 has no duration that can be read"),
        ("db;dur=4", [], "no metric in it is a stage that is known here"),
        ("", [], "missing, so that no stage's time can be seen"),
    ],
)
def test_server_timing_is_told_by_stage(value: str, read: list[str], problem: str) -> None:
    _, check = check_headers([("Server-Timing", value)], TIERS)
    assert list(check.read) == read
    assert [problem in found.text for found in check.problems] == [True] * bool(problem)


def test_stages_and_the_number_of_reads_are_those_of_the_scenario() -> None:
    own = Stage(name="auth", title="checks of the token", key="auth-check")
    fields = [("Cache-Status", "L1; hit, L1; hit, L1; hit"), ("Server-Timing", "auth-check;dur=2")]
    status, timing = check_headers(fields, TIERS, width=3, stages=(*STAGES, own))
    assert len(status.read) == 3
    assert timing.read == ("auth-check 2.00 ms",)
    assert timing.ignored == ()
    assert check_headers(fields, TIERS)[1].ignored == ("auth-check",)


def test_reads_that_are_named_are_told_however_many_they_are() -> None:
    value = ", ".join(f"L1; hit; read={name}" for name in "abc")
    check, _ = check_headers([("Cache-Status", value)], TIERS)
    assert check.read == tuple(f"cache read {name}: hit in L1" for name in "abc")
