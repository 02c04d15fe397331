"""The JSON object of a command: exact keys, SI units, nulls, no infinity."""

from __future__ import annotations

import json
import math

import pytest

from core.metrics.kpi import Outcome, judge, parse_kpi
from core.metrics.verdict import ComparisonRow, compare
from reports.summary import summary
from tests.reports import records

KEYS = [
    "metric",
    "target",
    "alert",
    "predicted",
    "predicted_interval",
    "predicted_outcome",
    "predicted_runs",
    "measured",
    "measured_interval",
    "measured_outcome",
    "measured_runs",
    "measured_possible",
    "error",
    "error_possible",
    "error_interval",
    "error_in_doubt",
]


def test_the_error_is_relative_for_times_and_sizes_and_a_difference_for_ratios() -> None:
    rows = compare(records.KPIS, records.predicted(), records.measured(slow=1.2))
    kpis = summary(rows, outcome=Outcome.PASS, out="runs/1")["kpis"]
    assert len(kpis) == 8
    for kpi in kpis:
        left, right = kpi["predicted"], kpi["measured"]
        expected = left - right if kpi["metric"].endswith("ratio") else left / right - 1
        assert kpi["error"] == pytest.approx(expected), kpi["metric"]


def test_every_key_is_there_in_order() -> None:
    rows = compare(records.KPIS, records.predicted(), None)
    data = summary(rows, outcome=Outcome.WARN, out="runs/1")
    assert list(data) == ["schema_version", "outcome", "out", "invalid", "doubts", "kpis"]
    assert (data["schema_version"], data["outcome"], data["out"]) == (1, "WARN", "runs/1")
    assert all(list(kpi) == KEYS for kpi in data["kpis"])


def test_a_missing_side_is_null() -> None:
    for kpi in summary(
        compare(records.KPIS, records.predicted(), None), outcome=Outcome.PASS, out="."
    )["kpis"]:
        assert kpi["predicted"] is not None
        assert kpi["predicted_interval"] is not None
        missing = ("measured", "measured_interval", "measured_outcome", "error")
        assert [kpi[key] for key in missing] == [None] * 4


def test_a_kpi_that_nobody_saw_is_null_with_an_outcome() -> None:
    rows = compare(records.KPIS, None, records.measured(hidden=("memory",)))
    kpis = {k["metric"]: k for k in summary(rows, outcome=Outcome.PASS, out=".")["kpis"]}
    assert kpis["peak_memory"]["measured"] is None
    assert kpis["peak_memory"]["measured_outcome"] == "NOT_MEASURED"
    assert kpis["p95_track"]["measured_interval"] is None


def test_infinity_is_text() -> None:
    kpi = parse_kpi("p95_track", "< 100ms", "> 200ms")
    row = ComparisonRow(
        kpi=kpi,
        predicted=judge(kpi, math.inf, (0.1, math.inf)),
        measured=judge(kpi, math.inf),
        error=None,
    )
    data = summary([row], outcome=Outcome.FAIL, out=".")
    assert data["kpis"][0]["predicted"] == "Infinity"
    assert data["kpis"][0]["predicted_interval"] == [0.1, "Infinity"]
    json.dumps(data, allow_nan=False)
