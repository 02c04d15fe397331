"""Claims about the readers of lines: the compiled one gives what the plain one does, and `re`."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenarios.intake.chunk import Chunk, Left
from scenarios.intake.formats import fields_layout, layout_of
from scenarios.intake.layout import Layout
from scenarios.intake.log_file import compiled_chunk
from scenarios.intake.log_format import parse_log_format
from scenarios.intake.plain import PlainReader
from scenarios.intake.requests import Matcher, siphash
from scenarios.intake.rules import parse_rule
from scenarios.intake.tables import tables_of
from tests.scenarios.intake.samples import ALB, CLOUDFRONT, COMBINED, SALT, W3C

RULES = [
    parse_rule(text, "test")
    for text in (
        "product = GET /product/{product_id}", "latest = GET /product/latest",
        "order = GET /users/{user}/orders/{order}", "any = * /any/{}/{id}",
        "find = GET /find?q={q}",
        "track = POST /track by address", "me = GET /me by user", "- = GET /health", "home = GET /",
    )
]  # fmt: skip
AGENTS = (b"bot", b"probe")
LAYOUTS: dict[str, Layout] = {
    "combined": layout_of("combined"),
    "alb": layout_of("alb"),
    "cloudfront": fields_layout(CLOUDFRONT.splitlines()[1][8:].split(), "cloudfront"),
    "w3c": fields_layout(W3C.splitlines()[3][8:].split(), "w3c"),
    "own": parse_log_format('[$msec] $upstream_cache_status "$request" $status $request_time'),
}


def both(layout: Layout, data: bytes) -> tuple[Chunk, Chunk]:
    """Return what the plain and the compiled reader make of *data*."""
    plain = PlainReader(layout, Matcher(RULES, AGENTS, SALT)).read(data, with_keys=True)
    tables = tables_of(layout, RULES, AGENTS, SALT)
    return plain, compiled_chunk(data, tables, with_keys=True)


def assert_same(plain: Chunk, compiled: Chunk, data: bytes) -> None:
    kept = plain.rule >= 0
    assert plain.rule.tolist() == compiled.rule.tolist(), data
    for name in ("time", "key", "status", "latency", "cache"):
        first, second = getattr(plain, name)[kept], getattr(compiled, name)[kept]
        assert first.tolist() == second.tolist(), (name, data)
    assert plain.key_text is not None
    assert compiled.key_text is not None
    assert [t for t, k in zip(plain.key_text, kept, strict=True) if k] == [
        t for t, k in zip(compiled.key_text, kept, strict=True) if k
    ]
    assert plain.without_zone == compiled.without_zone


def test_hash_of_keys_is_siphash() -> None:
    # The test vector of the paper's appendix: bytes 0 to 14 under the key 0 to 15.
    assert siphash(bytes(range(15)), *SALT) == 0xA129CA6149BE45E5


TARGETS = st.sampled_from(
    ["/product/43", "/product/latest", "/product//43/", "/users/7/orders/9", "/any/x/y",
     "/find?q=a",
     "/find?x=1&q=b%20c#f", "/find?q=", "/track", "/me", "/health", "/", "*", "/static/App.JS",
     "https://h.example:443/product/1?x", "https://h.example", "ftp://", "product/1", "",
     "/" + "a/" * 30, "/product/\\x22a", "/none"]
)  # fmt: skip
METHODS = st.sampled_from(["GET", "POST", "PUT", "get", "", "OPTIONS", "\\x16\\x03"])
AGENT = st.sampled_from(["-", "Mozilla", 'a \\"quoted\\" one', "xBOTx", "my Probe 1", "\\\\", "\\"])
TIMES = st.sampled_from(
    ["20/Nov/2026:18:00:00 +0000", "29/Feb/2024:23:59:59 -0530", "29/Feb/2026:00:00:00 +0000",
     "20/Nov/2026:18:00:60 +0000", "20/nov/2026:18:00:00 +0000", "1/Nov/2026:18:00:00 +0000",
     "20/Nov/2026:18:00:00 +2500", "-", "31/Dec/1969:23:59:59 +0000"]
)  # fmt: skip
STATUS = st.sampled_from(["200", "503", "-", "20", "2000", "2x0", "000"])


@settings(max_examples=150, deadline=None)
@given(
    rows=st.lists(
        st.tuples(TIMES, METHODS, TARGETS, STATUS, AGENT, st.sampled_from(["-", "anna", "a b"])),
        min_size=1, max_size=8,
    )
)  # fmt: skip
def test_both_readers_give_the_same_of_combined_lines(rows: list[tuple[str, ...]]) -> None:
    data = "".join(
        f'203.0.113.{n} - {user} [{at}] "{method} {target} HTTP/1.1" {status} 5 "-" "{agent}"\n'
        for n, (at, method, target, status, agent, user) in enumerate(rows)
    ).encode()
    assert_same(*both(LAYOUTS["combined"], data), data)


@settings(max_examples=300, deadline=None)
@given(
    name=st.sampled_from(list(LAYOUTS)),
    cuts=st.lists(
        st.tuples(st.integers(0, 2000), st.integers(0, 12),
                  st.text('"\\ -\t0129:.[]/?&=#ahit%', max_size=6)),
        max_size=4,
    ),
)  # fmt: skip
def test_both_readers_give_the_same_of_damaged_lines(name: str, cuts: list[Any]) -> None:
    own = (
        '[1795197600.250] HIT "GET /product/4 HTTP/1.1" 200 0.5\n'
        '[1795197600] - "POST /track" 200 -\n'
        '[17951976002500.1] miss "GET /find?q=1 HTTP/2" 200 12.0000009\n'
    )
    logs = {"combined": COMBINED, "alb": ALB, "cloudfront": CLOUDFRONT, "w3c": W3C, "own": own}
    text = logs[name]
    for at, length, inserted in cuts:
        at %= len(text) + 1
        text = text[:at] + inserted + text[at + length :]
    data = text.encode() + b"\n"
    assert_same(*both(LAYOUTS[name], data), data)


LINE = re.compile(
    rb'(\S+) \S+ \S+ \[([^\]]+)\] "([A-Z]+) ((?:[^"\\ ]|\\.)*) HTTP/[0-9.]+" (\d{3}) (\d+|-) '
    rb'"((?:[^"\\]|\\.)*)" "((?:[^"\\]|\\.)*)"'
)
TEXT = st.text(st.characters(codec="ascii", exclude_characters='"\\\n\r\0'), max_size=12)
ESCAPED = st.lists(
    TEXT | st.sampled_from(['\\"', "\\\\", '\\\\\\"', "\\x22", '\\" \\"']), max_size=4
).map("".join)


@settings(max_examples=150, deadline=None)
@given(
    at=st.datetimes(datetime(2000, 1, 1), datetime(2040, 1, 1)),
    zone=st.sampled_from(["+0000", "+0530", "-0800"]),
    key=st.text("abcXYZ0123456789-._~%", min_size=1, max_size=40),
    status=st.integers(100, 599),
    referer=ESCAPED, agent=ESCAPED,
)  # fmt: skip
@pytest.mark.parametrize("is_compiled", [False, True])
def test_readers_give_what_re_does(
    at: datetime, zone: str, key: str, status: int, referer: str, agent: str, *, is_compiled: bool
) -> None:
    stamp = f"{at:%d/%b/%Y:%H:%M:%S} {zone}"
    line = (
        f'203.0.113.9 - - [{stamp}] "GET /product/{key}?a=b HTTP/1.1" {status} 17 "{referer}" '
        f'"{agent}"'
    ).encode()
    expected = LINE.fullmatch(line)
    assert expected is not None
    chunk = both(LAYOUTS["combined"], line + b"\n")[is_compiled]
    is_left_out = any(word in agent.lower().encode() for word in AGENTS)
    if is_left_out:
        assert chunk.rule.tolist() == [Left.AGENT]
        return
    name = expected[4].partition(b"?")[0].removeprefix(b"/product/")
    assert chunk.rule.tolist() == [1 if name == b"latest" else 0]
    assert chunk.key_text == [b"" if name == b"latest" else name]
    assert chunk.status.tolist() == [int(expected[5])]
    seconds = datetime.strptime(stamp, "%d/%b/%Y:%H:%M:%S %z").timestamp()
    assert chunk.time.tolist() == [round(seconds) * 10**6]


def test_equal_keys_have_equal_hashes_and_others_have_others() -> None:
    keys = [f"{n % 500}" for n in range(1000)]
    data = "".join(
        f'1.1.1.1 - - [20/Nov/2026:18:00:00 +0000] "GET /product/{key} HTTP/1.1" 200 5 "-" "-"\n'
        for key in keys
    ).encode()
    for chunk in both(LAYOUTS["combined"], data):
        assert len(np.unique(chunk.key)) == len(set(keys))
        assert chunk.key[:500].tolist() == chunk.key[500:].tolist()


def test_a_key_of_several_ids_tells_their_order() -> None:
    data = b"".join(
        b'::1 - - [20/Nov/2026:18:00:00 +0000] "GET /users/%d/orders/%d HTTP/1.1" 200 5 "-" "-"\n'
        % pair
        for pair in ((1, 2), (2, 1), (1, 2), (12, 1))
    )
    for chunk in both(LAYOUTS["combined"], data):
        assert chunk.key[0] == chunk.key[2]
        assert len(np.unique(chunk.key)) == 3
        assert chunk.key_text is not None
        assert chunk.key_text[0] == b"1/orders/2"


def test_lists_of_upstreams_shift_no_value_and_their_times_are_summed() -> None:
    # nginx.org, ngx_http_upstream_module: "0.1, 0.2" of servers, "0.1 : 0.2" of groups.
    line = '[20/Nov/2026:18:00:0{} +0000] "GET /product/1 HTTP/1.1" 200 {}\n'
    cases = (
        ("10.0.0.1:80, 10.0.0.2:80 502, 200 0.1, 0.25 x", 350_000),
        ("10.0.0.1:80 : unix:/a 502 : 200 0.1 : 0.25 x", 350_000),
        ("10.0.0.1:80, 10.0.0.2:80 504, 200 -, 0.25 x", 250_000),
        ("10.0.0.1:80 200 0.25 x", 250_000),
        ("- - - x", -1),
        ("a 200 0.1, b x", -1),
    )
    data = "".join(line.format(n, tail) for n, (tail, _) in enumerate(cases)).encode()
    of_upstream = parse_log_format(
        '[$time_local] "$request" $status $upstream_addr $upstream_status '
        "$upstream_response_time $host"
    )
    plain, compiled = both(of_upstream, data)
    assert plain.latency.tolist() == [latency for _, latency in cases]
    assert_same(plain, compiled, data)
    whole = parse_log_format(
        '[$time_local] "$request" $status $upstream_status $request_time "$upstream_response_time"'
    )
    data = line.format(0, '502, 200 0.3 "0.1, 0.2"').encode()
    plain, compiled = both(whole, data)
    assert plain.latency.tolist() == [300_000]
    assert_same(plain, compiled, data)
