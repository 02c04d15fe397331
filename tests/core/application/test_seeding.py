"""Claims about seeding: a database begins with its population, attributed, once and whole."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.application.seeding import bring_up_to_date, seed_database, seed_for, seed_sites
from core.attribution import transitions
from core.attribution.models import HEURISTICS, MODELS
from core.attribution.scheme import Scheme
from core.errors import InputError
from core.ledger.fitted_models import newest_row
from core.ledger.recount import recount
from core.ledger.sample import fit_newest
from core.query.database import SqliteDatabase
from core.scenario.attribution import Attribution
from core.scenario.file import parse_scenario
from core.scenario.population import Population, populate, sites_of
from core.scenario.replay import prepare, prepare_service
from core.scenario.scenario import Scenario
from core.scenario.warm_start import warm_state
from scenarios.calibrate import calibration_workload
from tests.core.ledger.driven import driven_credits, effects_of, walks_of
from tests.core.ledger.worlds import credits_of
from tests.core.service.serving import seeded_world, small_scenario

SCENARIO = small_scenario("seeded")
# More conversions than users: some users have several journeys.
REPEATED = small_scenario("repeated", traffic={"users": 7, "conversions": 40})

CREDITS = f"conversion_id, touchpoint_index, touchpoints, utm_source, {', '.join(MODELS)}"


def population_of(scenario: Scenario) -> Population:
    return populate(scenario, prepare(scenario).workload)


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    """Return the connection of an empty database."""
    database = SqliteDatabase(None, inline=True)
    yield database.connection
    database.connection.close()


def dump(connection: sqlite3.Connection) -> list[str]:
    return list(connection.iterdump())


def test_every_row_of_the_population_is_there(connection: sqlite3.Connection) -> None:
    population = population_of(SCENARIO)
    seed_database(connection, population)
    assert not connection.in_transaction
    for table, rows, columns in (
        ("sites", population.sites, "site_id, enabled, max_event_bytes"),
        ("users", population.users, "user_id, segment, profile"),
        (
            "user_journeys WHERE conversion_id IS NULL",
            population.touches,
            "event_id, user_id, event_name, utm_source, event_timestamp",
        ),
        (
            "conversions",
            population.conversions,
            "conversion_id, event_id, user_id, conversion_timestamp, value",
        ),
    ):
        found = connection.execute(f"SELECT {columns} FROM {table}").fetchall()
        assert sorted(found) == sorted(rows)


def test_every_conversion_has_its_own_event(connection: sqlite3.Connection) -> None:
    seed_database(connection, population_of(SCENARIO))
    found = connection.execute(
        "SELECT event_id, user_id, event_timestamp, conversion_id FROM user_journeys"
        " WHERE conversion_id IS NOT NULL ORDER BY conversion_id"
    ).fetchall()
    expected = connection.execute(
        "SELECT event_id, user_id, conversion_timestamp, conversion_id FROM conversions"
        " ORDER BY conversion_id"
    ).fetchall()
    assert found == expected
    assert len(found) == 30


@pytest.mark.parametrize("scenario", [SCENARIO, REPEATED], ids=lambda scenario: scenario.name)
def test_all_conversions_are_attributed_as_plain_python_does_it(
    connection: sqlite3.Connection, scenario: Scenario
) -> None:
    seed_database(connection, population_of(scenario))
    world = seeded_world(scenario)
    assert connection.execute(
        "SELECT count(*) FROM conversions WHERE processed = 0"
    ).fetchone() == (0,)
    effects = effects_of(walks_of(world))
    expected = []
    for name, (_, converted, _) in world.conversions.items():
        touches = world.journey(name)
        times = [time for time, _ in touches]
        shares = [credits_of(model, times, converted) for model in HEURISTICS]
        shares.append(driven_credits([channel for _, channel in touches], effects))
        expected += [
            (name, index, len(touches), channel, *(share[index] for share in shares))
            for index, (_, channel) in enumerate(touches)
        ]
    found = connection.execute(f"SELECT {CREDITS} FROM touch_credits").fetchall()
    for one, other in zip(sorted(found), sorted(expected), strict=True):
        assert one[:-1] == other[:-1]
        assert one[-1] == pytest.approx(other[-1], abs=1e-9)


@pytest.mark.parametrize("scenario", [SCENARIO, REPEATED], ids=lambda scenario: scenario.name)
def test_channel_totals_equal_the_sums_of_the_rows(
    connection: sqlite3.Connection, scenario: Scenario
) -> None:
    seed_database(connection, population_of(scenario))
    for model in MODELS:
        shown = connection.execute(
            "SELECT utm_source, total_attribution, total_conversions, total_value"
            " FROM channel_performance WHERE attribution_model = ? ORDER BY utm_source",
            (model,),
        ).fetchall()
        summed = connection.execute(
            f"SELECT utm_source, sum({model}), count(DISTINCT conversion_id),"
            f" sum({model} * (SELECT value FROM conversions AS c"
            "   WHERE c.conversion_id = t.conversion_id))"
            " FROM touch_credits AS t GROUP BY utm_source ORDER BY utm_source"
        ).fetchall()
        assert [row[0] for row in shown] == [row[0] for row in summed]
        for one, other in zip(shown, summed, strict=True):
            assert one[1:] == pytest.approx(other[1:])
        assert sum(row[1] for row in shown) == pytest.approx(scenario.traffic.conversions)


def test_database_that_holds_sites_is_left_alone(connection: sqlite3.Connection) -> None:
    seed_database(connection, population_of(SCENARIO))
    connection.execute("DELETE FROM users WHERE user_id = 'u3'")
    connection.execute("UPDATE channel_totals SET linear_value = linear_value + 1")
    before = dump(connection)
    seed_database(connection, population_of(SCENARIO))
    seed_database(connection, population_of(REPEATED))
    assert dump(connection) == before


def test_equal_scenarios_give_equal_databases_and_another_seed_another() -> None:
    dumps = []
    for scenario in (SCENARIO, small_scenario("seeded"), small_scenario("seeded", seed=2)):
        database = SqliteDatabase(None, inline=True)
        seed_database(database.connection, population_of(scenario))
        dumps.append(dump(database.connection))
        database.connection.close()
    assert dumps[0] == dumps[1]
    assert dumps[0] != dumps[2]


def test_seeding_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    population = population_of(SCENARIO)
    broken = replace(population, users=[*population.users, population.users[0]])
    database = SqliteDatabase(tmp_path / "cdp.sqlite", inline=True)
    with pytest.raises(sqlite3.IntegrityError):
        seed_database(database.connection, broken)
    database.connection.close()
    database = SqliteDatabase(tmp_path / "cdp.sqlite", inline=True)
    assert database.connection.execute("SELECT count(*) FROM sites").fetchone() == (0,)
    seed_database(database.connection, population)
    assert database.connection.execute("SELECT count(*) FROM users").fetchone() == (50,)
    database.connection.close()


def test_population_of_one_is_enough(connection: sqlite3.Connection) -> None:
    scenario = parse_scenario(
        {
            "name": "one",
            "duration": "1s",
            "warm_up": "0s",
            "traffic": {
                "users": 1, "conversions": 1, "sites": 1, "channels": 1, "touches_per_user": 1,
                "stages": [{"rate": 1}],
            },
        },
        source="one",
    )  # fmt: skip
    seed_database(connection, population_of(scenario))
    rows = connection.execute(f"SELECT {CREDITS} FROM touch_credits").fetchall()
    assert rows == [("c0", 0, 1, "google", *[1.0] * len(MODELS))]


CHANGED: list[dict[str, Any]] = [
    {"half_life": "1h"}, {"lookback": "6h"}, {"direct": "ignore unless all direct"},
    {"u_shape": [0.5, 0.0, 0.5]}, {"w_shape": [0.25, 0.25, 0.25, 0.25]}, {"order": 2},
    {"milestones": ["page_view", ""]},
]  # fmt: skip


def attributed(connection: sqlite3.Connection) -> tuple[list[Any], ...]:
    """Return credits, totals and what conversions say they are from."""
    return tuple(
        connection.execute(sql).fetchall()
        for sql in (
            f"SELECT {CREDITS} FROM touch_credits ORDER BY 1, 2",
            "SELECT attribution_model, utm_source, total_conversions, total_attribution,"
            " total_value FROM channel_performance ORDER BY 1, 2",
            "SELECT conversion_id, parameters_key FROM conversions ORDER BY 1",
        )
    )


@pytest.mark.parametrize("change", CHANGED, ids=lambda change: next(iter(change)))
def test_kept_database_is_brought_to_other_parameters_whole(
    connection: sqlite3.Connection, change: dict[str, Any]
) -> None:
    before, after = Attribution(), Attribution(**change)
    seed_database(connection, population_of(REPEATED), before)
    old = attributed(connection)
    bring_up_to_date(connection, before, 1)
    assert attributed(connection) == old
    bring_up_to_date(connection, after, 1)
    found = attributed(connection)
    assert found != old
    assert recount(connection) == []
    fresh = SqliteDatabase(None, inline=True)
    seed_database(fresh.connection, population_of(REPEATED), after)
    expected = attributed(fresh.connection)
    fresh.connection.close()
    # Nothing that a fit depends on has changed: the model is the same, and so are its credits.
    for one, other in zip(found, expected, strict=True):
        assert [row[:3] for row in one] == [row[:3] for row in other]
        for mine, theirs in zip(one, other, strict=True):
            assert mine[4:] == pytest.approx(theirs[4:], abs=1e-9)


def test_database_is_not_brought_to_other_parameters_by_half(
    connection: sqlite3.Connection,
) -> None:
    seed_database(connection, population_of(SCENARIO))
    old = attributed(connection)
    connection.execute(
        "CREATE TEMP TRIGGER full BEFORE UPDATE ON conversions WHEN OLD.conversion_id = 'c9'"
        " BEGIN SELECT raise(ABORT, 'the disk is full'); END"
    )
    with pytest.raises(sqlite3.Error, match="the disk is full"):
        bring_up_to_date(connection, Attribution(order=3), 1)
    assert attributed(connection) == old


def test_database_starts_with_a_model_unless_none_is_ever_fitted(
    connection: sqlite3.Connection,
) -> None:
    never = Attribution(fit_every=0)
    seed_database(connection, population_of(SCENARIO), never)
    bring_up_to_date(connection, never, 1)
    assert newest_row(connection) is None
    shares = connection.execute("SELECT linear, data_driven FROM touch_credits").fetchall()
    assert all(linear == driven for linear, driven in shares)
    # Once models are fitted the next start makes up for it.
    bring_up_to_date(connection, Attribution(), 1)
    assert newest_row(connection) is not None


@pytest.mark.parametrize(
    ("before", "said"),
    [(0, "no model has been fitted yet"), (1_000, "was fitted with order 1, not 3")],
    ids=["without a model", "with one of another order"],
)
def test_kept_database_that_no_model_can_be_fitted_on_starts_with_the_fallback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: int, said: str
) -> None:
    database = SqliteDatabase(tmp_path / "cdp.sqlite", inline=True)
    seed_database(database.connection, population_of(SCENARIO), Attribution(fit_every=before))
    database.connection.executemany(
        "INSERT INTO user_journeys (event_id, user_id, event_name, event_timestamp, utm_source)"
        " VALUES (?1, 'visitor', 'page_view', 1, ?1)",
        [(f"made up {number}",) for number in range(1_300)],
    )
    database.connection.close()
    monkeypatch.setattr(transitions, "_MOST_CODES", 1_300**3)
    settings = Attribution(order=3)
    kept = SqliteDatabase(tmp_path / "cdp.sqlite", inline=True)
    with pytest.raises(InputError, match="too many for order 3"):
        fit_newest(kept.connection, settings)
    stored = newest_row(kept.connection)
    bring_up_to_date(kept.connection, settings, 1)
    assert newest_row(kept.connection) == stored
    scheme = Scheme(settings.parameters(), stored)
    assert said in scheme.fallback
    assert {key for _, key in attributed(kept.connection)[2]} == {scheme.parameters_key}
    shares = kept.connection.execute("SELECT linear, data_driven FROM touch_credits").fetchall()
    assert shares
    assert all(linear == driven for linear, driven in shares)
    assert recount(kept.connection) == []
    # Once the events allow it, a start makes up for it.
    monkeypatch.setattr(transitions, "_MOST_CODES", 2**62)
    bring_up_to_date(kept.connection, settings, 2)
    assert Scheme(settings.parameters(), newest_row(kept.connection)).fallback == ""
    kept.connection.close()


def test_credits_from_before_there_were_models_are_computed_at_the_next_start(
    connection: sqlite3.Connection,
) -> None:
    seed_database(connection, population_of(SCENARIO))
    found = attributed(connection)
    connection.execute("UPDATE conversions SET parameters_key = NULL, model_version = NULL")
    connection.execute(
        "UPDATE credits SET touches = json_set(touches, '$[7]', json("
        "(SELECT json_group_array(NULL) FROM json_each(credits.touches, '$[0]'))))"
    )
    connection.execute(
        "UPDATE channel_totals SET data_driven = 0, data_driven_conversions = 0,"
        " data_driven_value = 0"
    )
    assert recount(connection) == []
    bring_up_to_date(connection, Attribution(), 1)
    again = attributed(connection)
    assert (again[0], again[2]) == (found[0], found[2])
    assert [row[:3] for row in again[1]] == [row[:3] for row in found[1]]
    assert recount(connection) == []


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO users (user_id, segment) VALUES ('own', 'new')",
        "INSERT INTO user_journeys (event_id, user_id, event_name, event_timestamp)"
        " VALUES ('own', 'u1', 'view', 1767225600000)",
        "INSERT INTO conversions VALUES ('own', 'e', 'u1', 1767225600000, 80.0, 1, NULL, NULL)",
    ],
)
def test_database_that_somebody_filled_is_never_seeded(
    connection: sqlite3.Connection, sql: str
) -> None:
    connection.execute(sql)
    before = dump(connection)
    seed_database(connection, population_of(SCENARIO))
    assert dump(connection) == before


def test_sites_alone_leave_room_for_a_population(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO sites VALUES ('s1', 0, 100), ('own', 1, 100)")
    seed_sites(connection, sites_of(SCENARIO))
    assert connection.execute("SELECT count(*) FROM sites").fetchone() == (2,)
    seed_database(connection, population_of(SCENARIO))
    found = connection.execute("SELECT site_id, enabled FROM sites ORDER BY site_id").fetchall()
    assert found == [("own", 1), ("s0", 1), ("s1", 0), ("s2", 1)]
    assert connection.execute("SELECT count(*) FROM conversions").fetchone() == (30,)


def test_sites_are_all_that_a_database_gets_without_a_population(
    connection: sqlite3.Connection,
) -> None:
    seed_sites(connection, sites_of(SCENARIO))
    bring_up_to_date(connection, Attribution(fit_every=1), 1)
    assert connection.execute("SELECT count(*) FROM sites").fetchone() == (3,)
    for table in ("users", "user_journeys", "conversions", "touch_credits", "channel_performance"):
        assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,), table


@pytest.mark.parametrize("fit_every", [0, 1])
def test_population_without_conversions_has_touches_only(
    connection: sqlite3.Connection, fit_every: int
) -> None:
    scenario = small_scenario("none", traffic={"conversions": 0, "mix": {"attribution": 0}})
    seed_database(connection, population_of(scenario), Attribution(fit_every=fit_every))
    assert connection.execute("SELECT count(*) FROM users").fetchone() == (50,)
    found = connection.execute(
        "SELECT count(*) > 50, sum(conversion_id IS NOT NULL) FROM user_journeys"
    ).fetchone()
    assert found == (1, 0)
    for table in ("conversions", "touch_credits", "channel_performance"):
        assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,), table


def test_service_without_conversions_starts_whatever_the_mix_asks_for() -> None:
    scenario = small_scenario("none", traffic={"conversions": 0})
    prepared = prepare_service(scenario)
    assert (prepared.workload.users, prepared.workload.conversions) == (50, 0)
    assert {entry.cache_type for entry in warm_state(scenario, prepared).l2} >= {"lookup_data"}
    with pytest.raises(
        InputError, match=r"traffic.conversions is 0, and endpoints.attribution.weight"
    ):
        prepare(scenario)


def test_calibration_asks_for_no_conversion_where_there_is_none() -> None:
    scenario = small_scenario("none", traffic={"conversions": 0, "mix": {"attribution": 0}})
    workload = calibration_workload(scenario)
    assert set(workload.endpoint.tolist()) == {0, 2, 3}
    usual = calibration_workload(small_scenario("some"))
    assert set(usual.endpoint.tolist()) == {0, 1, 2, 3}


def test_seeding_for_a_scenario_returns_the_scheme_that_its_rows_were_attributed_under() -> None:
    scenario = SCENARIO.model_copy(update={"attribution": Attribution(fit_every=5)})
    workload = prepare(scenario).workload
    connection = SqliteDatabase(None, inline=True).connection
    scheme = seed_for(connection, scenario, workload)
    by_hand = SqliteDatabase(None, inline=True).connection
    seed_database(by_hand, populate(scenario, workload), scenario.attribution)
    assert [*connection.iterdump()] == [*by_hand.iterdump()]
    assert (scheme.number, scheme.parameters) == (1, scenario.attribution.parameters())
