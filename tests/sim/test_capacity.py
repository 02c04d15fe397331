"""The plan's rates are the ones between which a KPI breaks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import InputError
from core.metrics.capacity import CapacityPlan, CapacityPoint
from core.scenario.pace import with_rate
from core.scenario.replay import prepare
from core.scenario.scenario import Scenario
from sim import capacity
from sim.capacity import RUNS, Step
from sim.rates import at_rate
from sim.simulate import simulate
from tests.sim.runs import small_scenario

HARMLESS = [{"metric": "error_ratio", "target": "<= 100%", "alert": "> 100%"}]
FAST = {"l3": {"write_execution": "1us", "read_execution": "1us"}}
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


def plan_capacity(scenario: Scenario, **options: Any) -> CapacityPlan:
    """Plan with the compiled engine where it can: its runs are those of the reference."""
    return capacity.plan_capacity(scenario, **{"engine": "auto", **options})


def broken_at(scenario: Scenario, rate: float) -> list[str]:
    """Return which KPIs the mean of simulations at *rate* misses."""
    record = simulate(with_rate(scenario, rate), replications=RUNS - 1, engine="compiled").record
    found = {kpi: record.estimate(kpi.metric) for kpi in scenario.judged()}
    return [
        kpi.name
        for kpi, estimate in found.items()
        if estimate is None or not kpi.target.holds(estimate.value)
    ]


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
    monkeypatch.setattr("sim.capacity.MAX_REQUESTS", 1000)
    scenario = planned(kpis=HARMLESS, tiers=FAST)
    told: list[Step] = []
    plan = plan_capacity(scenario, on_step=told.append)
    # As many as make a run of 1,000 requests, and no 16 times as many as at first.
    assert plan.highest_rate == plan.bound == pytest.approx(250.0, rel=0.2)
    assert plan.breaking_rate is None
    assert plan.breaks_first == ()
    assert plan.bound is not None
    assert len(prepare(at_rate(scenario, plan.bound)).workload) == pytest.approx(1000, rel=0.2)
    assert told[-1].left >= 0
    requests = [step.requests for step in told]
    assert requests == sorted(requests)
    assert all(step.left > 0 for step in told[:-1])
    # What is left was never told too low: all that came after a step is within it.
    assert all(step.requests + step.left >= requests[-1] * 0.99 for step in told)


def test_bound_is_the_last_rate_that_is_tried() -> None:
    plan = plan_capacity(planned(kpis=HARMLESS, tiers=FAST), max_rate=70.0)
    assert [point.rate for point in plan.points] == [20.0, 40.0, 70.0]
    assert (plan.highest_rate, plan.breaking_rate, plan.bound) == (70.0, None, 70.0)
    assert plan_capacity(planned(kpis=HARMLESS, tiers=FAST, rate=5.0)).bound == 16 * 5.0


@pytest.mark.parametrize(
    ("max_rate", "words"),
    [
        (19.0, "--max-rate is 19; the search begins at 20 requests/s"),
        (2e5, "and one of a plan at most 400,000: give at most"),
        (1e7, "it is at most 1000000"),
    ],
)
def test_bound_that_cannot_be_is_refused(max_rate: float, words: str) -> None:
    with pytest.raises(InputError, match=words):
        plan_capacity(planned(), max_rate=max_rate)


def test_kpi_that_was_not_measured_holds_nothing() -> None:
    no_attribution = {"mix": {"track": 0, "attribution": 0, "journey": 1, "channels": 0}}
    kpis = [{"metric": "p95_attribution", "target": "< 1s", "alert": "> 2s"}]
    with pytest.raises(
        InputError, match=r"no KPI could be measured at 20 .*endpoints\.attribution\.weight is 0"
    ):
        plan_capacity(planned(traffic=no_attribution, kpis=kpis))
    kpis += [{"metric": "p95(journey)", "target": "< 1s", "alert": "> 2s"}]
    plan = plan_capacity(planned(traffic=no_attribution, kpis=kpis), max_rate=40.0)
    assert plan.highest_rate == 40.0
    assert plan.unmeasured == {"p95_attribution": "endpoints.attribution.weight is 0"}
    assert all(set(point.outcomes) == {"p95(journey)"} for point in plan.points)


def test_rate_at_which_a_kpi_is_no_longer_measured_does_not_hold() -> None:
    point = CapacityPoint(
        rate=1.0,
        values={"hit_ratio": 1.0},
        outcomes={"hit_ratio": "PASS", "p95_queue": "NOT_MEASURED"},
    )
    assert not point.holds
    assert (point.broken, point.missed) == (("p95_queue",), ())
    assert not CapacityPoint(rate=1.0, values={}, outcomes={}).holds


def test_queue_that_grows_ends_a_plan_though_no_kpi_shows_it() -> None:
    # 4/5 of the requests are writes of 20 ms, one at a time: the database carries 62 of them.
    kpis = [{"metric": "p95(l3)", "target": "< 10s", "alert": "> 20s"}]
    plan = plan_capacity(planned(kpis=kpis, duration="20s"))
    assert plan.highest_rate is not None
    assert 0.9 * 62 < plan.highest_rate < 1.05 * 62
    assert plan.breaking_point is not None
    assert plan.breaking_point.saturated == ("database",)
    assert plan.breaks_first == ()
    assert all(point.holds == (not point.saturated) for point in plan.points)


def test_cpu_that_cannot_keep_up_is_named() -> None:
    kpis = [{"metric": "p95_cpu", "target": "< 1s", "alert": "> 2s"}]
    cpu = {"cpu": {"track": "20ms", "attribution": "20ms", "journey": "20ms", "channels": "20ms"}}
    plan = plan_capacity(planned(kpis=kpis, topology=cpu, tiers=FAST, duration="20s"))
    assert plan.highest_rate is not None
    assert 0.9 * 50 < plan.highest_rate < 1.05 * 50
    assert plan.breaking_point is not None
    assert plan.breaking_point.saturated == ("CPU",)


def test_kpi_that_the_rate_does_not_decide_is_named() -> None:
    kpis = [
        {"metric": "p95_track", "target": "< 10s", "alert": "> 20s"},
        {"metric": "p50(l3)", "target": "< 1us", "alert": "> 2us"},
    ]
    plan = plan_capacity(planned(kpis=kpis, tiers=FAST))
    assert plan.highest_rate is None
    assert plan.never_met == ("p50(l3)",)
    assert plan.eased == ()


def test_kpi_that_more_traffic_eases_is_looked_for_upwards() -> None:
    kpis = [{"metric": "hit_ratio", "target": ">= 75%", "alert": "< 10%"}]
    cold = {"kpis": kpis, "tiers": FAST, "start": "cold"}
    plan = plan_capacity(planned(**cold, rate=10.0))
    assert plan.highest_rate is not None
    assert plan.highest_rate > 10.0
    assert not plan.points[0].holds
    short = plan_capacity(planned(**cold, rate=10.0), max_rate=12.0)
    assert short.highest_rate is None
    assert short.eased == short.never_met == ("hit_ratio",)


def test_ctrl_c_keeps_what_was_tried() -> None:
    def interrupt(point: CapacityPoint) -> None:
        if point.rate > 50:
            raise KeyboardInterrupt

    plan = plan_capacity(planned(kpis=HARMLESS, tiers=FAST), on_point=interrupt)
    assert plan.interrupted
    assert [point.rate for point in plan.points] == [20.0, 40.0, 80.0]
    assert (plan.highest_rate, plan.breaking_rate) == (80.0, None)
    with pytest.raises(KeyboardInterrupt):
        plan_capacity(
            planned(), on_step=lambda _: interrupt(CapacityPoint(rate=99, values={}, outcomes={}))
        )


def test_plan_does_not_depend_on_processes_or_the_engine() -> None:
    scenario = planned(kpis=HARMLESS, tiers=FAST)
    plan = plan_capacity(scenario, max_rate=40.0)
    assert plan_capacity(scenario, max_rate=40.0, jobs=2) == plan
    assert plan_capacity(scenario, max_rate=40.0, engine="reference") == plan


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


@pytest.mark.parametrize("source", [{"offset": 100}, {"limit": 50}, {}])
def test_every_rate_judges_the_same_accesses_of_a_trace(
    source: dict[str, Any], tmp_path: Path
) -> None:
    trace = trace_of(tmp_path, 1000)
    scenario = planned(
        trace={"file": str(trace), **source},
        warm_up="1s",
        traffic={"stages": [{"rate": 10, "ramp_to": 20, "duration": "2s"}, {"rate": 20}]},
        faults=[{"at": "2s", "for": "1s", "tier": "l2", "kind": "dead"}],
    )
    first = prepare(scenario).workload
    for rate in (20.0, 0.3, 7.0, 160.0, 3000.0):
        other = at_rate(scenario, rate)
        workload = prepare(other).workload
        factor = 20.0 / rate
        assert np.array_equal(workload.subject, first.subject)
        assert np.array_equal(workload.endpoint, first.endpoint)
        assert workload.intended == pytest.approx(first.intended * factor, rel=1e-6, abs=1e-8)
        assert other.total_time == pytest.approx(5.0 * factor)
        assert np.count_nonzero(workload.intended >= other.warm_up) == np.count_nonzero(
            first.intended >= 1.0
        )
        (fault,) = other.faults
        assert (fault.at, fault.for_) == pytest.approx((2.0 * factor, factor))


def test_rate_of_a_scenario_without_a_trace_leaves_its_times_alone() -> None:
    other = at_rate(planned(), 40.0)
    assert other == with_rate(planned(), 40.0)
    assert other.duration == planned().duration


def test_trace_is_planned_beyond_the_rate_that_would_use_up_its_accesses(tmp_path: Path) -> None:
    trace = trace_of(tmp_path, 120)
    plan = plan_capacity(planned(trace={"file": str(trace)}, kpis=HARMLESS, tiers=FAST))
    assert plan.highest_rate == plan.bound == 320.0


def test_trace_without_enough_accesses_is_refused(tmp_path: Path) -> None:
    trace = trace_of(tmp_path, 1000)
    with pytest.raises(InputError, match="10 accesses from offset 990 on"):
        plan_capacity(planned(trace={"file": str(trace), "offset": 990}))


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
