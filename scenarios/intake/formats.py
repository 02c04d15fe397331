"""The formats of access logs that have a name: what their lines and objects hold."""

from __future__ import annotations

from collections.abc import Mapping

from core.errors import InputError
from scenarios.intake.layout import Field, Layout, Quoting, TimeForm, separated
from scenarios.intake.log_format import parse_log_format

COMBINED = '%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-agent}i"'
COMMON = '%h %l %u %t "%r" %>s %b'
VHOST = f"%v:%p {COMBINED}"

# docs.aws.amazon.com, CloudFront, "Use real-time access logs": the fields in their order. The last
# three came later.
REAL_TIME = (
    "timestamp", "c-ip", "time-to-first-byte", "sc-status", "sc-bytes", "cs-method",
    "cs-protocol", "cs-host", "cs-uri-stem", "cs-bytes", "x-edge-location", "x-edge-request-id",
    "x-host-header", "time-taken", "cs-protocol-version", "c-ip-version", "cs-user-agent",
    "cs-referer", "cs-cookie", "cs-uri-query", "x-edge-response-result-type", "x-forwarded-for",
    "ssl-protocol", "ssl-cipher", "x-edge-result-type", "fle-encrypted-fields", "fle-status",
    "sc-content-type", "sc-content-len", "sc-range-start", "sc-range-end", "c-port",
    "x-edge-detailed-result-type", "c-country", "cs-accept-encoding", "cs-accept",
    "cache-behavior-path-pattern", "cs-headers", "cs-header-names", "cs-headers-count",
    "origin-fbl", "origin-lbl", "asn",
)  # fmt: skip
REAL_TIME_COUNTS = (40, 43)

# docs.aws.amazon.com, Elastic Load Balancing, "Access log entries"; all three times are seconds.
# The request line holds the whole URL, and request_creation_time is when it came.
_ALB = (
    "type time elb client target request_processing_time target_processing_time "
    "response_processing_time elb_status_code target_status_code received_bytes sent_bytes "
    '"request" "user_agent" ssl_cipher ssl_protocol target_group_arn "trace_id" "domain_name" '
    '"chosen_cert_arn" matched_rule_priority request_creation_time'
)
_ALB_FIELDS = {
    "client": Field.ADDRESS,
    "request_processing_time": Field.LATENCY,
    "target_processing_time": Field.LATENCY,
    "response_processing_time": Field.LATENCY,
    "elb_status_code": Field.STATUS,
    "request": Field.REQUEST,
    "user_agent": Field.AGENT,
    "request_creation_time": Field.TIME,
}

FORMATS = (
    "combined", "common", "vhost_combined", "cloudfront", "cloudfront-realtime", "cloudflare",
    "alb", "w3c", "har", "jsonl",
)  # fmt: skip
"""What --format takes."""

OBJECTS = ("cloudflare", "jsonl")
"""Formats that are a JSON object a line."""

HEADED = ("cloudfront", "w3c")
"""Formats whose files say in #Fields what their lines hold."""

# developers.cloudflare.com, Logpush, "HTTP requests".
CLOUDFLARE: Mapping[str, str] = {
    "time": "EdgeStartTimestamp",
    "end": "EdgeEndTimestamp",
    "method": "ClientRequestMethod",
    "path": "ClientRequestURI|ClientRequestPath",
    "status": "EdgeResponseStatus",
    "duration": "EdgeTimeToFirstByteMs",
    "cache": "CacheCacheStatus",
    "address": "ClientIP",
    "agent": "ClientRequestUserAgent",
}


def layout_of(format_: str) -> Layout:
    """Return the layout of the lines of *format_*, one whose files do not say it themselves."""
    if format_ in ("combined", "common", "vhost_combined"):
        text = {"combined": COMBINED, "common": COMMON, "vhost_combined": VHOST}[format_]
        layout = parse_log_format(text, name=format_)
        return Layout(name=format_, parts=layout.parts, time=layout.time, is_open=True)
    if format_ == "alb":
        return _alb()
    raise AssertionError(format_)


def _alb() -> Layout:
    texts = _ALB.split(" ")
    head = parse_log_format(
        " ".join(f'"${n[1:-1]}"' if n.startswith('"') else f"${n}" for n in texts), name="alb",
        names=_ALB_FIELDS, time=TimeForm.ISO,
    )  # fmt: skip
    return Layout(name="alb", parts=head.parts, time=TimeForm.ISO, is_open=True)


def fields_layout(names: list[str] | tuple[str, ...], format_: str) -> Layout:
    """Return the layout of lines with the fields *names*, in a CloudFront or W3C file.

    Raise InputError if they tell no time or no path.
    """
    is_real_time = format_ == "cloudfront-realtime"
    is_tabbed = is_real_time or format_ == "cloudfront"
    lowered = [name if "(" in name else name.casefold() for name in names]
    parts = separated(
        lowered, b"\t" if is_tabbed else b" ", format_, Quoting.NONE if is_tabbed else Quoting.OWN
    )
    if "timestamp(ms)" in lowered and "date" not in lowered:
        raise InputError(f"{format_}: timestamp(ms) without date and time is not read; add both")
    has_date = "date" in lowered and "time" in lowered
    if not has_date and "timestamp" not in lowered:
        raise InputError(f"{format_}: the fields have no date and time, nor a timestamp")
    form = TimeForm.DATE_AND_CLOCK if has_date else TimeForm.SECONDS
    return Layout(name=format_, parts=parts, time=form, is_end=True)
