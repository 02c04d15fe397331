"""What the answer of a sweep compares."""

from __future__ import annotations

from core.metrics.kpi import Outcome
from core.metrics.sweep import COST, Sweep, SweepCell, SweptField
from reports.sweep import answer_of


def sweep_of(met: dict[tuple[str, str], float]) -> Sweep:
    """Return a sweep of processes and rates with the costs of the cells that meet every KPI."""
    fields = (
        SweptField(name="topology.processes", values=("3", "4"), numbers=(3.0, 4.0)),
        SweptField(name="traffic.rate", values=("8x", "9x"), numbers=(80.0, 90.0), unit="rate"),
    )
    cells = tuple(
        SweepCell(
            values=(processes, rate), scenario_hash=f"{processes}{rate}", runs=2,
            figures={COST: met.get((processes, rate), 1.0)}, intervals={},
            outcomes={"p95": str(Outcome.PASS if (processes, rate) in met else Outcome.FAIL)},
        )
        for processes in fields[0].values
        for rate in fields[1].values
    )  # fmt: skip
    return Sweep(
        scenario="x", scenario_hash="x", seed=1, fields=fields, replications=2, kpis=(),
        cells=cells,
    )  # fmt: skip


def test_only_combinations_of_the_highest_rate_that_holds_are_compared_by_cost() -> None:
    low = {("3", "8x"): 1.0, ("4", "8x"): 2.0}
    assert answer_of(sweep_of(low)) == (
        "2 of 4 combinations meet every KPI; the cheapest of the highest rate is "
        "topology.processes=3, traffic.rate=80, at $1.00 for a million requests."
    )
    assert answer_of(sweep_of({**low, ("4", "9x"): 3.0})) == (
        "3 of 4 combinations meet every KPI; the one of the highest rate is "
        "topology.processes=4, traffic.rate=90, at $3.00 for a million requests."
    )
    assert "; it is topology.processes=3, traffic.rate=80" in answer_of(
        sweep_of({("3", "8x"): 1.0})
    )
