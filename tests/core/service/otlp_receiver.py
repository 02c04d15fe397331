"""A small OTLP endpoint: it decodes what is posted, and can refuse or hold it up."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

LIMIT_SECONDS = 60.0


class Receiver(ThreadingHTTPServer):
    """Keeps every request that it accepts; status: what it answers with."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[Any] = []
        self.paths: set[str] = set()
        self.status = 200
        self.change = threading.Condition()

    @property
    def url(self) -> str:
        """Return where it listens, without a path."""
        return f"http://127.0.0.1:{self.server_port}"

    def spans(self) -> list[Any]:
        """Return every span that was accepted."""
        return [
            span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def await_spans(self, name: str, number: int) -> Sequence[Any]:
        """Return the spans called *name* once there are *number* of them, or fail."""

        def found() -> list[Any]:
            return [span for span in self.spans() if span.name == name]

        with self.change:
            assert self.change.wait_for(lambda: len(found()) >= number, LIMIT_SECONDS)
        return found()


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        assert self.headers["Content-Type"] == "application/x-protobuf"
        body = self.rfile.read(int(self.headers["Content-Length"]))
        request = ExportTraceServiceRequest()
        request.ParseFromString(body)
        server = self.server
        with server.change:
            server.paths.add(self.path)
            if server.status == 200:
                server.requests.append(request)
            server.change.notify_all()
        answer = ExportTraceServiceResponse().SerializeToString()
        self.send_response(server.status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Run a receiver."""
    receiver = Receiver()
    thread = threading.Thread(target=receiver.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield receiver
    finally:
        receiver.shutdown()
        thread.join()
        receiver.server_close()


def attributes(span: Any) -> dict[str, Any]:
    """Return the attributes of a span or resource as plain values."""
    found = {}
    for each in span.attributes:
        value = each.value
        found[each.key] = getattr(value, value.WhichOneof("value"))
    return found
