"""Small scenarios, plans and results to test with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from core.metrics.stage import STAGES
from core.scenario.file import parse_scenario
from core.scenario.scenario import Scenario
from core.scenario.workload import Workload, generate_workload
from scenarios.plan import LoadPlan, make_plan
from scenarios.result import Kind, LoadResult, Rows, Snapshot


def small_scenario(*, rate: float = 60.0, **fields: Any) -> Scenario:
    """Return a scenario of about a second."""
    data: dict[str, Any] = {
        "name": "small",
        "duration": "0.8s",
        "warm_up": "0.2s",
        "timeout": "2s",
        "traffic": {"stages": [{"rate": rate}], "users": 50, "conversions": 20},
    }
    return parse_scenario({**data, **fields}, source="test")


def small_plan(scenario: Scenario, hosts: Sequence[str], **fields: Any) -> LoadPlan:
    """Return the plan of *scenario* for *hosts*."""
    return make_plan(scenario, generate_workload(scenario), hosts, run_id="test", **fields)


def all_answered(workload: Workload, **columns: Any) -> Rows:
    """Return rows as if every request had been answered in 5 ms, but for *columns*."""
    n = len(workload)
    fields: dict[str, Any] = {
        "index": np.arange(n),
        "intended_ns": workload.intended_ns,
        "endpoint": workload.endpoint,
        "subject": workload.subject,
        "host": np.zeros(n, dtype=np.uint16),
        "lag": np.full(n, 0.0002),
        "latency": np.full(n, 0.005),
        "kind": np.full(n, Kind.ANSWERED, dtype=np.uint8),
        "status": np.full(n, 200, dtype=np.uint16),
        "reads": np.zeros((n, 2), dtype=np.uint8),
        "cpu": np.full(n, math.nan),
        "total": np.full(n, math.nan),
        "attempts": np.ones(n, dtype=np.uint8),
        "is_refused": np.zeros(n, dtype=np.uint8),
        "retried_at": np.zeros(0),
        "samples": {
            stage.name: (np.zeros(0, dtype=np.int64), np.zeros(0))
            for stage in STAGES
            if stage.source == "header"
        },
        "dropped": np.zeros(0, dtype=np.int64),
        "held": np.zeros(0, dtype=np.int64),
    }
    return Rows(**{**fields, **columns})


def some_rows(rows: Rows, kept: Any) -> dict[str, Any]:
    """Return the columns of the rows at *kept*."""
    names = set(Rows.__dataclass_fields__) - {"samples", "retried_at", "dropped", "held"}
    return {name: getattr(rows, name)[kept] for name in names}


def load_result(
    rows: Rows,
    *,
    planned: int,
    before: Snapshot | None = None,
    after: Snapshot | None = None,
    interrupted: bool = False,
    **facts: Any,
) -> LoadResult:
    """Return a result that nothing is wrong with, but for what is given."""
    audit: dict[str, Any] = {
        "run_id": "test",
        "planned": planned,
        "handed": len(rows),
        "pool_size": 20,
        "cpu_seconds": 0.2,
        "wall_seconds": 1.0,
        "speed": {"count": 10, "seconds": 0.003, "median": 0.0003},
        "clean_start": "clean",
        "lag_limit": 0.005,
    }
    return LoadResult(
        rows=rows,
        before=(before,),
        after=(after,),
        polls=((),),
        audit={**audit, **facts},
        interrupted=interrupted,
    )
