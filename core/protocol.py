"""The HTTP protocol of a worker: uvicorn's, with a bounded head and errors in JSON."""

from __future__ import annotations

import asyncio
import re

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from core.answers import problem

MAX_HEAD_BYTES = 32_768
"""Of a request line with its header fields: that many are taken, twice as many never."""

LINGER_SECONDS = 2.0
_FRAMING = (b"content-length", b"transfer-encoding")
_PIECE = MAX_HEAD_BYTES // 2
_METHOD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+ ")
_NO_HTTP = "this is no HTTP/1.1 request: mend its request line, header fields or framing"

_ENDS = (
    "the service is ending and did not finish this in time; send it again, to another one or once "
    "this one is back: an event_id is stored once"
)


class BoundedProtocol(HttpToolsProtocol):
    """Ends a connection whose request has no end to its head, or is no HTTP."""

    _head = 0
    _open: object = None

    def data_received(self, data: bytes) -> None:
        """Parse *data*, in pieces in which no head can hide."""
        if len(data) > _PIECE:
            for start in range(0, len(data), _PIECE):
                if self.transport.get_protocol() is self:  # it was not refused
                    self.data_received(data[start : start + _PIECE])
            return
        if self.timeout_keep_alive_task is not None:
            self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as head:
            self._go_on(data[head.args[0] :])
            return
        except httptools.HttpParserInvalidMethodError:
            self._take_unknown_method(data)
            return
        except httptools.HttpParserError:
            self.send_400_response(_NO_HTTP)
            return
        scope = self.scope
        if scope is not None and "path" not in scope:
            self._await_head(scope, len(data))

    def _go_on(self, data: bytes) -> None:
        """Answer a request for an upgrade as what it is otherwise; *data* follows its head.

        The parser took its body for the other protocol, and the request for complete.
        """
        cycle = self.cycle
        cycle.keep_alive = False
        cycle.more_body = True
        cycle.message_event.clear()
        try:
            # All that is asked of a parser from here on.
            self.parser = _BodyParser(self, self.headers)  # type: ignore[assignment]
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.send_400_response(_NO_HTTP)

    def _take_unknown_method(self, data: bytes) -> None:
        """Let a request whose method the parser does not know be answered as it deserves.

        It goes on as one with a method that the parser knows and no path takes. Where *data* may
        begin in the middle of another request, it is no HTTP.
        """
        cycle, method = self.cycle, _METHOD.match(data)
        is_first = cycle is None or (cycle.response_complete and not cycle.more_body)
        if method is None or not is_first:
            self.send_400_response(_NO_HTTP)
            return
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's
        self.data_received(b"PUT " + data[method.end() :])

    def _await_head(self, scope: object, size: int) -> None:
        if self._open is not scope:  # it began in this piece, after what came before it
            self._open, self._head = scope, 0
            return
        self._head += size
        if self._head >= MAX_HEAD_BYTES:
            self._refuse_head()

    def send_400_response(self, msg: str) -> None:
        """Answer what cannot be parsed, and close the connection."""
        self._refuse(400, "bad_request", msg)

    def _refuse_head(self) -> None:
        if self.headers:
            message = f"the header fields are longer than {MAX_HEAD_BYTES:,} bytes; send less"
            self._refuse(431, "headers_too_large", message)
        else:
            message = f"the request line is longer than {MAX_HEAD_BYTES:,} bytes; send less"
            self._refuse(414, "uri_too_long", message)

    def cut_off(self) -> int:
        """Answer a request in flight that it will not be finished, and end the connection.

        Return how many requests that leaves undone.
        """
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()
            return 0
        undone = 1 + len(self.pipeline)
        if self.pipeline or self.flow.write_paused:
            # Others come first, or an answer is half-way: a further one would be taken for theirs.
            self.pipeline.clear()
            self.transport.abort()
        else:
            self._refuse(503, "shutting_down", _ENDS)
        return undone

    def _refuse(self, status: int, code: str, message: str) -> None:
        _, body = problem(status, code, message)
        head = b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
        self.transport.write(STATUS_LINE[status] + head % len(body) + body)
        # Closed at once, with bytes unread, the connection would be reset and the answer lost.
        self.transport.write_eof()
        self.connections.discard(self)
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.set_protocol(_Lingering(self.transport, self.loop))


class _BodyParser:
    """Parses the body that the header fields *headers* announce, and nothing after it."""

    def __init__(self, protocol: HttpToolsProtocol, headers: list[tuple[bytes, bytes]]) -> None:
        self._protocol = protocol
        self._is_over = False
        self._parser = httptools.HttpRequestParser(self)
        framing = [pair for pair in headers if pair[0] in _FRAMING]
        head = [b"POST / HTTP/1.1", *(b"%b: %b" % pair for pair in framing), b"\r\n"]
        self._parser.feed_data(b"\r\n".join(head))

    def feed_data(self, data: bytes) -> None:
        """Parse *data*; HttpParserError if it is no body."""
        try:
            if not self._is_over:
                self._parser.feed_data(data)
        except httptools.HttpParserError:
            if not self._is_over:
                raise

    def should_upgrade(self) -> bool:
        """Return False: that is over."""
        return False

    def on_body(self, body: bytes) -> None:
        """Hand on a piece of the body."""
        if not self._is_over:
            self._protocol.on_body(body)

    def on_message_complete(self) -> None:
        """Hand on the end of the body."""
        if not self._is_over:
            self._is_over = True
            self._protocol.on_message_complete()


class _Lingering(asyncio.Protocol):
    """Reads over what a refused client goes on to send, for a while."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._end = loop.call_later(LINGER_SECONDS, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end.cancel()
