"""Claims about replications: how many a precision takes, and what the intervals are."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from scipy import stats

from core.metrics.estimate import estimate_of
from core.metrics.verdict import verdicts
from sim.precision import MOST, further, relative_half_width
from sim.simulate import simulate
from tests.sim.runs import replicate, small_scenario

KPIS = [{"metric": "p95(track)", "target": "< 1s", "alert": "> 2s"}]


def test_replications_are_added_until_the_intervals_are_narrow() -> None:
    scenario = small_scenario(kpis=KPIS)
    (kpi,) = (kpi for kpi in scenario.judged() if kpi.name == "p95_track")
    alone = simulate(scenario, replications=2, engine="compiled").record
    width = relative_half_width(alone, kpi)
    assert width is not None
    wanted = width / 2
    found = simulate(scenario, replications=2, precision=wanted, engine="compiled")
    reached = relative_half_width(found.record, kpi)
    assert reached is not None
    assert found.record.runs > 3
    if found.record.runs < MOST:
        assert reached <= wanted
        assert "reached:" in found.lines[-1]
    assert found.lines[-1] in found.record.notes


@pytest.mark.parametrize(
    ("runs", "width", "precision", "more"),
    [(10, 0.01, 0.02, 0), (10, 0.02, 0.01, 10), (10, 0.022, 0.02, 3), (150, 0.5, 0.01, 50),
     (200, 0.5, 0.01, 0)],
)  # fmt: skip
def test_further_replications_follow_the_width_within_bounds(
    runs: int, width: float, precision: float, more: int
) -> None:
    assert further(runs, width, precision) == more


def test_interval_for_one_more_run_is_wider_by_theory() -> None:
    values = [1.0, 2.0, 4.0, 5.0]
    mean, one = estimate_of(values), estimate_of(values, one_more=True)
    assert mean.interval is not None
    assert one.interval is not None
    half = (one.interval[1] - one.interval[0]) / 2
    spread = math.sqrt(sum((v - 3.0) ** 2 for v in values) / 3)
    assert half == pytest.approx(stats.t.ppf(0.975, 3) * spread * math.sqrt(1 + 1 / 4))
    assert half / ((mean.interval[1] - mean.interval[0]) / 2) == pytest.approx(math.sqrt(5))


def test_record_of_one_more_run_judges_the_wider_interval() -> None:
    record = simulate(small_scenario(kpis=KPIS), replications=3).record
    scenario = small_scenario(kpis=KPIS)
    (narrow,) = verdicts(record, scenario.judged()[:1])
    (wide,) = verdicts(replace(record, one_more=True), scenario.judged()[:1])
    assert narrow.interval is not None
    assert wide.interval is not None
    assert wide.value == narrow.value
    assert wide.interval[1] > narrow.interval[1]


def test_replications_differ_in_their_seeded_data() -> None:
    scenario = small_scenario(
        traffic={"mix": {"track": 0, "attribution": 0, "journey": 1, "channels": 0}}
    )
    assert replicate(scenario, 0).memory_bytes != replicate(scenario, 1).memory_bytes
