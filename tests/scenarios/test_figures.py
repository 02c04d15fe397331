"""Claims about what a running load tells: each row once, counts that never fall, few series."""

from __future__ import annotations

import urllib.error
import urllib.request
from array import array
from typing import Any

import numpy as np
import pytest

from core.errors import InputError
from core.metrics.exposition import BOUNDS
from edgeproof.load_metrics import LoadMetrics, check_metrics_port, told_at
from scenarios.arrivals import Arrivals
from scenarios.figures import LoadFigures, add_figures
from scenarios.merging import merged_progress
from scenarios.recorder import Recorder
from scenarios.result import Kind
from tests.conftest import free_port
from tests.core.metrics.exposed import parsed
from tests.scenarios.answers import answered, sent
from tests.scenarios.loads import small_scenario

NAMES = small_scenario().endpoints.names


def load(rows: int = 40) -> tuple[Recorder, Arrivals, LoadFigures]:
    """Return what a load of *rows* arrivals, of all endpoints in turn, writes down."""
    endpoint = np.arange(rows, dtype=np.uint8) % len(NAMES)
    recorder = Recorder(small_scenario())
    arrivals = Arrivals(np.arange(rows, dtype=np.int64))
    return recorder, arrivals, LoadFigures(recorder, arrivals, NAMES, endpoint)


def test_each_row_is_counted_once_when_its_outcome_comes() -> None:
    recorder, _, figures = load()
    first, second, third = [sent(recorder, index=index) for index in range(3)]
    answered(recorder, second)
    for _ in range(2):
        told = figures.to_json()
        assert told["sent"] == {NAMES[0]: 3, **dict.fromkeys(NAMES[1:], 0)}
        assert sum(told["latency"][NAMES[0]]["counts"]) == 1
        assert sum(told["lag"]["counts"]) == 3
    answered(recorder, first)
    answered(recorder, third, status=503)
    for _ in range(2):
        told = figures.to_json()
        latency = told["latency"][NAMES[0]]
        assert latency["sum"] == pytest.approx(0.04)
        expected = [0] * (len(BOUNDS) + 1)
        expected[BOUNDS.index(0.025)] = 2
        expected[-1] = 1  # the failed one is slower than every bound
        assert latency["counts"] == expected
        assert told["failures"][NAMES[0]] == {"status 503": 1, "dropped": 0, "held": 0}


def test_reasons_are_told_by_endpoint_and_a_service_cannot_invent_any() -> None:
    recorder, arrivals, figures = load()
    for status in (599, 598, 597, 404):
        answered(recorder, sent(recorder, endpoint=1), status=status)
    recorder.fail(sent(recorder, endpoint=1), Kind.TIMEOUT)
    arrivals.dropped.extend(array("q", [1, 5, 2]))
    arrivals.held.extend(array("q", [5]))
    failures = figures.to_json()["failures"]
    assert failures[NAMES[1]] == {
        "status other": 3, "status 404": 1, "timeout": 1, "dropped": 1, "held": 1,
    }  # fmt: skip
    assert failures[NAMES[2]] == {"dropped": 1, "held": 0}


def test_workers_figures_add_up() -> None:
    recorder, _, figures = load()
    answered(recorder, sent(recorder))
    said = {
        **dict.fromkeys(("planned", "sent", "done", "answered", "failed", "dropped"), 1),
        **dict.fromkeys(("in_flight", "t", "p50", "p95", "rate", "planned_rate"), 1.0),
        "phase": "measuring", "hits": {}, "reasons": [], "figures": figures.to_json(),
    }  # fmt: skip
    told = merged_progress([said, said], planned=2)["figures"]
    twice: dict[str, Any] = {}
    for _ in range(2):
        add_figures(twice, figures.to_json())
    assert told == twice
    assert sum(told["lag"]["counts"]) == 2


def families(port: int) -> dict[str, Any]:
    """Return the samples that are told at *port*, by name and labels."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/metrics", headers={"Accept": "application/openmetrics-text"}
    )
    with urllib.request.urlopen(request) as answer:
        text = answer.read().decode()
    return {
        " ".join((one.name, *one.labels.values())): one.value
        for family in parsed(text)
        for one in family.samples
    }


def test_metrics_of_loads_go_on_from_one_load_to_the_next() -> None:
    port = free_port()
    with told_at(port, "small") as metrics:
        assert metrics is not None
        assert families(port)["edgeproof_load_running"] == 0
        for number in (1, 2):
            recorder, _, figures = load()
            metrics.begin()
            assert families(port).get(f"edgeproof_load_requests_total {NAMES[0]}", 0) == number - 1
            answered(recorder, sent(recorder), status=429)
            metrics.take({"phase": "measuring", "planned": 40, "figures": figures.to_json()})
            told = families(port)
            assert told[f"edgeproof_load_requests_total {NAMES[0]}"] == number
            assert told[f"edgeproof_load_failures_total 429 {NAMES[0]} status"] == number
            assert told[f"edgeproof_load_request_duration_seconds_bucket {NAMES[0]} 10.0"] == 0
            assert told[f"edgeproof_load_request_duration_seconds_count {NAMES[0]}"] == number
            assert told["edgeproof_load_send_lag_seconds_count"] == number
            assert told["edgeproof_load_send_lag_seconds_bucket 0.0005"] == number
            assert told["edgeproof_load_users idle"] == 0
            assert told["edgeproof_load_running"] == 1
            assert told["edgeproof_load_planned_requests"] == 40
        with (
            pytest.raises(InputError, match=f"--metrics-port {port}: .*give another"),
            told_at(port, "small"),
        ):
            pass
        with pytest.raises(InputError, match=f"--metrics-port {port}: .*address already in use"):
            check_metrics_port(port)
    with pytest.raises(urllib.error.URLError):
        families(port)
    with told_at(None, "small") as nothing:
        assert nothing is None


def test_progress_without_figures_keeps_the_last_ones() -> None:
    recorder, _, figures = load()
    sent(recorder)
    metrics = LoadMetrics("small")
    metrics.take({"phase": "measuring", "figures": figures.to_json()})
    metrics.take({"phase": "done"})
    found = {one.name: one.value for family in metrics.collect() for one in family.samples}
    assert found["edgeproof_load_send_lag_seconds_count"] == 1
