"""What an error of the HTTP client stands for: which kind of failure the request met."""

from __future__ import annotations

import errno
import http.client
import socket
import ssl
import zlib
from collections.abc import Iterator

import brotli
import gevent
from geventhttpclient.response import HTTPConnectionClosed, HTTPParseError

from scenarios.result import Kind

UNREADABLE = (ValueError, RuntimeError, zlib.error, brotli.error)
"""What the client lets through where an answer cannot be read, besides its own errors."""

_KINDS: dict[int | None, Kind] = {
    errno.ECONNREFUSED: Kind.REFUSED,
    errno.ECONNRESET: Kind.RESET,
    errno.EPIPE: Kind.RESET,
    errno.ECONNABORTED: Kind.RESET,
    errno.ETIMEDOUT: Kind.TIMEOUT,
    errno.EHOSTUNREACH: Kind.UNREACHABLE,
    errno.ENETUNREACH: Kind.UNREACHABLE,
    errno.EMFILE: Kind.EXHAUSTED,
    errno.ENFILE: Kind.EXHAUSTED,
    errno.EADDRNOTAVAIL: Kind.EXHAUSTED,
    errno.ENOBUFS: Kind.EXHAUSTED,
    errno.ENOMEM: Kind.EXHAUSTED,
}

_ALERTS = {
    "TLSV1_ALERT_NO_APPLICATION_PROTOCOL": Kind.HTTP2,
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": Kind.CLIENT_CERTIFICATE,
    "TLSV1_ALERT_UNKNOWN_CA": Kind.CLIENT_CERTIFICATE,
    "TLSV1_ALERT_ACCESS_DENIED": Kind.CLIENT_CERTIFICATE,
    "SSLV3_ALERT_BAD_CERTIFICATE": Kind.CLIENT_CERTIFICATE,
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": Kind.CLIENT_CERTIFICATE,
    "SSLV3_ALERT_CERTIFICATE_REVOKED": Kind.CLIENT_CERTIFICATE,
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": Kind.CLIENT_CERTIFICATE,
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": Kind.CLIENT_CERTIFICATE,
}
"""What a host says of the handshake; of certificates it knows the client's only."""

_ENDS = ("connection closed", "EOF", "Incomplete response")
"""The parser's words for a stream that ends within the head or the body."""


class SpeaksHttp2(HTTPParseError):
    """An answer to HTTP/1.1 in frames of HTTP/2."""


def kind_of(error: BaseException, *, has_begun: bool) -> Kind:
    """Return which failure *error* is; has_begun: whether the head of the answer was read."""
    for each in _chain(error):
        kind = _kind(each, has_begun=has_begun)
        if kind is not None:
            return kind
    return Kind.CONNECTION


def innermost(error: BaseException) -> BaseException:
    """Return what *error* wraps, or itself."""
    return next(_chain(error))


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield *error* and what it wraps, the innermost first."""
    found: list[BaseException] = []
    each: BaseException | None = error
    while each is not None and each not in found:
        found.append(each)
        original = getattr(each, "original", None)
        each = original if isinstance(original, BaseException) else each.__cause__
    yield from reversed(found)


def _kind(error: BaseException, *, has_begun: bool) -> Kind | None:
    if isinstance(error, (TimeoutError, gevent.Timeout)):
        return Kind.STALLED if has_begun else Kind.TIMEOUT
    if isinstance(error, ssl.SSLCertVerificationError):
        return Kind.CERTIFICATE
    if isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        return Kind.TRUNCATED if has_begun else Kind.CLOSED
    if isinstance(error, ssl.SSLError):
        text = str(error).upper().replace(" ", "_")  # not every alert has a constant
        return next((kind for alert, kind in _ALERTS.items() if alert in text), Kind.TLS)
    if isinstance(error, socket.gaierror):
        return Kind.NAME
    if isinstance(error, http.client.RemoteDisconnected):  # a reset and a bad status line, too
        return Kind.CLOSED
    if isinstance(error, SpeaksHttp2):
        return Kind.HTTP2
    if isinstance(error, HTTPConnectionClosed):
        if isinstance(error.__context__, ssl.SSLError):
            return _kind(error.__context__, has_begun=has_begun)
        if isinstance(error.__context__, ConnectionResetError):
            return Kind.RESET
        return Kind.TRUNCATED if has_begun else Kind.CLOSED
    if isinstance(error, (http.client.BadStatusLine, http.client.LineTooLong)):
        return Kind.NOT_HTTP
    if isinstance(error, http.client.IncompleteRead):
        return Kind.TRUNCATED
    if isinstance(error, HTTPParseError):
        is_end = any(word in str(error) for word in _ENDS)
        return Kind.TRUNCATED if is_end else Kind.NOT_HTTP
    if isinstance(error, (zlib.error, brotli.error)):
        return Kind.ENCODING
    if isinstance(error, OSError):
        return _KINDS.get(error.errno)
    if isinstance(error, ValueError):
        # The client checks what it sends, and raises the same type for what it cannot decode.
        return Kind.UNSENDABLE if str(error).startswith("invalid ") else Kind.ENCODING
    return None
