"""Claims about the knee of a plan: its place, its interval, and runs that survive."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from bench.coverage import KNEE, Lindley
from core.metrics.capacity import CapacityPlan
from core.scenario.scenario import Scenario
from sim.capacity import Step, plan_capacity
from sim.growth import ServerLoad
from sim.kept_runs import KeptRuns
from sim.knee import bracket, crossing, knees
from sim.replications import Found
from tests.sim.runs import small_scenario

QUIET = {"CPU": ServerLoad(utilisation=0.5, growth=0.0)}


def scenario() -> Scenario:
    return small_scenario(
        rate=100.0, duration="50s", warm_up="5s",
        kpis=[{"metric": "p95_track", "target": "< 100ms", "alert": "> 200ms"}],
    )  # fmt: skip


def of(p95: float) -> Found:
    return Found(metrics={"p95_track": p95}, loads=QUIET)


def test_knee_of_an_m_m_1_is_theorys_within_its_interval() -> None:
    plan = plan_capacity(scenario(), precision=0.02, today=50.0, runner=Lindley(1, 50.0))
    assert plan.knee is not None
    assert plan.knee.half_width <= 0.02
    assert plan.knee.interval[0] <= KNEE <= plan.knee.interval[1]
    assert plan.knee.first == {"p95_track": plan.knee.runs}
    assert plan.headroom == pytest.approx(KNEE / 50.0, rel=0.03)
    assert CapacityPlan.from_json(plan.to_json()) == plan


def test_precision_adds_replications() -> None:
    wide = plan_capacity(scenario(), precision=0.5, runner=Lindley(1, 50.0)).knee
    narrow = plan_capacity(scenario(), precision=0.015, runner=Lindley(1, 50.0)).knee
    assert wide is not None
    assert narrow is not None
    assert wide.runs == 10 < narrow.runs
    assert narrow.half_width < wide.half_width


def test_crossing_is_interpolated_on_logarithms() -> None:
    kpis = scenario().judged()[:1]
    rate, name = crossing(100.0, of(0.05), 121.0, of(0.2), kpis)
    assert name == "p95_track"
    assert rate == pytest.approx(110.0)  # 0.1 is half way from 0.05 to 0.2
    assert crossing(100.0, of(0.05), 121.0, of(math.inf), kpis)[0] == pytest.approx(110.0)


def test_bracket_is_around_the_lowest_rate_that_breaks() -> None:
    assert bracket([1.0, 2.0, 3.0], [False, True, False]) == (1.0, 2.0)
    assert bracket([1.0, 2.0], [True, True]) == (None, 1.0)
    assert bracket([1.0, 2.0], [False, False]) == (2.0, None)


def test_saturated_run_breaks_without_a_name() -> None:
    stuck = Found(metrics={"p95_track": 0.01}, loads=QUIET, saturated=("CPU",))
    table = {100.0: {0: of(0.01)}, 121.0: {0: stuck}}
    knee = knees(table, scenario().judged()[:1], is_steady=True)[0]
    assert knee is not None
    assert knee[0] == pytest.approx(110.0)
    assert knee[1] == ""


def test_plan_that_was_interrupted_goes_on_from_its_runs(tmp_path: Path) -> None:
    class Counting(Lindley):
        runs = 0

        def run(self, scenario, numbers, on_done):  # type: ignore[no-untyped-def]  # as Lindley's
            found = super().run(scenario, numbers, on_done)
            type(self).runs += len(numbers)
            return found

    expected = plan_capacity(scenario(), runner=Lindley(1, 50.0))
    tried = 0

    def interrupt(_: object) -> None:
        nonlocal tried
        tried += 1
        if tried == 3:
            raise KeyboardInterrupt

    first = plan_capacity(
        scenario(), runner=Lindley(1, 50.0), kept=KeptRuns(tmp_path), on_point=interrupt
    )
    assert first.interrupted
    for path in tmp_path.iterdir():
        with path.open("a") as file:
            file.write('\n{"replication": 1')  # the process was killed in the middle of a line
    kept = KeptRuns(tmp_path)
    assert plan_capacity(scenario(), runner=Counting(1, 50.0), kept=kept) == expected
    whole = Counting.runs
    Counting.runs = 0
    plan_capacity(scenario(), runner=Counting(1, 50.0))
    assert whole == Counting.runs - 12
    assert kept.taken == 12
    steps: list[Step] = []
    plan_capacity(
        scenario(), runner=Lindley(1, 50.0), kept=KeptRuns(tmp_path), on_step=steps.append
    )  # fmt: skip
    assert all(0 <= step.share <= 1 for step in steps)  # also where nothing is left to simulate
    other = KeptRuns(tmp_path, about="another program")
    assert plan_capacity(scenario(), runner=Lindley(1, 50.0), kept=other) == expected
    assert other.taken == 0
