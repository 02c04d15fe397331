"""Claims about headers of CDNs that stand in for Cache-Status."""

from __future__ import annotations

import pytest

from core.wire import BYPASS, L1_HIT, L2_HIT, MISS, NONE, STALE
from scenarios.cdn_headers import cdn_header, cdn_outcome


@pytest.mark.parametrize(
    ("header", "value", "code"),
    [
        ("CF-Cache-Status", "HIT", L2_HIT),
        ("CF-Cache-Status", "MISS", MISS),
        ("CF-Cache-Status", "EXPIRED", MISS),
        ("CF-Cache-Status", "REVALIDATED", MISS),  # the origin was asked
        ("CF-Cache-Status", "STALE", L2_HIT | STALE),
        ("CF-Cache-Status", "UPDATING", L2_HIT | STALE),
        ("CF-Cache-Status", "BYPASS", BYPASS),
        ("CF-Cache-Status", "DYNAMIC", NONE),
        ("CF-Cache-Status", "NONE/UNKNOWN", NONE),
        ("X-Cache", "Hit from cloudfront", L2_HIT),
        ("X-Cache", "RefreshHit from cloudfront", MISS),
        ("X-Cache", "Miss from cloudfront", MISS),
        ("X-Cache", "Error from cloudfront", NONE),
        ("X-Cache", "MISS, HIT", L2_HIT),  # shield and edge
        ("X-Cache", "HIT, MISS", L2_HIT),
        ("X-Cache", "MISS, MISS", MISS),
        ("X-Cache", "TCP_MEM_HIT:NONE", L2_HIT),
        ("X-Cache", "TCP_REFRESH_UNMODIFIED", MISS),
        ("X-Cache", "CONFIG_NOCACHE", BYPASS),
        ("X-Vercel-Cache", "PRERENDER", L2_HIT),
        ("X-Cache", "", NONE),
        ("X-Cache", "HIT" + " " * 20_000, NONE),
    ],
)
def test_words_of_cdns_are_understood(header: str, value: str, code: int) -> None:
    assert cdn_outcome(header, value, {}) == code


def test_scenario_names_the_tier_of_such_a_header() -> None:
    assert cdn_outcome("X-Cache", "HIT", {"X-Cache": "l1"}) == L1_HIT
    assert cdn_outcome("X-Cache", "HIT", {"X-Cache": "none"}) == NONE


def test_first_header_that_is_there_is_taken() -> None:
    headers = {"X-Cache": "Miss from cloudfront", "CF-Cache-Status": "HIT"}
    assert cdn_header(lambda name: headers.get(name, "")) == ("CF-Cache-Status", "HIT")
    assert cdn_header(lambda _: "") is None
