"""Claims about stages and ratios of a scenario's own, measured over HTTP."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.metrics.kpi import Outcome
from core.metrics.verdict import verdicts
from reports.words import describe
from scenarios.driver import run_load
from scenarios.measurement import measure
from tests.scenarios.conftest import StartService
from tests.scenarios.loads import small_plan, small_scenario

OWN: dict[str, Any] = {
    "metrics": {
        "stages": [
            {"name": "auth", "title": "checks of the caller's token", "header": "auth-check"},
            {"name": "batch", "title": "batches of the service", "profiler": "batches"},
        ],
        "ratios": [
            {
                "name": "edge", "alias": "edge_ratio", "title": "hits that L2 answered",
                "counted": ["reads.l2"], "of": ["reads.l1", "reads.l2"],
            },
        ],
    },
    "kpis": [
        {"metric": "p95(auth)", "target": "< 2ms", "alert": "> 20ms"},
        {"metric": "max(batch)", "target": "< 2s", "alert": "> 20s"},
        {"metric": "edge_ratio", "target": "> 0.1%", "alert": "< 0.01%"},
    ],
}  # fmt: skip


def test_a_stage_that_only_another_service_sends_is_measured_and_judged(
    start_service: StartService, tmp_path: Path
) -> None:
    scenario = small_scenario(**OWN)
    plan = small_plan(scenario, [start_service("good")])
    record, _ = measure(scenario, plan.workload, run_load(plan, tmp_path))
    requests = sum(histogram.count for histogram in record.latencies.values())
    assert record.stages["auth"].count == requests > 0
    assert record.stages["batch"].count >= requests
    fair = replace(record, audit=None)  # a busy machine is no matter of this
    found = {verdict.kpi.name: verdict for verdict in verdicts(fair, scenario.judged())}
    assert found["p95(auth)"].value == pytest.approx(3e-3, rel=0.01)
    assert found["p95(auth)"].outcome is Outcome.WARN
    assert found["max(batch)"].outcome is Outcome.PASS
    reads = record.read_totals()
    assert found["edge_ratio"].value == reads["l2"] / (reads["l1"] + reads["l2"]) > 0
    assert describe(found["p95(auth)"].kpi.metric) == (
        "95 % of checks of the caller's token take at most this"
    )
    assert describe(found["edge_ratio"].kpi.metric) == "share of hits that L2 answered"
