"""Claims about traces: what ran is told as spans, and a collector that fails costs no request."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from opentelemetry.sdk.trace.export import SpanExportResult

from core.clock import ManualClock, SystemClock
from core.endpoints import CDP
from core.errors import InputError
from core.metrics.profiler import LatencyProfiler
from core.metrics.span import ProfiledSpan
from core.service.tracing import Tracing
from core.wire import L1_HIT, NEGATIVE
from edgeproof.otlp import otlp_endpoint, told_endpoint
from tests.core.service.otlp_receiver import attributes, receiving
from tests.core.service.serving import serving, small_scenario

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = "00f067aa0ba902b7"


def test_requests_of_a_service_are_traces_at_the_endpoint(tmp_path: Path) -> None:
    began = time.time_ns()
    scenario = small_scenario("traced")
    with (
        receiving() as receiver,
        serving(scenario, tmp_path, otlp=f"{receiver.url}/v1/traces") as (visitor,),
    ):
        joined = {"traceparent": f"00-{TRACE}-{CALLER}-01"}
        assert visitor.http.get("/journey/u1", headers=joined).status_code == 200
        unsampled = {"traceparent": f"00-{TRACE[::-1]}-{CALLER}-00"}
        visitor.http.get("/channels?model=linear", headers=unsampled)
        visitor.http.get("/journey/u1", headers={"traceparent": "nonsense"})
        assert visitor.http.get("/attribution/none?model=linear").status_code == 404
        first, second = receiver.await_spans("GET /journey/{user_id}", 2)
        (missed,) = receiver.await_spans("GET /attribution/{conversion_id}", 1)
        sent = visitor.await_counters(lambda counters: counters["traces_sent"] >= 3)
        assert (sent["traces_sent"], sent["traces_dropped"], sent["traces_failed"]) == (3, 0, 0)
        metrics = visitor.http.get("/metrics").text
        assert 'edgeproof_traces_sent_total{worker="0"} 3.0' in metrics
        assert receiver.paths == {"/v1/traces"}
    assert (first.trace_id.hex(), first.parent_span_id.hex()) == (TRACE, CALLER)
    assert second.trace_id.hex() != TRACE
    assert second.parent_span_id == b""
    assert TRACE[::-1] not in {span.trace_id.hex() for span in receiver.spans()}
    told = attributes(first)
    assert told["http.response.status_code"] == 200
    assert told["http.route"] == "/journey/{user_id}"
    assert told["edgeproof.cache.journey"] == "miss"
    assert told["edgeproof.cpu_seconds"] > 0
    assert told["edgeproof.stage.l2_seconds"] > 0
    assert attributes(second)["edgeproof.cache.journey"] == "l1"
    assert "u1" not in str(told)
    assert missed.status.code != Status.STATUS_CODE_ERROR  # a 404 is the client's
    queries = [span for span in receiver.spans() if span.parent_span_id == first.span_id]
    assert [span.name for span in queries] == ["query user_journey"]
    for span in (first, *queries):
        assert began < span.start_time_unix_nano < span.end_time_unix_nano < time.time_ns()
    assert first.kind == Span.SPAN_KIND_SERVER
    assert first.start_time_unix_nano <= queries[0].start_time_unix_nano
    assert queries[0].end_time_unix_nano <= first.end_time_unix_nano
    resource = attributes(receiver.requests[0].resource_spans[0].resource)
    assert resource["service.name"] == "edgeproof"
    assert resource["service.instance.id"] == "0"


class Held:
    """An exporter that waits until it is let go, and takes or refuses what it is given."""

    def __init__(self, *results: SpanExportResult) -> None:
        self.results = [*results]
        self.free = threading.Event()
        self.busy = threading.Event()
        self.done = threading.Semaphore(0)
        self.spans: list[Any] = []
        self.is_shut = False

    def export(self, spans: Sequence[Any]) -> SpanExportResult:
        self.busy.set()
        assert self.free.wait(60)
        self.spans += spans
        self.done.release()
        return self.results.pop(0) if self.results else SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        self.is_shut = True


def request(profiler: LatencyProfiler) -> ProfiledSpan:
    with profiler.span("request", "journey") as span:
        pass
    return span


def tracing_to(exporter: Held, **options: Any) -> Tracing:
    return Tracing(
        "http://user:word@collector:4318/v1/traces?key=1", CDP, worker=0, scenario="small",
        exporter=exporter, **options,
    )  # fmt: skip


def test_full_queue_drops_and_counts_and_no_request_waits() -> None:
    exporter = Held()
    tracing = tracing_to(exporter, capacity=5)
    profiler = LatencyProfiler(SystemClock())
    tracing.offer("journey", request(profiler), 200, (), 0.0, ())
    assert exporter.busy.wait(60)
    for _ in range(9):  # nobody takes any of them
        tracing.offer("journey", request(profiler), 200, (), 0.0, ())
    assert tracing.dropped == 4
    exporter.free.set()
    tracing.close()
    assert (tracing.sent, tracing.dropped, tracing.failed) == (6, 4, 0)
    assert len(exporter.spans) == 6
    assert exporter.is_shut


def test_refused_spans_are_counted_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    exporter = Held(*[SpanExportResult.FAILURE] * 2)
    tracing = tracing_to(exporter)
    exporter.free.set()
    profiler = LatencyProfiler(SystemClock())
    for number in (1, 2, 3):
        tracing.offer("journey", request(profiler), 200, (), 0.0, ())
        assert exporter.done.acquire(timeout=60)
        assert len(exporter.spans) == number
    tracing.close()
    assert (tracing.sent, tracing.failed) == (1, 2)
    place = "http://collector:4318/v1/traces"
    assert [record.message for record in caplog.records] == [
        f"traces cannot be delivered to {place}; those lost are counted",
        f"traces reach {place} again",
    ]


def test_nested_stages_are_nested_spans_and_failures_are_errors() -> None:
    exporter = Held()
    exporter.free.set()
    tracing = tracing_to(exporter)
    clock = ManualClock()
    profiler = LatencyProfiler(clock)
    with profiler.span("request", "journey") as span:
        clock.advance(1.0)
        with profiler.span("external", "payment"):
            clock.advance(0.25)
            with profiler.span("query", "load_user"):
                clock.advance(0.5)
        profiler.fail("query", "plan", 0.125)
        span.fail()
    reads = [("journey", L1_HIT | NEGATIVE)]
    tracing.offer("journey", span, 503, reads, 0.002, [(b"traceparent", b"00-broken")])
    tracing.close()
    found = {span.name: span for span in exporter.spans}
    root = found["GET /journey/{user_id}"]
    assert root.end_time - root.start_time == 1_750_000_000
    assert root.attributes["edgeproof.cache.journey"] == "l1 negative"
    assert not root.status.is_ok
    assert found["external payment"].parent == root.context
    assert found["query load_user"].parent == found["external payment"].context
    assert found["query load_user"].start_time - root.start_time == 1_250_000_000
    assert found["query plan"].parent == root.context
    assert not found["query plan"].status.is_ok
    assert found["external payment"].status.is_ok or found["external payment"].status.is_unset


def test_service_starts_without_the_libraries_of_its_monitoring() -> None:
    code = (
        "import sys, core.service.worker, core.service.consumer, edgeproof.serve;"
        "print([n for n in sys.modules if n.startswith(('opentelemetry', 'prometheus_client'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout == "[]\n"


BASE = "OTEL_EXPORTER_OTLP_ENDPOINT"


@pytest.mark.parametrize(
    ("option", "environment", "url"),
    [
        (None, {}, None),
        ("http://c:4318", {}, "http://c:4318/v1/traces"),
        ("http://c:4318/", {BASE: "http://d"}, "http://c:4318/v1/traces"),
        ("https://c/otlp/v1/traces", {}, "https://c/otlp/v1/traces"),
        (None, {BASE: "http://d:4318/p"}, "http://d:4318/p/v1/traces"),
        (None, {BASE: "http://d", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://e/x"}, "http://e/x"),
        (None, {BASE: "http://d", "OTEL_TRACES_EXPORTER": "none"}, None),
        (None, {BASE: "http://d", "OTEL_SDK_DISABLED": "true"}, None),
    ],
)  # fmt: skip
def test_endpoint_is_the_options_or_that_of_the_environment(
    option: str | None, environment: dict[str, str], url: str | None,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert otlp_endpoint(option, environment) == url
    assert capsys.readouterr() == ("", "")


def test_what_cannot_be_followed_is_refused_or_said(capsys: pytest.CaptureFixture[str]) -> None:
    for url in ("collector:4318", "http://", "ftp://c", "http://c:99999"):
        with pytest.raises(InputError, match=r"--otlp .*: is no http:// or https:// URL"):
            otlp_endpoint(url, {})
    grpc = {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    with pytest.raises(InputError, match="OTEL_EXPORTER_OTLP_PROTOCOL is grpc"):
        otlp_endpoint("http://c", grpc)
    assert otlp_endpoint(None, {BASE: "http://u:secret@c:4317", **grpc}) is None
    said = capsys.readouterr().err
    assert f"{BASE} is http://c:4317: OTEL_EXPORTER_OTLP_PROTOCOL is grpc" in said
    assert "no traces are sent" in said
    assert "secret" not in said
    assert otlp_endpoint("http://c", {"OTEL_SDK_DISABLED": "TRUE"}) is None
    assert "--otlp: OTEL_SDK_DISABLED is true" in capsys.readouterr().err
    assert told_endpoint("https://u:w@c/v1/traces?k=1") == "https://c/v1/traces"


def test_without_the_extra_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeproof.otlp.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"--otlp http://c: .*pip install 'edgeproof\[otlp\]'"):
        otlp_endpoint("http://c", {})
