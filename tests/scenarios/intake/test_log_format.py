"""Claims about log_format and LogFormat: directives as configurations have them."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import InputError
from scenarios.intake.log_format import parse_log_format
from scenarios.intake.recognition import Stated
from tests.scenarios.intake.samples import AT, read

NGINX = (
    "log_format main '$remote_addr - $remote_user [$time_local] \"$request\" '\n"
    "  '$status $body_bytes_sent rt=$request_time uct=\"$upstream_response_time\" '\n"
    "  'cache=$upstream_cache_status';"
)


@pytest.mark.parametrize(
    ("text", "line", "begin", "latency"),
    [
        (NGINX, '203.0.113.1 - an na [20/Nov/2026:18:00:01 +0000] "GET /product/43 HTTP/1.1" 200 5 '
         'rt=0.250 uct="0.1, 0.2" cache=HIT', 750_000, 250_000),
        ('$time_iso8601|$request_method|$uri|$status',
         '2026-11-20T19:00:00+01:00|GET|/product/43|200', 0, -1),
        ('[$msec] "$request_method ${request_uri}" $status $request_time',
         '[1795197600.500] "GET /product/43?a=b" 200 0.500', 0, 500_000),
        ('LogFormat "%h %l %u %t \\"%r\\" %>s %b %D" timed',
         '203.0.113.1 - - [20/Nov/2026:18:00:00 +0000] "GET /product/43 HTTP/1.1" 200 - 1234',
         0, 1234),
        ('%{usec}t %m %U%q %s %{ms}T', "1795197600000007 GET /product/43?x=1 200 12", 7, 12_000),
        ('%{end:msec}t "%r" %s %T', '1795197602500 "GET /product/43 HTTP/1.1" 200 2', 500_000,
         2_000_000),
        ('%t 100%% "%r" %>s', '[20/Nov/2026:18:00:00 +0000] 100% "GET /product/43 HTTP/1.1" 200', 0,
         -1),
    ],
)  # fmt: skip
@pytest.mark.parametrize("is_compiled", [False, True])
def test_directives_are_read(
    tmp_path: Path, text: str, line: str, begin: int, latency: int, *, is_compiled: bool
) -> None:
    file = tmp_path / "log"
    file.write_text(line + "\n", encoding="utf-8")
    _, chunk = read(file, Stated(log_format=text), is_compiled=is_compiled)
    assert chunk.rule.tolist() == [0]
    assert (chunk.time - AT).tolist() == [begin]
    assert chunk.latency.tolist() == [latency]
    assert chunk.status.tolist() == [200]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("combined", "names no variable"),
        ("$request $status", "names no time"),
        ("[$time_local] $status", "names neither a request nor a path"),
        ("[$time_local] $request_method$request_uri", "two values stand without anything between"),
        ('%{%d/%b/%Y}t "%r"', "is no time that is read"),
    ],
)
def test_a_directive_that_cannot_be_read_is_refused(text: str, told: str) -> None:
    with pytest.raises(InputError, match=r"^--log-format: ") as error:
        parse_log_format(text)
    assert told in str(error.value)
