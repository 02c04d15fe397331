"""Claims about stages and ratios of a scenario's own: simulated, judged, reported, refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.application.cdp import Cdp
from core.context import Span
from core.metrics.capacity import CapacityPlan
from core.metrics.record import read_record, write_record
from core.scenario.file import load_scenario, scenario_data, scenario_hash
from core.scenario.kpi_lines import kpi_lines
from scenarios.catalogue import shipped
from sim.simulate import simulate
from tests.edgeproof.commands import called

OWN = """
name = "own"
duration = "2s"
warm_up = "1s"
traffic = { stages = [{ rate = 60 }], users = 60, conversions = 30 }

[[metrics.stages]]
name = "auth"
title = "checks of the caller's token"
header = "auth-check"

[[metrics.stages]]
name = "render"
title = "renderings of a page"
profiler = "render"

[[metrics.ratios]]
name = "retried"
title = "batches that were tried again"
alias = "retry_ratio"
counted = ["counters.queue_retries"]
of = ["counters.queue_batches"]

[[kpis]]
metric = "p95(auth)"
target = "< 5ms"
alert = "> 50ms"

[[kpis]]
metric = "max(render)"
target = "< 1ms"
alert = "> 2ms"

[[kpis]]
metric = "retry_ratio"
target = "< 1%"
alert = "> 5%"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a scenario with two stages and a ratio of its own, and a KPI on each."""
    path = tmp_path / "own.toml"
    path.write_text(OWN)
    return path


def test_stages_and_a_ratio_of_its_own_go_from_the_simulation_to_the_report(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journey = Cdp.journey

    async def timed(self: Any, span: Span, isolate: int, user: str) -> Any:
        """Do what a service with two steps of its own does: time them."""
        span.stages.append(("auth-check", 0.002))
        span.stages.append(("undescribed", 1.0))
        self._queries._profiler.record("render", "page", 0.004)
        return await journey(self, span, isolate, user)

    monkeypatch.setattr(Cdp, "journey", timed)
    record = simulate(load_scenario(file), replications=2).record
    assert record.stages["auth"].count == record.latencies["journey"].count > 0
    assert "undescribed" not in record.stages
    run = tmp_path / "run"
    run.mkdir()
    write_record(record, run / "record.json")
    assert read_record(run / "record.json").to_json() == record.to_json()
    done = called(
        "report", str(run), "--require", "ratio(retried)", "--json", cwd=tmp_path
    )  # fmt: skip
    kpis = {kpi["metric"]: kpi for kpi in json.loads(done.stdout)["kpis"]}
    assert done.returncode == 1
    assert kpis["p95(auth)"]["predicted"] == pytest.approx(0.002, rel=0.01)
    assert kpis["p95(auth)"]["predicted_outcome"] == "PASS"
    assert kpis["max(render)"]["predicted_outcome"] == "FAIL"
    assert kpis["retry_ratio"]["predicted_outcome"] == "PASS"
    page = (run / "report.html").read_text()
    for title in ("checks of the caller&#39;s token", "renderings of a page", "share of batches"):
        assert title in page, title


def test_a_plan_keeps_what_describes_its_kpis(file: Path, tmp_path: Path) -> None:
    kpis = load_scenario(file).judged()
    plan = CapacityPlan(
        scenario="own", scenario_hash="x", seed=1, replications=1, kpis=kpis, points=(),
        highest_rate=None, breaking_rate=None, breaks_first=(),
    )  # fmt: skip
    again = CapacityPlan.from_json(json.loads(json.dumps(plan.to_json())))
    assert [kpi.metric.what for kpi in again.kpis] == [kpi.metric.what for kpi in kpis]
    assert again == plan


def test_a_kpi_on_a_stage_of_its_own_has_a_line() -> None:
    assert kpi_lines(OWN)["p95(auth)"] == OWN[: OWN.index('"p95(auth)"')].count("\n") + 1


def test_two_scenarios_have_metrics_of_their_own_in_one_process(file: Path) -> None:
    own, plain = load_scenario(file), load_scenario(shipped()["baseline"])
    assert own.metrics.table.stage("auth") is not None
    assert plain.metrics.table.stage("auth") is None
    assert "metrics" not in scenario_data(plain)
    renamed = load_scenario(file, overrides=["metrics.stages[0].title=logins"])
    assert scenario_hash(renamed) != scenario_hash(own)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ("kpis[0].metric=p95(login)", "'p95(login)' is not a metric; use hit_ratio, "),
        ("kpis[0].metric=p95(login)", "|l3wait|total|auth|render)"),
        ("metrics.stages[0].name=track", "metrics: stage track is taken; use another name"),
        ("metrics.stages[0].name=l1", "metrics: stage l1 is taken; use another name"),
        ("metrics.stages[0].header=l1", "metrics: stage l1: l1 is another stage's, too"),
        ("metrics.stages[0].name=Auth", "metrics: stage 'Auth' cannot be named so; use a to z"),
        ("metrics.stages[1].header=x", "header and profiler are both given"),
        ("metrics.stages[0].title=", "metrics.stages[0].title: it is empty; say what is timed"),
        ("metrics.ratios[0].name=hit", "metrics: ratio hit is taken; use another name"),
        ("metrics.ratios[0].alias=p95_cpu", "metrics: alias p95_cpu is taken; use another one"),
        ('metrics.ratios[0].of=["hits"]', "'hits' is no count of a record; use requests, "),
    ],
)
def test_what_cannot_be_a_metric_is_refused_in_one_line(
    file: Path, tmp_path: Path, change: str, line: str
) -> None:
    done = called("simulate", str(file), "--set", change, cwd=tmp_path)
    assert done.returncode == 2
    (said,) = done.stderr.splitlines()
    assert line in said
    assert f"--set {change.partition('=')[0]}" in said
