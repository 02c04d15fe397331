"""The content of a service's database at its start: a population with its attribution."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from operator import itemgetter

from core.attribution.journeys import journeys_of
from core.attribution.scheme import Scheme
from core.clock import DATA_EPOCH_MS
from core.errors import InputError
from core.ledger.fitted_models import keep_model, stored_scheme
from core.ledger.processor import attribution_commands
from core.ledger.recount import restate
from core.ledger.sample import fit_newest
from core.query import statements
from core.query.statements import journeys_under
from core.scenario.attribution import Attribution
from core.scenario.population import Population, SiteRow, populate
from core.scenario.scenario import Scenario
from core.scenario.workload import Workload

_Event = tuple[str, str, str, str, int, None, str | None]


def _events(population: Population) -> list[_Event]:
    """Return all events in the order in which they would have arrived."""
    events: list[_Event] = [
        (event, user, name, source, time, None, None)
        for event, user, name, source, time in population.touches
    ]
    events += [
        (event, user, "purchase", "(direct)", time, None, conversion)
        for conversion, event, user, time, _ in population.conversions
    ]
    return sorted(events, key=itemgetter(4))


def seed_database(
    connection: sqlite3.Connection, population: Population, attribution: Attribution | None = None
) -> None:
    """Write *population* in one transaction, unless the database is filled already.

    A filled database has a user, an event or a conversion. Existing sites stay as they are. If
    models are fitted, the database starts with one, as if the service had run for a while.
    """
    attribution = attribution or Attribution()
    parameters = attribution.parameters()
    if is_filled(connection):
        return
    connection.execute("BEGIN IMMEDIATE")
    _insert_sites(connection, population.sites)
    connection.executemany(statements.INSERT_USER.sql, population.users)
    connection.executemany(statements.INSERT_EVENT.sql, _events(population))
    connection.executemany(statements.INSERT_CONVERSION.sql, population.conversions)
    if attribution.fit_every:
        keep_model(connection, fit_newest(connection, attribution), DATA_EPOCH_MS)
    statement = journeys_under(
        statements.ALL_JOURNEYS, named=parameters.has_milestones, own=parameters.own_event
    )
    found = connection.execute(statement.sql, (parameters.lookback_ms,))
    journeys = journeys_of(found, parameters.milestones)
    scheme = stored_scheme(connection, parameters)
    results = ((journey, scheme.credits(journey)) for journey in journeys)
    for command, rows in attribution_commands(results, scheme, DATA_EPOCH_MS):
        connection.executemany(command.sql, rows)
    connection.execute("COMMIT")


def seed_for(
    connection: sqlite3.Connection, scenario: Scenario, workload: Workload, *, replication: int = 0
) -> Scheme:
    """Seed the database for *workload*, as `seed_database` does, with data of its *replication*.

    Return the scheme that is then in force: a service and its simulation begin with the same one.
    """
    seed_database(
        connection, populate(scenario, workload, replication=replication), scenario.attribution
    )
    return stored_scheme(connection, scenario.attribution.parameters())


def is_filled(connection: sqlite3.Connection) -> bool:
    """Return whether there is a user, an event or a conversion."""
    return bool(connection.execute(statements.IS_FILLED.sql).fetchone()[0])


def seed_sites(connection: sqlite3.Connection, sites: Sequence[SiteRow]) -> None:
    """Write *sites* if there are none: without a site no event is accepted."""
    if not connection.execute(statements.SITE_IDS.sql).fetchone():
        connection.execute("BEGIN IMMEDIATE")
        _insert_sites(connection, sites)
        connection.execute("COMMIT")


def _insert_sites(connection: sqlite3.Connection, sites: Sequence[SiteRow]) -> None:
    known = {site for (site,) in connection.execute(statements.SITE_IDS.sql)}
    new = [row for row in sites if row[0] not in known]
    connection.executemany(statements.INSERT_SITE.sql, new)


def bring_up_to_date(connection: sqlite3.Connection, attribution: Attribution, now_ms: int) -> None:
    """Update a kept database to the parameters of *attribution*.

    If models are fitted, a model with other parameters is replaced. Credits that were computed with
    other parameters are computed anew. If no model can be fitted on the events, data_driven falls
    back, as `Scheme.fallback` says, until a later fit succeeds.
    """
    parameters = attribution.parameters()
    scheme = stored_scheme(connection, parameters)
    if attribution.fit_every and not scheme.is_fitted:
        try:
            model = fit_newest(connection, attribution)
        except InputError:
            pass  # events of visitors must not keep a service from starting
        else:
            keep_model(connection, model, now_ms)
            scheme = stored_scheme(connection, parameters)
    restate(connection, scheme, now_ms)
