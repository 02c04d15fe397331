"""A plan read from its folder is the plan that was written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.errors import InputError
from core.scenario.workload import generate_workload
from scenarios.plan import (
    PLAN_FILE,
    WORKLOAD_FILE,
    LoadPlan,
    default_pool_size,
    lag_limit,
    make_plan,
)
from scenarios.result import LoadResult, ResultUnreadable
from tests.scenarios.loads import all_answered, load_result, small_plan, small_scenario


def test_plan_survives_its_folder(tmp_path: Path) -> None:
    plan = small_plan(small_scenario(), ["http://127.0.0.1:8787/"], connections=7)
    plan.write(tmp_path)
    read = LoadPlan.read(tmp_path)
    assert read.scenario == plan.scenario
    assert read.workload.identity() == plan.workload.identity()
    assert np.array_equal(read.workload.isolate, plan.workload.isolate)
    assert (read.hosts, read.run_id, read.connections) == (("http://127.0.0.1:8787",), "test", 7)
    assert (read.timeout, read.lag_limit, read.machine) == (2.0, plan.lag_limit, plan.machine)


def test_changed_rows_are_noticed(tmp_path: Path) -> None:
    plan = small_plan(small_scenario(), ["http://127.0.0.1:8787"])
    plan.write(tmp_path)
    with np.load(tmp_path / WORKLOAD_FILE) as file:
        columns = dict(file)
    columns["subject"] = columns["subject"] + 1
    np.savez(tmp_path / WORKLOAD_FILE, **columns)
    with pytest.raises(InputError, match="rows are not those of the plan"):
        LoadPlan.read(tmp_path)


def test_folder_without_a_plan_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a load plan"):
        LoadPlan.read(tmp_path)
    (tmp_path / PLAN_FILE).write_text("{}")
    with pytest.raises(InputError, match="not a load plan"):
        LoadPlan.read(tmp_path)


@pytest.mark.parametrize(
    ("rate", "timeout", "size"),
    [(1.0, "10s", 20), (240.0, "10s", 480), (240.0, "1s", 240), (1900.0, "10s", 1000)],
)
def test_pool_holds_the_peak_rate_for_two_seconds(rate: float, timeout: str, size: int) -> None:
    scenario = small_scenario(rate=rate, timeout=timeout)
    assert default_pool_size(scenario, generate_workload(scenario)) == size


def test_lag_limit_follows_the_tightest_endpoint_target() -> None:
    assert lag_limit(small_scenario()) == pytest.approx(0.005)
    kpi = {"metric": "p95(track)", "target": "< 400ms", "alert": "> 500ms"}
    assert lag_limit(small_scenario(kpis=[kpi])) == pytest.approx(0.02)
    stage = {"metric": "p95(query)", "target": "< 400ms", "alert": "> 500ms"}
    assert lag_limit(small_scenario(kpis=[stage])) == 0.005


def test_run_id_that_would_break_a_path_is_refused() -> None:
    scenario = small_scenario()
    with pytest.raises(InputError, match="run id"):
        make_plan(scenario, generate_workload(scenario), ["http://127.0.0.1"], run_id="a/b")


def test_result_survives_its_folder(tmp_path: Path) -> None:
    workload = generate_workload(small_scenario())
    result = load_result(all_answered(workload), planned=len(workload))
    result.write(tmp_path)
    read = LoadResult.read(tmp_path)
    assert read.audit == result.audit
    assert np.array_equal(read.rows.latency, result.rows.latency)
    assert read.before == result.before


def test_missing_result_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ResultUnreadable, match="no complete result"):
        LoadResult.read(tmp_path)
