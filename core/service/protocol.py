"""The HTTP protocol of a worker: uvicorn's, with a bounded head and errors in JSON."""

from __future__ import annotations

import asyncio
import re
from functools import partial
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from core.service.limits import DEFAULT_LIMITS, ConnectionLimits
from core.service.responses import WHOLE_ANSWER, problem

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
    """Ends a connection beyond its *limits*, or whose request has no end or is no HTTP."""

    _head = 0
    _open: object = None
    _waits_for: object = None
    _since = 0.0

    def __init__(
        self, *args: Any, limits: ConnectionLimits = DEFAULT_LIMITS, **options: Any
    ) -> None:
        super().__init__(*args, **options)
        self._limits = limits

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, or refuse it where there are as many as may be."""
        super().connection_made(transport)
        most = self._limits.most
        if len(self.connections) > most:
            self.logger.warning(
                "a connection was answered 503: %s are open, as many as --max-connections allows",
                f"{most:,}",
            )
            self._refuse(
                503,
                "too_many_connections",
                f"{most:,} connections are open, and no more are taken; close some, or start the "
                "service with a higher --max-connections",
                b"retry-after: 1\r\n",
            )

    def on_response_complete(self) -> None:
        """Begin the next request that is there; `look` ends a connection that stays idle."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        whole: Any = partial(self._answer, cycle)  # extensions of uvicorn's own are dicts
        cycle.scope["extensions"] = {WHOLE_ANSWER: whole}
        super()._start_asgi_task(cycle, app)

    def _answer(self, cycle: RequestResponseCycle, status: int, fields: bytes, body: bytes) -> bool:
        """Do what WHOLE_ANSWER says, for the request of *cycle*."""
        cycle.scope.pop("extensions", None)  # it holds the cycle, and the cycle it
        if cycle.disconnected:
            return True  # nobody is there to be answered
        if cycle.response_started or cycle.access_log or self.flow.write_paused:
            return False
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        head = [STATUS_LINE[status]]
        for name, value in cycle.default_headers:
            head += (name, b": ", value, b"\r\n")
        head += (fields, b"content-length: %d\r\n" % len(body))
        if not cycle.keep_alive:
            head.append(b"connection: close\r\n")
        head.append(b"\r\n")
        if cycle.scope["method"] != "HEAD":
            head.append(body)
        self.transport.write(b"".join(head))
        cycle.message_event.set()
        if not cycle.keep_alive:
            self.transport.close()
        cycle.on_response()
        return True

    def look(self, now: float) -> None:
        """End the connection if it waits for its client for longer than it may.

        To be called every few seconds, *now* in seconds: a request needs no timer of its own.
        """
        cycle, scope = self.cycle, self.scope
        waits_for: object
        limit, end = self._limits.receive, self.transport.close
        if self.transport.is_closing() or self.flow.write_paused:
            # The client does not take what it was answered.
            waits_for, end = self.transport, self.transport.abort
        elif cycle is None or cycle.response_complete:
            if scope is not None and "path" not in scope:
                waits_for, end = scope, self._refuse_late_head
            else:
                waits_for, limit = cycle or self, self._limits.idle
        elif cycle.more_body and not self.flow.read_paused:
            waits_for, end = cycle.message_event, self._refuse_late_body
        else:
            waits_for = None  # it is the service that takes its time
        if waits_for is not self._waits_for:
            self._waits_for, self._since = waits_for, now
        elif waits_for is not None and now - self._since >= limit:
            end()

    def _refuse_late_head(self) -> None:
        self._refuse_late("head")

    def _refuse_late_body(self) -> None:
        self._refuse_late("body")

    def _refuse_late(self, part: str) -> None:
        self._refuse(
            408,
            "request_timeout",
            f"the {part} of the request did not arrive within {self._limits.receive:g} s; send it "
            "whole, or start the service with a higher --receive-timeout",
        )

    def data_received(self, data: bytes) -> None:
        """Parse *data*, in pieces in which no head can hide."""
        if len(data) > _PIECE:
            for start in range(0, len(data), _PIECE):
                if self.transport.get_protocol() is self:  # it was not refused
                    self.data_received(data[start : start + _PIECE])
            return
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
        if self.flow.write_paused:  # an answer is half-way
            self.pipeline.clear()
            self.transport.abort()
        else:
            self._refuse(503, "shutting_down", _ENDS)
        return undone

    def _refuse(self, status: int, code: str, message: str, fields: bytes = b"") -> None:
        if self.pipeline:
            # Other answers come first: this one would be taken for theirs.
            self.pipeline.clear()
            self.transport.abort()
            return
        _, body = problem(status, code, message)
        head = b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
        self.transport.write(STATUS_LINE[status] + fields + head % len(body) + body)
        # Closed at once, with bytes unread, the connection would be reset and the answer lost.
        try:
            self.transport.write_eof()
        except OSError:  # the client has reset it since the answer was written
            self.transport.abort()
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
        # Not close: that would wait for a client that does not read.
        self._end = loop.call_later(LINGER_SECONDS, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end.cancel()
