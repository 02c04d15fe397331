"""Claims about what happens to a service in a scenario: a load says what it cannot make happen."""

from __future__ import annotations

from typing import Any

import pytest

from core.errors import InputError
from core.scenario.file import parse_scenario
from edgeproof.live_capacity import at_rate
from edgeproof.notices import tell_life
from edgeproof.workerd.adapted import on_workerd

DEPLOYED = {"name": "deployed", "deployments": [{"at": "20s"}]}


def test_a_load_says_that_it_makes_no_deployments(capsys: pytest.CaptureFixture[str]) -> None:
    tell_life(parse_scenario({"name": "quiet"}, source="test"))
    assert capsys.readouterr().err == ""
    tell_life(parse_scenario(DEPLOYED, source="test"))
    assert capsys.readouterr().err.startswith("edgeproof: a load makes no deployments: ")


def test_a_load_says_that_it_is_in_no_region(capsys: pytest.CaptureFixture[str]) -> None:
    regions = [{"name": "eu", "share": 1}]
    tell_life(parse_scenario({"name": "far", "regions": regions}, source="test"))
    assert "what its regions see is not measured" in capsys.readouterr().err


def test_a_search_for_the_knee_of_a_service_has_none() -> None:
    found = at_rate(parse_scenario(DEPLOYED, source="test"), 100.0, "10s")
    assert found.deployments == ()


@pytest.mark.parametrize(
    "fields", [{"deployments": [{"at": "20s"}]}, {"regions": [{"name": "eu", "share": 1}]}]
)
def test_workerd_refuses_them(fields: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=rf"x: {next(iter(fields))}: the Worker of --on workerd"):
        on_workerd(parse_scenario({"name": "x", **fields}, source="test"))
