"""Claims about what the changes of one field do to the knee of a plan."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from core.cost.next_values import NextValue, next_values
from core.metrics.capacity import CapacityPlan
from core.metrics.what_helps import WhatHelps
from core.scenario.scenario import Scenario
from sim import changes, isolate_splits
from sim.capacity import plan_capacity
from sim.changes import what_helps
from sim.engines import Engine
from sim.kept_runs import KeptRuns
from sim.replications import Found, Replications
from sim.trial import RUNS
from tests.sim.runs import small_scenario

FEW = ("tiers.l3.concurrency", "tiers.l1.max_entries", "tiers.l3.write_execution")


class Counting:
    """Replications that are counted."""

    def __init__(self) -> None:
        self.runs = 0
        self._here = Replications(engine=Engine(asked="compiled"))

    def run(
        self, scenario: Scenario, numbers: Sequence[int], on_done: Callable[[int], None]
    ) -> tuple[Found, ...]:
        self.runs += len(numbers)
        return self._here.run(scenario, numbers, on_done)


def few(scenario: Scenario) -> tuple[tuple[NextValue, ...], tuple[str, ...]]:
    return tuple(c for c in next_values(scenario)[0] if c.field in FEW), ()


@pytest.fixture(autouse=True)
def _few_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "next_values", few)
    monkeypatch.setattr(isolate_splits, "SPLITS", (0.5, 1.0))


def planned(**fields: Any) -> Scenario:
    """Return a scenario that executes 20 ms writes one at a time: 50 a second."""
    return small_scenario(
        **{
            "rate": 20.0,
            "duration": "4s",
            "warm_up": "0s",
            "tiers": {"l3": {"write_execution": "20ms"}},
            "kpis": [{"metric": "p95_track", "target": "< 100ms", "alert": "> 200ms"}],
            **fields,
        }
    )


def slow(**fields: Any) -> Scenario:
    return planned(duration="100s", **fields)


@lru_cache(maxsize=1)
def plan() -> CapacityPlan:
    return plan_capacity(slow(), engine="auto", today=20.0)


@lru_cache(maxsize=1)
def whole() -> tuple[WhatHelps, int]:
    """Return what helps, and the number of runs that it took."""
    counted = Counting()
    return helped(runner=counted), counted.runs


def helped(**options: object) -> WhatHelps:
    found = what_helps(slow(), plan(), **{"runner": Counting(), **options})  # type: ignore[arg-type]  # any of its options
    assert found is not None
    return found


def test_effect_is_that_of_a_plan_of_the_changed_scenario() -> None:
    found, _ = whole()
    best = found.best
    assert best is not None
    assert best.name in ("tiers.l3.concurrency 1 → 2", "tiers.l3.write_execution 0.02s → 0.01s")
    own = plan().knee
    assert own is not None
    assert {effect.field for effect in found.effects} == {FEW[0], FEW[2]}
    for effect in found.effects:
        assert effect.interval is not None
        assert effect.ratio is not None
        assert effect.interval[0] < effect.ratio < effect.interval[1]
        assert effect.is_sure
        assert set(effect.costs) == {"cost_per_million", "cost_per_month"}
    twice = next(effect for effect in found.effects if effect.field == FEW[0])
    tiers = {"l3": {"concurrency": 2, "write_execution": "20ms"}}
    brute = plan_capacity(slow(tiers=tiers), engine="auto").knee
    assert brute is not None
    # The same four replications, found in another way: within the rates' 2.5 %.
    pairs = [a / b for a, b in zip(brute.each[:RUNS], own.each[:RUNS], strict=True)]
    assert twice.ratio == pytest.approx(sum(pairs) / RUNS, rel=0.03)
    assert twice.rate == pytest.approx(sum(brute.each[:RUNS]) / RUNS, rel=0.03)
    assert [e.field for e in found.effects] == [
        e.field for e in sorted(found.effects, key=lambda e: -e.size)
    ]
    assert found.little == ("tiers.l1.max_entries 10000 → 20000",)
    assert [split.isolates for split in found.splits] == [2, 4]
    assert found.splits[0].shares["ratio(l1)"] > found.splits[1].shares["ratio(l1)"]
    assert WhatHelps.from_json(found.to_json()) == found


def test_what_was_interrupted_goes_on_without_runs_made_twice(tmp_path: Path) -> None:
    expected, runs = whole()
    first = Counting()

    def interrupt(done: int, *_: object) -> None:
        if done == 2:
            raise KeyboardInterrupt

    half = helped(runner=first, kept=KeptRuns(tmp_path), on_change=interrupt)
    assert half.interrupted
    assert 0 < first.runs < runs
    second = Counting()
    assert helped(runner=second, kept=KeptRuns(tmp_path)) == expected
    assert first.runs + second.runs == runs


def test_effects_do_not_depend_on_processes() -> None:
    assert helped(runner=None, engine="auto", jobs=2) == whole()[0]


def test_kpi_that_no_rate_meets_is_brought_nearer() -> None:
    kpis = [{"metric": "p50(l3)", "target": "< 9ms", "alert": "> 20s"}]
    never = planned(kpis=kpis)
    found = what_helps(never, plan_capacity(never, engine="auto"), runner=Counting())
    assert found is not None
    assert set(found.missed) == {"p50(l3)"}
    best = found.best
    assert best is not None
    assert best.field == "tiers.l3.write_execution"
    assert best.closed is not None
    assert 0 < best.closed <= 1
    assert best.values["p50(l3)"] < found.missed["p50(l3)"]


def test_nothing_helps_where_nothing_breaks() -> None:
    kpis = [{"metric": "error_ratio", "target": "<= 100%", "alert": "> 100%"}]
    free = planned(kpis=kpis, tiers={"l3": {"write_execution": "1us"}})
    free_plan = plan_capacity(free, engine="auto", max_rate=40.0)
    assert what_helps(free, free_plan, runner=Counting()) is None
