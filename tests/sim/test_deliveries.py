"""Claims about what a record says of deliveries that came to nothing."""

from __future__ import annotations

from core.scenario.file import load_scenario
from scenarios.catalogue import shipped
from sim.simulate import simulate

SHORT = ("duration=3s", "warm_up=1s", "destination.max_attempts=2", "destination.retry_delay=10ms")
DOWN = 'faults=[{at="0s",for="20s",tier="destination",kind="error",value=1.0}]'


def test_conversions_that_the_destination_did_not_take_are_noted() -> None:
    scenario = load_scenario(shipped()["baseline"], overrides=(*SHORT, DOWN))
    record = simulate(scenario, replications=1).record
    lost = record.counters["forward_given_up"]
    assert lost > 0
    (note,) = [note for note in record.notes if "destination" in note]
    assert note.startswith(f"The destination did not take {lost} of {lost} finished conversions")


def test_deliveries_that_came_are_nothing_to_note() -> None:
    record = simulate(load_scenario(shipped()["baseline"], overrides=SHORT), replications=1).record
    assert record.counters["forwarded"] > 0
    assert not [note for note in record.notes if "destination" in note]
