"""How fast attribution is, beside its peers: `python -m bench.attribution`.

ChannelAttribution and Marketing Attribution Models (MAM) are measured where --peers PYTHON, the
interpreter of an environment that holds them, says so; else their rows say why they cannot be used.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

import numpy as np

from bench.halves import Speeds
from core.attribution.account import account_of
from core.attribution.cells import guarded
from core.attribution.fused import has_numba, share_credit
from core.attribution.grouping import channel_sets
from core.attribution.markov import removal_effects
from core.attribution.models import MODELS
from core.attribution.order import order_of
from core.attribution.parameters import Parameters
from core.attribution.path_file import COLUMNS, read_paths
from core.attribution.paths import Floats, Paths
from core.attribution.scheme import Scheme
from core.attribution.shapley import shapley
from core.attribution.transitions import count_transitions
from core.ledger.bulk_store import store_waiting
from core.ledger.connections import open_writer
from core.ledger.database_account import Survey, account_of_database
from core.query import queue_statements, statements
from core.query.database import SqliteDatabase

TOUCHES = 1_000_000
CREDITS = 1_400_000
_DAY_MS = 86_400_000
_START_MS = 1_700_000_000_000
_PEER = Path(__file__).with_name("attribution_peer.py")
PEERS = (
    "ChannelAttribution, 3 heuristics", "ChannelAttribution, Markov 1", "MAM, 3 heuristics",
    "MAM, Markov 1",
)  # fmt: skip
CHANNELS = (
    "search", "social", "email", "(direct)", "display", "affiliate", "video", "referral",
)  # fmt: skip


@dataclass(slots=True)
class Case:
    """One thing that is timed: its seconds by the clock and of CPU, one entry for each round."""

    name: str
    amount: int
    unit: str
    call: Callable[[], object]
    prepare: Callable[[], None] = lambda: None
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def run(self) -> object:
        """Time one call; what it needs is prepared before."""
        self.prepare()
        wall, cpu = perf_counter(), process_time()
        result = self.call()
        self.cpu.append(process_time() - cpu)
        self.wall.append(perf_counter() - wall)
        return result


def synthetic_paths(touches: int = TOUCHES, *, seed: int = 1) -> Paths:
    """Return journeys of about 5 touches over 8 channels, three in ten of which convert."""
    rng = np.random.default_rng(seed)
    lengths = np.minimum(rng.geometric(0.2, touches // 4), 50)
    lengths = lengths[: int(np.searchsorted(np.cumsum(lengths), touches)) + 1]
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
    total, owner = int(offsets[-1]), np.repeat(np.arange(len(lengths)), lengths)
    times = _START_MS + rng.integers(0, 30 * _DAY_MS, total)
    converts = (rng.random(len(lengths)) < 0.3).astype(np.float64)
    weights = np.arange(len(CHANNELS), 0, -1.0)
    return Paths(
        channels=CHANNELS,
        codes=rng.choice(len(CHANNELS), total, p=weights / weights.sum()).astype(np.int32),
        offsets=offsets,
        times_ms=times[np.lexsort((times, owner))],
        conversions=converts,
        nulls=1.0 - converts,
        values=converts * rng.integers(100, 10_000, len(lengths)) / 100,
    )


def long_journeys(touches: int = TOUCHES, *, channels: int = 20, mean: int = 300) -> Paths:
    """Return journeys of hundreds of touches, *mean* on average, three in ten of which convert."""
    rng = np.random.default_rng(3)
    lengths = rng.geometric(1 / mean, max(1, touches // mean))
    converts = (rng.random(len(lengths)) < 0.3).astype(np.float64)
    weights = np.arange(channels, 0, -1.0)
    return Paths(
        channels=tuple(f"channel-{number:02d}" for number in range(channels)),
        codes=rng.choice(channels, int(lengths.sum()), p=weights / weights.sum()).astype(np.int32),
        offsets=np.concatenate(([0], np.cumsum(lengths))).astype(np.int64),
        conversions=converts, nulls=1.0 - converts, values=converts,
    )  # fmt: skip


def all_converting(paths: Paths) -> Paths:
    """Return *paths* with a conversion each: every touch gets credit."""
    ones = np.ones(len(paths))
    return Paths(
        channels=paths.channels, codes=paths.codes, offsets=paths.offsets, times_ms=paths.times_ms,
        conversions=ones, nulls=0.0 * ones, values=10.0 * ones,
    )  # fmt: skip


def database_of(paths: Paths, file: Path) -> None:
    """Write *paths* as a user each into a new database."""
    database = SqliteDatabase(file, inline=True)
    with closing(database.connection) as connection:
        assert paths.times_ms is not None
        owner = np.repeat(np.arange(len(paths)), paths.lengths)
        order = np.argsort(paths.times_ms, kind="stable")  # as events arrive
        connection.execute("BEGIN")
        connection.executemany(
            statements.INSERT_EVENT.sql,
            (
                (f"e{n}", f"u{user}", "page_view", paths.channels[code], time, None, None)
                for n, (user, code, time) in enumerate(
                    zip(
                        owner[order].tolist(), paths.codes[order].tolist(),
                        paths.times_ms[order].tolist(), strict=True,
                    )
                )
            ),
        )  # fmt: skip
        last = paths.times_ms[paths.offsets[1:] - 1].tolist()
        connection.executemany(
            statements.INSERT_CONVERSION.sql,
            (
                (f"c{user}", f"p{user}", f"u{user}", last[user], float(paths.values[user]))
                for user in np.flatnonzero(paths.conversions).tolist()
            ),
        )
        connection.executemany(
            queue_statements.ENQUEUE.sql,
            (
                (0, last[user], last[user], None, f"c{user}")
                for user in np.flatnonzero(paths.conversions).tolist()
            ),
        )
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def file_of(paths: Paths, file: Path) -> None:
    """Write *paths* as the aggregated paths that attribution tools exchange, a row a journey."""
    names = np.array(paths.channels, dtype=object)[paths.codes].tolist()
    bounds = pairwise(paths.offsets.tolist())
    counts = (paths.conversions.tolist(), paths.values.tolist(), paths.nulls.tolist())
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        for (begin, end), *numbers in zip(bounds, *counts, strict=True):
            writer.writerow((guarded(" > ".join(names[begin:end])), *numbers))


class Store:
    """Stores the credits of a database of waiting conversions, from its rows to its commit."""

    def __init__(self, paths: Paths, folder: Path) -> None:
        self._waiting, self._file = folder / "waiting.db", folder / "stored.db"
        self._touches = len(paths.codes)
        database_of(paths, self._waiting)

    def prepare(self) -> None:
        """Make a copy without stored credits."""
        for suffix in ("-wal", "-shm"):
            self._file.with_name(self._file.name + suffix).unlink(missing_ok=True)
        shutil.copyfile(self._waiting, self._file)

    def __call__(self) -> None:
        """Store every credit."""
        with closing(open_writer(self._file)) as connection:
            stored = store_waiting(connection, Scheme(), now_ms=_START_MS)
        assert stored.touches == self._touches


class Peers:
    """A process of another interpreter that times the peers when it is asked to."""

    def __init__(self, python: str, paths: Paths, folder: Path) -> None:
        data = folder / "paths.npz"
        np.savez(
            data, channels=np.array(paths.channels), codes=paths.codes, offsets=paths.offsets,
            conversions=paths.conversions, nulls=paths.nulls, values=paths.values,
        )  # fmt: skip
        self._said = folder / "peers.log"
        with self._said.open("wb") as log:
            try:
                self._process = subprocess.Popen(
                    [python, str(_PEER), str(data)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                    stderr=log, text=True,
                )  # fmt: skip
            except OSError as error:
                raise SystemExit(
                    f"--peers {python}: cannot be run ({error.strerror}); give the python of an "
                    "environment that holds the peers"
                ) from None
        answer = self._answer()
        self.names: list[str] = answer["peers"]
        self._absent: dict[str, str] = answer["absent"]

    def absence(self, name: str) -> str:
        """Return why the peer of the row *name* cannot be used."""
        return self._absent[name.partition(",")[0]]

    def run(self, name: str) -> dict[str, Any]:
        """Return the wall-clock and CPU seconds of *name*, and its results."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{name}\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        while line := self._process.stdout.readline():
            if line.startswith("{"):  # peers also print on standard output
                found: dict[str, Any] = json.loads(line)
                return found
        said = self._said.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise SystemExit(f"the peers' process ended: {said[-1] if said else 'it said nothing'}")

    def close(self) -> None:
        """End the process."""
        self._process.communicate(timeout=60)


