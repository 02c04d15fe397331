"""The answer to a request of a load: its head and its body, read and decoded up to a bound."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

import brotli
import geventhttpclient.client
from geventhttpclient.response import HTTPParseError, HTTPSocketPoolResponse
from locust.contrib.fasthttp import FastResponse

from scenarios.diagnosis import SpeaksHttp2
from scenarios.hosts import MAX_ANSWER_BYTES
from scenarios.timer import turn

MAX_HEAD_BYTES = 256_000
"""Of a head. One that comes without a pause is read without a turn of the event loop: no time limit
would ever end it."""

_PIECE_BYTES = 2**16
_TURN_BYTES = 2**18


class AnswerTooLarge(Exception):
    """A body of more than MAX_ANSWER_BYTES, or a head of more than MAX_HEAD_BYTES."""


class _BoundedHead(HTTPSocketPoolResponse):
    """What the client reads an answer from; it raises AnswerTooLarge while it reads the head."""

    _fed = 0

    def feed(self, data: str | bytes) -> None:
        if not self.headers_complete or self.get_code() < 200:
            self._fed += len(data)
            if self._fed > MAX_HEAD_BYTES:
                raise AnswerTooLarge(f"the head has more than {MAX_HEAD_BYTES} bytes")
        try:
            super().feed(data)
        except HTTPParseError:
            if _is_settings_frame(data):
                raise SpeaksHttp2("a frame of HTTP/2") from None
            raise


def _is_settings_frame(data: str | bytes) -> bool:
    """Return whether *data* begins as every connection of HTTP/2 does (RFC 9113, 3.4 and 6.5)."""
    return isinstance(data, bytes) and data[3:5] == b"\4\0" and data[5:9] == bytes(4)


# The client makes its responses of this name; it has no option for another class.
geventhttpclient.client.HTTPSocketPoolResponse = _BoundedHead  # type: ignore[attr-defined]


class BoundedResponse(FastResponse):
    """A response whose content raises AnswerTooLarge, and closes its connection, beyond a bound."""

    def _content(self) -> bytes:
        response: Any = self._response
        try:
            encodings = response.info().getlist("content-encoding")
            return _decoded(_pieces(response), encodings[0].lower() if encodings else "identity")
        finally:
            response.release()  # a connection with the rest of a body is closed


def _pieces(response: Any) -> Iterator[bytes]:
    size = since_turn = 0
    while piece := response.read(_PIECE_BYTES):
        size += len(piece)
        since_turn += len(piece)
        _check(size)
        yield piece
        if since_turn >= _TURN_BYTES:  # a large body that lies there would hold up every arrival
            since_turn = 0
            turn()
    if size > _TURN_BYTES:
        turn()


def _check(size: int) -> None:
    if size > MAX_ANSWER_BYTES:
        raise AnswerTooLarge(f"the answer has more than {MAX_ANSWER_BYTES} bytes")


def _decoded(pieces: Iterator[bytes], encoding: str) -> bytes:
    body = b"".join(pieces)
    # A server may label an answer without a body, such as a 204, like every other.
    if encoding == "identity" or not body:
        return body
    if encoding in ("gzip", "x-gzip"):
        return _inflated(body, 16 + zlib.MAX_WBITS)
    if encoding == "deflate":
        try:
            return _inflated(body, zlib.MAX_WBITS)
        except zlib.error:  # some servers send it without its zlib frame
            return _inflated(body, -zlib.MAX_WBITS)
    if encoding == "br":
        return _unbrotlied(body)
    raise ValueError(f"content encoding {encoding!r} is not known")


def _inflated(body: bytes, window: int) -> bytes:
    parts = []
    size = 0
    while True:
        decoder = zlib.decompressobj(window)
        part = decoder.decompress(body, MAX_ANSWER_BYTES + 1 - size)
        size += len(part)
        _check(size)
        if not decoder.eof:
            raise zlib.error("the body ends before its data do")
        parts.append(part)
        body = decoder.unused_data
        if not body.startswith(b"\x1f\x8b") or window <= zlib.MAX_WBITS:  # no further member
            return b"".join(parts)


def _unbrotlied(body: bytes) -> bytes:
    decoder = brotli.Decompressor()
    parts = [decoder.process(body, output_buffer_limit=MAX_ANSWER_BYTES + 1)]
    size = len(parts[0])
    _check(size)
    while not decoder.is_finished():
        part = decoder.process(b"", output_buffer_limit=MAX_ANSWER_BYTES + 1)
        if not part:
            raise brotli.error("the body ends before its data do")
        size += len(part)
        _check(size)
        parts.append(part)
    return b"".join(parts)
