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

_ENDS = ("connection closed", "EOF", "Incomplete response")
"""The parser's words for a stream that ends within the head or the body."""


def kind_of(error: BaseException, *, has_begun: bool) -> Kind:
    """Return which failure *error* is; has_begun: whether the head of the answer was read."""
    for each in _chain(error):
        kind = _kind(each, has_begun=has_begun)
        if kind is not None:
            return kind
    return Kind.CONNECTION


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
        return Kind.TLS
    if isinstance(error, socket.gaierror):
        return Kind.NAME
    if isinstance(error, http.client.RemoteDisconnected):  # a reset and a bad status line, too
        return Kind.CLOSED
    if isinstance(error, HTTPConnectionClosed):
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
