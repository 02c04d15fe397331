"""The plan's rates are the ones between which a KPI breaks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.capacity import CapacityPlan, CapacityPoint
from core.errors import InputError
from core.kpi import Outcome, judge
from core.pace import with_rate
from core.scenario import Scenario
from sim.capacity import plan_capacity
from sim.simulate import simulate
from tests.sim.runs import small_scenario

KPIS = [
    {"metric": "p95_track", "target": "< 100ms", "alert": "> 200ms"},
    {"metric": "hit_ratio", "target": ">= 10%", "alert": "< 5%"},
]


def planned(**fields: Any) -> Scenario:
    """Return a scenario of a second that executes 20 ms writes one at a time: 50 a second."""
    return small_scenario(
        **{
            "rate": 20.0,
            "duration": "4s",
            "warm_up": "0s",
            "tiers": {"l3": {"write_execution": "20ms"}},
            "kpis": KPIS,
            **fields,
        }
    )


def broken_at(scenario: Scenario, rate: float) -> list[str]:
    """Return which KPIs a simulation at *rate* misses."""
    record = simulate(with_rate(scenario, rate), replications=0).record
    outcomes = {kpi.name: judge(kpi, record.metric(kpi.metric)) for kpi in scenario.judged()}
    return [name for name, verdict in outcomes.items() if verdict.outcome is not Outcome.PASS]


@pytest.mark.parametrize("start", [5.0, 20.0, 400.0])
def test_highest_rate_holds_and_the_rate_that_breaks_is_within_2_percent(start: float) -> None:
    told: list[CapacityPoint] = []
    scenario = planned(rate=start)
    plan = plan_capacity(scenario, on_point=told.append)
    assert plan.highest_rate is not None
    assert plan.breaking_rate is not None
    assert 1 < plan.breaking_rate / plan.highest_rate <= 1.02
    assert broken_at(scenario, plan.highest_rate) == []
    assert broken_at(scenario, plan.breaking_rate) == ["p95_track"] == list(plan.breaks_first)
    # Writes of 20 ms one at a time, for 80 % of the requests.
    assert plan.highest_rate < 50 / 0.8 * 1.5
    assert sorted(told, key=lambda point: point.rate) == list(plan.points)
    assert len({point.rate for point in told}) == len(told)


def test_kpi_that_is_named_is_the_one_that_breaks() -> None:
    kpis = [
        {"metric": "p95_track", "target": "< 10s", "alert": "> 20s"},
        {"metric": "p95(journey)", "target": "< 10s", "alert": "> 20s"},
        {"metric": "p50(l3wait)", "target": "< 5ms", "alert": "> 9s"},
    ]
    plan = plan_capacity(planned(kpis=kpis))
    assert plan.breaks_first == ("p50(l3wait)",)
    assert plan.breaking_rate is not None
    assert broken_at(planned(kpis=kpis), plan.breaking_rate) == ["p50(l3wait)"]


def test_scenario_that_never_holds_has_no_highest_rate() -> None:
    kpis = [{"metric": "p50(track)", "target": "< 1us", "alert": "> 2us"}]
    plan = plan_capacity(planned(kpis=kpis))
    assert plan.highest_rate is None
    assert plan.breaking_rate is not None
    assert plan.breaks_first == ("p50(track)",)
    assert not any(point.holds for point in plan.points)


def test_scenario_that_nothing_breaks_has_no_breaking_rate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sim.capacity.MAX_REQUESTS", 2000)
    kpis = [{"metric": "error_ratio", "target": "<= 100%", "alert": "> 100%"}]
    plan = plan_capacity(planned(kpis=kpis))
    assert plan.highest_rate == 320.0  # twice that is more than 2,000 requests in 4 s
    assert plan.breaking_rate is None
    assert plan.breaks_first == ()


def test_plan_is_the_same_every_time_and_survives_its_file() -> None:
    plan = plan_capacity(planned())
    assert plan_capacity(planned()) == plan
    assert CapacityPlan.from_json(plan.to_json()) == plan


def test_faster_database_carries_a_higher_rate() -> None:
    one = plan_capacity(planned())
    two = plan_capacity(planned(tiers={"l3": {"write_execution": "20ms", "concurrency": 2}}))
    assert one.highest_rate is not None
    assert two.highest_rate is not None
    assert two.highest_rate > 1.3 * one.highest_rate


def trace_of(folder: Path, count: int, *, timed: bool = False) -> Path:
    path = folder / "keys.csv"
    rows = (f"{i / 10},k{i % 40}" if timed else f"k{i % 40}" for i in range(count))
    header = "time,key" if timed else "key"
    path.write_text("\n".join([header, *rows, ""]), encoding="utf-8")
    return path


def test_trace_is_planned_with_up_to_the_rate_that_it_has_accesses_for(tmp_path: Path) -> None:
    kpis = [{"metric": "error_ratio", "target": "<= 100%", "alert": "> 100%"}]
    trace = trace_of(tmp_path, 1000)
    plan = plan_capacity(planned(trace={"file": str(trace), "offset": 100}, kpis=kpis))
    assert plan.highest_rate == 160.0  # twice that is more than 900 accesses in 4 s
    assert plan.breaking_rate is None


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({"limit": 50}, r"trace\.limit is 50"),
        ({"offset": 990}, "10 accesses from offset 990 on"),
    ],
)
def test_trace_that_has_one_rate_only_is_refused(
    source: dict[str, Any], words: str, tmp_path: Path
) -> None:
    trace = trace_of(tmp_path, 1000)
    with pytest.raises(InputError, match=words):
        plan_capacity(planned(trace={"file": str(trace), **source}))


@pytest.mark.parametrize("source", [{}, {"limit": 30}, {"offset": 20}])
def test_timed_trace_is_planned_from_its_own_rate(tmp_path: Path, source: dict[str, Any]) -> None:
    trace = trace_of(tmp_path, 1000, timed=True)
    kpis = [{"metric": "p95_track", "target": "< 500ms", "alert": "> 2s"}]
    plan = plan_capacity(
        planned(trace={"file": str(trace), **source}, kpis=kpis, start="cold", duration="40s")
    )
    assert plan.highest_rate is not None
    assert plan.breaking_rate is not None
    assert round(plan.points[0].rate, 6) == 10.0  # an access each 0.1 s
    slow, fast = plan.points[0].values, plan.points[-1].values
    assert slow["p95_track"] < 0.5 <= fast["p95_track"]


def test_scenario_without_arrivals_is_refused() -> None:
    with pytest.raises(InputError, match="rate 0"):
        plan_capacity(planned(rate=0.0))
