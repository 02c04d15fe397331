"""Claims about the response headers: what the service writes, the load side reads."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.endpoints import CDP
from core.wire import (
    BYPASS,
    COLLAPSED,
    L1_HIT,
    L2_HIT,
    MAX_FIELD,
    MISS,
    NEGATIVE,
    NONE,
    READ_OUTCOMES,
    STALE,
    TOKEN_VARIABLE,
    cache_status,
    parse_cache_status,
    parse_server_timing,
    server_timing,
    service_token,
)

HITS = (L1_HIT, L2_HIT)
FLAGS = (0, NEGATIVE, STALE, NEGATIVE | STALE)
CODES = (MISS, COLLAPSED, BYPASS, *(code | flags for code in HITS for flags in FLAGS))
NAMES = ("config", "lookup", "attribution", "journey", "channels")
READS = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(CODES)).map(
    lambda reads: list(reads.items())
)
FOREIGN = (
    "ExampleCache; hit",
    'CDN; fwd=miss; detail="a, L1; hit; key=config, b"',
    'CDN; detail="say \\"L2; hit\\", L1; hit; key=config"; hit',
    "L1-edge; hit; key=config",
    "l1; hit; key=config",
    "L3; hit; key=config",
    "",
    '"L1"; hit; key=config',
)


@given(reads=READS)
def test_every_outcome_of_several_reads_reads_back(reads: list[tuple[str, int]]) -> None:
    names = [name for name, _ in reads]
    assert parse_cache_status(cache_status(reads), names) == [code for _, code in reads]
    assert parse_cache_status(cache_status(reads), names[::-1]) == [c for _, c in reads][::-1]


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


@pytest.mark.parametrize("foreign", FOREIGN)
@pytest.mark.parametrize("code", CODES)
def test_members_of_other_caches_are_ignored_wherever_they_stand(code: int, foreign: str) -> None:
    ours = cache_status([("config", code), ("lookup", L2_HIT)]).split(", ")
    for position in range(len(ours) + 1):
        value = ", ".join([*ours[:position], foreign, *ours[position:]])
        assert parse_cache_status(value, ["config", "lookup"]) == [code, L2_HIT]


@given(reads=READS)
def test_a_read_that_the_header_does_not_tell_is_none(reads: list[tuple[str, int]]) -> None:
    told = dict(reads)
    assert parse_cache_status(cache_status(reads), NAMES) == [told.get(n, NONE) for n in NAMES]


@pytest.mark.parametrize(
    ("code", "value"),
    [
        (L1_HIT, "L1; hit; key=lookup"),
        (L1_HIT | NEGATIVE, "L1; hit; detail=negative; key=lookup"),
        (L1_HIT | STALE, "L1; hit; detail=stale; key=lookup"),
        (L1_HIT | NEGATIVE | STALE, "L1; hit; detail=negative-stale; key=lookup"),
        (L2_HIT, "L2; hit; key=lookup, L1; fwd=uri-miss; key=lookup"),
        (L2_HIT | NEGATIVE, "L2; hit; detail=negative; key=lookup, L1; fwd=uri-miss; key=lookup"),
        (L2_HIT | STALE, "L2; hit; detail=stale; key=lookup, L1; fwd=uri-miss; key=lookup"),
        (
            L2_HIT | NEGATIVE | STALE,
            "L2; hit; detail=negative-stale; key=lookup, L1; fwd=uri-miss; key=lookup",
        ),
        (MISS, "L2; fwd=uri-miss; key=lookup, L1; fwd=uri-miss; key=lookup"),
        (COLLAPSED, "L1; fwd=uri-miss; collapsed; key=lookup"),
        (BYPASS, "L2; fwd=bypass; detail=error; key=lookup, L1; fwd=uri-miss; key=lookup"),
    ],
)
def test_the_cache_closest_to_the_origin_stands_first(code: int, value: str) -> None:
    assert cache_status([("lookup", code)]) == value


def test_reads_stand_in_the_order_in_which_they_were_made() -> None:
    value = cache_status([("config", L1_HIT), ("lookup", MISS)])
    assert value == (
        "L1; hit; key=config, L2; fwd=uri-miss; key=lookup, L1; fwd=uri-miss; key=lookup"
    )


@pytest.mark.parametrize("names", CDP.read_names.values())
def test_members_without_a_key_belong_to_the_first_read(names: tuple[str, ...]) -> None:
    found = parse_cache_status("L2; hit, L1; fwd=uri-miss", names)
    assert found == [L2_HIT] + [NONE] * (len(names) - 1)


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("L1;hit", L1_HIT),
        ("  L1 ;  hit ; ttl=30", L1_HIT),
        ('L1; hit; key="lookup"', L1_HIT),
        ('L1; hit; detail="a, b; c"; key="lookup"', L1_HIT),
        ("L1; fwd=stale", MISS),
        ("L1; hit; detail=stale", L1_HIT | STALE),
        ("L1; hit; detail=stale-negative", L1_HIT),  # not one of ours
        ("L1; fwd=stale; detail=stale", MISS),
        ("L1; fwd=uri-miss; fwd-status=200; stored", MISS),
        ("L2; hit; ttl=-5, L1; fwd=uri-miss", L2_HIT),
        ("L2; fwd=uri-miss; collapsed, L1; fwd=uri-miss", COLLAPSED),
        ("L1; hit=?0", MISS),
        ("L1", MISS),
        ("", NONE),
        (",;,;;=", NONE),
    ],
)
def test_what_other_services_write_is_understood(value: str, code: int) -> None:
    assert parse_cache_status(value, ["lookup"]) == [code]


@given(value=st.text(st.sampled_from('L12;=, "\\hitfwdkey') | st.characters()))
def test_no_cache_status_breaks_the_reader(value: str) -> None:
    assert len(parse_cache_status(value, ["config", "lookup"])) == 2


STAGES = st.lists(
    st.tuples(
        st.sampled_from(["l1", "l2", "l3", "l3wait", "cpu", "total"]),
        st.floats(0, 100),
    ),
    max_size=8,
)


@given(stages=STAGES)
def test_timings_read_back_to_a_tenth_of_a_microsecond_in_their_order(
    stages: list[tuple[str, float]],
) -> None:
    again = parse_server_timing(server_timing(stages))
    assert [name for name, _ in again] == [name for name, _ in stages]
    assert [s for _, s in again] == pytest.approx([s for _, s in stages], abs=0.51e-7)


def test_timings_are_in_milliseconds() -> None:
    assert server_timing([("l2", 0.0042), ("l2", 0.001)]) == "l2;dur=4.2000, l2;dur=1.0000"


@pytest.mark.parametrize(
    ("value", "stages"),
    [
        ("", []),
        ("miss", []),
        ("l2;dur=4.2", [("l2", 0.0042)]),
        (" l2 ; dur = 4.2 ,total;dur=5", [("l2", 0.0042), ("total", 0.005)]),
        ('l2;desc="store";dur=4', [("l2", 0.004)]),
        ("l2;desc=store;dur=4", [("l2", 0.004)]),
        ("l2;dur=4;desc=store", [("l2", 0.004)]),
        ("l2;dur=1e-3", [("l2", 1e-6)]),
        ("l2;dur=.5", [("l2", 0.0005)]),
        ("cdn-cache;dur=9, x-l2;dur=7, total;dur=1", [("total", 0.001)]),
        ('cdn;desc="a, l2;dur=9", total;dur=1', [("total", 0.001)]),
        ("cdn;desc=l2;dur=9, total;dur=1", [("total", 0.001)]),
        ("l2;dur=1.2.3, total;dur=1", [("total", 0.001)]),
        ("l2;dur=..., l3;dur=, total;dur=1", [("total", 0.001)]),
        ("l2;dur=-4, total;dur=1", [("total", 0.001)]),
        ("l2;duration=4, total;dur=1", [("total", 0.001)]),
    ],
)
def test_what_other_services_time_is_read_by_its_own_name(
    value: str, stages: list[tuple[str, float]]
) -> None:
    ours = [(n, s) for n, s in parse_server_timing(value) if n in ("l2", "l3", "total")]
    assert [name for name, _ in ours] == [name for name, _ in stages]
    assert [s for _, s in ours] == pytest.approx([s for _, s in stages])


@given(value=st.text(st.sampled_from('l2;dur=1.e-, "\\') | st.characters()))
def test_no_server_timing_breaks_the_reader(value: str) -> None:
    assert all(seconds >= 0 for _, seconds in parse_server_timing(value))


@pytest.mark.parametrize(
    "value",
    [
        "total;dur=" + "1" * 2_000 + "x",
        'total;desc="' + '\\"' * 1_000,
        "total" + "; " * 1_000,
        ", " * 1_000,
        '"' * 2_001,
    ],
)
def test_field_that_means_nothing_is_read_as_nothing(value: str) -> None:
    # Such fields took seconds while the expressions could try every division of digits or quotes.
    assert parse_server_timing(value) == []
    assert parse_cache_status(value, ("config",)) == [NONE]


def test_field_beyond_the_limit_tells_nothing() -> None:
    padding = "," + " " * MAX_FIELD
    assert parse_server_timing("total;dur=1" + padding) == []
    assert parse_cache_status("L1; hit" + padding, ("config",)) == [NONE]


@pytest.mark.parametrize("duration", ["1e999", "1" * 400, "1e13"])
def test_duration_that_nobody_waited_for_is_left_out(duration: str) -> None:
    assert parse_server_timing(f"cpu;dur=2, total;dur={duration}") == [("cpu", 0.002)]
