"""Claims about servers that are asked for more work than they can do."""

from __future__ import annotations

from typing import Any

import pytest

from core.metrics.record import RunRecord
from core.scenario.scenario import Scenario
from reports import words
from sim.compiled import layout, slots
from sim.compiled.state import State
from sim.growth import is_steady
from sim.simulate import simulate
from tests.sim.runs import small_scenario
from tests.sim.twins import both, differences

SLOW = {"l3": {"read_execution": "5ms", "write_execution": "5ms", "write_share": "0s"}}
"""200 executions a second."""
MIX = {"track": 1, "attribution": 0, "journey": 0, "channels": 0}


def asked(rate: float, **fields: Any) -> Scenario:
    data = {
        "duration": "60s", "warm_up": "2s", "start": "warm", "tiers": SLOW,
        "traffic": {"stages": [{"rate": rate}], "mix": MIX, "conversion_share": 0.0, "users": 50},
    } | fields  # fmt: skip
    return small_scenario(**data)


def found(rate: float, **fields: Any) -> RunRecord:
    return simulate(asked(rate, **fields), replications=1).record


def test_queue_that_only_grows_ends_the_run_and_tells_what_its_server_can_carry() -> None:
    record = found(400.0)
    assert set(record.saturated) == {"database"}
    assert record.saturated["database"] == pytest.approx(200, rel=0.1)
    assert record.utilisation["database"] == pytest.approx(2.0, rel=0.1)
    assert record.duration < 15  # of 60
    assert record.runs == 1
    assert record.to_json() == RunRecord.from_json(record.to_json()).to_json()
    assert "can carry about 19" in words.saturation_sentence(record) or (
        "can carry about 20" in words.saturation_sentence(record)
    )


def test_run_at_a_rate_that_its_server_carries_goes_to_its_end() -> None:
    record = found(150.0)
    assert record.duration == 60
    assert not record.saturated
    assert record.utilisation["database"] == pytest.approx(0.75, rel=0.1)
    assert record.runs == 2
    assert any("database, at work 7" in line for line in words.servers(record))


def test_twin_whose_pools_grow_while_it_is_stopped_agrees(monkeypatch: pytest.MonkeyPatch) -> None:
    grown, grow = [], layout.grow

    def growing(state: State, why: int) -> State:
        grown.append((why, int(state.si[slots.S_NEXT])))
        return grow(state, why)

    monkeypatch.setattr(layout, "_FIRST", 1)
    monkeypatch.setattr(layout, "grow", growing)
    expected, twin = both(asked(400.0, seed=2))  # of an even seed, which ends early
    assert set(expected) == {"saturated"}
    assert differences(expected, twin) == []
    # More requests are under way with every second, up to the last one.
    assert len({why for why, _ in grown}) >= 4
    assert max(place for _, place in grown) > 1_000


@pytest.mark.parametrize(
    "change",
    [
        {"start": "cold"},
        {"faults": [{"at": "1s", "for": "1s", "tier": "l3", "kind": "slow", "value": 2.0}]},
        {"traffic": {"stages": [{"rate": 9.0, "duration": "2s"}, {"rate": 99.0}]}},
        {"kpis": [{"metric": "p95(track, 10s..20s)", "target": "< 1s", "alert": "> 2s"}]},
    ],
    ids=["cold", "fault", "stages", "part"],
)
def test_run_whose_queue_may_yet_empty_is_not_ended(change: dict[str, Any]) -> None:
    assert is_steady(asked(99.0))
    assert not is_steady(asked(99.0, **change))
