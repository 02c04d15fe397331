"""Claims about Cache-Status: what is read of it, and what of it cannot be counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import http_sf
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.endpoint import Endpoint
from core.endpoints import CDP
from core.wire import (
    BYPASS,
    COLLAPSED,
    L1_HIT,
    L2_HIT,
    MISS,
    NEGATIVE,
    NONE,
    STALE,
    cache_status,
)
from scenarios.cache_status import (
    MAX_FIELD,
    FieldInvalid,
    Flaw,
    Remark,
    Told,
    field_list,
    tell,
    without_keys,
)
from tests.conftest import ROOT

VECTORS = Path(ROOT, "tests", "data", "structured-fields")
HITS = (L1_HIT, L2_HIT)
FLAGS = (0, NEGATIVE, STALE, NEGATIVE | STALE)
CODES = (MISS, COLLAPSED, BYPASS, *(code | flags for code in HITS for flags in FLAGS))
NAMES = ("config", "lookup", "attribution", "journey", "channels")
TRACK = CDP.read_names["track"]
TIERS = {"L1": "l1", "L2": "l2", "cloudflare": "l2", "front": "none"}
READS = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(CODES)).map(
    lambda reads: list(reads.items())
)
FOREIGN = (
    "ExampleCache; hit",
    'CDN; fwd=miss; detail="a, L1; hit; read=config, b"',
    'CDN; detail="say \\"L2; hit\\", L1; hit; read=config"; hit',
    "L1-edge; hit; read=config",
    "l1; hit; read=config",
    "L3; hit; read=config",
    '"L 1"; hit; read=config',
    "front; hit; read=config",
)


def told(value: str, names: tuple[str, ...] = ("journey",), *, primary: int = 0) -> Told:
    return tell(value, names, primary=primary, tiers=TIERS, width=CDP.read_width)


def track(value: str) -> Told:
    return told(value, TRACK, primary=CDP["track"].primary_read)


def vectors() -> list[Any]:
    """Return the vectors of lists and items; a list has a value on each line of the header."""
    return [
        pytest.param(vector, id=f"{path.stem}: {vector['name']}")
        for path in sorted(VECTORS.glob("*.json"))
        for vector in http_sf.from_json(path.read_text(encoding="utf-8"))
        if vector["header_type"] in ("list", "item")
    ]


@pytest.mark.parametrize("vector", vectors())
def test_lists_of_rfc_9651_are_read_and_what_is_none_is_refused(vector: dict[str, Any]) -> None:
    value = ", ".join(vector["raw"])
    is_item = vector["header_type"] == "item"
    try:
        found = field_list(value)
    except FieldInvalid:
        assert "expected" not in vector
        return
    if vector.get("must_fail"):
        assert is_item, value
        assert len(found) > 1, value  # a list, which is no item
    else:
        assert found == ([vector["expected"]] if is_item else vector["expected"])


def test_vectors_are_there() -> None:
    assert len(vectors()) > 100
    assert VECTORS.joinpath("LICENSE.md").read_text("utf-8").startswith("Copyright (c)")


@given(reads=READS)
def test_every_outcome_of_several_reads_reads_back(reads: list[tuple[str, int]]) -> None:
    names = tuple(name for name, _ in reads)
    codes = tuple(code for _, code in reads)
    assert told(cache_status(reads), names) == Told(codes=codes)
    assert told(cache_status(reads), names[::-1]).codes == codes[::-1]


@pytest.mark.parametrize("foreign", FOREIGN)
@pytest.mark.parametrize("code", CODES)
def test_members_of_other_caches_are_ignored_wherever_they_stand(code: int, foreign: str) -> None:
    ours = cache_status([("config", code), ("lookup", L2_HIT)]).split(", ")
    for position in range(len(ours) + 1):
        value = ", ".join([*ours[:position], foreign, *ours[position:]])
        assert track(value).codes == (code, L2_HIT)


@given(reads=READS)
def test_a_read_that_the_header_does_not_tell_is_none(reads: list[tuple[str, int]]) -> None:
    given_codes = dict(reads)
    codes = told(cache_status(reads), NAMES).codes
    assert codes == tuple(given_codes.get(name, NONE) for name in NAMES)


@pytest.mark.parametrize("endpoint", CDP, ids=CDP.names)
@pytest.mark.parametrize(
    "value",
    [
        "L2; hit, L1; fwd=uri-miss",
        'L2; hit; key="/a", L1; fwd=uri-miss; key="/a"',
        'L2; hit; key="kv:a", L1; fwd=uri-miss; key="/a"',  # each cache has a key of its own
    ],
)
def test_members_that_name_no_read_belong_to_the_primary_read(
    endpoint: Endpoint, value: str
) -> None:
    names = CDP.read_names[endpoint.name]
    found = told(value, names, primary=endpoint.primary_read)
    keyed = {"track": "lookup"}.get(endpoint.name, endpoint.name)
    assert dict(zip(names, found.codes, strict=True))[keyed] == L2_HIT
    assert sorted(found.codes)[:-1] == [NONE] * (len(names) - 1)
    assert found.remarks == ()


@pytest.mark.parametrize(
    ("value", "codes"),
    [
        # As many groups as reads: they stand in the order of the reads.
        ("L1; hit, L2; fwd=uri-miss, L1; fwd=uri-miss", (L1_HIT, MISS)),
        ("L2; hit, L2; fwd=uri-miss, L1; fwd=uri-miss", (L2_HIT, MISS)),
        ("L1; hit; read=lookup, L2; hit, L1; fwd=miss", (L2_HIT, L1_HIT)),
        ("L1; hit; read=config, L2; hit, L1; fwd=miss", (L1_HIT, L2_HIT)),
        # Services that we wrote earlier named the read in `key`.
        ("L1; hit; key=config, L2; hit; key=lookup, L1; fwd=uri-miss; key=lookup",
         (L1_HIT, L2_HIT)),
        ('L1; hit; key="lookup"', (NONE, L1_HIT)),
    ],
)  # fmt: skip
def test_groups_are_matched_with_the_reads_of_an_endpoint(
    value: str, codes: tuple[int, ...]
) -> None:
    assert track(value).codes == codes


def test_reads_beyond_those_of_the_endpoint_are_kept_or_said() -> None:
    assert told("L1; hit, L2; hit, L1; fwd=miss") == Told(codes=(L1_HIT, L2_HIT))
    assert told("L1; hit", ()) == Told(codes=(L1_HIT,))
    assert told("L1; hit, L1; hit, L1; hit").remarks == (Remark(Flaw.UNCOUNTED, ""),)
    assert track("L1; hit; read=config, L1; hit; read=lookup, L1; hit").remarks == (
        Remark(Flaw.UNCOUNTED, ""),
    )
    assert told("L1; hit; read=profile") == Told(
        codes=(NONE,), remarks=(Remark(Flaw.UNKNOWN_READ, "profile"),)
    )


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("L1;hit", L1_HIT),
        ("  L1;  hit ; ttl=30".replace(" ;", ";"), L1_HIT),
        ('"L1"; hit', L1_HIT),
        ("cloudflare; hit, L1; fwd=miss", L2_HIT),
        ("L1; fwd=miss, cloudflare; hit", L2_HIT),
        ('L1; hit; detail="a, b; c"; key="/x"', L1_HIT),
        ("L1; fwd=stale", MISS),
        ("L1; hit; detail=stale", L1_HIT | STALE),
        ('L1; hit; detail="stale"', L1_HIT | STALE),
        ('L1; hit; detail="negative"', L1_HIT | NEGATIVE),
        ("L1; hit; detail=stale-negative", L1_HIT),  # not one of ours
        ("L1; hit; detail=5", L1_HIT),
        ("L1; fwd=stale; detail=stale", MISS),
        ("L1; fwd=uri-miss; fwd-status=200; stored", MISS),
        ("L2; hit; ttl=-5, L1; fwd=uri-miss", L2_HIT),
        ("L2; fwd=uri-miss; collapsed, L1; fwd=uri-miss", COLLAPSED),
        ("L1; hit=?0", MISS),
        ("L1", MISS),
        ("L1; fwd=method", NONE),  # no cache answers a POST
        ("", NONE),
    ],
)
def test_what_other_services_write_is_understood(value: str, code: int) -> None:
    assert told(value) == Told(codes=(code,))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (",;,;;=", "item"),
        ("L1; hit,", "Trailing comma"),
        ("L1 ; hit", "Trailing text"),
        ("L1; hit; key=/journey/u1", "item starting with"),
        ("L1; hit; key='a'", "double-quoted"),
        ("L1; Hit", "uppercase"),
        ("HIT from edge", "Trailing text"),
        ('L1; detail="\N{LATIN SMALL LETTER E WITH ACUTE}"', "outside ASCII at position 12"),
        ("L1; hit=yes", "hit of L1 is no boolean"),
        ("L1; hit=1", "hit of L1 is no boolean"),
        ("L1; collapsed=1", "collapsed of L1 is no boolean"),
        ('L1; fwd="miss"', "fwd of L1 is no token"),
        ("5; hit", "5 names no cache"),
        ("(L1 L2); hit", "names no cache"),
        ("L1; hit" + "," + " " * MAX_FIELD, "characters; at most"),
    ],
)
def test_field_that_is_no_list_of_caches_tells_nothing_and_why(value: str, reason: str) -> None:
    # One bad member spoils them all: what stands beside it may be misread.
    (remark,) = told(value).remarks
    assert told(value).codes == (NONE,)
    assert remark.flaw is Flaw.INVALID
    assert reason in remark.text


def test_caches_that_the_scenario_does_not_name_are_remarked_once() -> None:
    found = told('fastly; hit, "Edge 7"; fwd=miss, fastly; hit, L1; hit')
    assert found.codes == (L1_HIT,)
    assert found.remarks == (
        Remark(Flaw.UNKNOWN_CACHE, "fastly"), Remark(Flaw.UNKNOWN_CACHE, "Edge 7"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("value", "short"),
    [
        ('L1; hit; key="/journey/u1"', 'L1; hit; key=""'),
        ('L2; hit; key="a", L1; fwd=miss; key="b;,"', 'L2; hit; key="", L1; fwd=miss; key=""'),
        ('L1; hit; key="lookup"', 'L1; hit; key="lookup"'),  # names a read
        ('L1; hit; detail="; key="', 'L1; hit; detail="; key="'),
        ('L1; hit; detail="; key="; key="a"', 'L1; hit; detail="; key="; key=""'),
        ('L1; hit; key="a\\"b"', 'L1; hit; key="a\\"b"'),
        ('L1; hit; key="open', 'L1; hit; key="open'),
        ('L1; hit; key="\t"', 'L1; hit; key="\t"'),  # is no string
    ],
)
def test_keys_are_left_out_of_what_is_remembered(value: str, short: str) -> None:
    assert without_keys(value, TRACK) == short


WORDS = ("L1", "L2", "; hit", "; fwd=miss", ", ", '; key="', '"', "a", "lookup", "\\", "; ", "key=",
         "; read=lookup", "\t", "; detail=", "stale")  # fmt: skip


@given(words=st.lists(st.sampled_from(WORDS), max_size=14))
def test_field_without_its_keys_tells_the_same(words: list[str]) -> None:
    value = "L1" + "".join(words)
    whole, short = track(value), track(without_keys(value, TRACK))
    assert whole.codes == short.codes
    assert [r.flaw for r in whole.remarks] == [r.flaw for r in short.remarks]


@given(value=st.text(st.sampled_from('L12;=, "\\hitfwdkeyread()?:@%*') | st.characters()))
def test_no_cache_status_breaks_the_reader(value: str) -> None:
    assert len(told(value, ("config", "lookup")).codes) == 2


@pytest.mark.parametrize("value", ['"' * 2_001, ", " * 1_000, "L1;a=(" * 500, "(" * 2_000])
def test_field_that_means_nothing_is_read_as_nothing(value: str) -> None:
    assert told(value).codes == (NONE,)
