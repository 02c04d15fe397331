"""Claims about the response headers that the service writes."""

from __future__ import annotations

import pytest

from core.wire import (
    BYPASS,
    COLLAPSED,
    L1_HIT,
    L2_HIT,
    MISS,
    NEGATIVE,
    NONE,
    READ_OUTCOMES,
    STALE,
    TOKEN_VARIABLE,
    cache_status,
    server_timing,
    service_token,
)

HITS = (L1_HIT, L2_HIT)
FLAGS = (0, NEGATIVE, STALE, NEGATIVE | STALE)
CODES = (MISS, COLLAPSED, BYPASS, *(code | flags for code in HITS for flags in FLAGS))


@pytest.mark.parametrize(
    ("value", "token"), [("secret", "secret"), (" s\n", "s"), (" ", None), (None, None)]
)
def test_the_service_token_is_the_environments_without_blanks(
    monkeypatch: pytest.MonkeyPatch, value: str | None, token: str | None
) -> None:
    if value is None:
        monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    else:
        monkeypatch.setenv(TOKEN_VARIABLE, value)
    assert service_token() == token


def test_codes_are_the_positions_of_their_names_and_flags_lie_beyond_them() -> None:
    assert [READ_OUTCOMES[code] for code in (NONE, *HITS, MISS, COLLAPSED, BYPASS)] == [
        "none", "l1", "l2", "miss", "collapsed", "bypass",
    ]  # fmt: skip
    assert len({code | flags for code in range(len(READ_OUTCOMES)) for flags in FLAGS}) == 24
    assert max(CODES) < 256  # a byte in requests.npz


@pytest.mark.parametrize("flags", FLAGS)
@pytest.mark.parametrize("code", [MISS, COLLAPSED, BYPASS])
def test_only_hits_carry_flags(code: int, flags: int) -> None:
    assert cache_status([("lookup", code | flags)]) == cache_status([("lookup", code)])


@pytest.mark.parametrize(
    ("code", "value"),
    [
        (L1_HIT, "L1; hit; read=lookup"),
        (L1_HIT | NEGATIVE, "L1; hit; detail=negative; read=lookup"),
        (L1_HIT | STALE, "L1; hit; detail=stale; read=lookup"),
        (L1_HIT | NEGATIVE | STALE, "L1; hit; detail=negative-stale; read=lookup"),
        (L2_HIT, "L2; hit; read=lookup, L1; fwd=uri-miss; read=lookup"),
        (L2_HIT | NEGATIVE, "L2; hit; detail=negative; read=lookup, L1; fwd=uri-miss; read=lookup"),
        (L2_HIT | STALE, "L2; hit; detail=stale; read=lookup, L1; fwd=uri-miss; read=lookup"),
        (
            L2_HIT | NEGATIVE | STALE,
            "L2; hit; detail=negative-stale; read=lookup, L1; fwd=uri-miss; read=lookup",
        ),
        (MISS, "L2; fwd=uri-miss; read=lookup, L1; fwd=uri-miss; read=lookup"),
        (COLLAPSED, "L1; fwd=uri-miss; collapsed; read=lookup"),
        (BYPASS, "L2; fwd=bypass; detail=error; read=lookup, L1; fwd=uri-miss; read=lookup"),
    ],
)
def test_the_cache_closest_to_the_origin_stands_first(code: int, value: str) -> None:
    assert cache_status([("lookup", code)]) == value


def test_reads_stand_in_the_order_in_which_they_were_made() -> None:
    value = cache_status([("config", L1_HIT), ("lookup", MISS)])
    assert value == (
        "L1; hit; read=config, L2; fwd=uri-miss; read=lookup, L1; fwd=uri-miss; read=lookup"
    )


def test_timings_are_in_milliseconds() -> None:
    assert server_timing([("l2", 0.0042), ("l2", 0.001)]) == "l2;dur=4.2000, l2;dur=1.0000"
