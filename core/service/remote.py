"""The D1 database that a service is started on, in place of a file of its own."""

from __future__ import annotations

from dataclasses import dataclass

from core.attribution.scheme import Scheme
from core.errors import InputError
from core.query import statements
from core.query.d1_schema import apply_schema, check_schema, has_tables
from core.query.d1_variables import database_id
from core.query.database import Database
from core.scenario.population import sites_of
from core.scenario.scenario import Scenario

D1 = "d1"
"""The name of this kind of database."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """A database that is ready to be served, and the scheme that is in force there."""

    database: Database
    scheme: Scheme


async def open_remote(scenario: Scenario) -> Remote:
    """Return the D1 database of the environment, with the schema and the sites of *scenario*.

    An empty database gets the schema. Raise InputError if the environment does not name it, it has
    another schema, or it holds credits of other parameters than the scenario's, and StoreError if
    it does not answer.
    """
    from core.query.d1_environment import d1_from_environment  # its client is slow to import

    database = d1_from_environment(timeout=scenario.tiers.l3.timeout)
    try:
        if not await has_tables(database):
            await apply_schema(database)
        name = f"D1 database {database_id()}"
        await check_schema(database, name)
        parameters = scenario.attribution.parameters()
        if await database.read(statements.ATTRIBUTED_OTHERWISE, ("", parameters.key(), 1)):
            raise InputError(
                f"{name}: it holds credits of other attribution parameters, and computing them "
                "anew needs a local file; serve it with the scenario whose [attribution] it has"
            )
        if not await database.read(statements.SITE_IDS, ()):
            await database.write((statements.INSERT_SITE, sites_of(scenario)))
        rows = await database.read(statements.NEWER_MODEL, (0,))
        return Remote(database=database, scheme=Scheme(parameters, rows[0] if rows else None))
    except BaseException:
        await database.close()
        raise


def check_remote(scenario: Scenario) -> None:
    """Raise InputError where serving *scenario* needs a local database."""
    count = scenario.topology.process_count
    if count > 1:
        raise InputError(
            f"{scenario.name} has {count} processes, which share a local file: --database d1 takes "
            "one, give --workers 1"
        )
