"""Logs of our own making, after what the vendors document of their formats."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from scenarios.intake.chunk import Chunk
from scenarios.intake.log_file import LogFile, Reading
from scenarios.intake.recognition import Stated
from scenarios.intake.rules import parse_rule

RULES = ("product = GET /product/{product_id}", "track = POST /track", "find = GET /find?q={q}")
SALT = (0x0706050403020100, 0x0F0E0D0C0B0A0908)
AT = 1_795_197_600_000_000
"""2026-11-20T18:00:00Z in microseconds since 1970."""

COMBINED = (
    '203.0.113.10 - anna [20/Nov/2026:18:00:00 +0000] "GET /product/43?ref=mail HTTP/1.1" 200 1975 '
    '"https://shop.example/" "Mozilla/5.0"\n'
    '2001:db8::1 - - [20/Nov/2026:19:00:01 +0100] "POST /track HTTP/2.0" 503 0 "-" "a \\"b\\" c"\n'
)
COMMON = (
    '203.0.113.10 - - [20/Nov/2026:18:00:00 +0000] "GET /product/43 HTTP/1.0" 200 1975\n'
    '203.0.113.10 - - [20/Nov/2026:18:00:01 +0000] "POST /track HTTP/1.0" 503 -\n'
)
VHOST = (
    'shop.example:443 203.0.113.10 - - [20/Nov/2026:18:00:00 +0000] "GET /product/43 HTTP/1.1" 200 '
    '1975 "-" "Mozilla/5.0"\n'
    'shop.example:443 203.0.113.9 - - [20/Nov/2026:18:00:01 +0000] "POST /track HTTP/1.1" 503 0 '
    '"-" "Mozilla/5.0"\n'
)
CLOUDFRONT = (
    "#Version: 1.0\n"
    "#Fields: date time x-edge-location sc-bytes c-ip cs-method cs(Host) cs-uri-stem sc-status "
    "cs(Referer) cs(User-Agent) cs-uri-query cs(Cookie) x-edge-result-type x-edge-request-id "
    "x-host-header cs-protocol cs-bytes time-taken\n"
    "2026-11-20\t18:00:00\tFRA50-P1\t1975\t203.0.113.10\tGET\td1.cloudfront.net\t/product/43\t200\t"
    "-\tMozilla/5.0%20(X11)\tref=mail\t-\tHit\tx0==\tshop.example\thttps\t300\t0.007\n"
    "2026-11-20\t18:00:01\tFRA50-P1\t197\t203.0.113.10\tPOST\td1.cloudfront.net\t/track\t503\t-\t"
    "Mozilla/5.0\t-\t-\tError\tx1==\tshop.example\thttps\t300\t0.250\n"
)


def real_time(**values: str) -> str:
    """Return a line of CloudFront's real-time log with all 43 fields, - where nothing is given."""
    from scenarios.intake.formats import REAL_TIME

    return "\t".join(values.get(name.replace("-", "_"), "-") for name in REAL_TIME) + "\n"


