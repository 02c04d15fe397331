"""The compiled engine equals the reference, bit for bit."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, given, settings

from core.scenario.scenario import Scenario
from tests.sim.twins import both, differences, scenarios

EXAMPLES = int(os.environ.get("EDGEPROOF_TWINS", "500"))


@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
@given(drawn=scenarios())
def test_engines_agree_on_random_scenarios(drawn: tuple[Scenario, bool]) -> None:
    scenario, is_coarse = drawn
    expected, found = both(scenario, is_coarse=is_coarse)
    assert differences(expected, found) == []
