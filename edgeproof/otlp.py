"""Where traces go: the option --otlp, and OpenTelemetry's environment variables."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Annotated
from urllib.parse import urlsplit

import typer

from core.errors import InputError
from edgeproof.notices import notice

_BASE, _TRACES = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_PATH = "/v1/traces"
_INSTALL = "pip install 'edgeproof[otlp]'"

OtlpOption = Annotated[
    str | None,
    typer.Option(
        "--otlp", metavar="URL",
        help="Send a trace of each request to this OTLP endpoint, such as http://127.0.0.1:4318 "
        f"(needs edgeproof[otlp]). Default: {_BASE}.",
    ),
]  # fmt: skip


def otlp_endpoint(option: str | None, environment: Mapping[str, str]) -> str | None:
    """Return the URL that traces are sent to, None for none.

    *option* is --otlp; without it the variables of OpenTelemetry decide, and what keeps those from
    being followed is a notice. Raise InputError for an option that cannot be followed.
    """
    name, url = "--otlp", option
    if url is None:
        name = next((each for each in (_TRACES, _BASE) if environment.get(each, "").strip()), "")
        if not name or environment.get("OTEL_TRACES_EXPORTER", "otlp").strip() != "otlp":
            return None
        url = environment[name].strip()
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        if option is not None:
            notice("--otlp: OTEL_SDK_DISABLED is true, so no traces are sent")
        return None
    fault = _fault(url, environment)
    if fault and option is not None:
        raise InputError(f"{name} {_shown(url)}: {fault}")
    if fault:
        notice(f"{name} is {_shown(url)}: {fault}; no traces are sent")
        return None
    has_path = name == _TRACES or url.rstrip("/").endswith(_PATH)
    return url if has_path else url.rstrip("/") + _PATH


def _fault(url: str, environment: Mapping[str, str]) -> str:
    try:
        parts = urlsplit(url)
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_url = False
    if not is_url:
        return "is no http:// or https:// URL"
    for name in _PROTOCOLS:
        protocol = environment.get(name, "").strip()
        if protocol and protocol != "http/protobuf":
            return f"{name} is {protocol}; edgeproof sends http/protobuf (port 4318)"
    if find_spec("opentelemetry") is None or find_spec("opentelemetry.exporter") is None:
        return f"the exporter is not installed; {_INSTALL}"
    return ""


def _shown(url: str) -> str:
    """Return *url* without the credentials that it may hold."""
    before, at, after = url.partition("@")
    return f"{before.partition('//')[0]}//{after}" if at else url


def told_endpoint(url: str) -> str:
    """Return *url* as it may be printed."""
    return _shown(url).partition("?")[0]