def compare(ours: Floats, channels: Sequence[str], theirs: dict[str, float]) -> float:
    """Return the largest difference of a channel, relative to the total."""
    pairs = zip(channels, ours.tolist(), strict=True)
    return max(abs(float(own) - theirs.get(c, 0.0)) for c, own in pairs) / float(ours.sum())


def main(arguments: Sequence[str]) -> int:
    """Print medians over the rounds and the rates per second, peers included."""
    parser = argparse.ArgumentParser(prog="python -m bench.attribution")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--touches", type=int, default=TOUCHES)
    parser.add_argument("--peers", metavar="PYTHON", default=sys.executable)
    options = parser.parse_args(arguments)
    if options.rounds < 1 or options.touches < 1_000:
        parser.error("at least 1 round and 1,000 touches are needed")
    paths, parameters = synthetic_paths(options.touches), Parameters()
    full = all_converting(paths)
    touches = len(paths.codes)
    weights = removal_effects(count_transitions(paths, 1)).conversions
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        events = folder / "events.db"
        database_of(paths, events)
        peers = stack.enter_context(closing(Peers(options.peers, paths, folder)))
        cases = [
            Case("numpy, totals", touches, "touches", lambda: share_credit(
                full, parameters, weights=weights, engine="numpy")),
            Case("numpy, credits kept", touches, "touches", lambda: share_credit(
                full, parameters, weights=weights, engine="numpy", keep=True)),
        ]  # fmt: skip
        if has_numba():
            cases += [
                Case("compiled, totals", touches, "touches", lambda: share_credit(
                    full, parameters, weights=weights, engine="numba")),
                Case("compiled, credits kept", touches, "touches", lambda: share_credit(
                    full, parameters, weights=weights, engine="numba", keep=True)),
            ]  # fmt: skip
        cases += [
            Case(f"exact Markov, order {order}", touches, "touches", lambda order=order: (  # type: ignore[misc]  # a default binds the loop's order
                removal_effects(count_transitions(paths, order))))
            for order in (1, 2, 3)
        ]  # fmt: skip
        long = long_journeys(options.touches)
        cases += [
            Case(f"the same of long journeys, {order}", len(long.codes), "touches",
                 lambda order=order: removal_effects(count_transitions(long, order)))  # type: ignore[misc]  # as above
            for order in (2, 3)
        ]  # fmt: skip
        cases += [
            Case("order by cross-validation", touches, "touches", lambda: (
                order_of(paths, parameters))),
            Case("Shapley of channel sets", touches, "touches", lambda: (
                shapley(channel_sets(paths)))),
        ]  # fmt: skip
        listed = folder / "paths.csv"
        file_of(paths, listed)
        cases.append(Case("CSV of paths to totals", touches, "touches", lambda: (
            account_of(read_paths(listed)[0], parameters))))  # fmt: skip
        survey = Survey(file=events, parameters=parameters)
        cases.append(Case("SQLite to totals", touches, "rows", lambda: account_of_database(survey)))
        storing = all_converting(synthetic_paths(CREDITS // len(MODELS), seed=2))
        store = Store(storing, folder)
        credits = len(storing.codes) * len(MODELS)
        cases.append(Case("storing credits", credits, "credits", store, store.prepare))
        foreign = [Case(name, touches, "touches", lambda: None) for name in peers.names]
        answers: dict[str, dict[str, Any]] = {}
        machine = Speeds()
        for number in machine.between(range(options.rounds + 1)):
            for case in cases:
                case.run()
            for case in foreign:
                answers[case.name] = answer = peers.run(case.name)
                case.wall.append(answer["wall"])
                case.cpu.append(answer["cpu"])
            if not number:  # loads, compiles and warms up
                for case in (*cases, *foreign):
                    case.wall.clear()
                    case.cpu.clear()
    if note := machine.line():
        print(note)
    print(f"{touches:,} touches, {len(paths):,} journeys, median of {options.rounds} rounds")
    print(f"{'':34}{'clock':>11}{'CPU':>11}{'by the clock':>23}{'of CPU':>18}")
    for case in (*cases, *foreign):
        wall, cpu = median(case.wall), median(case.cpu)
        per_second = [f"{case.amount / s / 1e6:,.2f} M {case.unit}/s" for s in (wall, cpu)]
        print(
            f"{case.name:34}{1e3 * wall:>8,.1f} ms{1e3 * cpu:>8,.1f} ms"
            f"{per_second[0]:>23}{per_second[1]:>18}"
        )
    for name in PEERS:
        if name not in peers.names:
            print(f"{name:34}{peers.absence(name)}")
    _agreement(paths, parameters, weights, answers)
    return 0


def _agreement(
    paths: Paths, parameters: Parameters, weights: Floats, answers: dict[str, dict[str, Any]]
) -> None:
    """Print how far the peers' figures are from ours."""
    credit = share_credit(paths, parameters, weights=weights)
    for answer in answers.values():
        for model, theirs in answer["found"].items():
            if model == "removal":
                ours = weights / weights.sum() * credit.attributed
                label = "Markov, order 1"
            else:
                ours, label = credit.conversions[credit.models.index(model)], model
            difference = compare(ours, paths.channels, theirs)
            print(f"{answer['name']}, {label}: largest difference {difference:.2e} of the total")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
