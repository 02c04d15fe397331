"""Claims about what a report says of the answers' headers."""

from __future__ import annotations

from typing import Any

import pytest

from core.secrets import Blotter
from core.wire import cache_status
from scenarios.header_notes import MOST_NAMES, HeaderCount, header_notes
from scenarios.recorder import Recorder
from tests.scenarios.answers import answered, sent
from tests.scenarios.loads import small_scenario

SECRET = "s3cr3t-0123456789-abcdef"


def noted(*answers: dict[str, Any], endpoint: int = 2) -> tuple[str, ...]:
    recorder = Recorder(small_scenario(caches={"edge": "l2"}))
    for answer in answers:
        answered(recorder, sent(recorder, endpoint=endpoint), **answer)
    return header_notes(recorder.headers.facts(Blotter([SECRET])))


def test_headers_of_our_own_service_need_no_word() -> None:
    assert noted({"cache_status": cache_status([("journey", 1)])}) == ()
    assert header_notes({}) == ()  # a load that was recorded before headers were counted
    assert header_notes(HeaderCount().facts(Blotter())) == ()


@pytest.mark.parametrize(
    ("answers", "note"),
    [
        (
            [{"cache_status": "L1; hit, "}, {"cache_status": "L1; hit"}],
            "headers: 1 of 2 answers had a Cache-Status that is no structured field (RFC 9651) and "
            "tells nothing: Trailing comma at end of list at position 9",
        ),
        (
            [{"cache_status": "fastly; hit, edge; hit"}] * 3,
            "headers: caches that the scenario does not name tell nothing: fastly (3); give each "
            "its tier, l1, l2 or none, in [caches]",
        ),
        (
            [{"cache_status": "edge; hit; read=profile"}],
            "headers: cache reads that the endpoint does not have are not counted: profile (1) "
            "(parameter read of Cache-Status)",
        ),
        (
            [{"cache_status": "L1; hit, L1; hit, L1; hit"}],
            "headers: 1 of 1 answers told of more cache reads than are kept; those beyond are not "
            "counted: name reads with the parameter read",
        ),
        (
            [{"cdn_header": ("CF-Cache-Status", "HIT")}, {}],
            "headers: hit ratios rest on a weak substitute for Cache-Status in 1 of 2 answers: "
            "CF-Cache-Status (1); it tells one read at most and no tier, and counts as l2 unless "
            "[caches] says otherwise",
        ),
    ],
)
def test_what_is_not_read_is_counted_and_said(answers: list[dict[str, Any]], note: str) -> None:
    assert noted(*answers) == (note,)


def test_answers_without_any_such_header_are_said() -> None:
    (note,) = noted({})
    assert note.startswith("headers: no answer had Cache-Status: hit ratios cannot be seen")
    unread, missing = noted({"cdn_header": ("CF-Cache-Status", "DYNAMIC")})
    assert unread == "headers: headers that tell no outcome of a cache: CF-Cache-Status (1)"
    assert missing == note


@pytest.mark.parametrize(
    "value",
    [
        f'"edge {SECRET}"; hit', f'L1; hit; read="{SECRET}"', f'L1; hit; key={SECRET}"',
        f'"{SECRET}"; hit=yes', f'"{"a" * 50}{SECRET}"; hit', f'"{"a" * 57}{SECRET}"; hit=1',
        f'"{SECRET * 20}"; hit', "x; Bearer abcdefghijk", '"token=abcdefghijk"; hit',
    ],
)  # fmt: skip
def test_secrets_in_names_are_blotted_out_and_long_names_shortened(value: str) -> None:
    recorder = Recorder(small_scenario())
    answered(recorder, sent(recorder), cache_status=value)
    facts = recorder.headers.facts(Blotter([SECRET]))
    told = repr(facts) + repr(header_notes(facts))
    assert len(told) < 800
    assert "abcdefghijk" not in told
    for start in range(len(SECRET) - 3):
        assert SECRET[start : start + 4] not in told


def test_names_that_differ_by_a_secret_are_counted_together() -> None:
    recorder = Recorder(small_scenario())
    for number in range(3):
        written = (SECRET, SECRET.upper(), SECRET[:12])[number]
        answered(recorder, sent(recorder), cache_status=f'"edge {written}"; hit')
    assert recorder.headers.facts(Blotter([SECRET]))["unknown_cache"] == {"edge ***": 3}


def test_names_are_bounded() -> None:
    recorder = Recorder(small_scenario())
    for number in range(3 * MOST_NAMES):
        answered(recorder, sent(recorder), cache_status=f"cache{number}; hit")
    counted = recorder.headers.facts(Blotter())["unknown_cache"]
    assert len(counted) == MOST_NAMES + 1
    assert counted["others"] == 2 * MOST_NAMES
