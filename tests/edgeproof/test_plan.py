"""Claims about `edgeproof plan` as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.cost.next_values import next_values
from core.metrics.capacity import CapacityPlan
from tests.edgeproof.commands import called, edgeproof, running

SMALL = (
    "--set", "duration=3s", "--set", "warm_up=1s", "--set", "traffic.users=60",
    "--set", "traffic.conversions=30", "--rate", "20",
)  # fmt: skip
CPU = "kpis=[{metric='p95_cpu',target='< 50ms',alert='> 150ms'}]"


def test_plan_ends_at_its_bound_and_can_be_reported_again(tmp_path: Path) -> None:
    done = edgeproof(
        "plan", "baseline", *SMALL, "--set", CPU, "--max-rate", "50", "--out", "plan", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    sentence = "PLAN: Every KPI is predicted to hold up to the bound of 50 requests/s."
    assert sentence in done.stdout
    assert "Waiting is left out of p95_cpu (for the CPU)" in done.stdout
    assert done.stdout.splitlines()[0].split() == [
        "requests/s",
        "all",
        "KPIs",
        "hold",
        "busiest",
        "1M",
        "requests",
        "a",
        "month",
    ]
    assert "planning: 100 %" in done.stderr
    kept = json.loads((tmp_path / "plan" / "plan.json").read_text())
    plan = CapacityPlan.from_json(kept)
    assert [point.rate for point in plan.points] == [20.0, 40.0, 50.0]
    data = json.loads((tmp_path / "plan" / "report.json").read_text())
    assert (data["outcome"], data["plan"]) == ("PASS", kept)
    again = called("report", "plan", "--out", "again", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert sentence in again.stdout
    assert (tmp_path / "again" / "figures" / "capacity.svg").is_file()


def test_second_plan_takes_every_run_of_the_first(tmp_path: Path) -> None:
    arguments = ("plan", "baseline", *SMALL, "--set", CPU, "--max-rate", "50")
    runs = {"EDGEPROOF_RUNS": str(tmp_path / "runs")}
    first = called(*arguments, "--out", "a", cwd=tmp_path, variables=runs)
    second = called(*arguments, "--out", "b", cwd=tmp_path, variables=runs)
    assert (first.returncode, second.returncode) == (0, 0), second.stderr
    assert "taken" not in first.stderr
    assert "12 runs of earlier commands taken (--fresh simulates anew)" in second.stderr
    assert (tmp_path / "a" / "plan.json").read_bytes() == (
        tmp_path / "b" / "plan.json"
    ).read_bytes()


def test_plan_that_no_rate_meets_fails_and_so_does_its_report(tmp_path: Path) -> None:
    kpis = "kpis=[{metric='p95_cpu',target='< 1us',alert='> 2us'}]"
    done = edgeproof(
        "plan", "baseline", *SMALL, "--set", kpis, "--max-rate", "20", "--out", "plan", "--json",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert json.loads(done.stdout)["outcome"] == "FAIL"
    again = called("report", "plan", cwd=tmp_path)
    assert again.returncode == 1, again.stderr


def test_plan_of_what_nobody_can_measure_ends_with_one_line(tmp_path: Path) -> None:
    kpis = "kpis=[{metric='p95_attribution',target='< 1ms',alert='> 2ms'}]"
    done = edgeproof(
        "plan", "baseline", *SMALL, "--set", kpis, "--set", "endpoints.attribution.weight=0",
        "--json", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stdout == ""
    *_, line = done.stderr.splitlines()
    assert line.startswith("edgeproof: baseline: no KPI could be measured at 20 requests/s")
    assert "p95_attribution: endpoints.attribution.weight is 0" in line
    assert "Traceback" not in done.stderr


def test_ctrl_c_keeps_the_rates_that_a_plan_has_tried(tmp_path: Path) -> None:
    with running("plan", "baseline", "--out", "plan", cwd=tmp_path) as command:
        command.wait_for("^240 requests/s: holds")
        command.interrupt(group=True)
        code, out, said = command.end()
    assert code == 130
    assert "PLAN: Interrupted: so far, every KPI is predicted to hold up to 240" in out
    assert "Traceback" not in said
    plan = CapacityPlan.from_json(json.loads((tmp_path / "plan" / "plan.json").read_text()))
    assert plan.interrupted
    assert plan.points[0].rate == 240.0


def test_plan_says_what_helps_and_until_when_also_when_it_is_drawn_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = ("tiers.l3.concurrency", "tiers.l1.max_entries", "topology.isolates")
    monkeypatch.setattr(
        "sim.changes.next_values",
        lambda scenario: (tuple(c for c in next_values(scenario)[0] if c.field in few), ()),
    )
    monkeypatch.setattr("edgeproof.plan.jobs", lambda: 1)
    kpis = "kpis=[{metric='p95_track',target='< 100ms',alert='> 200ms'}]"
    done = called(
        "plan", "baseline", *SMALL, "--set", kpis, "--set", "tiers.l3.write_execution='20ms'",
        "--set", "duration=100s", "--what-helps", "--growth", "8%±2%/month", "--today", "10",
        "--out", "plan", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "trying changes: 100 %" in done.stderr
    *_, forecast, helps, plan_line, _ = done.stdout.splitlines()
    assert forecast.startswith("At 8%±2%/month today's 10 requests/s reach the knee in ")
    assert " helps most: every KPI holds up to " in helps
    assert "today's 10 requests/s" in plan_line
    plan = CapacityPlan.from_json(json.loads((tmp_path / "plan" / "plan.json").read_text()))
    assert plan.helps is not None
    assert plan.helps.best is not None
    assert plan.helps.best.field == "tiers.l3.concurrency"
    assert plan.forecast is not None
    assert plan.forecast.today == 10.0
    again = called("report", "plan", "--out", "again", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert {forecast, helps, plan_line} <= {*again.stdout.splitlines()}
    first = (tmp_path / "plan" / "report.html").read_text()
    assert "What to change?" in first
    for name in ("tornado", "isolates"):
        assert (tmp_path / "again" / "figures" / f"{name}.svg").is_file()


def test_growth_that_is_none_ends_with_one_line(tmp_path: Path) -> None:
    done = called("plan", "baseline", "--growth", "8", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("edgeproof: --growth is '8'; give a percentage a week, month or year")
