"""The load generator's metrics, on a port of their own while a load runs."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.errors import InputError
from core.metrics.exposition import BOUNDS
from scenarios.figures import add_figures

if TYPE_CHECKING:
    from prometheus_client.metrics_core import HistogramMetricFamily, Metric

_ADDRESS = "127.0.0.1"

MetricsPortOption = Annotated[
    int | None,
    typer.Option(
        "--metrics-port", min=1, max=65535, metavar="N",
        help="Tell Prometheus about the load at http://127.0.0.1:N/metrics while it runs.",
        rich_help_panel="Load",
    ),
]  # fmt: skip


class LoadMetrics:
    """What loads have told, one after the other: counters go on from one to the next."""

    def __init__(self, scenario: str) -> None:
        self._scenario = scenario
        self._lock = threading.Lock()
        self._before: dict[str, Any] = {}
        self._figures: Mapping[str, Any] = {}
        self._said: Mapping[str, Any] = {}

    def begin(self) -> None:
        """Take up a further load."""
        with self._lock:
            add_figures(self._before, {n: v for n, v in self._figures.items() if n != "users"})
            self._figures, self._said = {}, {}

    def take(self, said: Mapping[str, Any]) -> None:
        """Keep what a load has just said."""
        with self._lock:
            self._said = said
            self._figures = said.get("figures", self._figures)

    def collect(self) -> Iterable[Metric]:
        """Return every metric, for a scrape."""
        with self._lock:
            told: dict[str, Any] = {}
            add_figures(told, self._before)
            add_figures(told, self._figures)
            said = dict(self._said)
        yield from _families(told, said, self._scenario)


def _families(told: Mapping[str, Any], said: Mapping[str, Any], scenario: str) -> Iterator[Metric]:
    from prometheus_client.metrics_core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
        InfoMetricFamily,
    )

    yield InfoMetricFamily(
        "edgeproof_load_build", "The version, and the scenario whose requests are sent.",
        value={"version": version("edgeproof"), "scenario": scenario},
    )  # fmt: skip
    sent = CounterMetricFamily(
        "edgeproof_load_requests", "Requests sent, by endpoint.", labels=["endpoint"]
    )
    failures = CounterMetricFamily(
        "edgeproof_load_failures",
        "Requests that failed, by endpoint and reason; dropped and held ones were never sent.",
        labels=["endpoint", "reason", "code"],
    )
    latency = HistogramMetricFamily(
        "edgeproof_load_request_duration_seconds",
        "Time from when a request should have been sent to its answer, by endpoint. Failed ones "
        "count as slower than every bucket and add nothing to the sum.",
        labels=["endpoint"], unit="seconds",
    )  # fmt: skip
    lag = HistogramMetricFamily(
        "edgeproof_load_send_lag_seconds", "How late requests were sent: the generator's own part.",
        labels=[], unit="seconds",
    )  # fmt: skip
    for endpoint, count in told.get("sent", {}).items():
        sent.add_metric([endpoint], count)
    for endpoint, found in told.get("latency", {}).items():
        _add(latency, [endpoint], found)
    if "lag" in told:
        _add(lag, [], told["lag"])
    for endpoint, reasons in told.get("failures", {}).items():
        for text, count in reasons.items():
            reason, _, code = text.partition(" ")
            failures.add_metric([endpoint, reason, code], count)
    users = GaugeMetricFamily(
        "edgeproof_load_users", "Users of the generator, each of which holds a connection.",
        labels=["state"],
    )  # fmt: skip
    for state, number in told.get("users", {}).items():
        users.add_metric([state], number)
    yield from (sent, failures, latency, lag, users)
    for name, documentation, value in (
        ("planned_requests", "Requests of the load that is running.", said.get("planned", 0)),
        ("requests_in_flight", "Requests without an outcome so far.", said.get("in_flight", 0)),
        (
            "planned_requests_per_second", "The rate that the plan has just now.",
            said.get("planned_rate") or 0,
        ),
        (
            "running", "1 while requests are sent, 0 before and after.",
            said.get("phase") in ("warm-up", "measuring", "loading"),
        ),
    ):  # fmt: skip
        yield GaugeMetricFamily(f"edgeproof_load_{name}", documentation, value=float(value))


def _add(family: HistogramMetricFamily, labels: list[str], found: Mapping[str, Any]) -> None:
    from core.metrics.exposition import bucket_samples

    total = 0
    cumulative = [total := total + count for count in found["counts"]]
    family.add_metric(labels, bucket_samples(cumulative[: len(BOUNDS)], total), found["sum"])


def check_metrics_port(port: int | None) -> None:
    """Raise InputError if *port* cannot be listened on, before anything is written."""
    if port is None:
        return
    try:
        with socket.socket() as taken:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind((_ADDRESS, port))
    except OSError as error:
        raise _refused(port, error) from None


def _refused(port: int, error: OSError) -> InputError:
    why = (error.strerror or str(error)).lower()
    return InputError(
        f"--metrics-port {port}: {_ADDRESS} cannot be listened on there ({why}); give another"
    )


@contextmanager
def told_at(port: int | None, scenario: str) -> Iterator[LoadMetrics | None]:
    """Serve the metrics of the loads of *scenario* at *port* as long as the context lasts.

    None without a port. Raise InputError if it cannot be listened on.
    """
    if port is None:
        yield None
        return
    from prometheus_client import CollectorRegistry, start_http_server

    metrics = LoadMetrics(scenario)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(metrics)
    try:
        server, thread = start_http_server(port, addr=_ADDRESS, registry=registry)
    except OSError as error:
        raise _refused(port, error) from None
    try:
        yield metrics
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
