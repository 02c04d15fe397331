"""Traces of requests, sent to an OTLP endpoint from a thread of its own.

A request hands over its span and goes on. OpenTelemetry is imported by `Tracing` alone.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from core.endpoints import EndpointTable
from core.metrics.span import ProfiledSpan, SpanStage
from core.wire import NEGATIVE, READ_OUTCOMES, STALE

CAPACITY = 2_048
"""Requests that may wait for the thread; one more is dropped and counted."""

_BATCH = 256
_SECONDS = 0.5
_CLOSING_SECONDS = 2.0
_log = logging.getLogger("edgeproof.service")


class Done(NamedTuple):
    """A request that has ended. ended_ns: epoch; traceparent: the header, "" without one."""

    name: str
    span: ProfiledSpan
    status: int
    reads: Sequence[tuple[str, int]]
    cpu: float
    ended_ns: int
    traceparent: str


class Tracing:
    """Sends the spans of requests to *endpoint*, at most CAPACITY of which wait.

    Sampling, resource and headers are those of OpenTelemetry's environment variables. sent: how
    many requests the endpoint has accepted; dropped: how many did not fit the queue; failed: how
    many could not be delivered. exporter: what sends, by default OTLP over HTTP.
    """

    def __init__(
        self,
        endpoint: str,
        table: EndpointTable,
        *,
        worker: int,
        scenario: str,
        exporter: Any = None,
        capacity: int = CAPACITY,
    ) -> None:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider

        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # we say it once
        self._place = urlsplit(endpoint)._replace(query="", fragment="")
        if exporter is None:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

            exporter = OTLPSpanExporter(endpoint=endpoint)
        self._exporter = exporter
        attributes = {"service.instance.id": str(worker), "edgeproof.scenario": scenario}
        resource = Resource.create({"service.version": version("edgeproof"), **attributes})
        if str(resource.attributes.get("service.name", "")).startswith("unknown_service"):
            resource = resource.merge(Resource({"service.name": "edgeproof"}))
        self._ended: list[Any] = []
        provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        provider.add_span_processor(_collecting(self._ended.append))
        self._tracer = provider.get_tracer("edgeproof", version("edgeproof"))
        self._routes = {each.name: (each.method, each.path.partition("?")[0]) for each in table}
        self._queue: deque[Done] = deque()
        self._capacity = capacity
        self._wake = threading.Event()
        self._is_closed = self._is_failing = False
        self.sent = self.dropped = self.failed = 0
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
        self._thread.start()

    def offer(
        self,
        name: str,
        span: ProfiledSpan,
        status: int,
        reads: Sequence[tuple[str, int]],
        cpu: float,
        headers: Sequence[tuple[bytes, bytes]],
    ) -> None:
        """Take a request that has ended, or count it as dropped where the queue is full."""
        queue = self._queue
        if len(queue) >= self._capacity:
            self.dropped += 1
            return
        traceparent = next((v.decode("latin-1") for n, v in headers if n == b"traceparent"), "")
        queue.append(Done(name, span, status, reads, cpu, time.time_ns(), traceparent))
        if len(queue) == _BATCH:
            self._wake.set()

    def counters(self) -> dict[str, int]:
        """Return what became of the requests' spans."""
        return {
            "traces_dropped": self.dropped,
            "traces_failed": self.failed,
            "traces_sent": self.sent,
        }

    def close(self) -> None:
        """Send what waits, for at most 2 s."""
        self._is_closed = True
        self._wake.set()
        self._thread.join(_CLOSING_SECONDS)
        self._exporter.shutdown()

    def _run(self) -> None:
        while True:
            self._wake.wait(_SECONDS)
            self._wake.clear()
            is_last = self._is_closed
            while self._queue:
                self._send([self._queue.popleft() for _ in range(min(_BATCH, len(self._queue)))])
            if is_last:
                return

    def _send(self, batch: Sequence[Done]) -> None:
        number = sum(self._translate(done) for done in batch)
        spans = [*self._ended]
        self._ended.clear()
        if not spans:
            return  # the sampler took none of them
        try:
            has_worked = self._exporter.export(spans).name == "SUCCESS"
        except Exception:  # whatever it meets, the service goes on and the loss is counted
            _log.exception("the exporter of traces failed")
            has_worked = False
        if has_worked:
            self.sent += number
        else:
            self.failed += number
        if has_worked == self._is_failing:
            self._is_failing = not has_worked
            place = self._place._replace(netloc=self._place.netloc.rpartition("@")[2]).geturl()
            if has_worked:
                _log.warning("traces reach %s again", place)
            else:
                _log.warning("traces cannot be delivered to %s; those lost are counted", place)

    def _translate(self, done: Done) -> bool:
        """Make the spans of one request; return whether it is sampled."""
        from opentelemetry.trace import SpanKind, StatusCode, set_span_in_context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        around = None
        if done.traceparent:
            carrier = {"traceparent": done.traceparent}
            around = TraceContextTextMapPropagator().extract(carrier)
        assert done.span.seconds is not None
        started = done.ended_ns - round(done.span.seconds * 1e9)
        method, route = self._routes[done.name]
        stages = done.span.stages
        attributes: dict[str, Any] = {
            "http.request.method": method,
            "http.route": route,
            "http.response.status_code": done.status,
            "url.scheme": "http",
            "edgeproof.endpoint": done.name,
            "edgeproof.cpu_seconds": done.cpu,
            **_reads(done.reads),
            **_unplaced(stages),
        }
        root = self._tracer.start_span(
            f"{method} {route}", around, SpanKind.SERVER, attributes, start_time=started
        )
        if not root.is_recording():
            return False
        if done.span.is_failed:
            root.set_status(StatusCode.ERROR)
        # What ends last comes first: a stage's parent has been seen before it.
        seen: list[tuple[SpanStage, Any]] = []
        for stage in reversed(stages):
            if stage.began is None:
                continue
            parent = next(
                (span for around, span in reversed(seen) if _encloses(around, stage)), root
            )
            begun = started + round(stage.began * 1e9)
            span = self._tracer.start_span(
                f"{stage.kind} {stage.name}", set_span_in_context(parent),
                SpanKind.CLIENT if stage.kind in ("query", "external") else SpanKind.INTERNAL,
                {"edgeproof.stage": stage.kind, "edgeproof.operation": stage.name},
                start_time=begun,
            )  # fmt: skip
            if stage.is_failed:
                span.set_status(StatusCode.ERROR)
            seen.append((stage, span))
            span.end(begun + round(stage.seconds * 1e9))
        root.end(done.ended_ns)
        return True


def _encloses(around: SpanStage, stage: SpanStage) -> bool:
    if around.began is None or stage.began is None or around.depth != stage.depth - 1:
        return False
    return around.began <= stage.began <= around.began + around.seconds


def _reads(reads: Sequence[tuple[str, int]]) -> dict[str, str]:
    return {
        f"edgeproof.cache.{name}": " ".join(
            [READ_OUTCOMES[code & (NEGATIVE - 1)]]
            + [word for flag, word in ((NEGATIVE, "negative"), (STALE, "stale")) if code & flag]
        )
        for name, code in reads
    }


def _unplaced(stages: Sequence[SpanStage]) -> dict[str, float]:
    """Return the time of each stage of which only the length is known: no span can be made."""
    found: dict[str, float] = {}
    for stage in stages:
        if stage.began is None and stage.name not in ("cpu", "total"):
            key = f"edgeproof.stage.{stage.name}_seconds"
            found[key] = found.get(key, 0.0) + stage.seconds
    return found


def _collecting(take: Callable[[Any], object]) -> Any:
    from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

    class Collecting(SpanProcessor):
        def on_end(self, span: ReadableSpan) -> None:
            take(span)

    return Collecting()
