"""What the compiled engine computes of a database's start equals what the database says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from core.application.documents import _event_text
from core.attribution.models import MODELS
from core.clock import DATA_EPOCH_MS
from core.scenario.file import parse_scenario
from core.scenario.replay import prepare
from core.scenario.scenario import Scenario
from core.scenario.warm_start import warm_state
from sim.compiled.facts import Facts, at_once
from sim.compiled.replication import CompiledReplication
from sim.model import SeededDatabase

SCENARIOS: dict[str, dict[str, Any]] = {
    "plain": {"traffic": {"users": 60, "conversions": 90}},
    "many conversions of few users": {"traffic": {"users": 5, "conversions": 200}},
    "few convert": {"traffic": {"users": 300, "conversions": 11, "channels": 12}},
    "one touch": {"traffic": {"users": 40, "conversions": 60, "touches_per_user": 1}},
    "no model": {"attribution": {"fit_every": 0}, "traffic": {"users": 40, "conversions": 60}},
    "too few for a model": {
        "attribution": {"min_conversions": 1_000}, "traffic": {"users": 40, "conversions": 60},
    },
    "short lookback": {
        "attribution": {"lookback": "6h"}, "traffic": {"users": 40, "conversions": 90},
    },
    "own events": {
        "attribution": {"own_event": True}, "traffic": {"users": 40, "conversions": 90},
    },
    "the newest events": {
        "attribution": {"fit_events": 50}, "traffic": {"users": 40, "conversions": 90},
    },
}  # fmt: skip


def scenario_of(changes: dict[str, Any]) -> Scenario:
    return parse_scenario({"name": "start", "duration": "1s", "seed": 3, **changes}, source="test")


@pytest.mark.parametrize("name", SCENARIOS)
def test_start_is_that_of_the_database(name: str) -> None:
    scenario = scenario_of(SCENARIOS[name])
    prepared = prepare(scenario, replication=2)
    seeded = SeededDatabase(scenario, prepared, 2)
    facts = Facts(scenario, prepared.workload, seeded)
    assert (facts.start is None) == (name in ("own events", "the newest events"))
    assert "_template" not in vars(seeded) or facts.start is None, "no database was needed"

    expected = SeededDatabase(scenario, prepared, 2)
    for field in ("number", "version", "weights", "fallback"):
        assert getattr(facts.scheme, field) == getattr(expected.scheme, field)
    documents = [
        len(at_once(expected.warmer._entry("attribution", number))[2])
        for number in range(prepared.workload.conversions)
    ]
    assert [facts.credits_size(number)[0] for number in range(len(documents))] == documents
    pages = [len(at_once(expected.warmer._entry("channel_metrics", m))[2]) for m in range(7)]
    assert [facts.channels_size(model)[0] for model in range(7)] == pages


def test_run_of_warm_caches_needs_no_database() -> None:
    scenario = scenario_of({**SCENARIOS["no model"], "duration": "2s", "start": "warm"})
    prepared = prepare(scenario)
    seeded = SeededDatabase(scenario, prepared)
    warm = warm_state(scenario, prepared)
    assert warm.l1
    CompiledReplication(scenario, prepared, warm, seeded).run()
    assert "_template" not in vars(seeded)


def test_channels_start_with_the_credit_of_the_database_bit_by_bit() -> None:
    scenario = scenario_of(SCENARIOS["plain"])
    prepared = prepare(scenario)
    seeded = SeededDatabase(scenario, prepared)
    start = Facts(scenario, prepared.workload, seeded).start
    assert start is not None
    rows = seeded.connection.execute(
        "SELECT attribution_model, utm_source, total_attribution, total_value, total_conversions"
        " FROM channel_performance"
    ).fetchall()
    assert len(rows) == len(MODELS) * np.count_nonzero(start.counts)
    for model, channel, credit, value, count in rows:
        place = start.names.index(channel)
        found = start.totals[place, MODELS.index(model)].tolist()
        assert (*found, start.counts[place]) == (credit, value, count)


def test_events_stand_in_the_database_s_order() -> None:
    scenario = scenario_of(SCENARIOS["many conversions of few users"])
    prepared = prepare(scenario)
    seeded = SeededDatabase(scenario, prepared)
    facts = Facts(scenario, prepared.workload, seeded)
    rows = seeded.connection.execute(
        "SELECT event_id, event_name, utm_source, event_timestamp, conversion_id"
        " FROM user_journeys ORDER BY id"
    ).fetchall()
    events = facts.events
    assert events.times.tolist() == [row[3] - DATA_EPOCH_MS for row in rows]
    assert events.kinds.tolist() == [row[4] is not None for row in rows]
    assert events.lengths.tolist() == [len(_event_text((*row, *[None] * 4))) for row in rows]
    number = {channel: place for place, channel in enumerate(facts.channel_names)}
    assert events.channels.tolist() == [number.get(row[2], 0) for row in rows]
