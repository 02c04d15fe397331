"""Claims about calibrations: they are kept exactly, applied, and scaled by the machine's speed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.distributions import Distribution, constant, empirical, exponential, quantiles
from core.scenario.calibration import Calibration
from core.scenario.file import parse_scenario
from core.scenario.topology import Cpu

NANOSECONDS = st.integers(0, 10_000_000_000).map(lambda n: n / 1e9)
POSITIVE = st.integers(1, 10_000_000_000).map(lambda n: n / 1e9)

CPUS = st.builds(
    Cpu.model_construct,
    track=NANOSECONDS,
    attribution=NANOSECONDS,
    journey=NANOSECONDS,
    channels=NANOSECONDS,
    per_l2_operation=NANOSECONDS,
    per_l3_operation=NANOSECONDS,
)
DISTRIBUTIONS = st.one_of(
    NANOSECONDS.map(constant),
    POSITIVE.map(exponential),
    st.lists(POSITIVE, min_size=2, max_size=2)
    .map(sorted)
    .map(lambda p: quantiles({"p50": p[0], "p99": p[1]})),
    st.lists(NANOSECONDS, min_size=2, max_size=50).map(empirical),
)
CALIBRATIONS = st.builds(
    Calibration,
    cpu=CPUS,
    overhead=st.dictionaries(
        st.sampled_from(["track", "attribution", "journey", "channels"]), DISTRIBUTIONS
    ),
    speed=st.none() | POSITIVE,
    requests=st.integers(0, 10**9),
)

KNOWN = Calibration(
    cpu=Cpu.model_validate(
        {
            "track": "100us", "attribution": "200us", "journey": "300us", "channels": "400us",
            "per_l2_operation": "50us", "per_l3_operation": "60us",
        }
    ),
    overhead={"track": constant(0.001), "journey": Distribution([0.0, 0.002, 0.004], None)},
    speed=0.0003,
    requests=500,
)  # fmt: skip


def through_a_file(data: dict[str, Any]) -> Any:
    return json.loads(json.dumps(data, allow_nan=False))


@given(CALIBRATIONS)
def test_calibration_comes_back_as_it_was(calibration: Calibration) -> None:
    again = Calibration.from_json(through_a_file(calibration.to_json()))
    assert again == calibration
    assert again.to_json() == calibration.to_json()


@given(CALIBRATIONS, st.integers(1, 400).map(lambda n: n / 100))
def test_calibration_at_another_speed_comes_back_as_it_was(
    calibration: Calibration, ratio: float
) -> None:
    if calibration.speed is None:
        with pytest.raises(ValueError, match="not known"):
            calibration.at_speed(0.001)
        return
    scaled = calibration.at_speed(calibration.speed * ratio)
    assert Calibration.from_json(through_a_file(scaled.to_json())) == scaled


def test_machine_that_takes_twice_as_long_costs_twice_as_much() -> None:
    slow = KNOWN.at_speed(0.0006)
    assert (slow.speed, slow.requests) == (0.0006, 500)
    assert dict(slow.cpu) == pytest.approx(
        {
            "track": 200e-6, "attribution": 400e-6, "journey": 600e-6, "channels": 800e-6,
            "per_l2_operation": 100e-6, "per_l3_operation": 120e-6,
        }
    )  # fmt: skip
    assert slow.overhead["track"].table == pytest.approx((0.002, 0.002))
    assert slow.overhead["journey"].table == pytest.approx((0.0, 0.004, 0.008))
    assert slow.overhead["journey"].mean == pytest.approx(2 * KNOWN.overhead["journey"].mean)


@given(CALIBRATIONS, st.integers(1, 400).map(lambda n: n / 100))
def test_every_cost_grows_as_the_fixed_work_does(calibration: Calibration, ratio: float) -> None:
    if calibration.speed is None:
        return
    scaled = calibration.at_speed(calibration.speed * ratio)
    # Costs are whole nanoseconds.
    for name, seconds in calibration.cpu:
        assert getattr(scaled.cpu, name) == pytest.approx(seconds * ratio, rel=1e-9, abs=1e-9)
    assert set(scaled.overhead) == set(calibration.overhead)
    for name, distribution in calibration.overhead.items():
        expected = [seconds * ratio for seconds in distribution.table]
        assert scaled.overhead[name].table == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_speed_of_the_calibration_itself_changes_nothing() -> None:
    assert KNOWN.at_speed(0.0003) == KNOWN


def test_calibration_does_not_change_when_it_is_scaled() -> None:
    before = KNOWN.to_json()
    KNOWN.at_speed(0.1)
    assert KNOWN.to_json() == before


def test_scenario_gets_the_fitted_costs_and_keeps_the_rest() -> None:
    scenario = parse_scenario({"name": "x", "topology": {"isolates": 7}}, source="x")
    applied = KNOWN.apply(scenario)
    assert applied.topology.cpu == KNOWN.cpu
    assert applied.topology.isolates == 7
    assert scenario.topology.cpu == Cpu()
    unchanged = applied.topology.model_copy(update={"cpu": Cpu()})
    assert applied.model_copy(update={"topology": unchanged}) == scenario


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"schema": "edgeproof/record"}, ValueError),
        ({"schema_version": 2}, ValueError),
        ({"cpu": {"track": "-1us"}}, ValueError),
        ({"cpu": {"tracks": "1us"}}, ValueError),
        ({"overhead": {"track": "soon"}}, ValueError),
        ({"overhead": {"track": {"table": ["2ms", "1ms"]}}}, ValueError),
    ],
)
def test_anything_else_is_no_calibration(change: dict[str, Any], error: type[Exception]) -> None:
    data = Calibration(cpu=Cpu(), overhead={}, speed=None, requests=1).to_json()
    assert Calibration.from_json(data).speed is None
    with pytest.raises(error):
        Calibration.from_json(data | change)


@pytest.mark.parametrize("name", ["schema_version", "cpu", "overhead", "speed", "requests"])
def test_missing_field_is_named(name: str) -> None:
    data = Calibration(cpu=Cpu(), overhead={}, speed=None, requests=1).to_json()
    del data[name]
    with pytest.raises(KeyError, match=name):
        Calibration.from_json(data)
