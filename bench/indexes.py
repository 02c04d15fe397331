"""What an index over the events costs and saves: `python -m bench.indexes`."""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import process_time

from bench.attribution import TOUCHES, database_of, synthetic_paths
from bench.halves import Speeds
from bench.ratio import simulation_rate
from core.attribution.parameters import Parameters
from core.attribution.paths import Paths
from core.ledger.database_account import Survey, account_of_database
from core.query import statements
from core.query.database import SqliteDatabase
from core.scenario.file import load_scenario
from core.scenario.replay import Prepared, prepare
from core.scenario.scenario import Scenario
from core.scenario.warm_start import WarmState, warm_state
from scenarios.catalogue import shipped
from sim.database import Image
from sim.model import SeededDatabase

INSERTS = 20_000
_BY_USER = "CREATE INDEX user_journeys_by_user ON user_journeys (user_id, event_timestamp, id"
CANDIDATES: dict[str, tuple[str, ...]] = {
    "user, time": (f"{_BY_USER})",),
    "covering": (f"{_BY_USER}, utm_source, conversion_id)",),
    "user, time; partial": (
        f"{_BY_USER})",
        "CREATE INDEX touches_by_user ON user_journeys (user_id, event_timestamp, id, utm_source)"
        " WHERE conversion_id IS NULL",
    ),
}
"""The indexes of the first version, of this one, and two of which one holds touches only."""


@dataclass(slots=True)
class IndexFigures:
    """The costs of one candidate, one entry for each round."""

    totals: list[float] = field(default_factory=list)
    """Seconds of CPU time from the rows to the totals of seven models."""
    insert: list[float] = field(default_factory=list)
    """Seconds of CPU time of one event, in a transaction of its own."""
    simulated: list[float] = field(default_factory=list)
    """Requests of the baseline simulated in a second of CPU time."""
    row_bytes: float = 0.0
    """Bytes of the file per event."""


def index(connection: sqlite3.Connection, candidate: Sequence[str]) -> None:
    """Put the indexes of *candidate* in place of the shipped one."""
    connection.execute("DROP INDEX user_journeys_by_user")
    for statement in candidate:
        connection.execute(statement)


class Inserts:
    """Writes events one by one into a file, as the service does."""

    def __init__(self, file: Path, paths: Paths) -> None:
        self._file = file
        assert paths.times_ms is not None
        self._codes, self._times = paths.codes.tolist(), paths.times_ms.tolist()
        self._channels = paths.channels

    def __call__(self, candidate: Sequence[str]) -> float:
        """Return the seconds of CPU time per event."""
        for suffix in ("", "-wal", "-shm"):
            self._file.with_name(self._file.name + suffix).unlink(missing_ok=True)
        database = SqliteDatabase(self._file, inline=True)
        index(database.connection, candidate)
        rows = [
            (f"e{n}", f"u{n * 7919 % 9973}", "page_view", self._channels[self._codes[n]],
             self._times[n], "new", None)
            for n in range(INSERTS)
        ]  # fmt: skip

        async def write() -> float:
            started = process_time()
            for row in rows:
                await database.write((statements.INSERT_EVENT, (row,)))
            return (process_time() - started) / INSERTS

        seconds = asyncio.run(write())
        asyncio.run(database.close())
        return seconds


class Indexed(SeededDatabase):
    """The seeded database of the simulation, with other indexes."""

    def __init__(self, scenario: Scenario, prepared: Prepared, candidate: Sequence[str]) -> None:
        super().__init__(scenario, prepared)
        index(self.connection, candidate)
        self._image = Image(self.connection.serialize())


class Simulation:
    """The baseline, over a database with other indexes."""

    def __init__(self) -> None:
        self._scenario: Scenario = load_scenario(shipped()["baseline"])
        self._prepared: Prepared = prepare(self._scenario)
        self._warm: WarmState = warm_state(self._scenario, self._prepared)
        self._seeded: dict[str, SeededDatabase] = {}
        for name, candidate in CANDIDATES.items():
            self._seeded[name] = Indexed(self._scenario, self._prepared, candidate)

    def __call__(self, name: str) -> float:
        """Return the requests simulated in a second of CPU time."""
        return simulation_rate(self._scenario, self._prepared, self._warm, self._seeded[name])


def measure(touches: int, rounds: int, machine: Speeds) -> dict[str, IndexFigures]:
    """Return the figures of each candidate, all measured in each of *rounds*."""
    paths, parameters = synthetic_paths(touches), Parameters()
    found = {name: IndexFigures() for name in CANDIDATES}
    simulation = Simulation()
    with tempfile.TemporaryDirectory() as path:
        folder = Path(path)
        inserts = Inserts(folder / "inserts.db", paths)
        files = {name: folder / f"{number}.db" for number, name in enumerate(CANDIDATES)}
        for name, candidate in CANDIDATES.items():
            database_of(paths, files[name])
            database = SqliteDatabase(files[name], inline=True)
            with closing(database.connection) as connection:
                index(connection, candidate)
                connection.execute("VACUUM")
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            found[name].row_bytes = files[name].stat().st_size / len(paths.codes)
        for number in machine.between(range(rounds + 1)):
            for name, candidate in CANDIDATES.items():
                started = process_time()
                account_of_database(Survey(file=files[name], parameters=parameters))
                totals = process_time() - started
                insert, simulated = inserts(candidate), simulation(name)
                if number:  # the first round warms
                    found[name].totals.append(totals)
                    found[name].insert.append(insert)
                    found[name].simulated.append(simulated)
    return found


def main(arguments: Sequence[str]) -> int:
    """Print medians of the rounds, and of the ratios to the first candidate within each."""
    parser = argparse.ArgumentParser(prog="python -m bench.indexes", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="default %(default)s")
    parser.add_argument("--touches", type=int, default=TOUCHES, help="default %(default)s")
    options = parser.parse_args(arguments)
    if options.rounds < 1 or options.touches < INSERTS:
        parser.error(f"at least 1 round and {INSERTS:,} touches are needed")
    machine = Speeds()
    found = measure(options.touches, options.rounds, machine)
    if note := machine.line():
        print(note)
    first = next(iter(found.values()))
    print(f"{options.touches:,} touches, medians of {options.rounds} rounds, CPU time")
    print(f"{'':22}{'to totals':>11}{'insert_event':>15}{'×':>7}{'bytes/event':>13}"
          f"{'simulated':>17}{'×':>7}")  # fmt: skip
    for name, figures in found.items():
        cost, speed = (
            _ratio(figures.insert, first.insert),
            _ratio(figures.simulated, first.simulated),
        )
        print(
            f"{name:22}{median(figures.totals):>9.2f} s{1e6 * median(figures.insert):>12.1f} µs"
            f"{cost:>7.3f}{figures.row_bytes:>13,.1f}"
            f"{median(figures.simulated):>8,.0f} requests/s{speed:>5.3f}"
        )
    return 0


def _ratio(ours: Sequence[float], first: Sequence[float]) -> float:
    return median(a / b for a, b in zip(ours, first, strict=True))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
