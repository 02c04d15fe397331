"""Claims about the sentence that a sweep ends with."""

from __future__ import annotations

from core.metrics.sweep import Sweep, SweepCell, SweptField
from core.scenario.scenario import Scenario
from reports.sweep import answer_of


def test_nearest_combination_is_told_with_a_kpi_that_does_not_pass() -> None:
    kpis = tuple(k for k in Scenario(name="s").judged() if k.name in ("hit_ratio", "p95_track"))
    cell = SweepCell(
        values=("100",), scenario_hash="", runs=2,
        figures={"hit_ratio": 0.955, "p95_track": 0.0999},
        intervals={"hit_ratio": (0.93, 0.98), "p95_track": (0.0999, 0.0999)},
        outcomes={"hit_ratio": "INCONCLUSIVE", "p95_track": "PASS"},
    )  # fmt: skip
    sweep = Sweep(
        scenario="s", scenario_hash="", seed=1, replications=2, kpis=kpis, cells=(cell,),
        fields=(SweptField(name="traffic.rate", values=("100",), numbers=(100.0,), unit="rate"),),
    )  # fmt: skip
    assert "nearest is traffic.rate=100" in answer_of(sweep)
    assert "with hit_ratio 95.50 % (93.00–98.00)" in answer_of(sweep)
    assert "p95_track" not in answer_of(sweep)
