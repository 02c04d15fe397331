"""Claims about the kills of a running service: they strike, and what they find is told."""

from __future__ import annotations

from collections import Counter

import pytest

from bench.kills import OVERRIDES, Life, live, told
from core.scenario.file import load_scenario
from scenarios.catalogue import find_scenario


def test_killed_processes_of_a_running_service_lose_nothing() -> None:
    scenario = load_scenario(find_scenario("baseline"), overrides=OVERRIDES)
    life = live(scenario, 4, rate=100.0, seed=3, forks=True)
    assert life.faults == []
    assert life.kills == 4
    assert {*life.killed} <= {"worker 0", "worker 1", "the consumer"}
    assert life.touches > 0


@pytest.mark.parametrize(
    ("life", "code", "verdict"),
    [
        (Life(killed=Counter(a=3), conversions=3), 0, "PASS: "),
        (Life(killed=Counter(a=3), conversions=2), 1, "INVALID: fewer conversions than kills"),
        (Life(killed=Counter(a=3), conversions=9, faults=["1 is lost"]), 1, "FAIL: 1 is lost"),
    ],
)
def test_verdict_is_told(
    life: Life, code: int, verdict: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert told(life, 1) == code
    assert capsys.readouterr().out.splitlines()[-1].startswith(verdict)