REAL_TIME_LOG = real_time(
    timestamp="1795197600.250", c_ip="203.0.113.10", sc_status="200", cs_method="GET",
    cs_uri_stem="/product/43?ref=mail", time_taken="0.250", x_edge_result_type="RefreshHit",
) + real_time(
    timestamp="1795197601.500", c_ip="203.0.113.9", sc_status="503", cs_method="POST",
    cs_uri_stem="/track", time_taken="0.500", x_edge_result_type="Miss",
)  # fmt: skip
CLOUDFLARE = "".join(
    json.dumps(line) + "\n"
    for line in (
        {"ClientRequestURI": "/product/43?ref=mail", "ClientRequestMethod": "GET",
         "EdgeStartTimestamp": "2026-11-20T18:00:00Z", "EdgeResponseStatus": 200,
         "CacheCacheStatus": "hit", "EdgeTimeToFirstByteMs": 12},
        {"ClientRequestURI": "/track", "ClientRequestMethod": "POST",
         "EdgeStartTimestamp": "2026-11-20T18:00:01Z", "EdgeResponseStatus": 503,
         "CacheCacheStatus": "dynamic", "EdgeTimeToFirstByteMs": 250},
    )
)  # fmt: skip
_ALB_TAIL = (
    '"Mozilla/5.0" ECDHE-RSA-AES128-GCM-SHA256 TLSv1.2 arn:aws:elasticloadbalancing:eu-west-1:1:tg '
    '"Root=1-58337281-1d84f3d73c47ec4e58577259" "shop.example" "-" 1'
)
ALB = (
    "https 2026-11-20T18:00:00.186641Z app/shop/1 203.0.113.10:2817 10.0.0.1:80 0.086 0.048 0.037 "
    f'200 200 0 57 "GET https://shop.example:443/product/43?ref=mail HTTP/1.1" {_ALB_TAIL} '
    '2026-11-20T18:00:00.000000Z "forward" "-" "-" "10.0.0.1:80" "200" "-" "-"\n'
    "h2 2026-11-20T18:00:01.186641Z app/shop/1 203.0.113.10:2817 - -1 -1 -1 "
    f'503 - 0 57 "POST https://shop.example:443/track HTTP/2.0" {_ALB_TAIL} '
    '2026-11-20T18:00:01.000000Z "forward" "-" "-" "-" "-" "-" "-"\n'
)
W3C = (
    "#Software: Microsoft Internet Information Services 10.0\n#Version: 1.0\n"
    "#Date: 2026-11-20 18:00:00\n"
    "#Fields: date time s-ip cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip "
    "cs(User-Agent) cs(Referer) sc-status sc-substatus sc-win32-status time-taken\n"
    "2026-11-20 18:00:00 10.0.0.1 GET /product/43 ref=mail 443 - 203.0.113.10 Mozilla/5.0+(X11) - "
    "200 0 0 7\n"
    "2026-11-20 18:00:01 10.0.0.1 POST /track - 443 - 203.0.113.10 Mozilla/5.0 - 503 0 0 250\n"
)
HAR = json.dumps(
    {"log": {"version": "1.2", "creator": {"name": "x", "version": "1"}, "entries": [
        {"startedDateTime": "2026-11-20T18:00:00.000Z", "time": 7.5,
         "request": {"method": "GET", "url": "https://shop.example/product/43?ref=mail"},
         "response": {"status": 200}},
        {"startedDateTime": "2026-11-20T18:00:01.000+00:00", "time": 250,
         "request": {"method": "POST", "url": "https://shop.example/track"},
         "response": {"status": 503}},
    ]}}
)  # fmt: skip
JSONL = (
    '{"ts": 1795197600000, "request": {"uri": "/product/43?ref=mail", "method": "GET"}, '
    '"status": 200, "duration_ms": 7}\n'
    '{"ts": 1795197601000, "request": {"uri": "/track", "method": "POST"}, "status": "503", '
    '"duration_ms": 250.5}\n'
)

LOGS = {
    "combined": COMBINED, "common": COMMON, "vhost_combined": VHOST, "cloudfront": CLOUDFRONT,
    "cloudfront-realtime": REAL_TIME_LOG, "cloudflare": CLOUDFLARE, "alb": ALB, "w3c": W3C,
    "har": HAR, "jsonl": JSONL,
}  # fmt: skip


def read(
    path: Path,
    stated: Stated | None = None,
    rules: tuple[str, ...] = RULES,
    agents: tuple[bytes, ...] = (),
    *,
    is_compiled: bool = False,
) -> tuple[LogFile, Chunk]:
    """Return the log at *path* and its rows."""
    log = LogFile(path, stated or Stated())
    reading = Reading(
        rules=[parse_rule(text, "test") for text in rules], agents=agents, salt=SALT,
        with_keys=True, is_compiled=is_compiled,
    )  # fmt: skip
    chunks = [piece.chunk for piece in log.pieces(reading)]
    return log, Chunk(
        **{
            name: np.concatenate([getattr(chunk, name) for chunk in chunks])
            for name in ("rule", "time", "key", "status", "latency", "cache")
        },
        key_text=[text for chunk in chunks for text in chunk.key_text or ()],
        without_zone=sum(chunk.without_zone for chunk in chunks),
    )
