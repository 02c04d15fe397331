"""A plan's sentence says what was predicted, up to which bound, and whether the rate decides."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from core.metrics.capacity import CapacityPlan, CapacityPoint, Knee
from core.metrics.kpi import judge, parse_kpi
from reports.capacity_words import capacity_finding, points_table, short_runs_note

TRACK = parse_kpi("p95_track", "< 100ms", "> 200ms")
HIT = parse_kpi("hit_ratio", ">= 95%", "< 85%")
KPIS = (TRACK, HIT)


def point(rate: float, track: float | None, hit: float | None, *saturated: str) -> CapacityPoint:
    verdicts = [judge(TRACK, track), judge(HIT, hit)]
    return CapacityPoint(
        rate=rate,
        values={v.kpi.name: v.value for v in verdicts if v.value is not None},
        outcomes={v.kpi.name: v.outcome.value for v in verdicts},
        saturated=saturated,
    )


def plan(
    *points: CapacityPoint, good: float | None, bad: float | None, **more: Any
) -> CapacityPlan:
    broken = next((p.broken for p in points if p.rate == bad), ())
    return CapacityPlan(
        scenario="x", scenario_hash="", seed=1, replications=4, kpis=KPIS, points=points,
        highest_rate=good, breaking_rate=bad, breaks_first=broken, **more,
    )  # fmt: skip


GOOD = point(100.0, 0.05, 0.97)
HELD = replace(GOOD, runs=3, intervals={"p95_track": (0.04, 0.06)})
OPEN = replace(
    point(104.0, 0.09, 0.97),
    runs=3,
    outcomes={"p95_track": "INCONCLUSIVE", "hit_ratio": "PASS"},
    intervals={"p95_track": (0.07, 0.11)},
)

PLANS = [
    (
        plan(HELD, point(104.0, 0.12, 0.97), good=100.0, bad=104.0, engine="load"),
        "Every KPI holds, as measured, up to 100 requests/s (the means of 3 loads, with all of "
        "their intervals); p95_track breaks first, at 104 requests/s",
    ),
    (
        plan(HELD, OPEN, good=100.0, bad=104.0, engine="load"),
        "Every KPI holds, as measured, up to 100 requests/s (the means of 3 loads, with all of "
        "their intervals); p95_track is undecided at 104 requests/s: its interval reaches beyond "
        "the target",
    ),
    (
        plan(GOOD, good=100.0, bad=None, engine="load", ended="--max-duration ended the search"),
        "Every KPI holds, as measured, up to 100 requests/s, the highest rate tried; "
        "--max-duration ended the search",
    ),
    (
        plan(GOOD, point(102.0, 0.12, 0.97), good=100.0, bad=102.0, bound=1600.0),
        "Every KPI is predicted to hold up to 100 requests/s; p95_track breaks first, at 102 "
        "requests/s",
    ),
    (
        plan(GOOD, good=100.0, bad=None, bound=100.0),
        "Every KPI is predicted to hold up to the bound of 100 requests/s",
    ),
    (
        plan(GOOD, good=100.0, bad=None, bound=1600.0, interrupted=True),
        "Interrupted: so far, every KPI is predicted to hold up to 100 requests/s, the highest "
        "rate tried",
    ),
    (
        plan(GOOD, point(102.0, 0.06, 0.97, "database"), good=100.0, bad=102.0),
        "Every KPI is predicted to hold up to 100 requests/s; at 102 requests/s the database "
        "cannot keep up: its queue still grew at the end",
    ),
    (
        plan(GOOD, point(102.0, 0.3, 0.97, "database", "CPU"), good=100.0, bad=102.0),
        "Every KPI is predicted to hold up to 100 requests/s; p95_track breaks first, at 102 "
        "requests/s, where the database and the CPU cannot keep up: their queues still grew at "
        "the end",
    ),
    (
        plan(point(50.0, 0.05, 0.8), point(100.0, 0.3, 0.81), good=None, bad=50.0),
        "No rate tried holds every KPI: hit_ratio misses its target at every rate, from 50 "
        "requests/s to 100 requests/s: the rate is not the cause",
    ),
    (
        plan(
            point(50.0, 0.05, 0.8), point(100.0, 0.05, 0.81),
            good=None, bad=50.0, bound=100.0, eased=("hit_ratio",),
        ),
        "No rate tried holds every KPI: hit_ratio misses its target at every rate, from 50 "
        "requests/s to 100 requests/s, and came closest to its target at the highest: raise "
        "--max-rate",
    ),
    (
        plan(point(50.0, 0.05, 0.8), point(100.0, 0.3, 0.97), good=None, bad=50.0),
        "No rate tried, from 50 requests/s to 100 requests/s, holds every KPI: hit_ratio breaks up "
        "to 50 requests/s; p95_track breaks from 100 requests/s on",
    ),
    (
        plan(
            GOOD, point(102.0, 0.12, 0.97), good=100.0, bad=102.0,
            unmeasured={"p95_queue": "nothing of queue took place after the warm-up"},
        ),
        "Every KPI that was measured is predicted to hold up to 100 requests/s; p95_track breaks "
        "first, at 102 requests/s; not measured, and not vouched for: p95_queue (nothing of queue "
        "took place after the warm-up)",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("found", "sentence"), PLANS, ids=range(len(PLANS)))
def test_a_plan_says_what_it_found(found: CapacityPlan, sentence: str) -> None:
    assert capacity_finding(found) == sentence
    assert CapacityPlan.from_json(found.to_json()) == found


def test_a_plans_table_names_what_breaks_with_its_figure() -> None:
    points = (GOOD, point(101.5, 0.10004, None), point(102.0, 0.06, 0.97, "database"))
    assert points_table(plan(*points, good=100.0, bad=101.5), KPIS) == [
        ("requests/s", "all KPIs hold", "breaks"),
        ("100", "yes", "-"),
        ("102", "no", "p95_track 100 ms (target < 100ms), hit_ratio not measured"),
        ("102", "no", "the database cannot keep up"),
    ]
    assert points_table(plan(GOOD, good=100.0, bad=None), KPIS)[0] == (
        "requests/s",
        "all KPIs hold",
    )


def test_a_measured_plan_is_read_back_and_a_predicted_one_is_written_as_before() -> None:
    measured = plan(HELD, OPEN, good=100.0, bad=104.0, engine="load", ended="because")
    assert CapacityPlan.from_json(json.loads(json.dumps(measured.to_json()))) == measured
    predicted = plan(GOOD, good=100.0, bad=None).to_json()
    assert not {"engine", "ended"} & predicted.keys()
    assert not {"runs", "intervals"} & predicted["points"][0].keys()
    assert CapacityPlan.from_json(predicted) == plan(GOOD, good=100.0, bad=None)


def test_an_undecided_figure_stands_in_the_table_with_its_interval() -> None:
    found = plan(HELD, OPEN, good=100.0, bad=104.0, engine="load")
    assert points_table(found, KPIS)[-1] == (
        "104", "no", "p95_track undecided, 90.0 ms (70.0\N{EN DASH}110.0) (target < 100ms)",
    )  # fmt: skip
    assert found.never_met == ()


@pytest.mark.parametrize(
    ("requests", "first", "is_said"),
    [(8_500, "p95_track", True), (30_000, "p95_track", False), (8_500, "hit_ratio", False)],
)
def test_runs_that_bias_a_percentile_are_said(requests: float, first: str, is_said: bool) -> None:
    knee = Knee(rate=102.0, interval=(101.0, 103.0), runs=10, first={first: 10})
    found = plan(GOOD, OPEN, good=100.0, bad=104.0, knee=knee)
    said = short_runs_note(found, requests, 50.0)
    assert (said is not None) is is_said
    assert said is None or "--set duration=177s for 30,000" in said
